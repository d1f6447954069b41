"""The HTTP caller's own part: settings, reloads, and what stays on the connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.callers.http import HttpCaller, HttpSettings
from sidecar.errors import Misconfigured, Unavailable, UpstreamFailure
from sidecar.model.credential import Credential
from sidecar.model.decision import Obligations, Permit
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.model.secret import Secret
from sidecar.wire.answer import Body
from sidecar.wire.client import Timeouts
from tests.fakes.certificates import Authority
from tests.fakes.upstream import OK, Conversation, ScriptedUpstream, replies, until, upstream

PLAIN = HttpSettings(secure=False)
GET = Outbound("GET", "/", [], b"")


def permit(connector: str = "shop") -> Permit:
    return Permit("call", connector, "operation", "sha256:0", Obligations())


@pytest.fixture
async def caller() -> AsyncIterator[HttpCaller]:
    subject = HttpCaller({"shop": PLAIN})
    yield subject
    await subject.close()
    assert subject.connections("shop") == (0, 0, 0)


async def call(caller: HttpCaller, up: ScriptedUpstream, scheme: str = "http", connector: str = "shop") -> Inbound:
    destination = Destination(scheme, "shop.example", up.port, ("127.0.0.1",))
    return await caller.call(permit(connector), connector, destination, GET)


async def test_connections_are_kept_and_counted(caller: HttpCaller) -> None:
    async with upstream(replies(OK)) as up:
        for _ in range(3):
            assert (await call(caller, up)).body == b"ok"
        assert caller.connections("shop") == (1, 1, 0)
        assert caller.connections("unknown") == (0, 0, 0)
        assert up.connections == 1


async def test_fields_of_the_connection_stay_on_the_connection(caller: HttpCaller) -> None:
    raw = (
        b"HTTP/1.1 200 OK\r\nConnection: X-Private, keep-alive\r\nX-Private: a\r\nKeep-Alive: timeout=5\r\n"
        b"X-Public: b\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n"
    )
    async with upstream(replies(raw)) as up:
        answer = await call(caller, up)
        assert (answer.headers, answer.body) == ([(b"x-public", b"b")], b"ok")


async def test_an_unknown_connector_sends_nothing(caller: HttpCaller) -> None:
    async with upstream(replies(OK)) as up:
        with pytest.raises(UpstreamFailure, match="not configured") as failure:
            await call(caller, up, connector="other")
        assert not failure.value.sent
        assert up.connections == 0


async def test_a97_a_secure_connector_never_speaks_plain_http(tmp_path: Path) -> None:
    caller = HttpCaller({"shop": HttpSettings(ca_file=Authority(tmp_path).file)})
    async with upstream(replies(OK)) as up:
        with pytest.raises(UpstreamFailure, match="does not speak http") as failure:
            await call(caller, up)
        assert not failure.value.sent
        assert up.connections == 0
    await caller.close()


async def test_tls_with_the_connectors_own_authority(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    caller = HttpCaller({"shop": HttpSettings(ca_file=authority.file), "other": HttpSettings()})
    async with upstream(replies(OK), tls=authority.server("shop.example")) as up:
        assert (await call(caller, up, "https")).body == b"ok"
        with pytest.raises(UpstreamFailure, match="not trusted"):
            await call(caller, up, "https", "other")
    await caller.close()


async def test_a_reload_keeps_the_pools_of_what_did_not_change(caller: HttpCaller) -> None:
    async with upstream(replies(OK)) as up:
        await call(caller, up)
        caller.swap({"shop": HttpSettings(secure=False), "new": PLAIN})
        await call(caller, up)
        assert up.connections == 1
        caller.swap({"shop": HttpSettings(secure=False, timeouts=Timeouts(total=9))})
        assert caller.connections("shop") == (0, 0, 0)
        await until(lambda: up.open == 0)
        await call(caller, up)
        assert up.connections == 2
        caller.swap({})
        with pytest.raises(UpstreamFailure, match="not configured"):
            await call(caller, up)


async def test_a_reload_lets_a_running_call_finish(caller: HttpCaller) -> None:
    asked, release = asyncio.Event(), asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        asked.set()
        await release.wait()
        await conversation.send(OK)
        await conversation.rest()

    async with upstream(script) as up:
        calling = asyncio.create_task(call(caller, up))
        await asked.wait()
        caller.swap({})
        release.set()
        assert (await calling).body == b"ok"


async def test_a_ca_file_replaced_in_place_is_noticed(tmp_path: Path) -> None:
    old, new = Authority(tmp_path, "old"), Authority(tmp_path, "new")
    file = tmp_path / "ca.pem"
    file.write_bytes(old.file.read_bytes())
    settings = {"shop": HttpSettings(ca_file=file)}
    caller = HttpCaller(settings)
    async with upstream(replies(OK), tls=new.server("shop.example")) as up:
        with pytest.raises(UpstreamFailure, match="not trusted"):
            await call(caller, up, "https")
        file.write_bytes(new.file.read_bytes())
        caller.swap(settings)
        assert (await call(caller, up, "https")).body == b"ok"
    await caller.close()


async def test_a_bad_reload_changes_nothing(caller: HttpCaller, tmp_path: Path) -> None:
    async with upstream(replies(OK)) as up:
        await call(caller, up)
        with pytest.raises(Misconfigured):
            caller.swap({"new": HttpSettings(ca_file=tmp_path / "missing.pem")})
        await call(caller, up)
        assert up.connections == 1


async def test_changed_addresses_open_another_connection(caller: HttpCaller) -> None:
    async with upstream(replies(OK), host="0.0.0.0") as up:
        for address in ("127.0.0.1", "127.0.0.2", "127.0.0.1"):
            destination = Destination("http", "shop.example", up.port, (address,))
            answer = await caller.call(permit(), "shop", destination, GET)
            assert answer.peer == address
        assert up.connections == 2


async def test_h22_a_cancelled_call_ends_its_connection(caller: HttpCaller) -> None:
    half = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(OK[:-1])
        half.set()
        await conversation.rest()

    async with upstream(script) as up:
        calling = asyncio.create_task(call(caller, up))
        await half.wait()
        await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert caller.connections("shop") == (0, 0, 0)


async def test_a_stream_that_is_closed_before_it_was_begun_ends_its_connection(caller: HttpCaller) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
        await conversation.rest()

    async with upstream(script) as up:
        destination = Destination("http", "shop.example", up.port, ("127.0.0.1",))
        answer = await caller.call(permit(), "shop", destination, GET._replace(stream=True))
        assert caller.connections("shop") == (1, 0, 0)
        assert isinstance(answer.body, Body)
        await answer.body.aclose()
        assert caller.connections("shop") == (0, 0, 0)


async def test_a_client_certificate_proves_us_and_each_version_has_connections_of_its_own(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    caller = HttpCaller({"shop": HttpSettings(ca_file=authority.file)})
    first, second, third = (Credential(Secret(authority.client()), version) for version in "123")
    async with upstream(replies(OK), tls=authority.wants_clients(authority.server("shop.example"))) as up:
        destination = Destination("https", "shop.example", up.port, ("127.0.0.1",))

        async def ask(certificate: Credential | None) -> Inbound:
            request = GET._replace(certificate=certificate)
            return await caller.call(permit(), "shop", destination, request)

        with pytest.raises(UpstreamFailure):
            await ask(None)
        for certificate in (first, first, second, first, second):
            assert (await ask(certificate)).body == b"ok"
        await until(lambda: up.open == 2)
        assert caller.connections("shop") == (2, 2, 0)
        assert (await ask(third)).body == b"ok"
        await until(lambda: up.open == 2)  # the first version's connection has ended
        caller.swap({"shop": HttpSettings(ca_file=authority.file, connections=3)})
        await until(lambda: up.open == 0)
    await caller.close()


async def test_a_certificate_that_is_none_is_not_sent(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    caller = HttpCaller({"shop": HttpSettings(ca_file=authority.file)})
    async with upstream(replies(OK), tls=authority.server("shop.example")) as up:
        destination = Destination("https", "shop.example", up.port, ("127.0.0.1",))
        bad = GET._replace(certificate=Credential(Secret("canary, no PEM"), "1"))
        with pytest.raises(Unavailable) as unavailable:
            await caller.call(permit(), "shop", destination, bad)
        assert unavailable.value.code == "credential_unavailable"
        assert "canary" not in str(unavailable.value)
        assert up.connections == 0
    await caller.close()
