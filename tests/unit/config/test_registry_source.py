"""A registry has one place, and the URL of a shared one is a reference."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from sidecar.config.sections import RegistrySection
from tests.unit.config.builders import changed, codes, examined, found, warned


def test_by_default_it_is_a_file_beside_the_configuration() -> None:
    assert RegistrySection() == RegistrySection(sqlite="registry.db", postgres=None, maximum_age_seconds=60.0)


def test_a_shared_registry_by_reference_is_right() -> None:
    assert codes(found(changed("registry", {"postgres": "encrypted://registry"}))) == []


@pytest.mark.parametrize(
    ("registry", "error"),
    [
        ({"postgres": "encrypted://registry", "sqlite": "other.db"}, ("overlap", "registry.postgres")),
        ({"postgres": "env://REGISTRY"}, ("environment_refused", "registry.postgres")),
    ],
)
def test_what_does_not_fit_is_told_at_its_place(registry: dict[str, Any], error: tuple[str, str]) -> None:
    assert codes(found(changed("registry", registry))) == [error]


def test_a_url_with_its_password_is_no_reference_and_is_not_repeated(tmp_path: Path) -> None:
    document = changed("registry", {"postgres": "postgresql://sidecar:hunter2@db.example/registry"})
    errors = examined(tmp_path, document).errors
    assert [fault.path for fault in errors] == ["registry.postgres"]
    assert "hunter2" not in str(errors)


def test_without_a_vault_its_url_cannot_be_had() -> None:
    assert ("no_vault", "registry.postgres") in warned(found(changed("registry", {"postgres": "vault://kv/r#url"})))
