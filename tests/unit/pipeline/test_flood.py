"""What an unauthenticated peer can write is bounded."""

from __future__ import annotations

from sidecar.pipeline.flood import OTHERS, PEERS, SINGLY, WINDOW_SECONDS, Flood


def test_the_first_refusals_of_a_peer_are_recorded_singly_then_counted() -> None:
    flood = Flood()
    admitted = [flood.admits("10.0.0.1:5", 1.0) for _ in range(SINGLY + 5)]
    assert admitted == [True] * SINGLY + [False] * 5
    assert flood.counted == {"10.0.0.1": 5}


def test_ports_do_not_tell_peers_apart_but_addresses_do() -> None:
    flood = Flood()
    assert sum(flood.admits(f"10.0.0.1:{port}", 1.0) for port in range(1000)) == SINGLY
    assert flood.admits("10.0.0.2:1", 1.0)
    assert flood.admits("[::1]:1", 1.0)
    assert flood.admits("", 1.0)


def test_a_new_second_admits_again() -> None:
    flood = Flood()
    for _ in range(SINGLY + 1):
        flood.admits("p:1", 1.0)
    assert not flood.admits("p:1", 1.0 + WINDOW_SECONDS / 2)
    assert flood.admits("p:1", 1.0 + WINDOW_SECONDS)


def test_a_count_stays_until_a_record_stands_for_it() -> None:
    flood = Flood()
    for _ in range(SINGLY + 7):
        flood.admits("p:1", 1.0)
    flood.admits("p:1", 3.0)
    assert flood.counted == {"p": 7}
    flood.recorded("p", 5)
    assert flood.counted == {"p": 2}
    flood.recorded("p", 2)
    assert flood.counted == {}


def test_many_peers_share_one_count() -> None:
    flood = Flood()
    peers = PEERS + 100
    admitted = sum(flood.admits(f"{number}:1", 1.0) for number in range(peers))
    assert admitted == PEERS + SINGLY
    assert flood.counted == {OTHERS: 100 - SINGLY}
