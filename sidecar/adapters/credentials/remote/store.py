"""What a remote store of secrets is to the rest of the house: asked in threads, with one set of reasons.

A store speaks to one vault. It is never called on the event loop; ``cached`` calls it in a few threads of its own,
keeps what it gives as ciphertext, and lets nothing outlive its ``seconds``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple, Protocol

from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret

# Why a secret did not come: the code is for dashboards and agents, the sentence says who can do what about it.
# Neither names an address, a path or a policy of the store.
FAILURES: Final[Mapping[str, str]] = {
    "store_sealed": "The credential store is sealed: whoever operates it must unseal it.",
    "store_unreachable": "The credential store cannot be reached.",
    "store_slow": "The credential store did not answer in time.",
    "store_failing": "The credential store answers with failures of its own.",
    "store_untrusted": "The credential store's certificate is not trusted: configure its authority.",
    "store_login_refused": "The credential store refuses the sidecar's login: renew the login, or grant its role.",
    "store_forbidden": "The credential store forbids the sidecar this credential: grant it to the sidecar's role.",
    "no_such_secret": "The credential store has no such credential, or it was deleted.",
    "no_such_version": "The credential store has no such version of the credential.",
    "no_such_field": "The credential has no such field.",
    "unusable_secret": "The credential is not text, or too short or too long to be one.",
    "other_tenant": "The reference names a path that this tenant may not use.",
    "version_conflict": "The credential was changed meanwhile: read it again, then rotate it.",
    "being_deleted": "A credential of this name waits for its deletion: restore it in the store, or let it go first.",
    "unusable_terms": "What the credential store says of the credential's end cannot be read: say its terms anew.",
    "too_many": "The tenant's paths hold more credentials than can be listed: configure narrower ones.",
    "lease_lost": "The credential's lease was revoked or has ended.",
    "source_closed": "The credential store is closed: the sidecar is ending, or has another configuration.",
}
# Nothing was said about the credential itself: what is held stays good until its lease ends.
OUTAGES: Final = frozenset({"store_sealed", "store_unreachable", "store_slow", "store_failing", "store_untrusted"})

LISTED: Final = 2000  # places of one store


class StoreFailure(Exception):
    """A secret did not come. ``code`` is a key of ``FAILURES``; nothing of the store's own words is kept."""

    def __init__(self, code: str) -> None:
        super().__init__(code, FAILURES[code])
        self.code = code

    @property
    def message(self) -> str:
        """The sentence for people."""
        return FAILURES[self.code]

    @property
    def is_outage(self) -> bool:
        """Whether the store did not answer at all; anything else is its answer, and holds at once."""
        return self.code in OUTAGES


class Loan(NamedTuple):
    """What must be given back: its id at the store, and the number of the login it hangs on."""

    id: str
    login: int


class Fetched(NamedTuple):
    """One answer of a store. A value that is no mapping has the one field ``""``."""

    fields: Mapping[str, Secret]
    version: str
    seconds: float  # it may be used for so long after it was asked for
    loan: Loan | None = None  # static values have none
    kind: str | None = None  # as its terms say
    expires: int | None = None  # microseconds since the epoch, as its terms say


class Store(Protocol):
    """Each method blocks, for a bounded time, and raises ``StoreFailure``."""

    def fetch(self, reference: Reference) -> Fetched:
        """Everything at the reference's place; its field is not looked at."""

    def renew(self, loan: Loan, /) -> float:
        """The seconds a loan goes on for; 0 where it cannot be renewed and must be replaced before it ends."""

    def give_back(self, loan: Loan, /) -> None:
        """End a loan now."""

    def close(self) -> None:
        """Log out, which ends whatever hangs on the login."""


class KeptStore(Store, Protocol):
    """A store that is administered, too: ``sidecar.ports.CredentialStore`` in threads, of terms and values that were
    looked at already. Each method blocks for some exchanges, and raises ``StoreFailure`` and ``Refused``.
    """

    def about(self, reference: Reference) -> About:
        """What may be shown of one place."""

    def list(self) -> Sequence[About]:
        """What may be shown of every place that the tenant may name; at most ``LISTED``."""

    def write(self, reference: Reference, secret: Secret, terms: Terms, expected: str | None) -> About:
        """Store a value over version ``expected``, or where there is none."""

    def amend(self, reference: Reference, terms: Terms, expected: str) -> About:
        """Give the value of version ``expected`` other terms."""

    def delete(self, reference: Reference, expected: str) -> None:
        """Delete it."""
