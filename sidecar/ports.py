"""What the inside needs from the outside: Protocols of one to five methods.

Adapters implement them, ``wiring`` chooses, ``pipeline/handle.py`` awaits them. Every port has one contract suite
under ``tests/contract`` that runs on each of its adapters and on its fake.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from sidecar.model.credential import About, Credential, Reference, Terms
from sidecar.model.decision import Permit, Reads, Verdict
from sidecar.model.evidence import Leaf, Receipt
from sidecar.model.exchange import Destination, Inbound, Outbound
from sidecar.model.registry import Row
from sidecar.model.secret import Secret


class PolicyEngine(Protocol):
    """Answers ``data.sidecar.authz.decision`` for one input document (JSON bytes).

    Raises ``Unavailable("policy_unavailable")`` when there is no policy, it fails or it does not answer in time.
    """

    @property
    def revision(self) -> str | None:
        """SHA-256 over the loaded policy and data, as ``sha256:<hex>``; None before the first load."""

    @property
    def reads_destination(self) -> bool:
        """Whether the decision depends on ``input.destination``: then it is asked again after resolving."""

    async def evaluate(self, document: bytes) -> Verdict:
        """Decide one input."""

    async def evaluate_all(self, documents: Sequence[bytes]) -> list[Verdict]:
        """Decide many inputs by one revision, away from the event loop."""


class Analysed(Protocol):
    """A ``PolicyEngine`` that knows what its policy reads. The answers of one that does not are not cached."""

    @property
    def reads(self) -> Reads | None:
        """Of the active policy: the same object until another policy is loaded, None before the first load."""


class CredentialSource(Protocol):
    """Resolves references of one scheme. Raises ``Unavailable("credential_unavailable")``."""

    async def resolve(self, reference: Reference) -> Credential:
        """The secret and its version."""


@runtime_checkable
class Refreshing(Protocol):
    """A ``CredentialSource`` that keeps what it resolved, and can be told that an upstream took it no more."""

    async def refresh(self, reference: Reference, refused: str) -> Credential:
        """The credential past every cache, unless what is kept is another version than the ``refused`` one already.

        So many calls that were refused at once cost one resolution. Raises ``Unavailable("credential_unavailable")``.
        """


class CredentialIndex(Protocol):
    """Shows what a ``CredentialStore`` keeps, and raises as one does."""

    async def about(self, reference: Reference) -> About:
        """What may be shown of one credential."""

    async def list(self) -> Sequence[About]:
        """What may be shown of every credential that the tenant may name here, by reference."""


class CredentialStore(CredentialIndex, Protocol):
    """Keeps the credentials of one scheme, for administrators: it takes values and never gives one.

    A reference names no version: changes are made over the newest. ``expected`` is the version a change is made
    over, as ``about`` gave it; the terms of a change are all of its terms, so that None takes one away. A change that
    returned holds for every call that begins after it.

    Raises, without a value in any of them:

    - ``Refused("unknown_credential")`` where there is none (any more), and ``Refused("conflict")`` where it is there
      already, or has another version than ``expected``;
    - ``Refused("tenant_mismatch")`` for a place that is not this tenant's, before anything is asked (C06);
    - ``Refused("invalid_payload")`` for a value or terms that nothing could be done with, and for a reference that
      cannot be one of this store;
    - ``Refused("read_only")`` where somebody else must change it; the detail says who and how;
    - ``Unavailable("store_unavailable")`` where the store is down, sealed or slow, or forbids it, with that reason. A
      change that raised it may have happened where the answer was lost, and is never half done: no value is in use
      without the terms it was stored with.
    """

    async def store(self, reference: Reference, secret: Secret, terms: Terms, expected: str | None) -> About:
        """Store a value: over version ``expected``, or where there is none (None)."""

    async def amend(self, reference: Reference, terms: Terms, expected: str) -> About:
        """Give the value of version ``expected`` other terms; the value and its version stay."""

    async def delete(self, reference: Reference, expected: str) -> None:
        """Delete it: no version of it resolves any more. One of several fields that a store keeps together is taken
        out of the newest version, and the others stay.
        """


class Caller(Protocol):
    """Sends one request to one checked destination. Raises ``UpstreamFailure``.

    ``permit`` is the proof that policy allowed it; its obligations bound time and bytes.
    """

    async def call(self, permit: Permit, connector: str, destination: Destination, request: Outbound) -> Inbound:
        """One request, one answer. The answer's body is bytes, or an iterator for a streaming operation."""


