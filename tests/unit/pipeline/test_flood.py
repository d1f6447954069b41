"""What an unauthenticated peer can write is bounded."""

from __future__ import annotations

from sidecar.pipeline.flood import OTHERS, PEERS, SINGLY, WINDOW_SECONDS, Flood

CODE = "malformed"


def test_the_first_refusals_of_a_peer_are_recorded_singly_then_counted() -> None:
    flood = Flood()
    admitted = [flood.admits("10.0.0.1:5", CODE, 1.0) for _ in range(SINGLY + 5)]
    assert admitted == [True] * SINGLY + [False] * 5
    assert flood.counted == {("10.0.0.1", CODE): 5}


def test_each_reason_is_counted_apart() -> None:
    flood = Flood()
    for number in range(SINGLY + 5):
        flood.admits("p:1", "unauthenticated" if number % 2 else CODE, 1.0)
    assert flood.counted == {("p", CODE): 3, ("p", "unauthenticated"): 2}


def test_ports_do_not_tell_peers_apart_but_addresses_do() -> None:
    flood = Flood()
    assert sum(flood.admits(f"10.0.0.1:{port}", CODE, 1.0) for port in range(1000)) == SINGLY
    assert flood.admits("10.0.0.2:1", CODE, 1.0)
    assert flood.admits("[::1]:1", CODE, 1.0)
    assert flood.admits("", CODE, 1.0)


def test_a_peer_that_goes_on_stays_counted_and_a_quiet_one_is_recorded_again() -> None:
    flood = Flood()
    now = 1.0
    for _ in range(3):
        singly = [flood.admits("p:1", CODE, now) for _ in range(SINGLY + 1)]
        assert any(singly) is (now == 1.0)
        now += WINDOW_SECONDS
    assert not flood.admits("p:1", CODE, now)  # quiet in this window
    assert flood.admits("p:1", CODE, now + WINDOW_SECONDS)


def test_a_long_silence_forgets() -> None:
    flood = Flood()
    for _ in range(SINGLY + 1):
        flood.admits("p:1", CODE, 1.0)
    assert flood.admits("p:1", CODE, 1.0 + 3 * WINDOW_SECONDS)


def test_a_count_stays_until_a_record_stands_for_it() -> None:
    flood = Flood()
    for _ in range(SINGLY + 7):
        flood.admits("p:1", CODE, 1.0)
    flood.admits("p:1", CODE, 9.0)
    assert flood.counted == {("p", CODE): 7}
    flood.recorded(("p", CODE), 5)
    assert flood.counted == {("p", CODE): 2}
    flood.recorded(("p", CODE), 2)
    assert flood.counted == {}


def test_many_peers_share_one_count() -> None:
    flood = Flood()
    admitted = sum(flood.admits(f"{number}:1", CODE, 1.0) for number in range(PEERS + 100))
    assert admitted == PEERS + SINGLY
    assert flood.counted == {(OTHERS, CODE): 100 - SINGLY}
