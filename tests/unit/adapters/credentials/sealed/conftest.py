"""What the tests of the sealed store share."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.adapters.credentials.sealed import master_key


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """A new master key."""
    path = tmp_path / "master.key"
    master_key.create(path)
    return path
