"""The test tree mirrors the source tree: each module has its unit test file, and each unit test file its module."""

from __future__ import annotations

from tests.house.tree import SOURCE, UNIT, modules

EXCEPT = {"__init__.py", "__main__.py"}
SUPPORT = {"conftest.py", "fakes.py", "builders.py"}  # what tests share


def test_every_module_has_its_unit_test_file() -> None:
    wanted = {
        path.relative_to(SOURCE).with_name(f"test_{path.name}") for path in modules() if path.name not in EXCEPT
    }
    there = {path.relative_to(UNIT) for path in modules(UNIT)}
    assert not sorted(map(str, wanted - there))


def test_every_unit_test_file_has_its_module() -> None:
    files = [path.relative_to(UNIT) for path in modules(UNIT) if path.name not in EXCEPT | SUPPORT]
    assert not [str(path) for path in files if not path.name.startswith("test_")]
    gone = [path for path in files if not (SOURCE / path.with_name(path.name.removeprefix("test_"))).exists()]
    assert not sorted(map(str, gone))


def test_every_test_folder_is_a_package() -> None:
    """Files of one name in two folders would clash otherwise."""
    folders = {path.parent for path in modules(UNIT.parent)}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]
