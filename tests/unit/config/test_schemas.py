"""The schemas are what the classes say, and the committed files are what is generated."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema_rs
import msgspec
import pytest
from jsonschema import Draft202012Validator

from sidecar.config.schemas import NAMES, as_file, generate, schema
from sidecar.model.decision import PolicyInput
from tests.unit.config.builders import GOOD

FOLDER = Path(__file__).resolve().parents[3] / "schemas"


@pytest.mark.parametrize("name", NAMES)
def test_the_committed_file_is_what_is_generated(name: str) -> None:
    committed = (FOLDER / f"{name}.schema.json").read_bytes()
    assert committed == as_file(schema(name)), "run: sidecar schemas --write schemas"


def test_no_schema_is_left_over() -> None:
    assert {file.name for file in FOLDER.iterdir()} == {f"{name}.schema.json" for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one(name: str) -> None:
    document = generate()[name]
    Draft202012Validator.check_schema(document)
    assert document["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert document["$id"] == f"urn:policy-sidecar:schema:{name}:1"
    assert document["title"]


def test_every_field_of_the_file_is_described() -> None:
    silent = [
        f"{section}.{key}"
        for section, rule in schema("config")["$defs"].items()
        for key, field in rule["properties"].items()
        if not field.get("description")
    ]
    assert not silent


def test_every_pattern_says_in_words_what_it_accepts() -> None:
    def patterns(rule: Any) -> list[Any]:
        inner = rule.values() if isinstance(rule, dict) else rule if isinstance(rule, list) else ()
        mine = [rule] if isinstance(rule, dict) and isinstance(rule.get("pattern"), str) else []
        return mine + [found for item in inner for found in patterns(item)]

    assert not [rule for rule in patterns(schema("config")) if not rule.get("title")]


def test_sections_take_no_unknown_keys() -> None:
    for section, rule in schema("config")["$defs"].items():
        assert rule["additionalProperties"] is False, section


def test_the_good_one_fits() -> None:
    assert jsonschema_rs.is_valid(schema("config"), GOOD)
    assert not jsonschema_rs.is_valid(schema("config"), GOOD | {"x": 1})


def test_the_policys_input_is_total() -> None:
    document = schema("decision-input")
    for rule in document["$defs"].values():
        assert set(rule["required"]) == set(rule["properties"])
        assert rule["additionalProperties"] is False
    assert set(document["$defs"]["PolicyInput"]["properties"]) == set(PolicyInput.__struct_fields__)


@pytest.mark.parametrize(
    ("answer", "fits"),
    [
        ({"allow": True, "reasons": [], "obligations": {}}, True),
        ({"allow": 1, "reasons": [], "obligations": {}}, False),
        ({"allow": True, "reasons": [], "obligations": {"unknown": 1}}, False),
        ({"allow": True}, False),
    ],
)
def test_inv_3_the_decisions_schema_is_as_strict_as_its_reader(answer: Any, fits: bool) -> None:
    assert jsonschema_rs.is_valid(schema("decision"), answer) is fits


def test_the_schema_and_the_classes_agree_on_defaults() -> None:
    """An editor shows the default that the sidecar uses."""
    from sidecar.config.sections import Config

    defaults = msgspec.to_builtins(Config(tenant="acme"))
    properties = schema("config")["$defs"]["Config"]["properties"]
    for key, value in defaults.items():
        if key != "tenant":
            assert json.loads(json.dumps(properties[key]["default"])) == json.loads(json.dumps(value)), key
