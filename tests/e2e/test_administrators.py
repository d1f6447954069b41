"""Administrators of a whole process: registries that outlive it, and are governed like what the file declares."""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.cli.keys import make
from tests.e2e.far import Far
from tests.e2e.house import AGENT, TENANT, TOPIC, WAIT, Answer, Document, House, ask, comes_true, living

PEOPLE = {"ada": ["tenant-admin"], "audrey": ["auditor"], "oscar": ["operator"]}


@pytest.fixture
def house(tmp_path: Path, far: Far) -> Iterator[House]:
    made = House(tmp_path, far.port)
    for name, roles in PEOPLE.items():
        made.keys[name] = key = make(name, name)
        made.config["principals"][name] = {
            "kind": "person",
            "roles": roles,
            "keys": [{"id": key.id, "sha256": key.sha256}],
        }
    made.config["destinations"]["other"] = {"name": "localhost", "port": far.port, "networks": ["127.0.0.0/8"]} | {
        "addresses": ["127.0.0.1"]
    }
    made.write_config()
    with living(made):
        yield made


def connector(house: House) -> Document:
    """The same far side by another name, as the file would say it."""
    port = house.config["destinations"]["other"]["port"]
    read = {"method": "GET", "path": "/read/{topic}", "parameters": TOPIC}
    return {"kind": "http", "base_url": f"http://localhost:{port}", "operations": {"read": read}}


def asked(
    house: House, method: str, path: str, body: object = None, *, who: str | None = "ada", **headers: str
) -> Answer:
    """One request to the administrators' TCP door."""
    connection = http.client.HTTPConnection("127.0.0.1", house.ports["admin"], timeout=WAIT)
    try:
        sent = house.headers(who) | {name.replace("_", "-"): value for name, value in headers.items()}
        return ask(connection, method, path, body, sent)
    finally:
        connection.close()


def test_what_is_registered_is_governed_and_outlives_the_process(house: House) -> None:
    made = asked(house, "PUT", "/v1/connectors/other", connector(house), If_None_Match="*")
    assert (made.status, made.headers["ETag"]) == (201, '"1"'), made.body
    plane = {"source": "other", "actions": {"retrieve": ["read"]}}
    assert asked(house, "PUT", "/v1/sources/other", {"connector": "other"}, If_None_Match="*").status == 201
    assert asked(house, "PUT", "/v1/planes/other", plane, If_None_Match="*").status == 201

    assert house.operation("read", connector="other").code == "denied", "registered is not granted"
    house.grant(["up/*", "other/*"])
    assert comes_true(lambda: house.operation("read", connector="other").status == 200)
    assert house.access("retrieve", plane="other").status == 200

    assert house.stop() == 0
    house.start()
    assert house.access("retrieve", plane="other").status == 200, "from the first call on"
    shown = asked(house, "GET", "/v1/connectors/other").document
    assert (shown["declared"], shown["by"], shown["status"]) == (False, "ada", "connected")
    house.verified()


def test_inv_7_every_change_is_two_records_of_evidence(house: House) -> None:
    assert asked(house, "PUT", "/v1/connectors/other", connector(house), If_None_Match="*").status == 201
    changes = [leaf for leaf in house.leaves() if leaf.kind == "change"]
    first, second = changes
    assert first.change is not None and second.change is not None
    assert (first.principal, first.surface, first.change.id) == ("ada", "admin", "other")
    assert (second.change.of, second.change.version) == (first.index, 1)
    records = asked(house, "GET", "/v1/evidence?limit=5", who="audrey").document["records"]
    assert [record["kind"] for record in records[:2]] == ["change", "change"]


def test_a_key_is_made_used_ended_and_revoked(house: House) -> None:
    made = asked(house, "POST", "/v1/keys", {"principal": AGENT}).document
    house.keys["fresh"] = house.keys[AGENT]._replace(key=made["key"])
    assert house.operation("read", key="fresh").status == 200
    assert made["key"] not in (house.folder / "registry.db").read_bytes().decode("latin-1")
    assert asked(house, "DELETE", f"/v1/keys/{made['id']}").status == 200
    assert house.operation("read", key="fresh").code == "unauthenticated"
    assert made["key"] not in json.dumps(house.lines())


def test_a_suspended_tenant_is_denied_everywhere_until_an_operator_ends_it(house: House) -> None:
    assert asked(house, "POST", "/v1/tenant/suspend", {"reason": "unpaid"}).code == "forbidden"
    assert asked(house, "POST", "/v1/tenant/suspend", {"reason": "unpaid"}, who="oscar").status == 200
    assert house.operation("read").code == "tenant_suspended"
    assert house.access("retrieve").code == "tenant_suspended"
    assert asked(house, "GET", "/v1/connectors").code == "tenant_suspended"
    assert house.stop() == 0
    house.start()
    assert house.operation("read").code == "tenant_suspended", "a restart does not end it"
    assert asked(house, "POST", "/v1/tenant/activate", who="oscar").status == 200
    assert house.operation("read").status == 200


def test_a_disconnected_connector_is_refused_and_comes_back(house: House) -> None:
    house.grant(["up/*", "other/*"])
    assert asked(house, "PUT", "/v1/connectors/other", connector(house), If_None_Match="*").status == 201
    assert comes_true(lambda: house.operation("read", connector="other").status == 200)
    assert asked(house, "POST", "/v1/connectors/other/disconnect").document["status"] == "disconnected"
    assert house.operation("read", connector="other").code == "inactive"
    assert asked(house, "POST", "/v1/connectors/other/connect").document["status"] == "connected"
    assert house.operation("read", connector="other").status == 200


def test_inv_6_an_agents_key_and_a_strangers_open_nothing(house: House) -> None:
    for who, code in ((AGENT, "forbidden"), ("stranger", "tenant_mismatch"), (None, "unauthenticated")):
        for path in ("/v1/connectors", "/v1/keys", "/v1/evidence", "/v1/tenant"):
            assert asked(house, "GET", path, who=who).code == code


def test_the_administrators_port_is_no_destination(house: House) -> None:
    port = house.ports["admin"]
    house.config["connectors"]["self"] = {
        "kind": "http",
        "base_url": f"http://127.0.0.1:{port}",
        "operations": {"read": {"method": "GET", "path": "/v1/status"}},
    }
    house.config["destinations"]["self"] = {"name": "127.0.0.1", "port": port, "networks": ["127.0.0.0/8"]}
    house.write_config()
    house.reload()
    house.grant(["up/*", "self/*"])
    assert comes_true(lambda: house.operation("read", {}, connector="self").code == "destination_forbidden"), (
        house.operation("read", {}, connector="self").body
    )


def test_the_files_change_goes_before_what_is_registered(house: House) -> None:
    assert asked(house, "PUT", "/v1/connectors/other", connector(house), If_None_Match="*").status == 201
    house.config["connectors"]["other"] = connector(house)
    house.write_config()
    house.reload()
    shown = asked(house, "GET", "/v1/connectors/other").document
    assert shown["declared"]
    refused = asked(house, "DELETE", "/v1/connectors/other", If_Match='"1"')
    assert refused.code == "declared" and TENANT not in refused.document["detail"]
