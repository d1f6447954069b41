"""An upstream on a real socket that does exactly what its script says, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Conversation:
    """One connection, from the upstream's side."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def request(self) -> bytes:
        """One whole request whose body has a Content-Length or is chunked; empty at the end."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except asyncio.IncompleteReadError as error:
            return error.partial
        for line in head.lower().split(b"\r\n"):
            if line.startswith(b"content-length:"):
                return head + await self._reader.readexactly(int(line.partition(b":")[2]))
            if line == b"transfer-encoding: chunked":
                return head + await self._reader.readuntil(b"0\r\n\r\n")
        return head

    async def read_until(self, end: bytes) -> None:
        """Swallow everything up to ``end``, and whatever came with it."""
        tail = b""
        while data := await self._reader.read(1 << 16):
            if end in tail + data:
                return
            tail = (tail + data)[-len(end) :]

    async def rest(self) -> bytes:
        """Everything until the client ends the connection."""
        return await self._reader.read()

    async def send(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    def end(self) -> None:
        """End our side in good order."""
        self._writer.close()

    def cut(self) -> None:
        """End without close_notify under TLS."""
        sock = self._writer.get_extra_info("socket")
        with socket.fromfd(sock.fileno(), sock.family, sock.type) as same:
            same.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """End with a RST."""
        sock = self._writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()


Script = Callable[[Conversation], Awaitable[None]]


class ScriptedUpstream:
    """``port`` it listens on, how many ``connections`` it has seen, the ``requests`` of scripts that record them."""

    def __init__(self, script: Script) -> None:
        self.port = 0
        self.connections = 0
        self.requests: list[bytes] = []
        self._script = script
        self._writers: set[asyncio.StreamWriter] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.add(writer)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await self._script(Conversation(reader, writer))
        finally:
            self._writers.discard(writer)
            writer.close()

    @property
    def open(self) -> int:
        """How many connections are open."""
        return len(self._writers)

    def drop(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


@contextlib.asynccontextmanager
async def upstream(
    script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1"
) -> AsyncIterator[ScriptedUpstream]:
    """Run ``script`` for every connection."""
    scripted = ScriptedUpstream(script)
    server = await asyncio.start_server(scripted.serve, host, 0, ssl=tls)
    scripted.port = server.sockets[0].getsockname()[1]
    try:
        yield scripted
    finally:
        server.close()
        scripted.drop()
        await server.wait_closed()


def replies(*answers: bytes, end: bool = False) -> Script:
    """Each request of a connection gets the next answer, the last one again and again; then the end, if wanted."""

    async def script(conversation: Conversation) -> None:
        turn = 0
        while await conversation.request():
            await conversation.send(answers[min(turn, len(answers) - 1)])
            turn += 1
            if end and turn == len(answers):
                return

    return script


def recorder(seen: list[bytes], answer: bytes = OK) -> Script:
    """Keeps every request and answers it."""

    async def script(conversation: Conversation) -> None:
        while request := await conversation.request():
            seen.append(request)
            await conversation.send(answer)

    return script


async def until(condition: Callable[[], bool], seconds: float = 5) -> None:
    """Poll until ``condition`` holds; fail after ``seconds``."""
    async with asyncio.timeout(seconds):
        for _ in iter(condition, True):
            await asyncio.sleep(0.002)
