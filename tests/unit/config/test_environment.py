"""Flags over environment over file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from sidecar.config.environment import fields, overlay
from sidecar.config.faults import Faults
from sidecar.config.schemas import schema

SCHEMA = schema("config")
FILES = {"/run/dir": "/var/evidence\n", "/run/tenant": "acme-two\r\n"}


def _read(name: str) -> str:
    try:
        return FILES[name]
    except KeyError:
        raise FileNotFoundError(2, "No such file", name) from None


def _put(
    environ: Mapping[str, str], overrides: Mapping[str, str] | None = None, document: Any = None
) -> tuple[Any, Faults]:
    faults = Faults("sidecar.yaml")
    file = {"tenant": "acme", "doors": {"access": "127.0.0.1:1"}} if document is None else document
    return overlay(file, SCHEMA, environ, overrides or {}, _read, faults), faults


def _messages(faults: Faults) -> list[str]:
    return [fault.reason().message for fault in faults.errors]


def test_plain_fields_of_sections_that_are_no_maps_can_be_set() -> None:
    known = fields(SCHEMA)
    assert known["doors", "access"] == "string"
    assert known["limits", "in_flight"] == "integer"
    assert known["policy", "library"] == "boolean"
    assert known["limits", "idle_seconds"] == "number"
    assert known[("tenant",)] == "string"
    assert not {path[0] for path in known} & {"principals", "credentials", "connectors", "planes"}
    assert ("limits", "principal") not in known
    assert ("doors", "admin_tls") not in known


def test_a_door_that_may_be_closed_can_be_moved_and_closed() -> None:
    assert fields(SCHEMA)["doors", "admin"] == "optional"
    value, faults = _put({"SIDECAR_DOORS_ADMIN": "127.0.0.1:9"})
    assert (value["doors"]["admin"], faults.errors) == ("127.0.0.1:9", [])
    value, faults = _put({}, {"doors.admin": "null"})
    assert (value["doors"]["admin"], faults.errors) == (None, [])


def test_flags_go_over_variables_and_variables_over_the_file() -> None:
    value, faults = _put({"SIDECAR_DOORS_ACCESS": "127.0.0.1:2"})
    assert value["doors"]["access"] == "127.0.0.1:2"
    value, faults = _put({"SIDECAR_DOORS_ACCESS": "127.0.0.1:2"}, {"doors.access": "127.0.0.1:3"})
    assert value["doors"]["access"] == "127.0.0.1:3"
    assert faults.errors == []
    assert faults.origins[("doors", "access")] == "flag doors.access"


def test_the_file_itself_is_not_changed() -> None:
    document = {"tenant": "acme", "doors": {"access": "127.0.0.1:1"}}
    _put({"SIDECAR_DOORS_ACCESS": "127.0.0.1:2", "SIDECAR_TENANT": "b"}, document=document)
    assert document == {"tenant": "acme", "doors": {"access": "127.0.0.1:1"}}


def test_values_have_the_type_of_their_field() -> None:
    value, _ = _put(
        {
            "SIDECAR_LIMITS_IN_FLIGHT": "10",
            "SIDECAR_LIMITS_IDLE_SECONDS": "2.5",
            "SIDECAR_POLICY_LIBRARY": "false",
            "SIDECAR_POLICY_DIRECTORY": "true",
            "SIDECAR_TENANT": "017",
            "SIDECAR_LIMITS_HEADERS": ".inf",
        }
    )
    assert value["limits"] == {"in_flight": 10, "idle_seconds": 2.5, "headers": ".inf"}
    assert value["policy"] == {"library": False, "directory": "true"}
    assert value["tenant"] == "017"


def test_a_file_variable_names_a_file_with_the_value() -> None:
    value, faults = _put({"SIDECAR_EVIDENCE_DIRECTORY_FILE": "/run/dir", "SIDECAR_TENANT_FILE": "/run/tenant"})
    assert (value["evidence"]["directory"], value["tenant"]) == ("/var/evidence", "acme-two")
    assert faults.errors == []


def test_a_field_whose_own_name_ends_in_file_is_itself() -> None:
    value, _ = _put({"SIDECAR_STORE_KEY_FILE": "/run/keys/master"})
    assert value["store"] == {"key_file": "/run/keys/master"}


def test_a_file_that_cannot_be_read_is_an_error() -> None:
    _, faults = _put({"SIDECAR_TENANT_FILE": "/run/nothing"})
    assert _messages(faults) == ["environment SIDECAR_TENANT_FILE: the file it names cannot be read as text"]


def test_both_forms_of_one_variable_are_an_error() -> None:
    _, faults = _put({"SIDECAR_TENANT": "a", "SIDECAR_TENANT_FILE": "/run/tenant"})
    assert _messages(faults) == ["environment SIDECAR_TENANT_FILE: environment SIDECAR_TENANT sets the same field"]


@pytest.mark.parametrize(
    ("variable", "nearest"),
    [
        ("SIDECAR_DOORS_ACESS", "SIDECAR_DOORS_ACCESS"),
        ("SIDECAR_DOOR_ACCESS", "SIDECAR_DOORS_ACCESS"),
        ("SIDECAR_TENNANT", "SIDECAR_TENANT"),
        ("SIDECAR_EVIDENCE_DIRECTORY_FIEL", "SIDECAR_EVIDENCE_DIRECTORY"),
    ],
)
def test_a_variable_that_means_nothing_is_an_error_with_the_nearest_name(variable: str, nearest: str) -> None:
    value, faults = _put({variable: "x"})
    assert value == {"tenant": "acme", "doors": {"access": "127.0.0.1:1"}}
    assert _messages(faults) == [f"environment {variable}: no field has this variable; did you mean '{nearest}'?"]


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("SIDECAR_CONFIG", "x.yaml"),
        ("SIDECAR_REQUIRE_FIXTURES", "1"),
        ("SIDECAR_SERVICE_HOST", "10.0.0.1"),
        ("SIDECAR_PORT_8080_TCP", "tcp://10.0.0.1:8080"),
        ("SIDECAR_EVIDENCE_SERVICE_HOST", "10.0.0.1"),
        ("SIDECAR_EVIDENCE_SERVICE_PORT_HTTP", "80"),
        ("SIDECAR_EVIDENCE_PORT", "tcp://10.0.0.1:80"),
        ("SIDECAR_EVIDENCE_PORT_80_TCP_ADDR", "10.0.0.1"),
        ("PATH", "/bin"),
        ("sidecar_tenant", "x"),
    ],
)
def test_other_peoples_variables_are_left_alone(variable: str, value: str) -> None:
    _, faults = _put({variable: value})
    assert faults.errors == []


def test_a_port_that_somebody_typed_is_not_kubernetes() -> None:
    _, faults = _put({"SIDECAR_DOORS_PORT": "8080"})
    assert len(faults.errors) == 1


def test_an_unknown_flag_is_an_error_with_the_nearest_field() -> None:
    _, faults = _put({}, {"doors.acess": "x"})
    assert _messages(faults) == ["flag \"doors.acess\": no such field; did you mean 'doors.access'?"]


def test_a_section_that_is_no_mapping_is_left_for_the_schema_to_refuse() -> None:
    value, _ = _put({"SIDECAR_DOORS_ACCESS": "127.0.0.1:2"}, document={"doors": 5})
    assert value == {"doors": 5}
    assert _put({"SIDECAR_TENANT": "a"}, document=["a"])[0] == ["a"]
