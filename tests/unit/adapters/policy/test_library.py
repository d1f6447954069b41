from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sidecar.adapters.policy.library import Library, Room, Status, library, opa_executable
from sidecar.errors import Misconfigured, Unavailable
from tests.fakes.bundles import packed

SECOND = 1_000_000  # microseconds


def load(rego: str, **more: object) -> int:
    return library().load(json.dumps({"modules": {"test.rego": rego}, "data": {}} | more).encode()).handle


def decide(handle: int, document: bytes, room: Room | None = None) -> tuple[int, bytes]:
    room = room or Room()
    status, size = library().evaluate(handle, document, SECOND, room)
    return status, room.view[:size].tobytes()


def test_importing_opens_nothing() -> None:
    script = (
        "import sidecar.adapters.policy.embedded, pathlib;"
        "assert 'libsidecar_opa' not in pathlib.Path('/proc/self/maps').read_text()"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0


def test_a_forked_child_is_refused() -> None:
    handle = load("package sidecar.authz\ndecision := true")
    child = os.fork()
    if child == 0:
        codes = 0
        for attempt in (lambda: decide(handle, b"{}"), lambda: load("package x")):
            try:
                attempt()
            except Unavailable as error:
                codes += error.code == "policy_unavailable"
        os._exit(0 if codes == 2 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert decide(handle, b"{}") == (Status.ANSWERED, b"true")


def test_the_version_is_opas() -> None:
    assert library().version() == "1.22.0"


def test_statuses() -> None:
    handle = load(
        "package sidecar.authz\n"
        'decision := {"a": [1, 2.5, "é\\n\\"", null, false]} if input.x == 1\n'
        'decision := {1, "b", {"k": {2}}} if input.x == 2\n'
        "decision := 1 if input.x > 2\ndecision := 2 if input.x > 2\n"
    )
    status, answer = decide(handle, b'{"x": 1}')
    assert (status, json.loads(answer)) == (Status.ANSWERED, {"a": [1, 2.5, 'é\n"', None, False]})
    assert decide(handle, b'{"x": 2}') == (Status.ANSWERED, b'[1,"b",{"k":[2]}]')
    assert decide(handle, b'{"x": 0}') == (Status.UNDEFINED, b"")
    assert decide(handle, b"{}") == (Status.UNDEFINED, b"")
    status, message = decide(handle, b'{"x": 3}')
    assert status == Status.FAILED
    assert b"conflict" in message


def test_an_answer_larger_than_the_room_says_how_much_it_needs() -> None:
    handle = load("package sidecar.authz\ndecision := input.x")
    document = json.dumps({"x": "y" * 100}).encode()
    assert library().evaluate(handle, document, SECOND, Room(10)) == (Status.TOO_SMALL, 102)
    assert decide(handle, document) == (Status.ANSWERED, json.dumps("y" * 100).encode())


def test_an_answer_is_bounded() -> None:
    rego = 'decision := [concat("", [input.x, sprintf("%d", [n])]) | some n in numbers.range(1, 2000)]'
    handle = load(f"package sidecar.authz\n{rego}")
    status, message = decide(handle, json.dumps({"x": "y" * 1000}).encode())
    assert (status, message) == (Status.FAILED, b"the answer is too large")


def test_a_released_or_unknown_handle_fails() -> None:
    handle = load("package sidecar.authz\ndecision := true")
    library().release(handle)
    library().release(handle)
    for gone in (handle, 0, -1, 1 << 62):
        assert decide(gone, b"{}")[0] == Status.FAILED


def test_faults_name_file_and_line() -> None:
    with pytest.raises(Misconfigured) as caught:
        load("package sidecar.authz\n\nallow if {\n  input.x ==\n}\n")
    assert caught.value.reasons[0].code == "rego_parse_error"
    assert caught.value.reasons[0].message.startswith("test.rego:")
    with pytest.raises(Misconfigured) as caught:
        load("package sidecar.authz\nx := nowhere(1)\ny := also_nowhere(2)\n")
    assert [reason.message.split(": ")[0] for reason in caught.value.reasons] == ["test.rego:2", "test.rego:3"]
    with pytest.raises(Misconfigured):
        library().load(b"not json")


def test_rules_and_data_for_one_path_conflict() -> None:
    with pytest.raises(Misconfigured, match="conflict"):
        load("package sidecar.authz\ndecision := true", data={"sidecar": {"authz": {"decision": {"allow": True}}}})


@pytest.mark.parametrize("more", [0, 20, 23, 24, 25, 100])
def test_p13_a_repeated_member_is_there_once_with_its_last_value(more: int) -> None:
    rego = "package sidecar.authz\ndecision := [count(input), count([k | some k, _ in input]), input.a, input.z]"
    handle = library().load(json.dumps({"modules": {"t.rego": rego}, "data": {}}).encode()).handle
    others = "".join(f'"m{number}": 0, ' for number in range(more))
    document = f'{{"a": 1, {others} "z": 1, "a": 2, {others} "z": 2, "z": 3}}'.encode()
    status, answer = decide(handle, document)
    assert status == Status.ANSWERED
    assert json.loads(answer) == [more + 2, more + 2, 2, 3]


def test_facts_for_a_decision_cache() -> None:
    source = {
        "modules": {
            "test.rego": "package sidecar.authz\n"
            'decision if { input.tenant == data.tenants[input.principal.id].name; startswith(input.plane, "x") }'
        },
        "data": {},
    }
    facts = library().load(json.dumps(source).encode()).facts
    assert set(facts.base) == {
        ("data", "tenants"),
        ("input", "plane"),
        ("input", "principal", "id"),
        ("input", "tenant"),
    }
    assert "startswith" in facts.builtins
    assert not facts.detached


@pytest.mark.parametrize(
    ("rules", "read"),
    [
        ("decision := x if { x := input.a; input.a.b }", ("input", "a")),
        ('t[[1, 1]] := "yes"\ndecision := v if { x := input.a; input.a.b; v := t[[x, 1]] }', ("input", "a")),
        ("q := input.z.c\ndecision := v if { x := input.a; input.a.b; v := q with input.z as x }", ("input", "a")),
        ("decision if 1 == 2\nelse := input.a if input.b", ("input", "a")),
        ("f(x) := x.b\ndecision := f(input)", ("input",)),
        ("decision := [y | some k; y := input.a[k].b]", ("input", "a")),
        ('decision := $"is {input.a.b}"', ("input", "a", "b")),
        ("decision := data.system[input.folder].answer", ("input", "secret")),
        ("decision := data.system.hidden.answer", ("input", "secret")),
    ],
)
def test_p13_nothing_that_the_answer_depends_on_is_left_out(rules: str, read: tuple[str, ...]) -> None:
    """The second and third are those that OPA's own `dependencies.Base` gives as `input.a.b` alone."""
    modules = {
        "t.rego": "package sidecar.authz\n" + rules,
        "s.rego": "package system.hidden\nanswer := input.secret",
    }
    assert read in library().load(json.dumps({"modules": modules, "data": {}}).encode()).facts.base


def test_p13_a_builtin_that_stands_in_for_a_function_counts() -> None:
    rules = 'f(_, _) := 1\ndecision := x if x := f("dice", 6) with f as rand.intn'
    source = {"modules": {"t.rego": "package sidecar.authz\n" + rules}, "data": {}}
    facts = library().load(json.dumps(source).encode()).facts
    assert "rand.intn" in facts.builtins
    assert facts.detached


def test_a_policy_with_a_builtin_that_cannot_be_stopped_is_detached() -> None:
    source = {"modules": {"t.rego": 'package sidecar.authz\ndecision if regex.match("a", input.x)'}, "data": {}}
    loaded = library().load(json.dumps(source).encode())
    assert loaded.facts.detached
    assert decide(loaded.handle, b'{"x": "cat"}') == (Status.ANSWERED, b"true")


def test_a_missing_library_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(Unavailable) as caught:
        Library(tmp_path / "libsidecar_opa.so")
    assert caught.value.code == "policy_unavailable"


def test_the_executable_is_there() -> None:
    text = subprocess.run([opa_executable(), "version"], capture_output=True, text=True, check=True).stdout
    assert "Version: 1.22.0" in text


def test_a_missing_executable_is_misconfigured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sidecar.adapters.policy.library.NATIVE", tmp_path)
    with pytest.raises(Misconfigured, match="opa executable"):
        opa_executable()


def test_documents_are_data_at_their_folders_path() -> None:
    documents = {"data.json": '{"top": 1}', "a/b/data.json": '{"c": [1.50, "\u00e9"]}', "a/data.json": '{"d": null}'}
    handle = load(
        "package sidecar.authz\ndecision := [data.top, data.a, data.e]", documents=documents, data={"e": {}}
    )
    assert decide(handle, b"{}") == (Status.ANSWERED, '[1,{"b":{"c":[1.50,"é"]},"d":null},{}]'.encode())


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"a":\n1,\n"a": 2}', 'a/data.json:3: duplicate key "a"'),
        ('{"a":\n1,,}', "a/data.json:2: not JSON"),
        ('{"a": NaN}', "a/data.json:1: not JSON"),
        ("{} {}", "a/data.json:1: not JSON"),
        ("{} }", "a/data.json:1: not JSON"),
        ("", "a/data.json:1: not JSON"),
        ('{"a": ' * 70 + "1" + "}" * 70, "a/data.json:1: nested more than 64 deep"),
        ('{"a": ' + "1" * 200 + "}", "a/data.json:1: a number has too many digits"),
        ('{"e": 2}', "a/data.json: data.a.e already has a value from another file"),
    ],
)
def test_a_document_is_held_to_the_rules_of_a_policy_folder(text: str, told: str) -> None:
    with pytest.raises(Misconfigured) as caught:
        load("package sidecar.authz\ndecision := true", documents={"a/data.json": text}, data={"a": {"e": 1}})
    assert caught.value.reasons[0].message.startswith(told)


