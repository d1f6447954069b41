"""Inputs share a key exactly where they are the same to the policy."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

from sidecar.adapters.policy.library import opa_executable
from sidecar.model.decision import Reads
from sidecar.rules.decision_keys import MOST_PARTS, PURE, Key, why_not


def reads(*paths: str, builtins: tuple[str, ...] = ("eq",)) -> Reads:
    return Reads("sha256:1", tuple(tuple(path.split(".")) for path in paths), builtins)


def key_of(value: Any, *paths: str) -> bytes:
    return Key(reads(*paths)).of(json.dumps(value, separators=(",", ":")).encode())


def same(one: Any, other: Any, *paths: str) -> bool:
    return key_of(one, *paths) == key_of(other, *paths)


VALUES: list[Any] = [
    *(None, True, False, 0, 1, -1, 0.0, -0.0, 1.0, "", "1", "true", "null", [], {}, [None], [1], [1.0], {"a": None}),
    *({"a": 1}, {"a": True}, 10**20, 1e20, [[]], "é", '"'),
]


def test_p13_no_two_values_of_what_is_read_share_a_key() -> None:
    keys = [key_of({"x": value}, "input.x") for value in VALUES] + [key_of({}, "input.x")]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("path", ["input.a.b.c", "input.a"])
def test_p13_absent_null_empty_and_no_object_are_told_apart(path: str) -> None:
    above: list[Any] = [
        *({}, {"a": None}, {"a": {}}, {"a": {"b": None}}, {"a": {"b": {}}}, {"a": {"b": {"c": None}}}, {"a": 1}),
        *({"a": "x"}, {"a": []}, {"a": [{"b": 1}]}, {"a": {"b": 2}}, {"a": {"b": [{"c": 1}]}}, {"a": False}),
    ]
    keys = [key_of(value, path) for value in above]
    assert len(set(keys)) == len(keys)


def test_what_is_not_read_does_not_count() -> None:
    assert same({"a": {"b": 1, "x": 2}, "time": 5}, {"a": {"b": 1, "y": [3]}, "time": 6}, "input.a.b")
    assert same({"a": 1}, {"b": 1}, "data.a")


def test_inv_4_the_tenant_always_counts() -> None:
    assert not same({"tenant": "acme", "a": 1}, {"tenant": "globex", "a": 1}, "input.a")
    assert not same({"tenant": "acme"}, {"tenant": "globex"})


def test_a_shorter_path_stands_for_all_below_it() -> None:
    assert not same({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, "input.a.b", "input.a")
    assert not same({"a": {"b": 1, "c": 2}}, {"a": {"b": 1, "c": 3}}, "input.a", "input.a.b.c.d")


@pytest.mark.parametrize("part", [0, 1.5, True, None, ["x"], {"k": 1}, 'a"b', "a\\b", "a\nb", "\ud800"])
def test_a_part_that_cannot_be_followed_widens_the_path(part: Any) -> None:
    widened = Reads("sha256:1", (("input", "a", part, "b"),), ())
    assert why_not(widened) is None
    key = Key(widened)
    assert key.of(b'{"a":{"x":1}}') != key.of(b'{"a":{"x":2}}')
    assert key.of(b'{"a":1,"b":1}') == key.of(b'{"a":1,"b":2}')


def test_a_part_that_cannot_be_followed_at_the_top_is_the_whole_input() -> None:
    assert why_not(Reads("sha256:1", (("input", 0),), ())) is not None


@pytest.mark.parametrize("name", ["", "a b", "é", "a/b", "self", "x" * 200, "m0", "__class__"])
def test_members_may_have_any_printable_name(name: str) -> None:
    key = Key(Reads("sha256:1", (("input", name, name),), ()))
    one, other = ({name: {name: value, "more": value}} for value in (1, 2))
    assert key.of(json.dumps(one).encode()) != key.of(json.dumps(other).encode())
    other[name][name] = 1
    assert key.of(json.dumps(one).encode()) == key.of(json.dumps(other).encode())


def test_a_path_of_any_length_makes_a_key() -> None:
    endless = Reads("sha256:1", (("input", *["a"] * 5000),), ())
    assert why_not(endless) is None
    assert Key(endless).of(b'{"a":1}') == b'{"a":1}'


def test_the_whole_input_and_very_many_parts_are_not_cached() -> None:
    assert "whole input" in str(why_not(reads("input")))
    assert why_not(reads("input.a", "data")) is None
    assert why_not(reads(*(f"input.a{number}" for number in range(MOST_PARTS)))) is None
    assert str(MOST_PARTS) in str(why_not(reads(*(f"input.a{number}" for number in range(MOST_PARTS + 1)))))
    deep = Reads(
        "sha256:1", tuple(("input", f"a{number}", "b", "c", "d") for number in range(MOST_PARTS // 4 + 1)), ()
    )
    assert str(MOST_PARTS) in str(why_not(deep)), "those above count as well"


IMPURE = (
    *("time.now_ns", "rand.intn", "uuid.rfc4122", "http.send", "net.lookup_ip_addr", "opa.runtime"),
    *("rego.parse_module", "io.jwt.decode_verify", "io.jwt.verify_rs256", "a.new_one"),
    "crypto.x509.parse_and_verify_certificates",
)


@pytest.mark.parametrize("builtin", IMPURE)
def test_p13_a_builtin_that_is_not_known_to_be_pure_forbids_it(builtin: str) -> None:
    assert builtin in str(why_not(reads("input.a", builtins=("eq", builtin))))


def test_p13_pure_builtins_exist_and_opa_calls_none_of_them_nondeterministic() -> None:
    said = subprocess.run([opa_executable(), "capabilities", "--current"], capture_output=True, check=True).stdout
    builtins = {one["name"]: one for one in json.loads(said)["builtins"]}
    assert builtins.keys() >= PURE
    assert not [name for name in PURE if builtins.get(name, {}).get("nondeterministic")]
