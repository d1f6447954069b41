"""A token endpoint that turns against the sidecar: whatever it answers, no call hangs, leaks or goes elsewhere."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

import msgspec
import pytest

from sidecar.adapters.callers import oauth
from sidecar.adapters.callers.oauth import ANSWER_BYTES, OAuthSource
from sidecar.errors import Unavailable
from sidecar.model.credential import Reference
from sidecar.rules.oauth import ClientGrant
from sidecar.wire.client import Timeouts
from tests.fakes.certificates import Authority
from tests.fakes.clock import HeldClock
from tests.fakes.credentials import HeldCredentials
from tests.fakes.observer import RecordingObserver
from tests.fakes.upstream import Conversation, replies, upstream

CANARY: Final = "c4n4ry-client-secret"
REFERENCE: Final = Reference("oauth", "crm")
TOKEN: Final = json.dumps({"access_token": "tok3n", "token_type": "bearer", "expires_in": 60}).encode()


def answer(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


@asynccontextmanager
async def endpoint(
    folder: Path, script: Callable[[Conversation], Awaitable[None]]
) -> AsyncIterator[tuple[OAuthSource, RecordingObserver, list[str]]]:
    """A source before an endpoint that follows ``script``; and every name that was looked up."""
    authority = Authority(folder)
    observer, store, asked = RecordingObserver(), HeldCredentials(), list[str]()
    store.put("client", CANARY)

    async def locate(host: str, port: int) -> tuple[str, ...]:
        asked.append(f"{host}:{port}")
        return ("127.0.0.1",)

    async with upstream(script, tls=authority.server("login.example")) as up:
        grant = ClientGrant(
            reference=Reference("encrypted", "client"),
            host="login.example",
            port=up.port,
            path="/token",
            ca_file=str(authority.file),
            client_id="sidecar",
            scopes=(),
            audience=None,
            in_body=False,
        )
        source = OAuthSource(locate, HeldClock(), observer)
        source.configure({"crm": grant}, {"encrypted": store})
        yield source, observer, asked


async def refused(source: OAuthSource, observer: RecordingObserver) -> str:
    with pytest.raises(Unavailable) as unavailable:
        async with asyncio.timeout(20):
            await source.resolve(REFERENCE)
    error = unavailable.value
    shown = f"{error!r} {error.reasons} {observer.events} {msgspec.to_builtins(error.reasons)}"
    assert CANARY not in shown
    assert "c4n4ry" not in shown
    return error.reasons[0].code


HEARD: Final = CANARY.encode()
ANSWERS: Final = {
    "a redirect to the metadata service": (
        answer(HEARD, "302 Found", "Location: http://169.254.169.254/latest", f"X-Heard: {CANARY}"),
        "token_refused",
    ),
    "a permanent redirect of the POST": (
        answer(b"", "308 Permanent Redirect", "Location: https://evil.example/"),
        "token_refused",
    ),
    "an error that repeats the secret": (answer(b'{"error": "' + HEARD + b'"}', f"400 {CANARY}"), "token_refused"),
    "more than a token ever has": (answer(TOKEN[:-1] + b" " * ANSWER_BYTES + b"}"), "token_unreachable"),
    "a compressed token": (answer(gzip.compress(TOKEN), "200 OK", "Content-Encoding: gzip"), "token_unusable"),
    "a bomb": (
        answer(gzip.compress(b" " * (32 << 20)), "200 OK", "Content-Encoding: gzip"),
        "token_unusable",
    ),
    "nested beyond reason": (answer(b"[" * 60_000), "token_unusable"),
    "no HTTP": (b"SSH-2.0-" + HEARD + b"\r\n", "token_unreachable"),
    "two lengths": (answer(TOKEN, "200 OK", "Content-Length: 3"), "token_unreachable"),
    "a switch of protocols": (
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
        "token_unreachable",
    ),
}


@pytest.mark.parametrize("how", ANSWERS)
async def test_inv_5_what_is_no_token_is_refused_and_goes_nowhere_else(tmp_path: Path, how: str) -> None:
    sent, reason = ANSWERS[how]
    async with endpoint(tmp_path, replies(sent)) as (source, observer, asked):
        assert await refused(source, observer) == reason
        assert len(asked) == 1
        assert asked[0].startswith("login.example:")


async def test_early_hints_are_no_answer(tmp_path: Path) -> None:
    hints = b"HTTP/1.1 103 Early Hints\r\nLink: <" + HEARD + b">\r\n\r\n"
    async with endpoint(tmp_path, replies(hints + answer(TOKEN))) as (source, _, _asked):
        assert (await source.resolve(REFERENCE)).secret.reveal() == b"tok3n"


@pytest.mark.parametrize("how", ["says nothing", "drips for ever", "never ends"])
async def test_an_endpoint_without_an_end_is_waited_for_no_longer_than_its_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    monkeypatch.setattr(oauth, "TIMEOUTS", Timeouts(connect=1.0, head=0.3, idle=0.3, total=0.6))

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        if how == "says nothing":
            await conversation.rest()
        await conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            await conversation.send(b"1\r\n \r\n" if how == "drips for ever" else b"400\r\n" + b" " * 1024 + b"\r\n")
            await asyncio.sleep(0.05 if how == "drips for ever" else 0)

    async with endpoint(tmp_path, script) as (source, observer, asked):
        waiting = [asyncio.create_task(refused(source, observer)) for _ in range(100)]
        assert set(await asyncio.gather(*waiting)) == {"token_unreachable"}
        assert len(asked) == 1
