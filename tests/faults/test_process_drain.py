"""SIGTERM under load: what is in flight ends well, and the evidence is closed behind it (E25, L09)."""

from __future__ import annotations

import signal
import socket
from concurrent.futures import ThreadPoolExecutor

from sidecar.model.evidence import INTENT
from tests.e2e.far import Far, Held
from tests.e2e.house import House, comes_true
from tests.e2e.load import Load, paused

IN_FLIGHT = 8


def refuses_connections(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except (ConnectionRefusedError, ConnectionResetError):
        return True
    return False


def check_closed(house: House) -> None:
    report = house.verified()
    assert report.unknown == []
    assert report.checkpoint_size == report.records


def test_calls_in_flight_finish_and_new_connections_are_refused(house: House, far: Far) -> None:
    house.start()
    held = far.behave = Held()
    with ThreadPoolExecutor(IN_FLIGHT) as pool:
        calls = [pool.submit(house.operation, "write", call=f"held-{at}") for at in range(IN_FLIGHT)]
        assert comes_true(lambda: held.waiting == IN_FLIGHT)
        house.signal(signal.SIGTERM)
        assert comes_true(lambda: refuses_connections(house.ports["access"]))
        ready = house.probe("/readyz")
        assert (ready.status, ready.document["not_ready"]) == (503, ["accepting"])
        assert house.probe("/livez").status == 200
        assert house.process is not None
        assert house.process.poll() is None
        held.release()
        answers = [call.result() for call in calls]
    assert house.ended() == 0
    assert [answer.status for answer in answers] == [200] * IN_FLIGHT
    assert {answer.headers["Connection"] for answer in answers} == {"close"}
    check_closed(house)
    assert [line["clean"] for line in house.events("stopped")] == [True]
    assert "Traceback" not in (house.folder / "err.log").read_text()


def test_nothing_is_lost_or_left_unknown_when_it_is_stopped_under_load(house: House, far: Far) -> None:
    for number in range(3):
        house.start()
        load = Load(house, f"s{number}", again=True)
        load.start()
        paused(0.3)
        assert house.stop() == 0
        load.join()
        leaves = house.leaves()
        calls = {leaf.idempotency_key for leaf in leaves if leaf.kind == INTENT}
        assert load.acknowledged
        assert {answer.status for _, answer in load.acknowledged} == {200}
        assert {call for call, _ in load.acknowledged} <= calls
        # A request that crossed with the close of its idle connection was never read: it may be sent again.
        assert not set(load.broken) & calls
        assert load.refused_connections
        check_closed(house)
    assert len(far.seen) == len(calls)
