"""What a hostile, broken or impersonated upstream tries, on real sockets."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.errors import UpstreamFailure
from sidecar.wire.client import Answer, Client, Target, Timeouts
from sidecar.wire.tls import client_context
from tests.fakes.certificates import Authority
from tests.fakes.upstream import OK, Conversation, ScriptedUpstream, recorder, replies, until, upstream

TIMES = Timeouts(connect=2, head=2, idle=2, total=5)
SECRET = [(b"authorization", b"Bearer canary-7f3a")]
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.fixture
async def client() -> AsyncIterator[Client]:
    subject = Client(4)
    yield subject
    await subject.close()
    assert subject.counts() == (0, 0, 0)


def at(up: ScriptedUpstream) -> Target:
    return Target("http", "api.example", up.port, ("127.0.0.1",), None)


async def ask(client: Client, up: ScriptedUpstream, method: str = "GET") -> bytes:
    answer = await client.send(at(up), method, "/", SECRET, b"", TIMES)
    return await answer.read(1000)


async def refused(client: Client, raw: bytes, *, end: bool = False) -> UpstreamFailure:
    """The answer ``raw`` fails, and its connection is gone at once."""
    async with upstream(replies(raw, end=end)) as up:
        with pytest.raises(UpstreamFailure) as failure:
            await ask(client, up)
        assert client.counts() == (0, 0, 0)
    assert failure.value.sent
    assert "canary" not in str(failure.value)
    return failure.value


async def test_a75_an_unrequested_switch_of_protocols(client: Client) -> None:
    raw = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n\x81\x05hello"
    failure = await refused(client, raw)
    assert (failure.code, "switched protocols" in failure.detail) == ("upstream_invalid", True)


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 204 No Content\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5, 5\r\n\r\nhello",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: xchunked\r\n\r\nhello",
    ],
)
async def test_a76_framing_that_two_readers_could_read_differently(client: Client, raw: bytes) -> None:
    assert (await refused(client, raw)).code == "upstream_invalid"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 999 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 O\x00K\r\nContent-Length: 0\r\n\r\n",
        b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\r\n folded\r\nContent-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"+PONG\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300 + b"Content-Length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"y" * 40_000 + b"\r\n\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 9 + OK,
        CHUNKED + b"0x2\r\nok\r\n0\r\n\r\n",
        CHUNKED + b"ffffffffffffffffff\r\nok",
        CHUNKED + b"2\r\nokay\r\n0\r\n\r\n",
    ],
)
async def test_what_is_not_strictly_http_is_no_answer(client: Client, raw: bytes) -> None:
    assert (await refused(client, raw)).code == "upstream_invalid"


@pytest.mark.parametrize(
    "raw",
    [b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort", CHUNKED + b"5\r\nshort\r\n", b"HTTP/1.1 200 OK\r\nA"],
)
async def test_an_upstream_that_lies_about_length(client: Client, raw: bytes) -> None:
    assert (await refused(client, raw, end=True)).code == "upstream_invalid"


async def test_h09_a_200_to_an_upgrade_is_a_plain_answer(client: Client) -> None:
    raw = b"HTTP/1.1 200 OK\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nContent-Length: 2\r\n\r\nok\x81\x05hello"
    async with upstream(replies(raw)) as up:
        assert await ask(client, up) == b"ok"
        assert client.counts() == (0, 0, 0)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "raw",
    [
        OK + b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        CHUNKED + b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        b"HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
        b"HTTP/1.1 200 OK\r\nX: a\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison",
    ],
)
async def test_h21_a_split_answer_poisons_nobody(client: Client, raw: bytes, method: str) -> None:
    served = 0

    async def script(conversation: Conversation) -> None:
        nonlocal served
        while await conversation.request():
            served += 1
            await conversation.send(raw if served == 1 else OK)
            if served == 1 and b"\r\nX: a\r\n" in raw:
                return

    async with upstream(script) as up:
        await ask(client, up, method)
        assert await ask(client, up) == b"ok"
        assert up.connections == 2


async def test_h21_poison_that_arrives_later_meets_a_closed_door(client: Client) -> None:
    poison = asyncio.Event()

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(OK)
        await poison.wait()
        await conversation.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        await conversation.rest()

    async with upstream(script) as up:
        assert await ask(client, up) == b"ok"
        poison.set()
        await until(lambda: client.counts() == (0, 0, 0))


def test_h21_poison_still_unread_in_the_socket_is_noticed_at_checkout() -> None:
    """The event loop is kept from reading while the poison arrives, as a busy one would be."""
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    poisoned = threading.Event()

    def serve() -> None:
        first, _ = listener.accept()
        first.recv(65536)
        first.sendall(OK)
        asked.wait(5)
        first.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\npoison")
        poisoned.set()
        second, _ = listener.accept()
        second.recv(65536)
        second.sendall(OK)
        first.close()
        second.close()

    async def run() -> bytes:
        client = Client(1)
        target = Target("http", "api.example", port, ("127.0.0.1",), None)
        assert await (await client.send(target, "GET", "/", [], b"", TIMES)).read(9) == b"ok"
        assert client.counts() == (1, 1, 0)
        asked.set()
        poisoned.wait(5)  # blocks the loop on purpose
        body = await (await client.send(target, "GET", "/", [], b"", TIMES)).read(9)
        await client.close()
        return body

    asked = threading.Event()
    thread = threading.Thread(target=serve)
    thread.start()
    try:
        assert asyncio.run(run()) == b"ok"
    finally:
        thread.join(5)
        listener.close()


@pytest.mark.parametrize("method", ["POST", "PUT", "GET"])
async def test_a_request_is_never_sent_twice(client: Client, method: str) -> None:
    seen: list[bytes] = []

    async def script(conversation: Conversation) -> None:
        seen.append(await conversation.request())
        await conversation.send(OK)
        seen.append(await conversation.request())  # on the reused connection: taken, never answered

    async with upstream(script) as up:
        assert await ask(client, up) == b"ok"
        with pytest.raises(UpstreamFailure) as failure:
            await ask(client, up, method)
        assert (failure.value.code, failure.value.sent) == ("upstream_unavailable", True)
        assert [request.split(b" ")[0] for request in seen] == [b"GET", method.encode()]
        assert up.connections == 1


@pytest.mark.parametrize("how", ["reset", "end"])
@pytest.mark.parametrize(
    "before",
    [
        None, b"", b"H", b"HTTP/1.1 200 OK\r\nContent-", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhe",
        CHUNKED, CHUNKED + b"5\r\nhel", CHUNKED + b"5\r\nhello\r\n0\r\n",
        b"HTTP/1.1 103 Early Hints\r\n\r\n",
    ],
)  # fmt: skip
async def test_h22_an_end_at_every_state_leaks_nothing(client: Client, before: bytes | None, how: str) -> None:
    first = True

    async def script(conversation: Conversation) -> None:
        nonlocal first
        if not first:
            await replies(OK)(conversation)
            return
        first = False
        if before is not None:
            await conversation.request()
            await conversation.send(before)
        conversation.reset() if how == "reset" else conversation.end()

    async with upstream(script) as up:
        with pytest.raises(UpstreamFailure) as failure:
            await ask(client, up)
        assert failure.value.code in ("upstream_unavailable", "upstream_invalid")
        assert failure.value.sent or before is None
        assert client.counts() == (0, 0, 0)
        assert await ask(client, up) == b"ok"


async def test_h22_a_reset_while_the_request_goes_out(client: Client) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.read_until(b"\r\n\r\n")
        conversation.reset()

    async with upstream(script) as up:
        with pytest.raises(UpstreamFailure) as failure:
            await client.send(at(up), "POST", "/", [], bytes(8 << 20), TIMES)
        assert (failure.value.code, failure.value.sent) == ("upstream_unavailable", True)
        assert client.counts() == (0, 0, 0)


async def test_h18_an_endless_answer_ends_at_its_cap(client: Client) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(CHUNKED)
        while True:
            await conversation.send(b"10000\r\n" + bytes(65536) + b"\r\n")

    async with upstream(script) as up:
        for streamed in (False, True):
            answer = await client.send(at(up), "GET", "/", [], b"", TIMES)
            taken = 0
            with pytest.raises(UpstreamFailure, match="answer_too_large"):
                async with asyncio.timeout(3):
                    if streamed:
                        async for piece in answer.stream(1 << 20):
                            taken += len(piece)
                    else:
                        await answer.read(1 << 20)
            assert taken <= 1 << 20
            assert client.counts() == (0, 0, 0)


async def test_h07_a_million_tiny_chunks_do_not_hold_the_loop(client: Client) -> None:
    total = 1_000_000
    lag = 0.0

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(CHUNKED)
        for _ in range(100):
            await conversation.send(b"1\r\nx\r\n" * (total // 100))
        await conversation.send(b"0\r\n\r\n")

    async def watch() -> None:
        nonlocal lag
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            lag = max(lag, time.thread_time() - before)

    async with upstream(script) as up:
        watcher = asyncio.create_task(watch())
        answer = await client.send(at(up), "GET", "/", [], b"", Timeouts(idle=20, total=60))
        body = await answer.read(total)
        watcher.cancel()
    assert body == b"x" * total
    assert lag < 0.05


def resident() -> int:
    """Bytes of memory in use by this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


