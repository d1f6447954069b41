"""The access log of credentials (M14): who used which version of which credential when, for which call, and what came
of it; read from the evidence, which no access goes around.

A call's outcome names the credential it used, also where it could not be resolved, had expired or was refused by the
upstream. A refusal before the intent is one access only where the credential itself was misused: no other resolves
any. A change by an administrator is one more line of the same history. The intents that an ended process left without
an outcome are ``unknown``: their credential may have been sent.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final, NamedTuple

from sidecar.model.admin import Access
from sidecar.model.credential import Reference
from sidecar.model.evidence import CHANGE, CREDENTIAL, INTENT, OUTCOME, REFUSAL, Leaf
from sidecar.operations.tenant.bindings import place_in, place_of
from sidecar.ports import EvidenceReader

USE: Final = "use"
ALLOWED, DONE, UNKNOWN = "allowed", "done", "unknown"
MISUSED: Final = "credential_misused"
SCANNED: Final = 20_000  # records looked at for one page
_CHUNK: Final = 1_000
_CLOCK_STEP: Final = 3_600_000_000  # microseconds: so far a clock that was put back may have mixed the order of times


class Wanted(NamedTuple):
    """Which accesses; None is any. ``references`` are unversioned, and name every field where they name none."""

    references: tuple[Reference, ...] | None = None
    version: str | None = None
    principal: str | None = None
    connector: str | None = None
    since: int | None = None  # microseconds since the epoch


class AccessLog:
    """``unknown`` gives the indices of the intents whose process ended before their outcome."""

    def __init__(self, reader: EvidenceReader, tenant: str, unknown: Callable[[], Collection[int]]) -> None:
        self._reader = reader
        self._tenant = tenant
        self._unknown = unknown

    async def recent(self, wanted: Wanted, limit: int, before: int | None) -> tuple[list[Access], int | None]:
        """Newest first below record ``before``; and the ``before`` of the next page, None where there is none.

        At most ``SCANNED`` records are looked at, so a page may come short. Raises
        ``Unavailable("evidence_unavailable")``.
        """
        found: list[Access] = []
        unknown = frozenset(self._unknown())
        for _ in range(SCANNED // _CHUNK):
            leaves, following = await self._reader.recent(wanted.principal, _CHUNK, before)
            for leaf in leaves:
                if wanted.since is not None and leaf.time < wanted.since - _CLOCK_STEP:
                    return found, None
                access = _access(leaf, unknown) if leaf.tenant == self._tenant else None
                if access is None or not _fits(access, wanted):
                    continue
                found.append(access)
                if len(found) == limit:
                    return found, leaf.index or None
            if following is None:
                return found, None
            before = following
        return found, before


def _access(leaf: Leaf, unknown: frozenset[int]) -> Access | None:
    change, uses = leaf.change, leaf.credential is not None
    if leaf.kind == CHANGE and change is not None and change.kind == CREDENTIAL and change.of is not None:
        return _line(leaf, change.verb, leaf.code or DONE)
    if leaf.kind == OUTCOME and uses:
        return _line(leaf, USE, leaf.code or ALLOWED)
    if leaf.kind == REFUSAL and leaf.code == MISUSED:
        return _line(leaf, USE, MISUSED)
    if leaf.kind == INTENT and uses and leaf.index in unknown:
        return _line(leaf, USE, UNKNOWN)
    return None


def _line(leaf: Leaf, verb: str, code: str) -> Access:
    credential = leaf.credential
    return Access(
        evidence_id=f"{leaf.origin}/{leaf.index}",
        at=leaf.time,
        verb=verb,
        reference=credential.ref if credential else None,
        version=credential.version if credential else None,
        principal=leaf.principal,
        key_id=leaf.key,
        surface=leaf.surface,
        connector=leaf.connector,
        operation=leaf.operation,
        call_id=leaf.call_id,
        code=code,
        reasons=tuple(reason["code"] for reason in leaf.reasons),
        status=leaf.result.status if leaf.result else None,
    )


def _fits(access: Access, wanted: Wanted) -> bool:
    if wanted.since is not None and access.at < wanted.since:
        return False
    if wanted.connector is not None and access.connector != wanted.connector:
        return False
    if wanted.version is not None and access.version != wanted.version:
        return False
    if wanted.references is None:
        return True
    return access.reference is not None and any(_names(one, access.reference) for one in wanted.references)


def _names(reference: Reference, text: str) -> bool:
    """Whether ``text``, a reference as a record has it, is of this credential, in whatever version."""
    _, _, field = text.partition("#")
    return place_in(text) == place_of(reference) and reference.field in (None, field)
