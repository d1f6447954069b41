"""What administrators do to ``encrypted://`` credentials: a ``CredentialStore`` over the sealed store's folder.

The master key and the folder are looked at when something is asked, not before: a sidecar that uses no sealed
credential needs neither. What is wrong with them is for whoever runs the machine: a refusal has it as its cause only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final, TypeVar

from sidecar.adapters.credentials.sealed.folder import BROKEN, Entry, SealedFolder
from sidecar.adapters.credentials.sealed.private_files import Busy
from sidecar.errors import Misconfigured, Reason, Refused, Unavailable
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.references import check_identifier

SCHEME = "encrypted"
_BUSY: Final = Reason("store_busy", "Another change of it takes its time, such as a new master key: try again.")
_MISCONFIGURED: Final = Reason(
    "store_misconfigured",
    "Its master key, its folder or its disk is wrong: the same of `sidecar credentials`, beside them, says what.",
)
Result = TypeVar("Result")


class SealedCredentials:
    """A ``CredentialStore``. Every change is in the folder's lock, in a thread."""

    def __init__(self, directory: Path, key_file: Path) -> None:
        self._directory = directory
        self._key_file = key_file
        self._one = asyncio.Lock()  # calls need threads of the same pool

    async def about(self, reference: Reference) -> About:
        """What may be shown of one credential."""
        name = _name(reference)
        return _about(await self._asked(lambda folder: folder.entry(name)))

    async def list(self) -> Sequence[About]:
        """What may be shown of every credential of the folder."""
        return [_about(entry) for entry in await self._asked(lambda folder: folder.list())]

    async def store(self, reference: Reference, secret: Secret, terms: Terms, expected: str | None) -> About:
        """Store a value."""
        name = _name(reference)
        return _about(await self._asked(lambda folder: folder.store(name, secret, terms, expected)))

    async def amend(self, reference: Reference, terms: Terms, expected: str) -> About:
        """Give a value other terms."""
        name = _name(reference)
        return _about(await self._asked(lambda folder: folder.amend(name, terms, expected)))

    async def delete(self, reference: Reference, expected: str) -> None:
        """Remove a credential."""
        name = _name(reference)
        await self._asked(lambda folder: folder.delete(name, expected))

    async def _asked(self, work: Callable[[SealedFolder], Result]) -> Result:
        """``work`` in a thread, which goes on where the asker goes away: a change is whole, asked for or not."""
        try:
            async with self._one:
                return await asyncio.to_thread(lambda: work(SealedFolder(self._directory, self._key_file)))
        except (Misconfigured, OSError) as error:
            reason = _BUSY if isinstance(error, Busy) else _MISCONFIGURED
            raise Unavailable("store_unavailable", "The sealed store cannot be used.", [reason]) from error


def _name(reference: Reference) -> str:
    """The credential's name. Raises ``Refused("invalid_payload")`` for what cannot be one."""
    try:
        if reference.scheme != SCHEME or reference.field is not None or reference.version is not None:
            raise Misconfigured("the sealed store keeps encrypted://<id>, one value each")
        check_identifier(reference.locator)
    except Misconfigured as error:
        raise Refused("invalid_payload", error.detail, [Reason("not_a_reference", error.detail)]) from None
    return reference.locator


def _about(entry: Entry) -> About:
    reference = Reference(SCHEME, entry.id)
    if entry.head is None:
        return About(reference=reference, kind=None, version=BROKEN, state="broken")
    return About(
        reference=reference,
        kind=entry.head.kind,
        version=entry.version,
        created=entry.head.created,
        updated=entry.head.updated,
        expires=entry.ends,
        rotate_days=entry.head.terms().rotate_days,
    )