async def test_h25_a_large_stream_flows_through_in_flat_memory(client: Client) -> None:
    blocks, block = 256, bytes(1 << 20)
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        sock, _ = listener.accept()
        sock.recv(65536)
        sock.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (blocks << 20))
        for _ in range(blocks):
            sock.sendall(block)
        sock.close()

    thread = threading.Thread(target=serve)
    thread.start()
    target = Target("http", "api.example", listener.getsockname()[1], ("127.0.0.1",), None)
    answer: Answer = await client.send(target, "GET", "/", [], b"", Timeouts(total=60))
    before = highest = resident()
    total = pieces = 0
    async for piece in answer.stream():
        total += len(piece)
        pieces += 1
        if pieces % 64 == 0:
            highest = max(highest, resident())
            await asyncio.sleep(0)  # a consumer with other things to do
    thread.join(5)
    listener.close()
    assert total == blocks << 20
    assert highest - before < 16 << 20


async def test_a31_proxy_variables_of_the_environment_mean_nothing(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with upstream(replies(OK)) as proxy, upstream(replies(OK)) as up:
        for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
        monkeypatch.setenv("NO_PROXY", "")
        assert await ask(client, up) == b"ok"
        assert (proxy.connections, up.connections) == (0, 1)


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def impersonated(client: Client, authority: Authority, host: str, *names: str, **flaws: bool) -> str:
    """Ask ``host`` of an upstream with the flawed certificate; no byte of the request may arrive."""
    seen: list[bytes] = []
    async with upstream(recorder(seen), tls=authority.server(*names, **flaws)) as up:
        target = Target("https", host, up.port, ("127.0.0.1",), client_context(authority.file))
        with pytest.raises(UpstreamFailure) as failure:
            await client.send(target, "GET", "/", SECRET, b"", TIMES)
        assert client.counts() == (0, 0, 0)
    assert seen == []
    assert (failure.value.code, failure.value.sent) == ("upstream_unavailable", False)
    assert host in failure.value.detail
    assert "ssl" not in failure.value.detail.lower()
    return failure.value.detail


@pytest.mark.parametrize(
    ("names", "flaws", "words"),
    [
        (("api.example",), {"expired": True}, "expired"),
        (("api.example",), {"early": True}, "not valid yet"),
        (("api.example",), {"self_signed": True}, "self-signed"),
        (("other.example",), {}, "another name"),
        (("*.api.example",), {}, "another name"),
        (("api.example.evil.example",), {}, "another name"),
        (("api.example\x00.evil.example",), {}, "another name"),
        (("127.0.0.1",), {}, "another name"),
        (("api.example",), {"wrong_usage": True}, "not meant for servers"),
    ],
)
async def test_a98_s09_an_impersonator_gets_nothing(
    client: Client, authority: Authority, names: tuple[str, ...], flaws: dict[str, bool], words: str
) -> None:
    assert words in await impersonated(client, authority, "api.example", *names, **flaws)


async def test_a98_a_name_only_in_the_subject_is_no_name(client: Client, authority: Authority) -> None:
    assert "another name" in await impersonated(client, authority, "common.example", "other.example")


async def test_a98_an_address_must_be_in_the_certificate(client: Client, authority: Authority) -> None:
    assert "another address" in await impersonated(client, authority, "127.0.0.1", "127.0.0.2", "api.example")


async def test_a98_another_authority_is_not_trusted(client: Client, authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path, "other authority")
    async with upstream(replies(OK), tls=other.server("api.example")) as up:
        target = Target("https", "api.example", up.port, ("127.0.0.1",), client_context(authority.file))
        with pytest.raises(UpstreamFailure, match="not trusted"):
            await client.send(target, "GET", "/", SECRET, b"", TIMES)


async def test_a98_plain_text_on_a_tls_port(client: Client, authority: Authority) -> None:
    async def script(conversation: Conversation) -> None:
        await conversation.send(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        await conversation.rest()

    async with upstream(script) as up:
        target = Target("https", "api.example", up.port, ("127.0.0.1",), client_context(authority.file))
        with pytest.raises(UpstreamFailure, match=r"handshake with api\.example") as failure:
            await client.send(target, "GET", "/", SECRET, b"", Timeouts(connect=0.5))
        assert not failure.value.sent


@pytest.mark.parametrize("host", ["api.example", "127.0.0.1"])
async def test_a_verified_upstream_is_asked_over_one_connection(
    client: Client, authority: Authority, host: str
) -> None:
    async with upstream(replies(OK), tls=authority.server("api.example", "127.0.0.1")) as up:
        target = Target("https", host, up.port, ("127.0.0.1",), client_context(authority.file))
        for _ in range(3):
            assert await (await client.send(target, "GET", "/", SECRET, b"", TIMES)).read(9) == b"ok"
        assert up.connections == 1


async def test_connections_are_not_shared_across_trust(client: Client, authority: Authority) -> None:
    async with upstream(replies(OK), tls=authority.server("api.example")) as up:
        for _ in range(2):
            target = Target("https", "api.example", up.port, ("127.0.0.1",), client_context(authority.file))
            assert await (await client.send(target, "GET", "/", SECRET, b"", TIMES)).read(9) == b"ok"
        assert up.connections == 2


@pytest.mark.parametrize("proper", [True, False])
async def test_a_tls_answer_without_length_needs_a_proper_end(
    client: Client, authority: Authority, proper: bool
) -> None:
    """RFC 9112 section 9.8: without close_notify anybody on the way could have cut the answer."""

    async def script(conversation: Conversation) -> None:
        await conversation.request()
        await conversation.send(b"HTTP/1.1 200 OK\r\n\r\nhello")
        conversation.end() if proper else conversation.cut()

    async with upstream(script, tls=authority.server("api.example")) as up:
        target = Target("https", "api.example", up.port, ("127.0.0.1",), client_context(authority.file))
        answer = await client.send(target, "GET", "/", SECRET, b"", TIMES)
        if proper:
            assert await answer.read(9) == b"hello"
        else:
            with pytest.raises(UpstreamFailure):
                await answer.read(9)
