"""A file from its bytes to a configuration, or to all of its errors."""

from __future__ import annotations

import gc
import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from sidecar.config.faults import Faults
from sidecar.config.load import entry, examine, fingerprint, load, read
from sidecar.config.sections import Config
from sidecar.errors import Misconfigured
from tests.unit.config.builders import GOOD, changed, examined, lines, written


def test_a_good_file_loads(tmp_path: Path) -> None:
    config = load(written(tmp_path, GOOD), {}, {})
    assert config.tenant == "acme"
    assert config.connectors["crm"].operations["find"].answer.max_bytes == 1 << 20
    assert config.planes["customers"].actions == {"query": ("find",)}
    with pytest.raises(AttributeError):
        setattr(config, "tenant", "b")  # noqa: B010  # a plain assignment would not pass the type check


def test_the_order_is_flags_environment_file_defaults(tmp_path: Path) -> None:
    file = written(tmp_path, changed("doors.access", "127.0.0.1:1"))
    environ = {"SIDECAR_DOORS_ACCESS": "127.0.0.1:2"}
    assert load(written(tmp_path, GOOD), {}, {}).doors.access == "127.0.0.1:8080"
    file = written(tmp_path, changed("doors.access", "127.0.0.1:1"))
    assert load(file, {}, {}).doors.access == "127.0.0.1:1"
    assert load(file, environ, {}).doors.access == "127.0.0.1:2"
    assert load(file, environ, {"doors.access": "127.0.0.1:3"}).doors.access == "127.0.0.1:3"


