from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import NoReturn

import pytest

from sidecar.adapters.policy.files import (
    FILE_BYTES_LIMIT,
    FILES_LIMIT,
    PolicyFiles,
    fingerprint,
    library_directory,
    read_policy,
    revision_of,
    source_of,
)
from sidecar.errors import Misconfigured


def write(directory: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return directory


def refused(directory: Path) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        read_policy(directory, with_library=False)
    return [reason.message for reason in caught.value.reasons]


def test_modules_are_every_rego_file_but_tests(tmp_path: Path) -> None:
    write(
        tmp_path, {"a.rego": "package a", "deep/b.rego": "package b", "a_test.rego": "package a_test", "note.md": "x"}
    )
    files = read_policy(tmp_path, with_library=False)
    assert files.modules == {"a.rego": "package a", "deep/b.rego": "package b"}


def test_data_lies_at_its_folders_path_and_meets_member_by_member(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "data.json": '{"sidecar": {"grants": {"acme": {"roles": {}}}}}',
            "sidecar/grants/data.yaml": "globex:\n  roles: {reader: [orders/get]}\n",
            "flags/data.yml": "[no, on, 012]",
        },
    )
    assert read_policy(tmp_path, with_library=False).data == {
        "sidecar": {"grants": {"acme": {"roles": {}}, "globex": {"roles": {"reader": ["orders/get"]}}}},
        "flags": ["no", "on", 12],
    }


def test_the_shipped_rules_come_along_unless_told_not_to(tmp_path: Path) -> None:
    names = set(read_policy(tmp_path).modules)
    assert "library/sidecar/authz/decision.rego" in names
    assert not any(name.endswith("_test.rego") for name in names)
    assert read_policy(tmp_path, with_library=False) == PolicyFiles({})
    assert (library_directory() / "sidecar" / "authz" / "decision.rego").is_file()


def test_a_missing_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="does not exist"):
        read_policy(tmp_path / "nowhere")


def test_a_folder_that_cannot_be_listed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def scandir(path: str) -> NoReturn:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(os, "scandir", scandir)
    assert refused(tmp_path) == [f"{tmp_path}: Permission denied"]


def test_every_bad_file_is_named_at_once_with_its_line(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "a/data.json": '{\n "x": nope}',
            "b/data.json": '{"x": 1, "x": 2}',
            "c/data.yaml": "x: 1\nx: 2\n",
            "d/data.json": '{"x": NaN}',
            "e/data.json": "[" * 70 + "]" * 70,
            "data.json": "[1]",
        },
    )
    (tmp_path / "f.rego").write_bytes(b"package \xff")
    messages = sorted(refused(tmp_path))
    assert [message.split(":")[0] for message in messages] == sorted(
        ["a/data.json", "b/data.json", "c/data.yaml", "d/data.json", "e/data.json", "data.json", "f.rego"]
    )
    assert any(message.startswith("a/data.json:2: ") for message in messages)
    assert any(message.startswith("c/data.yaml:2: ") for message in messages)
    assert any("duplicate key 'x'" in message for message in messages)


def test_two_values_for_one_place_are_refused(tmp_path: Path) -> None:
    write(tmp_path, {"data.json": '{"a": {"b": 1}}', "a/data.yaml": "b: 2"})
    assert "data.a.b already has a value" in refused(tmp_path)[0]


def test_sizes_are_bounded(tmp_path: Path) -> None:
    with (tmp_path / "data.json").open("wb") as file:
        file.truncate(FILE_BYTES_LIMIT + 1)
    assert "larger than" in refused(tmp_path)[0]
    (tmp_path / "data.json").unlink()
    for number in range(FILES_LIMIT + 1):
        (tmp_path / f"m{number}.rego").touch()
    with pytest.raises(Misconfigured, match="larger than"):
        read_policy(tmp_path, with_library=False)


@pytest.mark.parametrize(
    "text", ['{"x": "\\ud800"}', '{"\\udfff": 1}', '{"x": 1e999}', "[" * 100_000 + "]" * 100_000, '{"x": -Infinity}']
)
def test_json_that_the_engine_could_not_be_given_is_refused_by_name(tmp_path: Path, text: str) -> None:
    write(tmp_path, {"data.json": "{}", "deep/data.json": text})
    assert refused(tmp_path)[0].startswith("deep/data.json:1: ")


def test_integers_beyond_64_bits_keep_every_digit(tmp_path: Path) -> None:
    write(tmp_path, {"data.json": '{"x": 123456789012345678901234567890}'})
    assert b'"x":123456789012345678901234567890}' in source_of(read_policy(tmp_path, with_library=False))


