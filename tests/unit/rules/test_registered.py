"""The file's configuration and the registry's rows together: the file goes first, what does not fit is set aside."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.rules.catalogue import compile_catalogue
from sidecar.rules.registered import Combined, combine
from tests.fakes.parts import CONFIG, ITEM, changed

DECLARED = msgspec.convert(CONFIG, Config)
OPERATION = {"method": "GET", "path": "/{id}", "parameters": ITEM}
SECTION = {"kind": "http", "base_url": "https://wiki.example", "operations": {"get": OPERATION}}
WIKI = {"section": SECTION, "status": "ready"}
SOURCE = {"section": {"connector": "wiki"}, "status": "active"}
PLANE = {"section": {"source": "wiki", "actions": {"retrieve": ["get"]}}, "status": "active"}
KEY = {"principal": "alice", "sha256": "ab" * 32, "expires": None}

EVERYTHING: dict[tuple[str, str], dict[str, Any]] = {
    ("connector", "wiki"): WIKI,
    ("source", "wiki"): SOURCE,
    ("plane", "wiki"): PLANE,
    ("principal", "carol"): {"section": {"kind": "person", "roles": ["auditor"]}},
    ("role", "alice:writer"): {"principal": "alice", "role": "writer"},
    ("key", "k-alice"): KEY,
    ("key", "k-carol"): {"principal": "carol", "sha256": "cd" * 32, "expires": 5},
}


def faulty(combined: Combined) -> dict[tuple[str, str], list[str]]:
    return {at: [fault.code for fault in faults] for at, faults in combined.faults.items()}


def test_what_fits_is_served_beside_the_file() -> None:
    combined = combine(DECLARED, EVERYTHING)
    assert combined.faults == {}
    catalogue = compile_catalogue(combined.config, combined.standing)
    assert set(catalogue.connectors) == {"crm", "open", "wiki"}
    assert catalogue.planes["wiki"].connector == "wiki"
    assert catalogue.principals["alice"].roles == ("reader", "writer")
    assert catalogue.keys["k-alice"].principal.id == "alice"
    assert catalogue.keys["k-carol"].expires == 5
    assert catalogue.keys["key_alice"].principal.roles == ("reader", "writer")


def test_nothing_stored_is_the_file() -> None:
    assert combine(DECLARED, {}).config == DECLARED


@pytest.mark.parametrize(
    ("at", "document", "code"),
    [
        (("connector", "crm"), WIKI, "declared"),
        (("source", "crm"), SOURCE, "declared"),
        (("principal", "alice"), {"section": {}}, "declared"),
        (("key", "key_bob"), KEY, "declared"),
        (("connector", "x"), WIKI | {"section": {"kind": "sql"}}, "not_built"),
        (("connector", "x"), WIKI | {"section": {"kind": "telnet"}}, "wrong_value"),
        (("connector", "x"), WIKI | {"section": SECTION | {"base_url": "https://open.example:8443"}}, "overlap"),
        (("connector", "x"), WIKI | {"section": SECTION | {"base_url": "ftp://x"}}, "wrong_value"),
        (("connector", "x"), WIKI | {"section": SECTION | {"ca_file": "/etc/shadow"}}, "only_in_the_file"),
        (("connector", "x"), WIKI | {"section": SECTION | {"unknown": 1}}, "unknown_key"),
        (("connector", "x"), WIKI | {"section": SECTION | {"capabilities": ["write"]}}, "not_capable"),
        (("connector", "x"), WIKI | {"section": None}, "wrong_type"),
        (("connector", "X!"), WIKI, "wrong_key"),
        (("source", "x"), SOURCE | {"section": {"connector": "nothing"}}, "unknown_reference"),
        (("source", "x"), SOURCE | {"section": {"connector": "crm", "type": "vector"}}, "not_capable"),
        (("plane", "x"), {"section": {"source": "crm", "actions": {"query": ["add"]}}}, "write_refused"),
        (("principal", "x"), {"section": {"keys": [{"id": "k", "sha256": "ab" * 32}]}}, "only_in_the_file"),
        (("principal", "x"), {"section": {"tenant": "umbrella"}}, "only_in_the_file"),
        (("principal", "x"), {"section": {"kind": "system"}}, "only_in_the_file"),
        (("role", "gone:writer"), {"principal": "gone", "role": "writer"}, "unknown_reference"),
        (("key", "k"), KEY | {"principal": "gone"}, "unknown_reference"),
    ],
)
def test_what_does_not_fit_is_set_aside_and_the_rest_served(
    at: tuple[str, str], document: dict[str, Any], code: str
) -> None:
    combined = combine(DECLARED, EVERYTHING | {at: document})
    assert code in faulty(combined)[at]
    assert set(combined.faults) == {at}
    served = combine(DECLARED, EVERYTHING).config
    assert combined.config == served


def test_inv_5_a_credential_is_for_the_connectors_and_hosts_that_the_file_names() -> None:
    auth = {"style": "bearer", "credential": "crm"}
    thief = WIKI | {"section": SECTION | {"auth": auth}}
    combined = combine(DECLARED, EVERYTHING | {("connector", "thief"): thief})
    assert set(combined.faults) == {("connector", "thief")}, "the one it clashes with stays"
    combined = combine(DECLARED, {("connector", "thief"): thief})
    assert set(faulty(combined)[("connector", "thief")]) == {"connector_refused", "host_refused"}
    assert "thief" not in combined.config.connectors
    named = msgspec.convert(changed("credentials.crm.connectors", ["crm", "thief"]), Config)
    assert faulty(combine(named, {("connector", "thief"): thief})) == {("connector", "thief"): ["host_refused"]}


def test_a_chain_whose_first_link_is_gone_is_set_aside_whole() -> None:
    documents = {at: document for at, document in EVERYTHING.items() if at != ("connector", "wiki")}
    combined = combine(DECLARED, documents)
    assert set(combined.faults) == {("source", "wiki"), ("plane", "wiki")}


@pytest.mark.parametrize(
    ("at", "status", "there"),
    [
        (("connector", "wiki"), "registered", False),
        (("connector", "wiki"), "configuring", False),
        (("connector", "wiki"), "disconnected", True),
        (("connector", "wiki"), "deprecated", True),
        (("source", "wiki"), "inactive", True),
        (("plane", "wiki"), "inactive", True),
    ],
)
def test_what_is_out_of_service_is_known_and_refused(at: tuple[str, str], status: str, there: bool) -> None:
    combined = combine(DECLARED, EVERYTHING | {at: EVERYTHING[at] | {"status": status}})
    assert at in combined.standing.inactive
    assert ("wiki" in combined.config.connectors) is (there or at[0] != "connector")


def test_a_row_that_is_set_aside_for_the_files_own_says_nothing_of_that() -> None:
    rows: dict[tuple[str, str], dict[str, Any]] = {
        ("connector", "crm"): WIKI | {"status": "disconnected"},
        ("source", "crm"): SOURCE | {"status": "inactive"},
        ("plane", "knowledge"): PLANE | {"status": "inactive"},
        ("key", "key_alice"): KEY | {"expires": 1},
    }
    standing = combine(DECLARED, rows).standing
    assert (standing.inactive, standing.expires) == (frozenset(), {})


def test_the_tenants_record_suspends_it() -> None:
    def suspended(document: dict[str, Any]) -> bool:
        return combine(DECLARED, {("tenant", "acme"): document}).standing.suspended

    assert suspended({"status": "suspended", "reason": "unpaid"})
    assert not suspended({"status": "active", "reason": ""})
    assert not combine(DECLARED, {("tenant", "umbrella"): {"status": "suspended"}}).standing.suspended
