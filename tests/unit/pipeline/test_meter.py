"""A chunk record covers the next second or the next MiB."""

from __future__ import annotations

import hashlib

from sidecar.model.evidence import Result
from sidecar.pipeline.meter import WINDOW_BYTES, WINDOW_SECONDS, Meter, windows


def hexed(data: bytes) -> str:
    return data.hex()


def test_a_piece_is_cut_into_windows() -> None:
    assert list(windows(b"")) == []
    assert list(windows(b"ab")) == [b"ab"]
    piece = bytes(WINDOW_BYTES) + b"a" * WINDOW_BYTES + b"b"
    assert list(windows(piece)) == [bytes(WINDOW_BYTES), b"a" * WINDOW_BYTES, b"b"]


def test_a_window_is_a_mebibyte() -> None:
    meter = Meter(200, 10.0)
    assert not meter.due(WINDOW_BYTES, 10.0)
    assert meter.due(WINDOW_BYTES + 1, 10.0)
    meter.passed(b"x" * (WINDOW_BYTES - 1))
    assert not meter.due(1, 10.0)
    assert meter.due(2, 10.0)
    meter.renew(10.0)
    assert not meter.due(WINDOW_BYTES, 10.0)


def test_a_window_is_a_second() -> None:
    meter = Meter(200, 10.0)
    assert not meter.due(1, 10.0 + WINDOW_SECONDS - 0.001)
    assert meter.due(1, 10.0 + WINDOW_SECONDS)
    meter.renew(20.0)
    assert not meter.due(1, 20.5)
    assert meter.due(1, 21.0)


def test_the_result_counts_and_hashes_what_passed() -> None:
    meter = Meter(206, 0.0)
    assert meter.result(hexed) == Result(status=206, bytes=0, hash=hashlib.sha256(b"").hexdigest())
    meter.passed(b"ab")
    meter.passed(b"c")
    assert meter.result(hexed) == Result(status=206, bytes=3, hash=hashlib.sha256(b"abc").hexdigest())
