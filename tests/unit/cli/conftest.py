from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.cli.builders import GOOD, TESTS


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    """A policy folder with one rule and its two tests."""
    (tmp_path / "custom.rego").write_text(GOOD)
    (tmp_path / "custom_test.rego").write_text(TESTS.format("globex"))
    return tmp_path


@pytest.fixture
def own_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The working folder is an empty one, and no variable names another configuration."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("SIDECAR_CONFIG", raising=False)
