"""A process that writes evidence until it is stopped; the fault tests end it, starve it or break its disk.

    python -m tests.faults.evidence_child DIRECTORY WORKERS

prints ``ready``, then ``ack <index> <call id>`` after each durable record and ``failed <code>`` after each refused
one, each line in one write. A line on stdin ends it in good order. The largest lag of its event loop comes last.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
from itertools import count
from pathlib import Path

from sidecar.adapters.evidence.log import SegmentLog
from sidecar.errors import Unavailable
from tests.evidence import a_leaf, open_log


def say(line: str) -> None:
    os.write(1, f"{line}\n".encode())


async def work(log: SegmentLog, numbers: count[int], stop: asyncio.Event) -> None:
    while not stop.is_set():
        call = f"{os.getpid()}-{next(numbers)}"
        try:
            intent = await log.append(a_leaf(call_id=call), b"x" * 300)
            say(f"ack {intent.index} {call}")
            outcome = await log.append(a_leaf("outcome", call_id=call, intent=intent.index))
            say(f"ack {outcome.index} {call}")
        except Unavailable as error:
            say(f"failed {error.code}")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), 0.02)


async def watch_lag(stop: asyncio.Event) -> float:
    worst = 0.0
    while not stop.is_set():
        begun = time.monotonic()
        await asyncio.sleep(0.005)
        worst = max(worst, time.monotonic() - begun - 0.005)
    return worst


async def main(directory: Path, workers: int) -> None:
    log = open_log(directory, segment_bytes=1 << 18)
    stop = asyncio.Event()
    asyncio.get_running_loop().add_reader(0, stop.set)
    say("ready")
    numbers = count()
    lag = asyncio.ensure_future(watch_lag(stop))
    await asyncio.gather(*[work(log, numbers, stop) for _ in range(workers)])
    await log.close()
    say(f"lag {await lag:.4f}")


if __name__ == "__main__":
    sys.setswitchinterval(5e-5)
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
