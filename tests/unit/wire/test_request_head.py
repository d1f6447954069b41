"""What a request may look like on the wire, and what never gets there."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.wire.request_head import OWN, write_head


def test_a_head_is_written_in_order() -> None:
    head = write_head("POST", "/v1/items?q=a%20b", b"api.example:8443", [(b"accept", b"*/*"), (b"x-y", b"")], 12)
    assert head == (
        b"POST /v1/items?q=a%20b HTTP/1.1\r\nhost: api.example:8443\r\naccept: */*\r\nx-y: \r\n"
        b"content-length: 12\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("method", "length", "framing"),
    [
        ("GET", 0, b""), ("HEAD", 0, b""), ("DELETE", 0, b""), ("POST", 0, b"content-length: 0\r\n"),
        ("PUT", 0, b"content-length: 0\r\n"), ("PATCH", 0, b"content-length: 0\r\n"),
        ("GET", 3, b"content-length: 3\r\n"), ("POST", None, b"transfer-encoding: chunked\r\n"),
    ],
)  # fmt: skip
def test_a_body_is_announced_once(method: str, length: int | None, framing: bytes) -> None:
    assert (
        write_head(method, "/", b"h", [], length)
        == method.encode() + b" / HTTP/1.1\r\nhost: h\r\n" + framing + b"\r\n"
    )


@pytest.mark.parametrize("name", sorted(OWN))
def test_inv_2_a_template_cannot_frame_or_route(name: bytes) -> None:
    with pytest.raises(Refused, match="malformed"):
        write_head("GET", "/", b"h", [(b"accept", b"*/*"), (name, b"x")], 0)


@pytest.mark.parametrize(
    "header",
    [
        (b"x", b"a\r\nhost: evil.example"), (b"x", b"a\nb"), (b"x", b"a\rb"), (b"x", b"a\x00"), (b"x", b"a\x7f"),
        (b"x", b"\r\n"), (b"x", b"a\r\n b"), (b"x: y\r\nz", b"a"), (b"", b"a"), (b"x y", b"a"), (b"x:", b"a\r\nb: c"),
        (b"Host", b"evil.example"), (b"X-Upper", b"a"), (b"x\xe9", b"a"),
    ],
)  # fmt: skip
def test_a87_a_value_cannot_leave_its_line(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(Refused) as refused:
        write_head("GET", "/", b"h", [(b"accept", b"*/*"), header], 0)
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "x",
        "http://evil.example/",
        "/a b",
        "/a\r\nX: y",
        "/a\n",
        "/a#b",
        "/a\\b",
        '/"',
        "/<",
        "/\x00",
        "/é",
        "*",
        "/{a}",
    ],
)
def test_odd_paths_are_refused(path: str) -> None:
    with pytest.raises(Refused, match="path"):
        write_head("GET", path, b"h", [], 0)


@pytest.mark.parametrize("method", ["", "get", "G T", "GET\r\n", "CONNECT", "TRACE", "GÉT", "G" * 33])
def test_odd_methods_are_refused(method: str) -> None:
    with pytest.raises(Refused, match="method"):
        write_head(method, "/", b"h", [], 0)
