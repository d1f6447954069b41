"""A configuration that changes under a running sidecar: taken whole, or not at all and said so."""

from __future__ import annotations

import contextlib
import http.client
import signal
from typing import Any

import pytest

from sidecar.cli.keys import make
from tests.e2e.house import COLLEAGUE, GRANTS, WAIT, House, ask, comes_true

READ = ("POST", "/v1/connectors/up/operations/read", {"parameters": {"topic": "tin"}})


def add_newcomer(house: House) -> None:
    key = house.keys["newcomer"] = make("newcomer", "newcomer")
    house.config["principals"]["newcomer"] = {"keys": [{"id": key.id, "sha256": key.sha256}]}


@pytest.mark.parametrize("hangup", [True, False])
def test_a_new_key_works_and_a_removed_one_does_not_and_connections_survive(house: House, hangup: bool) -> None:
    house.grant(GRANTS, "newcomer")
    house.start()
    add_newcomer(house)
    assert house.operation("read", key="newcomer").status == 401
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", house.ports["access"], timeout=WAIT)) as kept:
        assert ask(kept, *READ, house.headers(COLLEAGUE)).status == 403
        local = kept.sock.getsockname()
        house.write_config()
        if hangup:
            house.signal(signal.SIGHUP)
        assert comes_true(lambda: house.operation("read", key="newcomer").status == 200)
        del house.config["principals"][COLLEAGUE]
        house.write_config()
        if hangup:
            house.signal(signal.SIGHUP)
        assert comes_true(lambda: house.operation("read", key=COLLEAGUE).status == 401)
        assert ask(kept, *READ, house.headers(COLLEAGUE)).code == "unauthenticated"
        assert ask(kept, *READ, house.headers("newcomer")).status == 200
        assert kept.sock.getsockname() == local
    assert {line["outcome"] for line in house.events("reload")} == {"loaded"}


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("tenant: acme\nconnectors: [", "sidecar.yaml:3: not YAML"),
        ("tenant: acme\nconectors: {}\nlimits: {in_flight: none}\n", "sidecar.yaml:2"),
        ("tenant: acme\nconectors: {}\nlimits: {in_flight: none}\n", "sidecar.yaml:3"),
        ("", "sidecar.yaml"),
    ],
)
def test_an_invalid_file_is_told_and_the_last_good_one_serves_on(house: House, text: str, told: str) -> None:
    house.start()
    house.write_config(text)
    failed = house.event("reload")
    assert (failed["outcome"], failed["level"]) == ("failed", "error")
    assert told in " ".join([failed["message"], *failed["errors"]])
    assert house.metric("sidecar_config_reload_total", outcome="failed") == 1
    assert house.operation("read").status == 200
    assert house.probe("/readyz").status == 200
    add_newcomer(house)
    house.write_config()
    assert comes_true(lambda: house.metric("sidecar_config_reload_total", outcome="loaded") == 1)
    assert house.operation("read", key="newcomer").code == "denied"  # known now


@pytest.mark.parametrize(
    ("section", "value"),
    [
        ("tenant", "globex"),
        ("doors", {"access": "127.0.0.1:0", "metrics": "127.0.0.1:0", "admin_socket": "other.sock"}),
        ("evidence", {"directory": "elsewhere"}),
    ],
)
def test_what_a_running_process_cannot_change_is_refused_by_name(house: House, section: str, value: Any) -> None:
    house.start()
    house.config[section] = value
    add_newcomer(house)
    house.write_config()
    failed = house.event("reload")
    assert failed["outcome"] == "failed"
    assert section in failed["message"]
    assert "restart" in failed["message"]
    assert house.operation("read").status == 200
    assert house.operation("read", key="newcomer").status == 401  # nothing of the file was taken
    answered = house.admin("POST", "/v1/reload")
    assert answered.code == "misconfigured"
    assert "restart" in answered.document["detail"]
