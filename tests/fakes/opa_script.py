"""A server on a Unix socket that says what a test tells it to, byte by byte: for what no real OPA would say."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import socket
import struct
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Final, Self

HANG: Final = b"hang"
RESET: Final = b"reset"
REVISION: Final = "sha256:" + "1" * 64
PROVENANCE: Final = {"bundles": {"authz": {"revision": REVISION}}}
ALLOW: Final = {"allow": True, "reasons": [], "obligations": {}}


def reply(
    body: object, status: int = 200, content_type: str = "application/json", length: int | None = None
) -> bytes:
    """One HTTP answer; ``length`` is what it claims to have."""
    sent = body if isinstance(body, bytes) else json.dumps(body).encode()
    length = len(sent) if length is None else length
    head = f"HTTP/1.1 {status} X\r\nContent-Type: {content_type}\r\nContent-Length: {length}"
    return f"{head}\r\n\r\n".encode() + sent


class ScriptedOpa:
    """Answers by path, without its query. ``decision`` is where decisions are asked for."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="opa-"))
        self.decision = "/v1/data/sidecar/authz/decision"
        self.script: dict[str, bytes | Iterator[bytes]] = {
            "/health": reply({}),
            "/v1/status": reply({"result": {"labels": {}}}),
            "/v1/data/sidecar/authz/revision": reply({"provenance": PROVENANCE}),
            "/v1/policies": reply({"result": [{"id": "a.rego", "raw": "package sidecar.authz\n\ndecision := {}"}]}),
            self.decision: reply({"result": ALLOW, "provenance": PROVENANCE}),
        }
        self.asked: list[tuple[str, bytes, bytes]] = []  # path, head, body
        self._conversations: set[asyncio.Task[None]] = set()

    @property
    def socket(self) -> Path:
        return self.folder / "opa.sock"

    @property
    def url(self) -> str:
        return f"unix://{self.socket}"

    def revise(self, revision: str, rego: str = "package sidecar.authz\n\ndecision := {}") -> None:
        """Another policy from now on."""
        provenance = {"bundles": {"authz": {"revision": revision}}}
        self.script["/v1/data/sidecar/authz/revision"] = reply({"provenance": provenance})
        self.script["/v1/policies"] = reply({"result": [{"id": "a.rego", "raw": rego}]})
        self.script[self.decision] = reply({"result": ALLOW, "provenance": provenance})

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_unix_server(self._converse, self.socket)
        self.socket.chmod(0o600)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        for conversation in self._conversations:
            conversation.cancel()
        await asyncio.gather(*self._conversations, return_exceptions=True)
        shutil.rmtree(self.folder, ignore_errors=True)

    async def _converse(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._conversations.add(task)
        try:
            with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
                while await self._answer(reader, writer):
                    pass
        finally:
            self._conversations.discard(task)
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        fields = dict(line.lower().split(b": ", 1) for line in head.split(b"\r\n")[1:-2])
        body = await reader.readexactly(int(fields.get(b"content-length", b"0")))
        path = head.split()[1].partition(b"?")[0].decode()
        self.asked.append((path, head, body))
        scripted = self.script[path]
        said = scripted if isinstance(scripted, bytes) else next(scripted)
        if said == HANG:
            await asyncio.Event().wait()
        if said == RESET:
            raw = writer.get_extra_info("socket")
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            return False
        writer.write(said)
        await writer.drain()
        # Half an answer, or an odd one, ends its connection.
        return b"Content-Length: %d\r\n" % len(said.partition(b"\r\n\r\n")[2]) in said
