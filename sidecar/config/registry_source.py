"""Whether the registry can be where the configuration says it is."""

from __future__ import annotations

from typing import Final

from sidecar.config.document import JsonPath
from sidecar.config.faults import Faults
from sidecar.config.remote_source import check_reference
from sidecar.config.sections import Config, RegistrySection
from sidecar.config.shape import SHAPED_LIKE_ONE, looks_secret

_PATH: Final[JsonPath] = ("registry", "postgres")


def check_registry(config: Config, faults: Faults) -> None:
    """Add an error where there are two places, or where the URL of a shared one cannot be had."""
    reference = config.registry.postgres
    if reference is None:
        return
    if config.registry.sqlite != RegistrySection().sqlite:
        faults.error("overlap", _PATH, "a registry is in one place: name a PostgreSQL or an SQLite file")
    scheme, _, locator = reference.partition("://")
    if scheme == "env" and not config.store.allow_environment:
        message = "env:// is for development only: set store.allow_environment, or store the URL sealed"
        faults.error("environment_refused", _PATH, message)
    check_reference(reference, _PATH, config, faults, "registry_unavailable")
    if looks_secret(locator):
        faults.error("raw_secret", _PATH, SHAPED_LIKE_ONE)
