"""A89 to A105: a placeholder is worth something at one place of one host's requests, and an alarm anywhere else."""

from __future__ import annotations

import base64
import gzip
import json
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import brotli
import msgspec
import pytest
import zstandard

from sidecar.config.sections import Config
from sidecar.errors import Refused
from sidecar.model.credential import Credential
from sidecar.model.exchange import Outbound
from sidecar.model.secret import Secret
from sidecar.pipeline.inject import inject
from sidecar.rules.catalogue import compile_catalogue
from sidecar.rules.placeholders import MARKER, Request, Slot, find, mint
from tests.fakes.parts import CONFIG

HOST = "api.example:443"
KEY = Secret(b"k" * 32)
OURS = mint(KEY, "acme", "llm", "agent", "sk-").encode()
OTHER = mint(KEY, "acme", "crm", "agent", "sk-").encode()
LONGER = OURS + b"x7"  # begins like another
SLOT = Slot(OURS, "llm", (HOST,), "bearer")
ELSEWHERE = Slot(OTHER, "crm", ("crm.example:443",), "bearer")
OWN = [SLOT, ELSEWHERE]
REAL = b"sk-" + b"R3aLkEy" * 6


def asks(token: bytes = OURS, **more: Any) -> Request:
    plain = Request("https", "POST", HOST, b"/v1/x", [(b"authorization", b"Bearer " + token)], b'{"q":1}')
    return plain._replace(**more)


def bearer(*tokens: bytes) -> list[tuple[bytes, bytes]]:
    return [(b"authorization", b"Bearer " + token) for token in tokens]


def reason(request: Request, *, require: bool = False, own: list[Slot] | None = None) -> str:
    with pytest.raises(Refused) as refused:
        find(request, OWN if own is None else own, require=require)
    assert refused.value.code == "credential_misused"
    shown = f"{refused.value} {refused.value.reasons}".encode()
    assert MARKER not in shown
    assert REAL not in shown
    return refused.value.reasons[0].code


STRAY: dict[str, tuple[Request, str]] = {
    "A89 another host": (asks(host="evil.example:443"), "placeholder_elsewhere"),
    "A89 another port": (asks(host="api.example:8443"), "placeholder_elsewhere"),
    "A89 a host header that lies": (
        asks(host="evil.example:443", headers=[*bearer(OURS), (b"host", b"api.example")]),
        "placeholder_elsewhere",
    ),
    "A89 the credential of another host": (asks(OTHER), "placeholder_elsewhere"),
    "A90 the path": (asks(headers=[], target=b"/v1/" + OURS), "placeholder_misplaced"),
    "A90 the query": (asks(headers=[], target=b"/v1/x?k=" + OURS), "placeholder_misplaced"),
    "A90 another header": (asks(headers=[(b"x-key", OURS)]), "placeholder_misplaced"),
    "A90 a header's name": (asks(headers=[(OURS.lower(), b"1")]), "placeholder_encoded"),
    "A90 a member of the body": (asks(headers=[], body=b'{"k":"' + OURS + b'"}'), "placeholder_misplaced"),
    "A90 a cookie": (asks(headers=[(b"cookie", b"s=" + OURS)]), "placeholder_misplaced"),
    "A90 another scheme": (asks(headers=[(b"authorization", b"Token " + OURS)]), "placeholder_misplaced"),
    "A90 not the whole value": (asks(OURS + b"x"), "placeholder_misplaced"),
    "A90 something before it": (asks(b"x" + OURS), "placeholder_misplaced"),
    "A91 two headers": (asks(headers=bearer(OURS, OURS)), "placeholder_doubled"),
    "A91 in the body too": (asks(body=b'{"k":"' + OURS + b'"}'), "placeholder_doubled"),
    "A91 in the query too": (asks(target=b"/v1/x?k=" + OURS), "placeholder_doubled"),
    "A91 encoded in the body too": (asks(body=base64.b64encode(OURS)), "placeholder_doubled"),
    "A91 a foreign one too": (
        asks(body=mint(KEY, "acme", "llm", "x", "sk-").encode()),
        "placeholder_doubled",
    ),
    "A91 compressed in the body too": (
        asks(headers=[*bearer(OURS), (b"content-encoding", b"gzip")], body=gzip.compress(OURS)),
        "placeholder_doubled",
    ),
    "A94 percent-encoded in the query": (
        asks(headers=[], target=b"/v1?k=" + "".join(f"%{byte:02x}" for byte in OURS).encode()),
        "placeholder_encoded",
    ),
    "A94 base64 in a header": (asks(headers=[(b"x-key", base64.b64encode(OURS))]), "placeholder_encoded"),
    "A94 base64url in the path": (
        asks(headers=[], target=b"/" + base64.urlsafe_b64encode(b"ab" + OURS)),
        "placeholder_encoded",
    ),
    "A94 a basic pair": (
        asks(headers=[(b"authorization", b"Basic " + base64.b64encode(b"user:" + OURS))]),
        "placeholder_encoded",
    ),
    "A94 json escapes": (
        asks(headers=[], body=('"' + "".join(f"\\u{byte:04x}" for byte in OURS) + '"').encode()),
        "placeholder_encoded",
    ),
    "A94 hex": (asks(headers=[], body=OURS.hex().encode()), "placeholder_encoded"),
    "A94 wide": (asks(headers=[], body=OURS.decode().encode("utf-16-le")), "placeholder_encoded"),
    "A94 percent in base64": (
        asks(headers=[(b"x-key", quote(base64.b64encode(OURS).decode(), safe="").encode())]),
        "placeholder_encoded",
    ),
    "A96 begins like ours": (asks(LONGER), "placeholder_misplaced"),
    "A97 plain http": (asks(scheme="http"), "placeholder_plain_http"),
    "A100 the head of a tunnel": (asks(method="CONNECT", body=b""), "placeholder_misplaced"),
    "A105 another tenant's": (asks(mint(KEY, "globex", "llm", "agent", "sk-").encode()), "placeholder_foreign"),
    "A105 another sidecar's": (
        asks(mint(Secret(b"j" * 32), "acme", "llm", "agent", "sk-").encode()),
        "placeholder_foreign",
    ),
    "another principal's": (asks(mint(KEY, "acme", "llm", "bob", "sk-").encode()), "placeholder_foreign"),
    "an invented one": (asks(b"sk-" + MARKER + b"A" * 40), "placeholder_foreign"),
}


