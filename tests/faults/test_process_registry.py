"""A registry that is down, slow, full or not to be trusted: calls go on for as long as they may, changes are refused
in plain words, and nothing is half-written."""

from __future__ import annotations

import http.client
import json
import signal
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.far import Far
from tests.e2e.house import AGENT, COLLEAGUE, House, comes_true, living
from tests.faults import disks
from tests.faults.test_process_stream import Faucet, chunk, streaming, watching
from tests.postgres import Postgres, begin, run

AGE = 2.0  # seconds


def shared(house: House, database: Postgres, monkeypatch: pytest.MonkeyPatch) -> None:
    """The house with its registry in ``database``."""
    for table in ("registry_rows", "registry_heads"):
        run(database.ask(f"DELETE FROM {table}"))
    monkeypatch.setenv("REGISTRY_URL", database.url)
    house.config["store"] = {"allow_environment": True}
    house.config["registry"] = {"postgres": "env://REGISTRY_URL", "maximum_age_seconds": AGE}
    house.write_config()


def kill(house: House, principal: str = COLLEAGUE) -> tuple[int, str | None]:
    answer = house.admin("PUT", f"/v1/switches/principal/{principal}", {"reason": "why"})
    return answer.status, answer.code


def switches(house: House) -> list[str]:
    return [each["id"] for each in house.admin("GET", "/v1/switches").document["switches"]]


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    """Stopped and continued by these tests: nobody else uses it."""
    made = begin()
    yield made
    made.server.cleanup()


@contextmanager
def stopped(database: Postgres) -> Iterator[None]:
    database.signal(signal.SIGSTOP)
    try:
        yield
    finally:
        database.signal(signal.SIGCONT)


def test_a_registry_that_cannot_be_read_at_the_start_allows_nothing_until_it_can(house: House, far: Far) -> None:
    (house.folder / "registry.db").touch(mode=0o644)
    house.start()
    refused = house.operation("read")
    assert (refused.status, refused.code) == (503, "registry_unavailable")
    assert not far.seen
    probe = house.probe("/readyz")
    assert (probe.status, probe.document["not_ready"]) == (503, ["registry"])
    assert house.probe("/livez").status == 200
    assert kill(house) == (503, "registry_unavailable")
    assert "chmod 600" in house.event("registry")["message"]
    assert house.status()["registry"]["age_seconds"] is None
    (house.folder / "registry.db").chmod(0o600)
    assert comes_true(lambda: house.probe("/readyz").status == 200)
    assert house.operation("read").status == 200
    assert kill(house) == (200, None)
    assert house.stop() == 0


def test_rows_that_somebody_edited_are_set_aside_and_one_that_cannot_be_read_allows_nothing(house: House) -> None:
    house.start()
    assert house.stop() == 0
    with sqlite3.connect(house.folder / "registry.db") as connection:
        insert = "INSERT INTO registry_rows VALUES (?, ?, ?, 1, ?, ?, 'psql', 1, 0)"
        tenant = house.config["tenant"]
        for sequence, (kind, document) in enumerate(
            [("plane", {"section": {"actions": 5}, "status": "active"}), ("principal", {"section": {"roles": 5}})], 1
        ):
            connection.execute(insert, (tenant, kind, "odd", sequence, json.dumps(document)))
        connection.execute("INSERT INTO registry_heads VALUES (?, 2)", (tenant,))
    connection.close()
    house.start()
    assert house.operation("read").status == 200
    for kind in ("planes", "principals"):
        [odd] = [each for each in house.admin("GET", f"/v1/{kind}").document[kind] if each["id"] == "odd"]
        assert odd["problems"]
    assert house.stop() == 0
    with sqlite3.connect(house.folder / "registry.db") as connection:
        connection.execute("UPDATE registry_rows SET id = x'ff' WHERE kind = 'plane'")
    connection.close()
    house.start()
    assert house.operation("read").code == "registry_unavailable"
    assert "without a readable kind, id or author" in house.event("registry")["message"]
    assert house.stop() == 0


