"""A credential source for tests of what stands above it: values in a dictionary, versions counted."""

from __future__ import annotations

from sidecar.errors import Unavailable
from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import SHORTEST, Secret


class HeldCredentials:
    """A ``CredentialSource`` of one scheme; ``resolved`` is every reference asked for, in order."""

    def __init__(self, scheme: str = "encrypted") -> None:
        self._scheme = scheme
        self._values: dict[str, tuple[str, int]] = {}
        self.resolved: list[Reference] = []

    def put(self, name: str, value: str) -> None:
        """Hold a value under a name; the version grows by one."""
        self._values[name] = (value, self._values.get(name, ("", 0))[1] + 1)

    def delete(self, name: str) -> None:
        """Forget a value."""
        del self._values[name]

    async def resolve(self, reference: Reference) -> Credential:
        self.resolved.append(reference)
        value, version = self._values.get(reference.locator, ("", 0))
        if reference.scheme != self._scheme or len(value) < SHORTEST:
            raise Unavailable("credential_unavailable", "the credential could not be resolved; nothing was sent")
        return Credential(Secret(value), str(version))
