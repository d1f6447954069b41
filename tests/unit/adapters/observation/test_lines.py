from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from sidecar.adapters.observation.lines import LineWriter


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for end in (read, write):
        os.close(end)


def read_lines(descriptor: int, count: int) -> list[bytes]:
    data = b""
    while data.count(b"\n") < count:
        data += os.read(descriptor, 1 << 16)
    return data.splitlines(keepends=True)


def test_lines_arrive_in_order(pipe: tuple[int, int]) -> None:
    lines = LineWriter(pipe[1])
    put = [b"%d\n" % number for number in range(200)]
    for line in put:
        lines.put(line)
    assert read_lines(pipe[0], 200) == put
    lines.put(b"later\n")  # the thread has gone to sleep, and wakes again
    assert read_lines(pipe[0], 1) == [b"later\n"]
    lines.close()
    assert lines.dropped == 0


def test_close_writes_what_is_queued(pipe: tuple[int, int]) -> None:
    lines = LineWriter(pipe[1])
    for number in range(50):
        lines.put(b"%d\n" % number)
    lines.close()
    assert len(read_lines(pipe[0], 50)) == 50


def test_a_reader_that_stands_still_costs_lines_and_not_time(pipe: tuple[int, int]) -> None:
    lines = LineWriter(pipe[1], limit=10)
    big = b"x" * (1 << 17) + b"\n"  # more than a pipe holds: the thread is stuck in its first write
    for _ in range(100):
        lines.put(big)
    assert lines.dropped >= 80
    lines.close(timeout=0.05)
    dropped = lines.dropped
    for _ in range(50):  # let the thread end before the pipe is closed under it
        if not lines._worker.is_alive():
            break
        os.read(pipe[0], 1 << 20)
        lines._worker.join(0.001)
    while lines._worker.is_alive():
        os.read(pipe[0], 1 << 20)
        lines._worker.join(0.001)
    assert lines.dropped == dropped


def test_a_descriptor_made_non_blocking_by_others_loses_nothing(pipe: tuple[int, int]) -> None:
    os.set_blocking(pipe[1], False)
    lines = LineWriter(pipe[1])
    put = [b"%06d" % number + b"x" * 1000 + b"\n" for number in range(500)]
    for line in put:
        lines.put(line)
    assert read_lines(pipe[0], 500) == put
    lines.close()
    assert lines.dropped == 0


def test_a_reader_that_is_gone_is_counted() -> None:
    read, write = os.pipe()
    os.close(read)
    lines = LineWriter(write)
    lines.put(b"a\n")
    lines.put(b"b\n")
    lines.close()
    os.close(write)
    assert lines.dropped == 2
