"""``env://NAME``: a secret from the environment, for development only.

An environment is inherited by every child, shown by ``/proc`` and printed by crash reporters, so this source refuses
to exist unless the configuration says ``store.allow_environment: true``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import SHORTEST, Secret

_VERSION: Final = "environment"  # a variable has no version, and a hash of its value would help to guess it


class EnvironmentSource:
    """Resolves ``env://`` references from ``environ``, read anew at each call."""

    def __init__(self, environ: Mapping[str, str], *, allowed: bool) -> None:
        if not allowed:
            raise Misconfigured(
                "env:// references are for development only: set store.allow_environment, or store the secret sealed "
                "with `sidecar credentials put`"
            )
        self._environ = environ

    async def resolve(self, reference: Reference) -> Credential:
        """The variable's value. Raises ``Unavailable("credential_unavailable")`` where it is unset or too short."""
        value = self._environ.get(reference.locator, "") if reference.scheme == "env" else ""
        plain = value.encode("utf-8", "surrogateescape")
        if len(plain) < SHORTEST:
            raise Unavailable("credential_unavailable", "the credential could not be resolved; nothing was sent")
        return Credential(Secret(plain), _VERSION)
