"""The far side: a scripted upstream on a thread of its own, which outlives the sidecar and keeps all it was sent."""

from __future__ import annotations

import asyncio
import contextlib
import json
import ssl
import threading
from collections.abc import Awaitable, Callable
from typing import NamedTuple

from tests.fakes.upstream import Conversation, upstream


class Seen(NamedTuple):
    """One request as it came in."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    raw: bytes


Behaviour = Callable[[Conversation, Seen], Awaitable[bool]]  # whether the connection goes on


def answer(
    body: bytes = b'{"ok":true}', status: str = "200 OK", *headers: str, kind: str = "application/json"
) -> bytes:
    """A well-formed answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Type: {kind}", f"Content-Length: {len(body)}", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def says(data: bytes, *, end: bool = False) -> Behaviour:
    """Send ``data`` for every request; ``end`` closes then."""

    async def behaviour(conversation: Conversation, _: Seen) -> bool:
        await conversation.send(data)
        return not end

    return behaviour


async def resets(conversation: Conversation, _: Seen) -> bool:
    conversation.reset()
    return False


async def stays_silent(conversation: Conversation, _: Seen) -> bool:
    await conversation.rest()
    return False


async def echoes(conversation: Conversation, seen: Seen) -> bool:
    """Answer with the request itself, as JSON."""
    heard = {"method": seen.method, "target": seen.target, "headers": seen.headers, "body": seen.body.decode()}
    await conversation.send(answer(json.dumps(heard).encode()))
    return True


class Held:
    """Answers nothing until ``release``; ``waiting`` is how many requests it holds."""

    def __init__(self) -> None:
        self.waiting = 0
        self._released = threading.Event()

    def release(self) -> None:
        self._released.set()

    async def __call__(self, conversation: Conversation, _: Seen) -> bool:
        self.waiting += 1
        await asyncio.get_running_loop().run_in_executor(None, self._released.wait, 30)
        await conversation.send(answer())
        return True


class Far:
    """``seen`` are the requests so far, ``connections`` how many were accepted; ``behave`` may change at any time."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self.seen: list[Seen] = []
        self.connections = 0
        self.behave: Behaviour = says(answer())
        self.port = 0
        self._tls = tls
        self._up = threading.Event()
        self._loop = asyncio.new_event_loop()
        self._stopped = asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="far", daemon=True)

    def __enter__(self) -> Far:
        self._thread.start()
        assert self._up.wait(10)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join(10)
        assert not self._thread.is_alive()

    def of(self, target: str) -> list[Seen]:
        """The requests for ``target``."""
        return [seen for seen in self.seen if seen.target == target]

    def _run(self) -> None:
        with contextlib.closing(self._loop):
            self._loop.run_until_complete(self._serve())

    async def _serve(self) -> None:
        async with upstream(self._converse, tls=self._tls) as scripted:
            self.port = scripted.port
            self._up.set()
            await self._stopped.wait()
        left = asyncio.all_tasks() - {asyncio.current_task()}
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)

    async def _converse(self, conversation: Conversation) -> None:
        self.connections += 1
        with contextlib.suppress(asyncio.CancelledError):  # only our own end cancels a conversation
            while raw := await conversation.request():
                seen = parse(raw)
                self.seen.append(seen)
                if not await self.behave(conversation, seen):
                    return


def parse(raw: bytes) -> Seen:
    head, _, body = raw.partition(b"\r\n\r\n")
    first, *lines = head.decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
    return Seen(method, target, headers, body, raw)
