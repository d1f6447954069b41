"""A sidecar that cannot start ends with 1 and one message that says why, never with a traceback."""

from __future__ import annotations

import re
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.house import House, comes_true, living
from tests.e2e.secure import SECRET


def check_told(house: House, *told: str) -> None:
    done = house.sidecar("run")
    assert done.returncode == 1, done.stderr
    messages = [line for line in done.stderr.splitlines() if not line.startswith("sidecar: warning:")]
    assert messages[0].startswith("sidecar: ")
    assert all(line.startswith("  ") for line in messages[1:])  # reasons of that one message
    for text in told:
        assert text in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr


def remove(house: House) -> None:
    (house.folder / "sidecar.yaml").unlink()


def misspell(house: House) -> None:
    house.config["conectors"] = house.config.pop("connectors")
    house.config["limits"] = {"in_flight": 0}
    house.write_config()


def put_a_raw_secret(house: House) -> None:
    house.config["credentials"] = {"token": {"reference": SECRET, "hosts": ["a:1"], "connectors": ["up"]}}
    house.write_config()


def block_the_socket(house: House) -> None:
    (house.folder / "admin.sock").write_text("mine")


@pytest.mark.parametrize(
    ("spoil", "told"),
    [
        (remove, ["sidecar.yaml"]),
        (lambda house: house.write_config("tenant: [acme"), ["sidecar.yaml:", "not YAML"]),
        (misspell, ["conectors", "connectors", "limits.in_flight"]),
        (put_a_raw_secret, ["credentials.token.reference"]),
        (block_the_socket, ["admin.sock", "not a socket"]),
    ],
)
def test_a_wrong_configuration_is_told_at_the_start(
    house: House, spoil: Callable[[House], None], told: list[str]
) -> None:
    spoil(house)
    check_told(house, *told)
    assert (house.folder / "evidence").exists() is (spoil is block_the_socket)


@pytest.mark.parametrize("door", ["access", "metrics"])
def test_a_door_that_is_taken_is_named(house: House, door: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        house.config["doors"][door] = place
        house.write_config()
        check_told(house, f"doors.{door}", place)
    house.start()  # and what was opened by then was left in good order
    assert house.operation("read").status == 200


def test_a_second_process_on_the_same_evidence_is_refused(house: House) -> None:  # E10
    house.start()
    house.config["doors"]["admin_socket"] = "second.sock"
    house.write_config()
    check_told(house, "evidence", "another process")
    assert house.operation("read").status == 200


def test_keys_that_anybody_can_read_are_refused(house: House) -> None:
    house.start()
    assert house.stop() == 0
    keys = [path for path in (house.folder / "evidence").iterdir() if path.name.endswith(".key")]
    assert keys
    for key in keys:
        key.chmod(0o644)
        check_told(house, key.name, "600")
        key.chmod(0o600)
    house.start()


def test_a_master_key_that_anybody_can_read_is_refused(house: House) -> None:  # P11
    assert house.sidecar("credentials", "new-key").returncode == 0
    assert house.sidecar("credentials", "put", "token", given=SECRET).returncode == 0
    house.config["credentials"] = {
        "token": {"reference": "encrypted://token", "hosts": ["a:1"], "connectors": ["up"]}
    }
    house.write_config()
    (house.folder / "credentials" / "master.key").chmod(0o644)
    check_told(house, "master.key", "600")


def test_h24_a_parser_in_python_is_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIOHTTP_NO_EXTENSIONS", "1")
    check_told(house, "AIOHTTP_NO_EXTENSIONS", "parser")


def test_evidence_of_another_tenant_is_not_continued(house: House) -> None:
    house.start()
    assert house.stop() == 0
    house.config["tenant"] = "globex"
    house.write_config()
    check_told(house, "belongs to the tenant acme")


def test_a_signal_that_comes_while_the_doors_open_is_answered_behind_that(house: House) -> None:
    for at, number in enumerate((signal.SIGHUP, signal.SIGTERM), 1):
        lock = house.folder / "evidence" / "lock"
        lock.unlink(missing_ok=True)
        house.launch()
        assert comes_true(lock.exists)
        house.signal(number)
        if number == signal.SIGHUP:
            house.await_ready()
            assert house.operation("read").status == 200
            assert house.stop() == 0
        assert house.ended() == 0
        assert len(house.events("stopped")) == at
    assert house.verified().unknown == []


# The limit as high as it goes, so that only the sidecar can have taken it away.
LIFTED = (
    "import os, resource, sys; hard = resource.getrlimit(resource.RLIMIT_CORE)[1]; "
    "resource.setrlimit(resource.RLIMIT_CORE, (hard, hard)); os.execv(sys.argv[1], sys.argv[1:])"
)


def test_c03_a_sidecar_that_is_aborted_dumps_no_core(house: House) -> None:
    with living(house, (sys.executable, "-c", LIFTED)):
        assert house.process is not None
        limits = (Path("/proc") / str(house.process.pid) / "limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)
        house.signal(signal.SIGABRT)
        assert house.ended() == -signal.SIGABRT
    assert not list(house.folder.glob("core*"))
