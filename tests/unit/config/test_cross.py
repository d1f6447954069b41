"""Parts that do not fit together, each with its place."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from tests.unit.config.builders import GOOD, changed, codes, found, warned

TOKEN = "Zx9Qw3Er7Ty1Ui5Op2As8Df4Gh6Jk0Lz"


def test_the_good_one_has_nothing_wrong() -> None:
    faults = found(GOOD)
    assert (faults.errors, faults.warnings) == ([], [])


@pytest.mark.parametrize(
    ("path", "value", "error"),
    [
        ("sources.customers.connector", "crn", ("unknown_reference", "sources.customers.connector")),
        ("planes.customers.source", "customer", ("unknown_reference", "planes.customers.source")),
        ("planes.customers.actions.list", ["fnd"], ("unknown_reference", "planes.customers.actions.list[0]")),
        (
            "planes.customers.actions.query",
            ["find", "create"],
            ("write_refused", "planes.customers.actions.query[1]"),
        ),
        ("connectors.crm.auth.credential", "crm-kye", ("unknown_reference", "connectors.crm.auth.credential")),
        ("connectors.crm.auth.style", "basic", ("position_refused", "connectors.crm.auth.style")),
        ("connectors.crm.base_url", "https://crn.example.com", ("host_refused", "credentials.crm-key.hosts")),
        ("connectors.crm.base_url", "https://crm.example.com:8443", ("host_refused", "credentials.crm-key.hosts")),
        ("connectors.crm.base_url", "http://crm.example.com:443", ("plain_http", "connectors.crm.base_url")),
        ("connectors.crm.base_url", "https://CRM.example.com", ("wrong_value", "connectors.crm.base_url")),
        ("connectors.crm.base_url", f"https://crm.example.com/{TOKEN}", ("raw_secret", "connectors.crm.base_url")),
        (
            "credentials.crm-key.hosts",
            ["crm.example.com:443", "a:0"],
            ("wrong_value", "credentials.crm-key.hosts[1]"),
        ),
        ("credentials.crm-key.reference", "env://CRM", ("environment_refused", "credentials.crm-key.reference")),
        (
            "credentials.crm-key.reference",
            f"encrypted://{TOKEN.lower()}",
            ("raw_secret", "credentials.crm-key.reference"),
        ),
        ("doors.access", "0.0.0.0:8080", ("not_loopback", "doors.access")),
        ("doors.access", "[::]:8080", ("not_loopback", "doors.access")),
        ("doors.access", "localhost:8080", ("wrong_value", "doors.access")),
        ("doors.metrics", "127.0.0.1:8080", ("overlap", "doors.metrics")),
        ("doors.metrics", "127.0.0.1:99999", ("wrong_value", "doors.metrics")),
    ],
)
def test_what_does_not_fit_is_told_at_its_place(path: str, value: Any, error: tuple[str, str]) -> None:
    assert codes(found(changed(path, value))) == [error]


def test_a_credential_is_bound_to_its_connectors() -> None:
    document = changed("credentials.crm-key.connectors", ["other"])
    document["connectors"]["other"] = {"kind": "http", "base_url": "https://other.example.com"}
    assert codes(found(document)) == [("connector_refused", "credentials.crm-key.connectors")]


def test_a_host_and_port_belong_to_one_connector() -> None:
    document = changed("connectors.twin", {"kind": "http", "base_url": "https://crm.example.com:443/v2"})
    assert codes(found(document)) == [("overlap", "connectors.twin.base_url")]
    document = changed("connectors.twin", {"kind": "http", "base_url": "https://crm.example.com:444"})
    assert codes(found(document)) == []


@pytest.mark.parametrize("style", ["header", "query"])
def test_styles_with_a_field_need_its_name(style: str) -> None:
    document = changed("credentials.crm-key.positions", [style])
    document["connectors"]["crm"]["auth"]["style"] = style
    assert codes(found(document)) == [("missing_key", "connectors.crm.auth")]
    document["connectors"]["crm"]["auth"]["name"] = "X-Api-Key"
    assert codes(found(document)) == []


@pytest.mark.parametrize(
    "name", ["Host", "content-length", "Transfer-Encoding", "Keep-Alive", "proxy-authorization", "Content-Type"]
)
def test_inv_2_a_credential_does_not_go_where_a_message_is_framed(name: str) -> None:
    document = changed("credentials.crm-key.positions", ["header"])
    document["connectors"]["crm"]["auth"] |= {"style": "header", "name": name}
    assert codes(found(document)) == [("wrong_value", "connectors.crm.auth.name")]


@pytest.mark.parametrize(
    ("username", "faulty"), [("user", False), ("Jürgen B", False), ("us:er", True), ("u\nser", True)]
)
def test_a_user_name_ends_where_the_password_begins(username: str, faulty: bool) -> None:
    document = changed("credentials.crm-key.positions", ["basic"])
    document["connectors"]["crm"]["auth"] = {"style": "basic", "credential": "crm-key", "username": username}
    wrong = [("wrong_value", "connectors.crm.auth.username")] if faulty else []
    assert codes(found(document)) == wrong


def test_env_references_need_the_development_flag() -> None:
    document = changed("credentials.crm-key.reference", "env://CRM")
    assert codes(found(changed("store.allow_environment", True, document))) == []


def test_keys_are_unique_among_all_principals() -> None:
    document = changed(
        "principals.writer", {"keys": [{"id": "k1", "sha256": "1" * 64}, {"id": "k2", "sha256": "0" * 64}]}
    )
    assert codes(found(document)) == [
        ("duplicate_key", "principals.writer.keys[0].id"),
        ("duplicate_key", "principals.writer.keys[1].sha256"),
    ]


def test_inv_4_another_tenants_principal_is_a_warning() -> None:
    assert warned(found(changed("principals.reader.tenant", "other"))) == [
        ("tenant_mismatch", "principals.reader.tenant")
    ]
    assert warned(found(changed("principals.reader.tenant", "acme"))) == []


@pytest.mark.parametrize(
    ("path", "value", "warning"),
    [
        ("principals.idle", {}, ("no_key", "principals.idle")),
        (
            "connectors.idle",
            {"kind": "http", "base_url": "https://idle.example"},
            ("no_operation", "connectors.idle"),
        ),
        ("credentials.crm-key.reference", "vault://kv/crm#key", ("no_vault", "credentials.crm-key.reference")),
        (
            "destinations.lone",
            {"name": "lone.internal", "port": 443, "networks": ["10.0.0.0/8"]},
            ("unused", "destinations.lone"),
        ),
    ],
)
def test_what_is_probably_not_meant_is_a_warning(path: str, value: Any, warning: tuple[str, str]) -> None:
    faults = found(changed(path, value))
    assert (faults.errors, warned(faults)) == ([], [warning])


def test_a_credential_that_nobody_uses_is_a_warning() -> None:
    assert warned(found(changed("connectors.crm.auth", ...))) == [("unused", "credentials.crm-key")]


def _granted(**more: Any) -> list[tuple[str, str]]:
    grant = {"name": "crm.example.com", "port": 443, "networks": ["10.0.0.0/8"]} | more
    return codes(found(changed("destinations.crm", grant)))


def test_grants() -> None:
    assert _granted() == []
    assert _granted(addresses=["10.1.2.3"]) == []
    assert _granted(addresses=["11.1.2.3"]) == [("outside_networks", "destinations.crm.addresses[0]")]
    assert _granted(addresses=["x"]) == [("wrong_value", "destinations.crm.addresses[0]")]
    assert _granted(networks=["10.0.0.1/8"]) == [("wrong_value", "destinations.crm.networks[0]")]
    assert _granted(name="*.example.com") == [("wrong_value", "destinations.crm.name")]
    assert _granted(name="fd00::1", networks=["fd00::/8"], addresses=["10.0.0.1"]) == [
        ("outside_networks", "destinations.crm.addresses[0]")
    ]


def test_one_name_and_port_has_one_grant() -> None:
    grant = {"name": "crm.example.com", "port": 443, "networks": ["10.0.0.0/8"]}
    document = changed("destinations", {"a": grant, "b": grant})
    assert codes(found(document)) == [("overlap", "destinations.b.name")]


def test_doors_may_leave_the_port_to_the_system() -> None:
    document = changed("doors", {"access": "127.0.0.1:0", "metrics": "0.0.0.0:0"})
    assert codes(found(document)) == []


@pytest.mark.parametrize(
    "path", ["connectors.crm.auth.credential", "sources.customers.connector", "connectors.crm.auth.username"]
)
def test_inv_5_a_secret_in_the_wrong_place_is_named_and_not_repeated(path: str) -> None:
    faults = found(changed(path, TOKEN.lower()))
    assert ("raw_secret", path) in codes(faults)
    assert not [fault for fault in faults.errors if TOKEN.lower() in fault.message + fault.path]


def test_p11_a_key_that_anybody_can_guess_is_refused() -> None:
    guessed = hashlib.sha256(b"scp_k1_" + b"A" * 43).hexdigest()
    document = changed("principals.reader.keys.0.sha256", guessed)
    assert codes(found(document)) == [("default_key", "principals.reader.keys[0].sha256")]


def test_capabilities_are_the_kinds_own() -> None:
    document = changed("connectors.crm.capabilities", ["read", "write", "query", "vector_search"])
    assert codes(found(document)) == [("not_capable", "connectors.crm.capabilities[3]")]


def test_an_operation_outside_the_capabilities_is_refused() -> None:
    document = changed("connectors.crm.capabilities", ["read"])
    assert codes(found(document)) == [
        ("not_capable", "connectors.crm.operations.create"),
        ("not_capable", "planes.customers.actions.query"),
    ]
    assert codes(found(changed("connectors.crm.capabilities", ["read", "write", "query"]))) == []


def test_a_source_is_of_a_type_that_its_connector_serves() -> None:
    assert codes(found(changed("sources.customers.type", "document"))) == []
    assert codes(found(changed("sources.customers.type", "database"))) == [("not_capable", "sources.customers.type")]


@pytest.mark.parametrize(
    ("doors", "expected"),
    [
        ({"admin": "0.0.0.0:8081"}, [("not_loopback", "doors.admin")]),
        ({"admin": "0.0.0.0:8081", "admin_tls": {"certificate": "c", "key": "k"}}, []),
        ({"admin": "[::1]:8081"}, []),
        ({"admin": None}, []),
        ({"admin": None, "admin_tls": {"certificate": "c", "key": "k"}}, [("unused", "doors.admin_tls")]),
        ({"admin": "127.0.0.1:8080"}, [("overlap", "doors.admin")]),
        ({"admin": "127.0.0.1:9464"}, [("overlap", "doors.admin")]),
        ({"admin": "localhost:8081"}, [("wrong_value", "doors.admin")]),
    ],
)
def test_p10_keys_of_administrators_do_not_travel_in_the_clear(
    doors: dict[str, object], expected: list[tuple[str, str]]
) -> None:
    assert codes(found(changed("doors", doors))) == expected
