"""P10: no page of another site, and no name that somebody points at this machine, reaches the administrators' door.

A browser sends ``Origin`` with every request that a page of another site may not send by itself, and the name of the
address bar as ``Host``: with DNS rebinding that name is the attacker's while the address is ours. All of it with a
good key: a key in a browser must not help a page either.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator

import pytest

from tests.fakes.desk import Desk
from tests.fakes.parts import key_of

OWN = "own"  # stands for the door's own address and port
GOOD_HOSTS = [OWN, "localhost:{port}", "LOCALHOST:{port}", "[::1]:{port}"]
BAD_HOSTS = [
    *(
        "evil.example",
        "evil.example:{port}",
        "127.0.0.1",
        "localhost",
        "127.0.0.1:1",
        "127.0.0.1.evil.example:{port}",
    ),
    *("localhost.evil.example:{port}", "localhost.:{port}", "127.1:{port}", "2130706433:{port}", "0:{port}"),
    *("0.0.0.0:{port}", "[::ffff:127.0.0.1]:{port}", "user@127.0.0.1:{port}", "127.0.0.1:{port}@evil.example"),
    *("127.0.0.1:{port}, evil.example", "admin", "169.254.169.254", ""),
]
GOOD_ORIGINS = [None, "http://127.0.0.1:{port}", "http://localhost:{port}"]
BAD_ORIGINS = [
    *("null", "https://evil.example", "http://evil.example:{port}", "https://127.0.0.1:{port}", "http://127.0.0.1"),
    *(
        "http://localhost",
        "http://127.0.0.1:8080",
        "file://",
        "chrome-extension://abc",
        "http://localhost.evil:{port}",
    ),
    *("http://127.0.0.1:{port}.evil.example", "http://127.0.0.1:{port}/", "*", "", "about:blank"),
]


@pytest.fixture
async def desk() -> Desk:
    return Desk()


@pytest.fixture
async def port(desk: Desk) -> AsyncIterator[int]:
    yield await desk.door.listen("127.0.0.1", 0, None)
    await desk.door.close()


async def ask(port: int, method: str, *headers: tuple[str, str]) -> tuple[int, dict[str, object]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    lines = [f"{method} /v1/status HTTP/1.1", *(f"{name}: {value}" for name, value in headers), "Connection: close"]
    writer.write(("\r\n".join(lines) + "\r\n\r\n").encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"access-control-" not in head.lower(), "no other site is ever let in"
    return int(head.split()[1]), json.loads(body) if body else {}


def key() -> tuple[str, str]:
    return "Authorization", f"Bearer {key_of('oscar')}"


def own(port: int, text: str) -> str:
    return f"127.0.0.1:{port}" if text == OWN else text.format(port=port)


@pytest.mark.parametrize("origin", GOOD_ORIGINS)
@pytest.mark.parametrize("host", GOOD_HOSTS)
async def test_p10_the_doors_own_names_and_pages_are_taken(port: int, host: str, origin: str | None) -> None:
    headers = [("Host", own(port, host)), key()]
    if origin is not None:
        headers.append(("Origin", own(port, origin)))
    assert (await ask(port, "GET", *headers))[0] == 200


@pytest.mark.parametrize("origin", [None, "http://127.0.0.1:{port}", "https://evil.example"])
@pytest.mark.parametrize("host", BAD_HOSTS)
async def test_p10_another_host_is_refused(desk: Desk, port: int, host: str, origin: str | None) -> None:
    headers = [("Host", own(port, host)), key()]
    if origin is not None:
        headers.append(("Origin", own(port, origin)))
    status, told = await ask(port, "GET", *headers)
    assert (status, told["code"]) == (403, "host_forbidden")
    assert desk.stage.evidence.leaves[-1].code == "host_forbidden"


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS"])
@pytest.mark.parametrize("origin", BAD_ORIGINS)
async def test_p10_another_sites_page_is_refused(desk: Desk, port: int, origin: str, method: str) -> None:
    status, told = await ask(port, method, ("Host", own(port, OWN)), ("Origin", own(port, origin)), key())
    assert (status, told["code"]) == (403, "origin_forbidden")
    assert desk.reloads == 0


@pytest.mark.parametrize("site", ["cross-site", "same-site", "anything"])
async def test_p10_what_a_browser_says_of_another_site_counts(port: int, site: str) -> None:
    status, told = await ask(port, "GET", ("Host", own(port, OWN)), ("Sec-Fetch-Site", site), key())
    assert (status, told["code"]) == (403, "origin_forbidden")


@pytest.mark.parametrize("site", ["same-origin", "none"])
async def test_p10_a_persons_own_doing_is_taken(port: int, site: str) -> None:
    assert (await ask(port, "GET", ("Host", own(port, OWN)), ("Sec-Fetch-Site", site), key()))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [("Host", "127.0.0.1:{port}"), ("Host", "evil.example")],
        [("Host", "127.0.0.1:{port}"), ("Host", "127.0.0.1:{port}")],
        [("Host", "127.0.0.1:{port}"), ("X-Forwarded-Host", "127.0.0.1:{port}"), ("Host", "127.0.0.1:{port}")],
    ],
)
async def test_p10_no_host_or_two_are_refused(port: int, headers: list[tuple[str, str]]) -> None:
    status, told = await ask(port, "GET", *((name, value.format(port=port)) for name, value in headers), key())
    assert (status, told["code"]) in [(403, "host_forbidden"), (400, "malformed")]


async def test_p10_two_origins_are_refused(port: int) -> None:
    good = ("Origin", f"http://127.0.0.1:{port}")
    status, told = await ask(port, "GET", ("Host", own(port, OWN)), good, good, key())
    assert (status, told["code"]) in [(403, "origin_forbidden"), (400, "malformed")]


async def test_p10_a_cookie_is_no_proof(port: int) -> None:
    """Nothing a browser adds by itself opens the door: a page cannot ride on somebody's session."""
    status, told = await ask(port, "GET", ("Host", own(port, OWN)), ("Cookie", f"key={key_of('oscar')}"))
    assert (status, told["code"]) == (401, "unauthenticated")
    status, told = await ask(port, "GET", ("Host", own(port, OWN)), ("Authorization", f"Basic {key_of('oscar')}"))
    assert (status, told["code"]) == (401, "unauthenticated")