def test_a_wrong_variable_is_an_error_at_the_variable(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        load(written(tmp_path, GOOD), {"SIDECAR_LIMITS_IN_FLIGHT": "many"}, {"doors.access": "0.0.0.0:80"})
    assert [reason.message for reason in raised.value.reasons] == [
        "environment SIDECAR_LIMITS_IN_FLIGHT: limits.in_flight: must be a whole number, not text",
        "flag doors.access: doors.access: the access door is for the agent beside the sidecar: "
        "a loopback address, such as 127.0.0.1",
    ]


WRONG = """\
tenant: acme
principals:
  reader:
    keys: [{id: k1, sha256: nope}]
connectors:
  crm:
    kind: http
    base_url: https://crm.example.com
    ratee: {}
    operations:
      find:
        method: GET
        path: /a/{id}
sources:
  s:
    connector: crn
doors:
  access: 0.0.0.0:80
"""


def test_every_error_at_once_of_the_schema_and_of_what_does_not_fit(tmp_path: Path) -> None:
    found = examined(tmp_path, WRONG)
    assert found.loaded is None
    assert sorted(lines(found.errors)) == [
        (4, "principals.reader.keys[0].sha256"),
        (9, "connectors.crm.ratee"),
        (13, "connectors.crm.operations.find.path"),
        (16, "sources.s.connector"),
        (18, "doors.access"),
    ]


def test_the_exception_lists_them_with_file_and_line(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        read(written(tmp_path, WRONG), {}, {})
    assert raised.value.detail == "sidecar.yaml has 5 errors"
    assert raised.value.reasons[1] == (
        "unknown_key",
        "sidecar.yaml:9: connectors.crm.ratee: there is no such key; did you mean 'rate'?",
    )


def test_nothing_is_said_about_what_a_wrong_part_would_have_been(tmp_path: Path) -> None:
    """A plane on a source whose connector is wrong has one error: the connector's."""
    for path in ("connectors.crm.base_url", "connectors.crm.kind"):
        assert [fault.path for fault in examined(tmp_path, changed(path, 5)).errors] == [path]
    twins = {
        f"a_{at}": {"kind": "http", "base_url": 5, "operations": {"x": {"method": "GET", "path": "/"}}} for at in "12"
    }
    found = examined(tmp_path, changed("connectors", GOOD["connectors"] | twins))
    assert [fault.path for fault in found.errors] == ["connectors.a_1.base_url", "connectors.a_2.base_url"]
    found = examined(tmp_path, changed("credentials.crm-key.reference", "x"))
    assert [fault.path for fault in found.errors] == ["credentials.crm-key.reference"]


@pytest.mark.parametrize("text", ["", "[]", "5", "tenant: [", "tenant: a\ntenant: b", "tenant: !!python/none x"])
def test_what_is_no_configuration_at_all(tmp_path: Path, text: str) -> None:
    found = examined(tmp_path, text)
    assert found.loaded is None
    assert found.errors


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured) as raised:
        load(tmp_path / "none.yaml", {}, {})
    told = raised.value.reasons[0].message
    hint = "-c names another, `sidecar init` writes one"
    assert told == f"none.yaml: the file cannot be read: No such file or directory; {hint}"
    with pytest.raises(Misconfigured):
        load(tmp_path, {}, {})


CANARY = "ghp" + "_" + "c4n4ry" * 6


def _places(value: Any, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, item in items for found in _places(item, (*path, key))]


@pytest.mark.parametrize("path", _places(GOOD), ids=lambda path: ".".join(map(str, path)))
def test_inv_5_a_raw_key_anywhere_is_refused_and_never_repeated(tmp_path: Path, path: tuple[str | int, ...]) -> None:
    for document in (changed(".".join(map(str, path)), CANARY), _with_key(path)):
        found = examined(tmp_path, document)
        assert "raw_secret" in {fault.code for fault in found.errors}
        assert "c4n4ry" not in repr(found)


def _with_key(path: tuple[str | int, ...]) -> dict[str, Any]:
    return changed(".".join(map(str, path)), {CANARY: CANARY})


def test_files_that_it_names(tmp_path: Path) -> None:
    document = changed("connectors.crm.ca_file", "ca.pem")
    found = examined(tmp_path, document)
    assert [(fault.code, fault.path) for fault in found.errors] == [("no_file", "connectors.crm.ca_file")]
    (tmp_path / "ca.pem").write_text("x")
    loaded = read(written(tmp_path, document), {}, {})
    assert loaded.watched == (tmp_path / "sidecar.yaml", tmp_path / "ca.pem")
    assert loaded.resolve("evidence") == tmp_path / "evidence"
    assert loaded.resolve("/var/evidence") == Path("/var/evidence")
    assert [fault.code for fault in loaded.warnings] == ["no_folder"]
    (tmp_path / "policy").mkdir()
    assert read(loaded.path, {}, {}).warnings == ()


def test_a_relative_path_to_the_file_still_gives_an_absolute_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written(tmp_path, GOOD)
    monkeypatch.chdir(tmp_path)
    assert read(Path("sidecar.yaml"), {}, {}).directory == tmp_path


def test_a_fingerprint_changes_with_the_bytes_and_only_then(tmp_path: Path) -> None:
    file = written(tmp_path, GOOD)
    loaded = read(file, {}, {})
    assert fingerprint(loaded.watched) == loaded.print
    os.utime(file, (1, 1))
    assert fingerprint(loaded.watched) == loaded.print
    status = file.stat()
    file.write_text(file.read_text().replace("acme", "acmf"))
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert fingerprint(loaded.watched) != loaded.print


def test_a_fingerprint_sees_a_swapped_symbolic_link(tmp_path: Path) -> None:
    """Kubernetes swaps the folder that a mounted file's link goes through."""
    for name, tenant in (("v1", "acme"), ("v2", "other")):
        (tmp_path / name).mkdir()
        written(tmp_path / name, changed("tenant", tenant))
    (tmp_path / "data").symlink_to("v1")
    file = tmp_path / "sidecar.yaml"
    file.symlink_to("data/sidecar.yaml")
    loaded = read(file, {}, {})
    assert loaded.directory == tmp_path
    (tmp_path / "next").symlink_to("v2")
    (tmp_path / "next").rename(tmp_path / "data")
    assert fingerprint(loaded.watched) != loaded.print
    assert load(file, {}, {}).tenant == "other"


def test_a_fingerprint_sees_files_come_and_go(tmp_path: Path) -> None:
    file = tmp_path / "a"
    absent = fingerprint([file])
    file.write_text("")
    there = fingerprint([file])
    assert there != absent
    file.unlink()
    assert fingerprint([file]) == absent
    empty = fingerprint([tmp_path])
    (tmp_path / "b.rego").write_text("x")
    assert fingerprint([tmp_path]) != empty


def test_variables_files_are_watched(tmp_path: Path) -> None:
    tenant = tmp_path / "tenant"
    tenant.write_text("acme\n")
    loaded = read(written(tmp_path, GOOD), {"SIDECAR_TENANT_FILE": str(tenant)}, {})
    assert tenant in loaded.watched


@pytest.mark.parametrize("enabled", [True, False])
def test_the_cycle_collector_is_left_as_it_was(tmp_path: Path, enabled: bool) -> None:
    before = gc.isenabled()
    (gc.enable if enabled else gc.disable)()
    try:
        for document in (GOOD, "tenant: ["):
            examined(tmp_path, document)
            assert gc.isenabled() is enabled
    finally:
        (gc.enable if before else gc.disable)()


def test_a_file_full_of_errors_is_explained_in_a_moment(tmp_path: Path) -> None:
    wrong = "tenant: acme\nprincipals:\n" + "".join(f"  P{at}: {{x: 1}}\n" for at in range(5000))
    before = time.process_time()
    assert len(examined(tmp_path, wrong).errors) == 10_000
    assert time.process_time() - before < 10  # quadratic work takes minutes


def test_a_thousand_operations_load_in_a_moment(tmp_path: Path) -> None:
    """Ready within two seconds of start leaves the configuration 1.2; it needs about a fifth of that."""
    find = GOOD["connectors"]["crm"]["operations"]["find"]
    document = changed("connectors.crm.operations", {f"op-{at}": find for at in range(1000)})
    document = changed("planes.customers.actions", {"query": ["op-1"]}, document)
    file = tmp_path / "sidecar.yaml"
    file.write_text(yaml.dump(document, Dumper=_Plain))
    examine(file, {}, {})
    gc.collect()
    before = time.process_time()
    assert isinstance(load(file, {}, {}), Config)
    assert time.process_time() - before < 1.2


class _Plain(yaml.CSafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True


def test_an_entry_by_itself_is_checked_as_the_file_is() -> None:
    good = GOOD["connectors"]["crm"]
    faults = Faults("registry")
    read_alone = entry("connectors", "crm", good, faults)
    assert read_alone is not None and faults.errors == []
    assert read_alone.connectors["crm"].base_url == good["base_url"], "what it refers to is not asked for here"
    for broken, code in (
        (good | {"base_url": 1}, "wrong_type"),
        (good | {"basis": "x"}, "unknown_key"),
        (good | {"labels": {"key": "ghp_" + "a1B2" * 9}}, "raw_secret"),
        (None, "wrong_type"),
    ):
        faults = Faults("registry")
        assert entry("connectors", "crm", broken, faults) is None
        assert [fault.code for fault in faults.errors] == [code]