class Resolver(Protocol):
    """Looks a host name up. Raises ``Unavailable("destination_forbidden")`` when the lookup fails (A29)."""

    async def resolve(self, name: str) -> tuple[str, ...]:
        """Every address of the name, in the order given; one lookup a call (A25)."""


class EvidenceLog(Protocol):
    """Makes records durable. Raises ``Unavailable("evidence_unavailable")``."""

    @property
    def origin(self) -> str:
        """The name of this log; the first half of every evidence id."""

    def writable(self) -> bool:
        """Whether a new intent would be accepted now."""

    async def append(self, leaf: Leaf, document: bytes | None = None) -> Receipt:
        """Return once ``leaf`` (its origin, index and time set by the log) and its sealed document are durable.

        A caller that is cancelled while it waits leaves the record in line. An intent's caller is not interrupted:
        the place is returned, and ``Task.cancelling`` says that it was stopped. It owes the intent an outcome.
        """

    def digest(self, data: bytes) -> str:
        """HMAC-SHA-256 under the tenant's key, hex: for values that must not be guessed from their hash."""


class EvidenceReader(Protocol):
    """Reads records back."""

    async def read(self, index: int) -> Leaf | None:
        """One record, or None where there is none."""

    async def recent(self, principal: str | None, limit: int, before: int | None) -> tuple[list[Leaf], int | None]:
        """Newest first, only ``principal``'s own unless None; and the ``before`` of the next page, or None."""


class RegistryFeed(Protocol):
    """What changed in a registry. Raises ``Unavailable("registry_unavailable")``."""

    async def changes(self, after: int, limit: int) -> list[Row]:
        """Rows whose sequence is greater than ``after``, by sequence, removed ones included; at most ``limit``.

        A row that was written several times comes once, as it is now.
        """


class RegistryStore(RegistryFeed, Protocol):
    """What changes at run time, for the one tenant the store was opened for; every row is checked to be theirs.

    Raises ``Unavailable("registry_unavailable")`` when the store does not answer in time, is full, or gives a row
    that is not the tenant's (INV-4); a write that raised it may have happened (a lost answer) or not, never half.
    ``Refused("conflict")`` where a row is not as the writer expected; ``Refused("invalid_payload")`` for a kind that
    is none of ``KINDS``, an empty or overlong id, or a document over 256 KiB of JSON.
    """

    async def get(self, kind: str, id: str) -> Row | None:
        """One row; None where there is none, or where it was removed."""

    async def find(self, kind: str, *, after: str | None = None, limit: int = 500) -> list[Row]:
        """Rows of a kind by id (code points), from the first id greater than ``after``; no removed ones."""

    async def put(self, kind: str, id: str, document: dict[str, Any], *, expected: int | None, by: str) -> Row:
        """Write a whole row over version ``expected``; None: there must be none now. Durable when it returns."""

    async def remove(self, kind: str, id: str, *, expected: int, by: str) -> Row:
        """Remove a row of version ``expected``; its last document stays with it. Durable when it returns."""


class Counter(Protocol):
    """Takes from a rate. Embedded: in process; shared: a server-side script."""

    async def take(self, key: str, per_second: float, burst: int) -> float | None:
        """None when taken; otherwise the seconds to wait (GCRA)."""


class Observer(Protocol):
    """Is told what happened; never fails, never blocks, never sees a secret."""

    def observe(self, event: str, fields: dict[str, Any]) -> None:
        """One event with a fixed name and fixed field names."""


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def now(self) -> int:
        """Microseconds since the epoch, UTC."""

    def monotonic(self) -> float:
        """Seconds that never go back (L05)."""

    async def pause(self, seconds: float) -> None:
        """Wait."""
