"""A door for the tests: the real server with a handler that says what it read, over sockets or in memory."""

from __future__ import annotations

import asyncio
import json
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import uvloop

from sidecar.errors import CODES, Refused
from sidecar.wire.message import Reply, Request
from sidecar.wire.open_connections import Handler, ServerLimits
from sidecar.wire.server import Server
from sidecar.wire.serving import Connection

WAIT = 10.0  # seconds, for anything
Heard = dict[str, Any]


class Answer(NamedTuple):
    """One reply as the peer saw it."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    @property
    def document(self) -> Heard:
        document: Heard = json.loads(self.body or b"{}")
        return document

    def header(self, name: str) -> str | None:
        return next((value for key, value in self.headers if key == name), None)


async def tell(request: Request) -> Reply:
    """Answer with what was read, as JSON."""
    body = await request.read(1 << 24)
    heard = {
        "method": request.method,
        "target": request.target,
        "headers": [[name.decode("latin-1"), value.decode("latin-1")] for name, value in request.headers],
        "body": body.decode("latin-1"),
    }
    return Reply(200, ((b"content-type", b"application/json"),), json.dumps(heard).encode())


async def refuse(refused: Refused, peer: str) -> Reply:
    """Answer with the refusal's code."""
    assert ":" in peer
    document = {"code": refused.code, "detail": refused.detail}
    return Reply(
        CODES[refused.code].status, ((b"content-type", b"application/problem+json"),), json.dumps(document).encode()
    )


class Door:
    """A server on a thread and a uvloop of its own. ``heard`` is every request that reached the handler."""

    def __init__(self, limits: ServerLimits | None = None, handler: Handler = tell) -> None:
        self.heard: list[Request] = []
        self.refused: list[Refused] = []
        self.longest_turn = 0.0  # CPU seconds of the loop's thread between two heartbeats
        self._handler = handler
        self._limits = limits
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()), daemon=True)

    def __enter__(self) -> Door:
        self._thread.start()
        assert self._started.wait(WAIT)
        return self

    def __exit__(self, *_: object) -> None:
        self.run(self._stop())
        self._thread.join(WAIT)
        assert not self._thread.is_alive()

    async def _run(self) -> None:
        self.loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        self.server = Server(self._handle, self._refuse, self._limits)
        self.port = await self.server.start("127.0.0.1", 0)
        self._started.set()
        beat = asyncio.ensure_future(self._beat())
        await self._stopped.wait()
        beat.cancel()
        await self.server.drain(0.2)

    async def _stop(self) -> None:
        self._stopped.set()

    async def _beat(self) -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            self.longest_turn = max(self.longest_turn, time.thread_time() - before)
            await asyncio.sleep(0.001)

    async def _handle(self, request: Request) -> Reply:
        self.heard.append(request)
        return await self._handler(request)

    async def _refuse(self, refused: Refused, peer: str) -> Reply:
        self.refused.append(refused)
        return await refuse(refused, peer)

    def run(self, coroutine: Any) -> Any:
        """Run ``coroutine`` on the door's loop and return what it returns."""
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(WAIT)

    def connect(self) -> socket.socket:
        peer = socket.create_connection(("127.0.0.1", self.port), timeout=WAIT)
        peer.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return peer

    def exchange(self, pieces: bytes | Iterable[bytes], *methods: str, end: bool = False) -> list[Answer]:
        """Send, and read until the server closes. ``end``: say that nothing more comes."""
        with self.connect() as peer:
            with suppress(BrokenPipeError, ConnectionResetError):  # refused while we were still sending
                for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                    peer.sendall(piece)
                if end:
                    peer.shutdown(socket.SHUT_WR)
            return parse(read_all(peer), list(methods))


def comes_true(condition: Callable[[], bool]) -> bool:
    """Whether ``condition()`` holds before the bound."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.01) for _ in range(int(WAIT * 100)))


def read_all(peer: socket.socket) -> bytes:
    """Everything until the other side closes, or resets what it does not want to read."""
    got = bytearray()
    with suppress(ConnectionResetError):
        while data := peer.recv(1 << 16):
            got += data
    return bytes(got)


def parse(data: bytes, methods: Sequence[str] = ()) -> list[Answer]:
    """Split replies to ``methods``, but for ``100 Continue``. Fails on anything but whole, well-framed ones."""
    answers: list[Answer] = []
    while data:
        if data.startswith(b"HTTP/1.1 100 Continue\r\n\r\n"):
            data = data[25:]
            continue
        to_head = methods[len(answers) : len(answers) + 1] == ["HEAD"]
        head, found, data = data.partition(b"\r\n\r\n")
        assert found, head
        first, *lines = head.decode("latin-1").split("\r\n")
        version, status, _ = first.split(" ", 2)
        assert version == "HTTP/1.1"
        headers = [(name, value) for name, _, value in (line.partition(": ") for line in lines)]
        fields = dict(headers)
        body = b""
        if fields.get("transfer-encoding") == "chunked" and not to_head:
            body, data = _unchunk(data)
        elif "content-length" in fields and not to_head:
            length = int(fields["content-length"])
            assert len(data) >= length
            body, data = data[:length], data[length:]
        answers.append(Answer(int(status), headers, body))
    return answers


def _unchunk(data: bytes) -> tuple[bytes, bytes]:
    body = b""
    while True:
        line, _, data = data.partition(b"\r\n")
        size = int(line, 16)
        if not size:
            while True:
                line, found, data = data.partition(b"\r\n")
                assert found
                if not line:
                    return body, data
        body += data[:size]
        assert data[size : size + 2] == b"\r\n"
        data = data[size + 2 :]


class MemoryTransport(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.connection: Connection | None = None
        self.reading = True
        self._closing = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 1) if name == "peername" else default

    def get_write_buffer_size(self) -> int:
        return 0

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.written += data

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def is_closing(self) -> bool:
        return self._closing

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def write_eof(self) -> None:
        self.close()

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            assert self.connection is not None
            asyncio.get_running_loop().call_soon(self.connection.connection_lost, None)

    abort = close


async def converse(server: Server, pieces: Iterable[bytes]) -> bytes:
    """Feed ``pieces`` to a connection in memory, exactly so cut, then the peer's end; return what it wrote."""
    transport = MemoryTransport()
    connection = Connection(server)
    transport.connection = connection
    connection.connection_made(transport)
    for piece in pieces:
        for _ in range(1000):
            if transport.reading or transport.is_closing():
                break
            await asyncio.sleep(0)
        if transport.is_closing():
            break
        connection.data_received(piece)
        await asyncio.sleep(0)
    if not transport.is_closing() and not connection.eof_received():
        transport.close()
    assert connection.task is not None
    await asyncio.wait_for(connection.task, WAIT)
    transport.close()
    await asyncio.sleep(0)
    return bytes(transport.written)


def conversation(pieces: Iterable[bytes], limits: ServerLimits | None = None) -> tuple[list[Answer], list[Heard]]:
    """The replies to ``pieces``, and what the handler heard."""
    heard: list[Heard] = []
    methods: list[str] = []

    async def note(request: Request) -> Reply:
        methods.append(request.method)
        reply = await tell(request)
        assert isinstance(reply.body, bytes)
        heard.append(json.loads(reply.body))
        return reply

    async def run() -> bytes:
        return await converse(Server(note, refuse, limits), pieces)

    written = uvloop.run(run())
    return parse(written, methods), heard


async def pieces_of(*pieces: bytes) -> AsyncIterator[bytes]:
    """A streamed body."""
    for piece in pieces:
        yield piece