@pytest.mark.needs_root
def test_a_full_disk_refuses_changes_and_leaves_calls_alone(house: House, tmp_path: Path) -> None:
    mount = tmp_path / "small"
    mount.mkdir()
    with disks.in_memory(mount, 1):
        house.config["registry"] = {"sqlite": str(mount / "registry.db")}
        house.write_config()
        house.start()
        assert kill(house, AGENT) == (200, None)
        filler = disks.fill(mount, 0)
        codes = [kill(house, COLLEAGUE) for _ in range(3)]
        assert (503, "registry_unavailable") in codes  # at the latest when the log's own room is used up
        before = switches(house)
        assert house.operation("read").code == "killed"
        assert house.admin("DELETE", f"/v1/switches/principal/{AGENT}").status in (200, 503)
        filler.unlink()
        assert comes_true(lambda: kill(house, COLLEAGUE) == (200, None))
        assert set(switches(house)) >= {COLLEAGUE} | set(before) - {AGENT}
        assert house.stop() == 0
        with sqlite3.connect(mount / "registry.db") as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()
    refusals = [leaf for leaf in house.leaves() if leaf.kind == "change" and leaf.code == "registry_unavailable"]
    assert refusals


@pytest.mark.needs_postgres
def test_a_database_that_hangs_is_left_in_time_and_taken_up_again(
    house: House, far: Far, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordinary = far.behave
    faucet = far.behave = Faucet()
    streaming(house)
    shared(house, database, monkeypatch)
    house.start()
    with watching(house) as answer:
        faucet.give(chunk(b"first"))
        assert answer.read(5) == b"first"
        far.behave = ordinary
        with stopped(database):
            assert house.operation("read").status == 200  # what is known is young enough
            assert kill(house) == (503, "registry_unavailable")
            assert comes_true(lambda: house.operation("read").code == "registry_unavailable")
            assert house.probe("/readyz").document["not_ready"] == ["registry"]
            with pytest.raises((http.client.IncompleteRead, ConnectionError)):
                answer.read()  # whether it is stopped is not known any more
        assert comes_true(lambda: house.operation("read").status == 200)
    assert house.probe("/readyz").status == 200
    lags = house.metric("sidecar_loop_lag_seconds")
    assert lags is not None and lags < 1.0
    assert house.stop() == 0
    assert house.verified().unknown == []


@pytest.mark.needs_postgres
def test_p12_a_switch_that_is_set_beside_one_sidecar_cuts_a_stream_of_another(
    house: House, far: Far, tmp_path: Path, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    faucet = far.behave = Faucet()
    streaming(house)
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", far.port)
    for each in (house, other):
        shared(each, database, monkeypatch)
    house.start()
    with living(other), watching(house) as answer:
        faucet.give(chunk(b"first"))
        assert answer.read(5) == b"first"
        assert kill(other, AGENT) == (200, None)
        set_at = other.leaves()[-1].time
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
        assert comes_true(lambda: house.leaves()[-1].code == "killed")
        assert house.leaves()[-1].time - set_at < 1_000_000
        assert house.operation("read").code == "killed"
        assert other.admin("DELETE", f"/v1/switches/principal/{AGENT}").status == 200
        assert other.stop() == 0
    assert house.stop() == 0


@pytest.mark.needs_postgres
def test_a_database_that_was_put_back_is_read_anew(
    house: House, database: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared(house, database, monkeypatch)
    house.start()
    assert kill(house, AGENT) == (200, None)
    assert kill(house, COLLEAGUE) == (200, None)
    run(database.ask("DELETE FROM registry_rows WHERE id = 'principal:colleague'"))
    assert comes_true(lambda: switches(house) == [AGENT])
    assert house.event("registry_restored")["rows"] == 1
    assert house.operation("read").code == "killed"
    assert house.admin("DELETE", f"/v1/switches/principal/{AGENT}").status == 200
    assert house.stop() == 0
