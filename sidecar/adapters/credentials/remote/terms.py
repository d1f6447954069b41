"""Terms as a remote store keeps them beside a secret: an entry of text a version, in its metadata or its tags.

The entry of version V is called ``sidecar-terms-V`` and says what was said of that very value, such as
``kind=BEARER_TOKEN expires=2027-01-01T00:00:00Z rotate_days=90``, or ``none``. It is written before its version is in
use, so that no value is ever used without its terms. V is what the store calls a version, or more where the store
counts them and two who write at once would say so of the same one (``vault.kv2``). A version that somebody else wrote
has no entry: its kind and its rotation are those of the version before, and nobody said when it ends.

An entry that cannot be read is a refusal, not an absence: it may have held an end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Final

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.model.credential import Terms
from sidecar.rules.credential_terms import micros, moment
from sidecar.rules.credential_types import KINDS

PREFIX: Final = "sidecar-terms-"
_NONE: Final = "none"


def entry(version: str) -> str:
    """The name of a version's entry."""
    return f"{PREFIX}{version}"


def written(terms: Terms) -> str:
    """The text of an entry: characters that both Vault's metadata and AWS's tags may hold."""
    said = {
        "kind": terms.kind,
        "expires": None if terms.expires is None else moment(terms.expires),
        "rotate_days": terms.rotate_days,
    }
    return " ".join(f"{name}={value}" for name, value in said.items() if value is not None) or _NONE


def found(entries: Mapping[str, str], version: str, before: Iterable[str] = ()) -> Terms:
    """The terms of a version; ``before`` are the versions whose kind and rotation hold where it has no entry.

    Raises ``StoreFailure("unusable_terms")``.
    """
    if entry(version) in entries:
        return _read(entries[entry(version)])
    older = next((_read(entries[entry(one)]) for one in before if entry(one) in entries), Terms())
    return Terms(kind=older.kind, rotate_days=older.rotate_days)


def changed(entries: Mapping[str, str], version: str, terms: Terms, gone: Callable[[str], bool]) -> dict[str, str]:
    """The entries to write so that ``version`` has these terms, and "" for those whose version is ``gone``."""
    ours = [name for name in entries if name.startswith(PREFIX)]
    dropped = {name: "" for name in ours if gone(name.removeprefix(PREFIX))}
    return dropped | {entry(version): written(terms)}


def _read(text: str) -> Terms:
    if text == _NONE:
        return Terms()
    try:
        said = dict(part.split("=", 1) for part in text.split(" "))
        kind, expires, days = said.pop("kind", None), said.pop("expires", None), said.pop("rotate_days", None)
        if said or (kind is not None and kind not in KINDS):
            raise StoreFailure("unusable_terms")
        return Terms(
            kind=kind,
            expires=None if expires is None else micros(expires),
            rotate_days=None if days is None else int(days),
        )
    except ValueError:
        raise StoreFailure("unusable_terms") from None