@pytest.mark.parametrize("case", STRAY)
@pytest.mark.parametrize("require", [False, True])
def test_inv_5_a_placeholder_anywhere_else_is_refused(case: str, require: bool) -> None:
    request, expected = STRAY[case]
    assert reason(request, require=require) == expected


COMPRESSED: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "br": brotli.compress,
    "zstd": zstandard.ZstdCompressor().compress,
}


@pytest.mark.parametrize("coding", COMPRESSED)
def test_a93_a_placeholder_in_a_compressed_body_is_refused(coding: str) -> None:
    body = COMPRESSED[coding](json.dumps({"key": OURS.decode()}).encode())
    request = asks(headers=[(b"content-encoding", coding.encode())], body=body)
    assert reason(request) in ("placeholder_encoded", "placeholder_doubled")  # zstd keeps short texts readable
    harmless = request._replace(body=COMPRESSED[coding](b'{"q":1}'))
    assert find(harmless, OWN) is None


@pytest.mark.parametrize(
    ("coding", "body"),
    [(b"compress", b"x"), (b"gzip", b"not gzip"), (b"gzip", gzip.compress(b"\0" * (8 << 20))), (b"br", b"\xff" * 9)],
)
def test_a93_a_body_that_cannot_be_searched_is_refused(coding: bytes, body: bytes) -> None:
    assert reason(asks(headers=[(b"content-encoding", coding)], body=body)) == "placeholder_hidden"


def test_a95_a_secret_that_looks_like_a_placeholder_is_not_expanded_again() -> None:
    connector = compile_catalogue(msgspec.convert(CONFIG, Config)).connectors["crm"]
    assert find(asks(), OWN) is SLOT
    sent = inject(Outbound("POST", "/v1/x", bearer(OURS), b""), connector, Credential(Secret(OTHER), "1"), 0)
    assert sent.request.headers == bearer(OTHER)


def test_a96_a_placeholder_that_begins_like_another_is_itself() -> None:
    longer = Slot(LONGER, "longer", (HOST,), "bearer")
    assert find(asks(LONGER), [SLOT, longer]) is longer
    assert find(asks(OURS), [SLOT, longer]) is SLOT


@pytest.mark.parametrize("headers", [bearer(REAL), [], [(b"authorization", b"Basic " + base64.b64encode(REAL))]])
def test_a99_a_real_key_in_place_of_a_required_placeholder_is_refused(headers: list[tuple[bytes, bytes]]) -> None:
    assert reason(asks(headers=headers), require=True) == "placeholder_required"
    assert find(asks(headers=headers), OWN) is None


def test_a100_the_head_of_a_tunnel_needs_no_placeholder() -> None:
    assert find(asks(method="CONNECT", headers=[], body=b""), OWN, require=True) is None


def test_a101_other_hosts_are_asked_for_none_and_given_none() -> None:
    auxiliary = asks(host="telemetry.example:443", headers=bearer(REAL))
    assert find(auxiliary, OWN, require=True) is None


QUERY = Slot(OURS, "llm", (HOST,), "query", "key")


@pytest.mark.parametrize("twin", [b"key=mine", b"%6Bey=mine", b"k%65y=", b"key"])
@pytest.mark.parametrize("order", [1, -1])
def test_a90_a_query_field_that_is_there_twice_however_it_is_written_is_not_filled(twin: bytes, order: int) -> None:
    target = b"/v1/x?" + b"&".join([twin, b"key=" + OURS][::order])
    assert reason(asks(headers=[], target=target), own=[QUERY]) == "placeholder_misplaced"
    assert find(asks(headers=[], target=b"/v1/x?q=1&key=" + OURS), [QUERY]) is QUERY


def test_two_slots_cannot_both_be_filled() -> None:
    other = Slot(OTHER, "crm", (HOST,), "header", "x-api-key")
    request = asks(headers=[*bearer(OURS), (b"x-api-key", OTHER)])
    assert reason(request, own=[SLOT, other]) == "placeholder_doubled"
