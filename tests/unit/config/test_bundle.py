from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.config.faults import Fault
from sidecar.config.load import examine
from tests.unit.config.builders import changed, written

KEYS = {"release": {"algorithm": "ES256", "file": "release.pem"}}


def found(folder: Path, bundle: Any, **policy: Any) -> tuple[list[Fault], list[Fault]]:
    (folder / "release.pem").write_text("")
    examined = examine(written(folder, changed("policy", {"bundle": bundle, **policy})), {}, {})
    errors = [fault for fault in examined.errors if fault.path.startswith("policy")]
    return errors, [fault for fault in examined.warnings if fault.path.startswith("policy")]


@pytest.mark.parametrize(
    "bundle",
    [
        {"file": "bundle.tar.gz", "keys": KEYS, "scope": "prod"},
        {"directory": "bundle", "keys": KEYS},
        {"url": "https://bundles.example/acme.tar.gz?token=1", "keys": KEYS},
        {"url": "https://bundles.example/acme.tar.gz", "token": "encrypted://bundles", "keys": KEYS},
        {"url": "http://127.0.0.1:8182/acme.tar.gz", "keys": KEYS},
        {"url": "http://[::1]:8182/acme.tar.gz", "keys": KEYS},
    ],
)
def test_a_signed_bundle_of_one_source_is_good(tmp_path: Path, bundle: Any) -> None:
    assert found(tmp_path, bundle) == ([], [])


@pytest.mark.parametrize(
    ("bundle", "code", "path"),
    [
        ({"keys": KEYS}, "one_source", "policy.bundle"),
        ({"file": "a", "url": "https://bundles.example/a", "keys": KEYS}, "one_source", "policy.bundle"),
        ({"url": "http://bundles.example/a", "keys": KEYS}, "plain_http", "policy.bundle.url"),
        ({"url": "http://localhost/a", "keys": KEYS}, "plain_http", "policy.bundle.url"),
        ({"url": "https://0x7f.1/a", "keys": KEYS}, "wrong_value", "policy.bundle.url"),
        ({"url": "ftp://bundles.example/a", "keys": KEYS}, "wrong_value", "policy.bundle.url"),
        ({"url": "https://user:word@bundles.example/a", "keys": KEYS}, "wrong_value", "policy.bundle.url"),
        ({"file": "a", "ca_file": "release.pem", "keys": KEYS}, "wrong_key", "policy.bundle.ca_file"),
        ({"url": "http://127.0.0.1/a", "token": "encrypted://t", "keys": KEYS}, "wrong_key", "policy.bundle.token"),
        ({"file": "a", "token": "encrypted://t", "keys": KEYS}, "wrong_key", "policy.bundle.token"),
        ({"url": "https://b.example/a", "token": "env://T", "keys": KEYS}, "environment_refused", "bundle.token"),
        ({"file": "a", "scope": "prod"}, "wrong_key", "policy.bundle.scope"),
        ({"file": "a", "keys": {"k": {"algorithm": "HS256", "file": "release.pem"}}}, "wrong_value", "algorithm"),
        ({"file": "a", "keys": {"k": {"algorithm": "ES256", "file": "gone.pem"}}}, "no_file", "keys.k.file"),
        ({"file": "a", "keys": KEYS, "canaries": "gone.yaml"}, "no_file", "policy.bundle.canaries"),
        ({"url": "https://bundles.example/a", "keys": KEYS, "poll_seconds": 0}, "out_of_range", "poll_seconds"),
    ],
)
def test_what_could_be_played_with_or_is_missing_is_an_error(
    tmp_path: Path, bundle: Any, code: str, path: str
) -> None:
    errors, _ = found(tmp_path, bundle)
    assert [fault.code for fault in errors] == [code]
    assert errors[0].path.endswith(path)


def test_a_folder_beside_a_bundle_is_an_error(tmp_path: Path) -> None:
    errors, _ = found(tmp_path, {"file": "a", "keys": KEYS}, directory="rules")
    assert [(fault.code, fault.path) for fault in errors] == [("one_source", "policy.directory")]


def test_a_server_beside_a_bundle_is_an_error(tmp_path: Path) -> None:
    errors, _ = found(tmp_path, {"file": "a", "keys": KEYS}, server={"url": "unix:///run/opa.sock"})
    assert [(fault.code, fault.path) for fault in errors] == [("one_source", "policy.bundle")]


def test_without_keys_is_a_warning(tmp_path: Path) -> None:
    assert [fault.code for fault in found(tmp_path, {"file": "a"})[1]] == ["unsigned"]


def test_keys_and_canaries_are_watched(tmp_path: Path) -> None:
    (tmp_path / "release.pem").write_text("")
    (tmp_path / "canaries.yaml").write_text("")
    bundle = {"file": "a", "keys": KEYS, "canaries": "canaries.yaml"}
    loaded = examine(written(tmp_path, changed("policy", {"bundle": bundle})), {}, {}).loaded
    assert loaded is not None
    assert {path.name for path in loaded.watched} >= {"release.pem", "canaries.yaml"}
