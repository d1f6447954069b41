"""A streamed answer on its way out: scrubbed, in parts that fit a window, each covered by evidence before it goes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Final

from sidecar.errors import SidecarError, Unavailable
from sidecar.pipeline.cleaning import Cleaning
from sidecar.pipeline.meter import windows
from sidecar.pipeline.switches import Cut

# A queue of a thousand small chunks, or one that stands for a thousand, is read without waiting for anything.
_TURN_SECONDS: Final = 0.005

_LEFT: Final = Unavailable("cancelled", "The stream was left before its end.")


async def relay(
    source: AsyncIterator[bytes],
    clean: Cleaning,
    cut: Cut,
    covered: Callable[[bytes], Awaitable[bytes]],
    ended: Callable[[SidecarError | None], Awaitable[None]],
    failed: Callable[[Exception], SidecarError],
) -> AsyncGenerator[bytes, None]:
    """What ``source`` gives, scrubbed. The first item is empty: from then on closing the iterator ends the stream.

    ``covered`` returns a part once a durable record covers it. ``ended`` is awaited exactly once, with what went
    wrong (None: the whole stream has gone out). ``failed`` turns a fault of our own into a refusal. ``cut`` stops the
    stream in whatever it waits for: it cancels the task that reads this iterator.
    """
    ending: SidecarError | None = _LEFT
    try:
        yield b""
        task = cut.task = asyncio.current_task()
        if cut.error is not None:
            raise cut.error
        now = asyncio.get_running_loop().time
        turn = now()
        async for chunk in source:
            for text in clean.feed(chunk):
                for part in windows(text):
                    yield await covered(part)
                if clean.decodes or now() - turn > _TURN_SECONDS:
                    await asyncio.sleep(0)  # others run in between
                    turn = now()
        for part in windows(clean.finish()):
            yield await covered(part)
        ending = None
    except SidecarError as error:
        ending = error
        raise
    except asyncio.CancelledError:
        if cut.error is None or task is None or task.uncancel() > 0:
            raise
        ending = cut.error
        raise ending from None
    except Exception as error:
        ending = failed(error)
        raise ending from None
    finally:
        try:
            await close(source)
        finally:
            # Cut while its reader was slow, a stream is only ever closed.
            await ended(cut.error or ending if ending is _LEFT else ending)


async def close(body: AsyncIterator[bytes]) -> None:
    """Let go of an upstream's answer that is not read to its end."""
    aclose = getattr(body, "aclose", None)  # an iterator need not have it
    if aclose is not None:
        with suppress(Exception):  # it is being thrown away; what it has to say no longer matters
            await aclose()