def test_a_file_called_like_a_shipped_one_is_refused_and_not_left_out(tmp_path: Path) -> None:
    denies = 'package sidecar.custom\n\ndeny contains {"code": "c", "message": "m"}\n'
    write(tmp_path, {"library/sidecar/authz/grants.rego": denies})
    with pytest.raises(Misconfigured) as caught:
        read_policy(tmp_path)
    assert [reason.message for reason in caught.value.reasons] == [
        "library/sidecar/authz/grants.rego: the shipped rules have a file of this name; call it otherwise"
    ]
    assert set(read_policy(tmp_path, with_library=False).modules) == {"library/sidecar/authz/grants.rego"}


def test_text_that_is_not_unicode_is_refused() -> None:
    with pytest.raises(Misconfigured):
        source_of(PolicyFiles({}, {"x": "\ud800"}))


def test_the_revision_is_about_content_only(tmp_path: Path) -> None:
    one = PolicyFiles({"a.rego": "package a", "b.rego": "package b"}, {"x": 1, "y": 2})
    same = PolicyFiles({"b.rego": "package b", "a.rego": "package a"}, {"y": 2, "x": 1})
    assert revision_of(one) == revision_of(same)
    others = [
        PolicyFiles({"a.rego": "package a", "b.rego": "package b "}, {"x": 1, "y": 2}),
        PolicyFiles({"a.rego": "package a", "c.rego": "package b"}, {"x": 1, "y": 2}),
        PolicyFiles({"a.rego": "package a", "b.rego": "package b"}, {"x": 1, "y": 3}),
        PolicyFiles({"a.rego": "package a", "b.rego": "package b"}, {"x": "1", "y": 2}),
    ]
    assert len({revision_of(files) for files in [one, *others]}) == 5


def test_the_fingerprint_notices_every_kind_of_change(tmp_path: Path) -> None:
    write(tmp_path, {"a.rego": "package a", "deep/data.json": "{}"})
    seen = [fingerprint(tmp_path)]
    assert fingerprint(tmp_path) == seen[0]
    write(tmp_path, {"a.rego": "package aa"})
    seen.append(fingerprint(tmp_path))
    write(tmp_path, {"deep/b.rego": "package b"})
    seen.append(fingerprint(tmp_path))
    (tmp_path / "deep" / "data.json").unlink()
    seen.append(fingerprint(tmp_path))
    assert len(set(seen)) == 4
    write(tmp_path, {"README.md": "not a policy"})
    assert fingerprint(tmp_path) == seen[-1]
    assert fingerprint(tmp_path / "nowhere") != seen[-1]


def test_a_configmap_swap_is_noticed_and_read_once(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    write(mount / "..v1", {"a.rego": "package a", "data.json": '{"v": 1}'})
    write(mount / "..v2", {"a.rego": "package a", "data.json": '{"v": 2}'})
    (mount / "..data").symlink_to("..v1")
    for name in ("a.rego", "data.json"):
        (mount / name).symlink_to(f"..data/{name}")
    before = fingerprint(mount)
    assert read_policy(mount, with_library=False) == PolicyFiles({"a.rego": "package a"}, {"v": 1})
    (mount / "..new").symlink_to("..v2")
    (mount / "..new").rename(mount / "..data")
    assert fingerprint(mount) != before
    assert read_policy(mount, with_library=False).data == {"v": 2}


def test_a_link_that_leads_back_up_ends(tmp_path: Path) -> None:
    write(tmp_path, {"a.rego": "package a"})
    (tmp_path / "loop").symlink_to(".")
    assert fingerprint(tmp_path)


def test_a_directory_that_keeps_changing_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, {"a.rego": "package a"})
    states = iter(str(number) for number in range(100))
    monkeypatch.setattr("sidecar.adapters.policy.files.fingerprint", lambda _: next(states))
    with pytest.raises(Misconfigured, match="keeps changing"):
        read_policy(tmp_path, with_library=False)


LARGE = '{"acme": {"roles": {"reader": ["*"]}}, "note": "' + "x" * 1000 + '"}'


def test_json_beyond_a_bound_is_left_to_the_engine(tmp_path: Path) -> None:
    write(tmp_path, {"sidecar/grants/data.json": LARGE, "small/data.json": "{}"})
    assert read_policy(tmp_path, with_library=False).documents == {}

    def large() -> PolicyFiles:
        return read_policy(tmp_path, with_library=False, read_bytes=100)

    before = large()
    assert (before.data, before.documents) == ({"small": {}}, {"sidecar/grants/data.json": LARGE})
    assert revision_of(before) == revision_of(large())
    write(tmp_path, {"sidecar/grants/data.json": LARGE + " "})
    assert revision_of(before) != revision_of(large())