def test_a_document_at_the_root_is_an_object() -> None:
    with pytest.raises(Misconfigured, match="must be an object"):
        load("package sidecar.authz\ndecision := true", documents={"data.json": "[1]"})


def test_p06_what_compiles_for_ever_is_refused_in_time_and_holds_up_no_other() -> None:
    """Each level of nested comprehensions more than doubles it: these are some seconds, five more are minutes."""
    rego = "package sidecar.authz\ndecision := " + "[x | x := " * 15 + "1" + "]" * 15
    with pytest.raises(Misconfigured, match="does not compile within 50ms; what takes longest are comprehensions"):
        library().load(json.dumps({"modules": {"a.rego": rego}}).encode(), 0.05)
    opened = library().open_bundle(b"{}", packed({"a.rego": rego.encode()}))
    with pytest.raises(Misconfigured, match="the bundle is refused: it does not compile within 50ms"):
        library().load_bundle(opened.handle, 0.05)
    assert decide(load("package sidecar.authz\ndecision := 1"), b"{}") == (Status.ANSWERED, b"1")


def test_a_bundle_is_opened_by_handle_and_loaded_once() -> None:
    opened = library().open_bundle(b"{}", packed({"a.rego": b"package sidecar.authz\ndecision := true\n"}))
    assert opened.about.files == 1
    loaded = library().load_bundle(opened.handle)
    assert decide(loaded.handle, b"{}") == (Status.ANSWERED, b"true")
    with pytest.raises(Misconfigured, match="no bundle is open"):
        library().load_bundle(opened.handle)
    library().close_bundle(opened.handle)


