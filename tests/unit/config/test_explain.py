"""A violation of the schema as a sentence, without its value."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from sidecar.config.document import parse
from sidecar.config.explain import explain
from sidecar.config.faults import Faults
from sidecar.config.schemas import schema
from tests.unit.config.builders import GOOD, changed

CANARY = "c4n4ry"


def _explained(document: Any) -> list[tuple[str, str, str]]:
    faults = Faults("sidecar.yaml", parse(yaml.safe_dump(document, sort_keys=False).encode()))
    explain(document, schema("config"), faults)
    return [(fault.code, fault.path, fault.message) for fault in faults.errors]


@pytest.mark.parametrize(
    ("path", "value", "code", "message"),
    [
        ("limits.in_flight", 0, "out_of_range", "must be at least 1"),
        ("limits.headers", 1001, "out_of_range", "must be at most 1000"),
        ("limits.idle_seconds", 0, "out_of_range", "must be above 0"),
        ("limits.in_flight", CANARY, "wrong_type", "must be a whole number, not text"),
        ("limits.in_flight", True, "wrong_type", "must be a whole number, not true or false"),
        ("policy.library", "yes", "wrong_type", "must be true or false, not text"),
        ("policy", [], "wrong_type", "must be a mapping, not a list"),
        ("policy", None, "wrong_type", "must be a mapping, not nothing"),
        ("tenant", "A b", "wrong_value", "must be an id of at most 64 lower-case letters, digits, dots, dashes and "),
        ("connectors.crm.kind", "htpp", "wrong_value", "must be http"),
        ("connectors.crm.ca_file", 5, "wrong_type", "must be text, not a number"),
        ("connectors.crm.auth.name", "a b", "wrong_value", "must be at most 64 letters, digits, dashes, underscores"),
        ("credentials.crm-key.hosts", [], "too_short", "must have at least 1"),
        ("planes.customers.actions", {}, "too_short", "must have at least 1"),
        (
            "credentials.crm-key.reference",
            "canary",
            "wrong_value",
            "must be a reference: vault://path#field, encrypted:",
        ),
    ],
)
def test_sentences(path: str, value: Any, code: str, message: str) -> None:
    ((got_code, got_path, got_message),) = _explained(changed(path, value))
    assert (got_code, got_path) == (code, path)
    assert got_message.startswith(message)
    assert CANARY not in got_message


def test_an_unknown_key_has_the_nearest_known_one() -> None:
    assert _explained(changed("connectors.crm.base_ulr", CANARY)) == [
        ("unknown_key", "connectors.crm.base_ulr", "there is no such key; did you mean 'base_url'?")
    ]
    ((_, _, message),) = _explained(changed("store.zzz", CANARY))
    assert message == "there is no such key; known: directory, key_file, allow_environment"


def test_keys_of_maps_have_a_form_too() -> None:
    ((code, path, message),) = _explained(changed("principals.A b", {}))
    assert (code, path) == ("wrong_key", 'principals."A b"')
    assert message.startswith("the key must be an id of")
    ((code, path, message),) = _explained(changed("planes.customers.actions.qery", ["find"]))
    assert (code, path) == ("wrong_key", "planes.customers.actions.qery")
    assert message == "the key must be one of query, retrieve, search, list; did you mean 'query'?"


def test_every_missing_key_is_named() -> None:
    assert _explained(changed("sources.x", {}) | {"tenant": "acme"}) == [
        ("missing_key", "sources.x", "the key 'connector' is missing")
    ]
    document = changed("connectors.crm", {})
    assert {message for _, _, message in _explained(document)} == {
        "the key 'kind' is missing",
        "the key 'base_url' is missing",
    }


@pytest.mark.parametrize(
    "value", ["sk-" + "c4n4ry" * 8, "ghp" + "_" + "c4n4ry" * 6, "Bearer Zx9Qw3c4n4ry7Ty1Ui5Op2As8"]
)
def test_inv_5_a_raw_key_is_called_one_and_not_repeated(value: str) -> None:
    ((code, _, message),) = _explained(changed("credentials.crm-key.reference", value))
    assert code == "raw_secret"
    assert "sidecar credentials put" in message
    assert CANARY not in message


def test_what_only_the_fast_check_refuses_still_gets_a_place() -> None:
    """Python's ``$`` matches before a final newline; the fast check's does not."""
    assert _explained(changed("tenant", "acme\n")) == [
        ("wrong_value", "tenant", "does not have the form that is asked for here")
    ]


def test_a_document_that_is_no_mapping() -> None:
    assert _explained(["a"]) == [("wrong_type", "", "must be a mapping, not a list")]


def test_all_at_once() -> None:
    document = changed("limits", {"in_flight": 0, "headers": "x", "boddy_bytes": 1})
    document = changed("tenant", ..., document)
    assert sorted(code for code, _, _ in _explained(document)) == [
        "missing_key",
        "out_of_range",
        "unknown_key",
        "wrong_type",
    ]
    assert GOOD["tenant"] == "acme"
