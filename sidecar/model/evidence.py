"""The durable record of intent and outcome.

A leaf is the stored bytes of one record: deterministic JSON of at most 65,535 bytes, in the field order below.
The Merkle tree (RFC 6962) is over these bytes. Low-entropy values appear only as HMAC-SHA-256 under the tenant's
key; what may be shown appears as it is.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

LEAF_VERSION = 1
LEAF_LIMIT = 65_535

INTENT, OUTCOME, REFUSAL, CHUNK, CHANGE = "intent", "outcome", "refusal", "chunk", "change"
CREDENTIAL = "credential"  # the kind of a change of a credential, beside those of the registry


class CredentialUse(Struct, frozen=True, omit_defaults=True):
    """Which credential a call used; never its value."""

    ref: str
    version: str | None = None


class DestinationUse(Struct, frozen=True, omit_defaults=True):
    """Where a call went: the checked name, and the address that was dialled."""

    host: str
    port: int
    ip: str | None = None
    sni: str | None = None
    peer: str | None = None


class Result(Struct, frozen=True, omit_defaults=True):
    """What came back. ``hash`` is the HMAC of the bytes the agent was given; of a stream's, of their SHA-256."""

    status: int | None = None
    bytes: int = 0
    hash: str | None = None


class Attachment(Struct, frozen=True, omit_defaults=True):
    """A sealed document stored beside the leaf, outside the tree: the SHA-256 of its ciphertext, and its key."""

    sha256: str
    key: str


class Change(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What an administrator changes in the registry: two records of kind ``change``, by the leaf's ``principal``.

    The first is durable before the registry is written: it names the row, the verb and the digests of its document
    ``before`` and ``after`` (HMAC-SHA-256, as of the sidecar's log that records it; absent where there is none). The
    second, with the index of the first in ``of``, is durable before the change is acknowledged: with the ``version``
    that was written, or with the leaf's ``code``: ``conflict`` (nothing was written), ``registry_unavailable``
    (whether it was is not known; the registry shows it).

    The kind ``credential`` is of a store of credentials: ``id`` is the reference, ``verb`` store, rotate, amend or
    delete, and ``before`` and ``after`` are digests of the terms (type, end, promised rotations), never of a value.
    The version is in the leaf's ``credential``: of the first record the one that is changed, of the second the one
    that is there now. ``store_unavailable`` is the ``code`` where it is not known whether it was changed.

    The kind ``activation`` is a policy's: ``id`` and ``after`` are its revision, ``before`` the one that decided till
    then, ``version`` the line of the history. A bundle that was refused is one record, with the reason as ``code``;
    one that the history could not take is two, and was not activated.
    """

    kind: str  # of the row: model.registry.KINDS; or credential
    id: str
    verb: str  # put | remove; of a credential store | rotate | amend | delete
    version: int | None = None
    before: str | None = None
    after: str | None = None
    of: int | None = None


class Leaf(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One record. ``time`` and ``timings`` are microseconds (UTC epoch, durations)."""

    v: int
    kind: str
    origin: str
    index: int
    call_id: str
    time: int
    tenant: str
    principal: str | None = None
    key: str | None = None  # id of the API key that was shown
    surface: str = ""
    action: str | None = None
    plane: str | None = None
    connector: str | None = None
    operation: str | None = None
    session: str | None = None
    intent: int | None = None  # index of the intent that an outcome or chunk belongs to
    input_hash: str | None = None
    attachment: Attachment | None = None
    bundle: str | None = None  # revision of the policy that decided
    decision: bool | None = None
    code: str | None = None  # of a refusal
    reasons: tuple[dict[str, str], ...] = ()
    obligations: dict[str, Any] | None = None
    destination: DestinationUse | None = None
    credential: CredentialUse | None = None
    idempotency_key: str | None = None
    result: Result | None = None
    timings: dict[str, int] | None = None
    count: int | None = None  # how many messages a counted refusal stands for
    peer: str | None = None
    change: Change | None = None  # of kind change, and only there


class Receipt(Struct, frozen=True):
    """A durable record's place: evidence id ``origin/index``."""

    origin: str
    index: int

    @property
    def id(self) -> str:
        """The evidence id, as agents and auditors quote it."""
        return f"{self.origin}/{self.index}"