@pytest.mark.parametrize(
    "rule",
    [
        "x := " + "[" * 3000 + "]" * 3000,
        "x := 1" + " + 1" * 3000,
        "x := 0 if input.a" + " else := 1 if input.b" * 2000,
    ],
    ids=["arrays", "sums", "elses"],
)
def test_rules_that_are_too_deep_to_be_read_do_not_come_as_trees(rule: str) -> None:
    opened = library().open_bundle(b"{}", packed({"a.rego": f"package sidecar.custom\n\n{rule}\n".encode()}))
    assert library().asked_of_bundle(opened.handle) == []
    library().close_bundle(opened.handle)


def test_the_rules_that_are_asked_for_come_as_trees_with_their_places() -> None:
    rules = {
        "a.rego": "sidecar.custom",
        "a_test.rego": "sidecar.custom",
        "b.rego": "sidecar.authz",
        "c.rego": "other",
    }
    files = {name: f"package {package}\n\n# note\nx := 1\n".encode() for name, package in rules.items()}
    opened = library().open_bundle(b"{}", packed(files))
    trees = library().asked_of_bundle(opened.handle)
    assert sorted(tree["rules"][0]["location"]["file"] for tree in trees) == ["a.rego", "b.rego"]
    assert {tree["rules"][0]["location"]["row"] for tree in trees} == {4}
    assert all("comments" not in tree for tree in trees)
    library().close_bundle(opened.handle)
    with pytest.raises(Misconfigured, match="no bundle is open"):
        library().asked_of_bundle(opened.handle)


def test_many_rules_come_in_parts_and_too_many_not_at_all() -> None:
    def asked(count: int) -> list[int]:
        rules = "".join(f"x{number} := {number}\n" for number in range(count))
        opened = library().open_bundle(b"{}", packed({"a.rego": f"package sidecar.custom\n{rules}".encode()}))
        try:
            return [len(tree["rules"]) for tree in library().asked_of_bundle(opened.handle)]
        finally:
            library().close_bundle(opened.handle)

    assert asked(120) == [50, 50, 20]
    assert asked(20_000) == []


def test_a_closed_bundle_is_gone() -> None:
    opened = library().open_bundle(b"{}", packed({"a.rego": b"package a\n"}))
    library().close_bundle(opened.handle)
    with pytest.raises(Misconfigured, match="no bundle is open"):
        library().load_bundle(opened.handle)


def test_terms_that_are_no_json_are_a_fault() -> None:
    with pytest.raises(Misconfigured) as caught:
        library().open_bundle(b"{", b"")
    assert caught.value.reasons[0].code == "source_error"
