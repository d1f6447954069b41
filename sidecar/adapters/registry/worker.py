"""One thread for work that blocks, so that the event loop never does. It is a daemon: a hung disk holds no exit."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

from sidecar.errors import Unavailable

Result = TypeVar("Result")
MOST_WAITING: Final = 256


class Worker:
    """Does one thing after the other. ``seconds`` is how long a caller waits for its turn and the work together."""

    def __init__(self, name: str, seconds: float) -> None:
        self._name = name
        self._seconds = seconds
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._closed = False

    async def run(self, work: Callable[[], Result]) -> Result:
        """What ``work`` returns or raises. Raises ``Unavailable("registry_unavailable")`` when it takes too long:
        work that had begun goes on to its end, work that had not is left out."""
        if self._closed:
            raise Unavailable("registry_unavailable", "The registry is closed.")
        if self._queue.qsize() >= MOST_WAITING:
            raise Unavailable("registry_unavailable", "The registry is busy; try again.")
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        self._queue.put(job)
        try:
            result: Result = await asyncio.wait_for(job.done, self._seconds)
        except TimeoutError:
            raise Unavailable(
                "registry_unavailable", f"The registry did not answer within {self._seconds:g} seconds."
            ) from None
        return result

    async def close(self, last: Callable[[], object]) -> None:
        """End, after what is under way and then ``last``, within the time that any work has."""
        if self._thread is not None and not self._closed:
            with suppress(Unavailable):
                await self.run(last)
        self._closed = True
        self._queue.put(None)

    def _work(self) -> None:
        while (job := self._queue.get()) is not None:
            if not job.done.cancelled():  # nobody waits for it any more
                job.run()


class _Job:
    def __init__(self, work: Callable[[], Any], loop: asyncio.AbstractEventLoop, done: asyncio.Future[Any]) -> None:
        self.done = done
        self._work = work
        self._loop = loop

    def run(self) -> None:
        result: Any = None
        failure: BaseException | None = None
        try:
            result = self._work()
        except BaseException as error:
            failure = error
        with suppress(RuntimeError):  # the loop is closed: nobody waits
            self._loop.call_soon_threadsafe(self._settle, result, failure)

    def _settle(self, result: Any, failure: BaseException | None) -> None:
        if self.done.done():  # nobody waits any more
            return
        if failure is not None:
            self.done.set_exception(failure)
        else:
            self.done.set_result(result)
