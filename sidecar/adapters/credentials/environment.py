"""``env://NAME``: a secret from the environment, for development only.

An environment is inherited by every child, shown by ``/proc`` and printed by crash reporters, so this source refuses
to exist unless the configuration says ``store.allow_environment: true``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from sidecar.errors import Misconfigured, Reason, Refused, Unavailable
from sidecar.model.credential import About, Credential, Reference, Terms
from sidecar.model.secret import SHORTEST, Secret

_HOW: Final = "An environment variable is set where the sidecar is started, and read anew then."
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


class EnvironmentStore:
    """A ``CredentialStore`` that shows and refuses: who starts the sidecar sets its environment.

    ``names`` are the variables that the configuration refers to. It shows no other: not even that they are there.
    """

    def __init__(self, environ: Mapping[str, str], names: Iterable[str]) -> None:
        self._environ = environ
        self._names = sorted(set(names))

    async def about(self, reference: Reference) -> About:
        """That a variable is there."""
        _check(reference)
        if reference.locator not in self._names or len(self._value(reference.locator)) < SHORTEST:
            raise Refused("unknown_credential", "The configuration names no such variable, or it is not set.")
        return About(reference=reference, kind=None, version=_VERSION, changeable=False)

    async def list(self) -> Sequence[About]:
        """Every variable that the configuration refers to and that is set."""
        there = [name for name in self._names if len(self._value(name)) >= SHORTEST]
        return [await self.about(Reference("env", name)) for name in there]

    async def store(self, reference: Reference, _secret: Secret, _terms: Terms, _expected: str | None) -> About:
        """Refused."""
        raise _read_only(reference)

    async def amend(self, reference: Reference, _terms: Terms, _expected: str) -> About:
        """Refused."""
        raise _read_only(reference)

    async def delete(self, reference: Reference, _expected: str) -> None:
        """Refused."""
        raise _read_only(reference)

    def _value(self, name: str) -> str:
        return self._environ.get(name, "")


def _check(reference: Reference) -> None:
    if reference.scheme != "env" or reference.field is not None or reference.version is not None:
        message = "the environment keeps env://NAME, one value each"
        raise Refused("invalid_payload", message, [Reason("not_a_reference", message)])


def _read_only(reference: Reference) -> Refused:
    _check(reference)
    return Refused("read_only", _HOW, [Reason("read_only", _HOW)])
