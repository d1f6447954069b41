"""Exchanges with an OPA server: whom they trust, what they send, what they never do."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest

from sidecar.adapters.policy.server_answers import Unusable
from sidecar.adapters.policy.server_connection import ServerConnection, ServerSettings, Token
from sidecar.errors import Unavailable
from sidecar.model.secret import Secret
from tests.fakes.certificates import Authority
from tests.fakes.opa_script import ScriptedOpa, reply

TOKEN = "a-token-of-the-sidecar"


def held(text: str) -> Token:
    async def token() -> Secret:
        return Secret(text)

    return token


@asynccontextmanager
async def connected(settings: ServerSettings, token: Token | None = None) -> AsyncIterator[ServerConnection]:
    connection = ServerConnection(settings, token)
    try:
        await connection.prepare()
        yield connection
    finally:
        await connection.close()


@asynccontextmanager
async def secure_server(context: ssl.SSLContext) -> AsyncIterator[str]:
    """A TLS server that answers everything with ``{}``; its URL."""

    async def converse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(reply({}))
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(converse, "127.0.0.1", 0, ssl=context)
    async with server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


async def test_the_token_is_sent_and_resolved_for_each_exchange() -> None:
    texts = iter(["first-token", "second-token"])

    async def token() -> Secret:
        return Secret(next(texts))

    async with ScriptedOpa() as opa, connected(ServerSettings(opa.url), token) as connection:
        await connection.exchange("GET", "/health")
        await connection.exchange("GET", "/health")
        sent = [head for _, head, _ in opa.asked]
    assert b"Authorization: Bearer first-token\r\n" in sent[0]
    assert b"Authorization: Bearer second-token\r\n" in sent[1]


@pytest.mark.parametrize("text", ["new\nline", "two words", "ümlaut", "nul\0"])
async def test_a_token_that_cannot_stand_in_a_header_is_never_sent(text: str) -> None:
    async with ScriptedOpa() as opa, connected(ServerSettings(opa.url), held(text)) as connection:
        with pytest.raises(Unusable, match="cannot stand in a header") as caught:
            await connection.exchange("GET", "/health")
        assert opa.asked == []
    assert text not in str(caught.value)


async def test_a_token_that_cannot_be_resolved_is_told_without_its_reference() -> None:
    async def token() -> Secret:
        raise Unavailable("credential_unavailable", "x")

    async with ScriptedOpa() as opa, connected(ServerSettings(opa.url), token) as connection:
        with pytest.raises(Unusable, match="could not be resolved"):
            await connection.exchange("GET", "/health")
        assert opa.asked == []


async def test_the_environment_sends_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    (tmp_path / "netrc").write_text("machine opa login a password b\n")
    async with ScriptedOpa() as opa, connected(ServerSettings(opa.url), held(TOKEN)) as connection:
        assert (await connection.exchange("GET", "/health")).status == 200
        assert f"Bearer {TOKEN}".encode() in opa.asked[0][1]
        assert b"accept-encoding: identity" in opa.asked[0][1].lower()


async def test_cookies_are_not_kept_and_nothing_is_decompressed() -> None:
    async with ScriptedOpa() as opa, connected(ServerSettings(opa.url)) as connection:
        opa.script["/health"] = (
            b"HTTP/1.1 200 X\r\nSet-Cookie: a=b\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
        )
        assert (await connection.exchange("GET", "/health")).body == b"{}"
        await connection.exchange("GET", "/health")
        assert b"cookie" not in opa.asked[1][1].lower()


async def test_an_answer_is_read_up_to_its_bound() -> None:
    async with ScriptedOpa() as opa, connected(ServerSettings(opa.url)) as connection:
        opa.script["/health"] = reply(b"x" * 1000)
        assert len((await connection.exchange("GET", "/health", limit=1000)).body) == 1000
        with pytest.raises(Unusable, match="larger than 999 bytes"):
            await connection.exchange("GET", "/health", limit=999)


async def test_a_connection_that_died_while_idle_costs_nobody_a_decision() -> None:
    async with ScriptedOpa() as opa, connected(ServerSettings(opa.url)) as connection:
        opa.script["/health"] = b"HTTP/1.1 200 X\r\ncontent-length: 2\r\n\r\n{}"  # and is closed after it
        for _ in range(5):
            assert (await connection.exchange("GET", "/health")).status == 200


async def test_a_server_of_our_authority_with_its_name_is_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(secure_server(authority.server("127.0.0.1")))
        connection = await stack.enter_async_context(connected(ServerSettings(url, ca_file=authority.file)))
        assert (await connection.exchange("GET", "/health")).status == 200


UNTRUSTED: dict[str, Callable[[Authority, Authority], ssl.SSLContext]] = {
    "another authority": lambda ours, other: other.server("127.0.0.1"),
    "another name": lambda ours, other: ours.server("opa.example"),
    "expired": lambda ours, other: ours.server("127.0.0.1", expired=True),
    "self-signed": lambda ours, other: ours.server("127.0.0.1", self_signed=True),
    "of a client": lambda ours, other: ours.server("127.0.0.1", wrong_usage=True),
}


@pytest.mark.parametrize("fault", UNTRUSTED)
async def test_any_other_certificate_is_refused(tmp_path: Path, fault: str) -> None:
    ours, other = Authority(tmp_path), Authority(tmp_path, "other authority")
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(secure_server(UNTRUSTED[fault](ours, other)))
        connection = await stack.enter_async_context(connected(ServerSettings(url, ca_file=ours.file)))
        with pytest.raises(Unusable, match="certificate"):
            await connection.exchange("GET", "/health")


async def test_a_renewed_certificate_is_used_without_a_restart(tmp_path: Path) -> None:
    ours, other = Authority(tmp_path), Authority(tmp_path, "other authority")
    trusted = tmp_path / "trusted.pem"
    trusted.write_bytes(other.file.read_bytes())
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(secure_server(ours.server("127.0.0.1")))
        connection = await stack.enter_async_context(connected(ServerSettings(url, ca_file=trusted)))
        with pytest.raises(Unusable, match="certificate"):
            await connection.exchange("GET", "/health")
        fresh = tmp_path / "fresh.pem"
        fresh.write_bytes(ours.file.read_bytes())
        fresh.replace(trusted)
        await connection.prepare()
        assert (await connection.exchange("GET", "/health")).status == 200


async def test_files_that_are_no_certificates_are_told(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    pem = authority.pem("sidecar.example", client=True)
    (tmp_path / "bad.pem").write_text("no certificate")
    (tmp_path / "bad.pem").chmod(0o600)
    url = "https://127.0.0.1:1"
    for settings, why in (
        (ServerSettings(url, ca_file=tmp_path / "bad.pem"), "cannot be read as PEM"),
        (ServerSettings(url, client_cert=tmp_path / "bad.pem", client_key=pem), "cannot be read as PEM"),
        (ServerSettings(url, client_cert=pem, client_key=authority.pem("b")), "belong together"),
        (ServerSettings(url, ca_file=tmp_path / "none.pem"), "is missing"),
    ):
        with pytest.raises(Unusable, match=why):
            await ServerConnection(settings).prepare()


async def test_a_key_that_everybody_may_read_is_not_used(tmp_path: Path) -> None:
    pem = Authority(tmp_path).pem("sidecar.example", client=True)
    pem.chmod(0o644)
    with pytest.raises(Unusable, match="chmod 600"):
        await ServerConnection(ServerSettings("https://127.0.0.1:1", client_cert=pem, client_key=pem)).prepare()


async def test_what_is_no_socket_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for name, why in (("file", "no socket"), ("none", "not there")):
        with pytest.raises(Unusable, match=why):
            await ServerConnection(ServerSettings(f"unix://{tmp_path / name}")).prepare()


async def test_nothing_is_exchanged_before_it_is_open_and_after_it_is_closed() -> None:
    async with ScriptedOpa() as opa:
        connection = ServerConnection(ServerSettings(opa.url))
        with pytest.raises(Unusable, match="no connection"):
            await connection.exchange("GET", "/health")
        await connection.prepare()
        await connection.close()
        with pytest.raises(Unusable, match="no connection"):
            await connection.exchange("GET", "/health")
