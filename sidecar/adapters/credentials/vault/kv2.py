"""One secret of a kv version 2 mount as administrators see it: versions, terms in its custom metadata, check-and-set.

Each change is decided by the server in one step: a write names the version it is over. What is said of a value
(``remote.terms``) is written before the value, as the entry of the version to come, so that an exchange that fails in
between leaves the old value with its own terms. Two who write at once say so of one version to come; so who wrote it
says it again, in an entry that also has the version's time, which nobody knew before: that one counts.

A deleted secret has no value and no live version; a Vault operator can bring versions back until they are destroyed,
which the sidecar never does.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import hvac

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.remote.terms import PREFIX, changed, entry, found
from sidecar.adapters.credentials.vault.session import VaultSession
from sidecar.errors import Reason, Refused
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import check_version, earlier, micros, moment

_MERGE: Final = {"Content-Type": "application/merge-patch+json"}  # RFC 7396: null takes a member away
_SECOND: Final = 1_000_000


class State(NamedTuple):
    """What the server says of a secret without its value. ``number`` is of the newest version, 0 before the first."""

    number: int
    stamp: str  # the time of the newest version, as the server writes it
    alive: bool  # the newest version has a value now
    created: str
    updated: str
    ends: int | None  # when the server deletes the newest version by itself
    entries: Mapping[str, str]
    versions: frozenset[str]  # those that still have a value

    def terms(self) -> Terms:
        """Of the newest version."""
        return terms_of(self.entries, self.number, self.stamp)

    def about(self, reference: Reference) -> About:
        """What may be shown of it."""
        try:
            terms = self.terms()
        except StoreFailure:
            return About(reference=reference, kind=None, version=str(self.number), state="broken")
        return About(
            reference=reference,
            kind=terms.kind,
            version=str(self.number),
            created=self.created,
            updated=self.updated,
            expires=earlier(terms.expires, self.ends),
            rotate_days=terms.rotate_days,
        )


EMPTY: Final = State(0, "", False, "", "", None, {}, frozenset())


class Kv2Secret:
    """Blocks; raises ``StoreFailure`` and ``Refused``."""

    def __init__(self, session: VaultSession, mount: str, path: str, reference: Reference) -> None:
        self._session = session
        self._mount = mount
        self._path = path
        self._reference = reference

    def about(self) -> About:
        """Its newest version. Raises ``StoreFailure("no_such_field")`` for a field that it has not."""
        state = self._alive()
        if self._reference.field is not None and self._reference.field not in self._names():
            raise StoreFailure("no_such_field")
        return state.about(self._reference)

    def write(self, secret: Secret, terms: Terms, expected: str | None) -> About:
        """A new version with this field; the other fields stay."""
        name = self._reference.field
        if name is None:
            raise no_field()
        state = self._state()
        fields = self._fields(state) if state is not None and state.alive else {}
        check_version(str(state.number) if state is not None and name in fields else None, expected)
        self._put(state, {**fields, name: secret.reveal().decode()}, terms)
        return self._alive().about(self._reference)

    def amend(self, terms: Terms, expected: str) -> About:
        """Other terms for the version ``expected``."""
        check_version(self.about().version, expected)
        state = self._alive()
        self._say(state, _stamped(state.number, state.stamp), terms)
        about = self._alive().about(self._reference)
        check_version(about.version, expected)
        return about

    def delete(self, expected: str) -> None:
        """Without a field, or with the last one: every version. Otherwise the field, in a new version."""
        check_version(self.about().version, expected)
        state, name = self._alive(), self._reference.field
        fields = self._fields(state)
        others = {} if name is None else {key: value for key, value in fields.items() if key != name}
        self._put(state._replace(number=int(expected)), others, state.terms())
        if not others:
            versions = sorted({*map(int, state.versions), int(expected) + 1})
            self._session.run(
                lambda client: client.secrets.kv.v2.delete_secret_versions(
                    self._path, versions=versions, mount_point=self._mount
                )
            )

    def _put(self, state: State | None, fields: Mapping[str, Any], terms: Terms) -> None:
        """The next version over ``state``, its terms first."""
        number = state.number if state is not None else 0
        self._say(state, str(number + 1), terms)
        written, _ = self._session.run(
            lambda client: client.secrets.kv.v2.create_or_update_secret(
                path=self._path, secret=dict(fields), cas=number, mount_point=self._mount
            ),
            InvalidRequest="version_conflict",
        )
        data = written["data"]
        made = (state or EMPTY)._replace(entries=data.get("custom_metadata") or {})
        self._say(made, _stamped(number + 1, str(data["created_time"])), terms)

    def _say(self, state: State | None, version: str, terms: Terms) -> None:
        entries = state.entries if state is not None else {}
        kept = state.versions if state is not None else frozenset[str]()
        own = version.partition("-")[0]
        texts = changed(
            entries, version, terms, lambda one: one != version and (one == own or _number(one) not in {own, *kept})
        )
        if state is None:  # there is nothing to patch; made without entries, it takes away nobody else's
            self._session.run(
                lambda client: client.secrets.kv.v2.update_metadata(self._path, mount_point=self._mount)
            )
        patch = {"custom_metadata": {name: text or None for name, text in texts.items()}}
        self._session.run(
            lambda client: client.adapter.request(
                "patch", f"/v1/{self._mount}/metadata/{self._path}", headers=dict(_MERGE), json=patch
            )
        )

    def _alive(self) -> State:
        state = self._state()
        if state is None or not state.alive:
            raise StoreFailure("no_such_secret")
        return state

    def _state(self) -> State | None:
        try:
            answer, _ = self._session.run(
                lambda client: client.secrets.kv.v2.read_secret_metadata(self._path, mount_point=self._mount)
            )
        except StoreFailure as failure:
            if failure.code == "no_such_secret":
                return None
            raise
        return read_state(answer["data"])

    def _fields(self, state: State) -> dict[str, Any]:
        answer, _ = self._session.run(
            lambda client: read_kv2(client, self._mount, self._path, str(state.number)),
            InvalidPath="version_conflict",
        )
        return dict(answer["data"]["data"])

    def _names(self) -> frozenset[str]:
        """The names of the newest version's fields, without their values."""
        answer, _ = self._session.run(
            lambda client: client.adapter.request("get", f"/v1/{self._mount}/subkeys/{self._path}")
        )
        return frozenset(answer["data"]["subkeys"])


def terms_of(entries: Mapping[str, str], number: int, stamp: str) -> Terms:
    """The terms of version ``number``, which was made at ``stamp``."""
    own = _stamped(number, stamp)
    names = [name.removeprefix(PREFIX) for name in entries if name.startswith(PREFIX)]
    older = [name for name in names if _number(name).isdecimal() and int(_number(name)) < number]
    before = sorted(older, key=lambda name: (int(_number(name)), name), reverse=True)
    return found(entries, own if entry(own) in entries else str(number), before)


def read_state(data: Mapping[str, Any]) -> State:
    """The ``data`` of an answer about a secret's metadata."""
    now = time.time_ns() // 1000
    number = int(data["current_version"])
    versions: Mapping[str, Any] = data["versions"]
    newest = versions.get(str(number))
    ends = micros(newest["deletion_time"]) if newest and newest["deletion_time"] else None
    return State(
        number=number,
        stamp=str(newest["created_time"]) if newest else "",
        alive=newest is not None and _has_value(newest, now),
        created=_seconds(data["created_time"]),
        updated=_seconds(newest["created_time"] if newest else data["updated_time"]),
        ends=ends,
        entries=data.get("custom_metadata") or {},
        versions=frozenset(name for name, version in versions.items() if not version["destroyed"]),
    )


def read_kv2(client: hvac.Client, mount: str, path: str, version: str | None) -> Any:
    """One version of a secret, the newest by default."""
    return client.secrets.kv.v2.read_secret_version(
        path=path,
        version=int(version) if version is not None else None,
        mount_point=mount,
        raise_on_deleted_version=True,
    )


def no_field() -> Refused:
    """A value is one field of a secret."""
    message = "say which field of the secret holds the value: vault://path#field"
    return Refused("invalid_payload", message, [Reason("no_field", message)])


def _stamped(number: int, stamp: str) -> str:
    return f"{number}-{stamp}"


def _number(name: str) -> str:
    return name.partition("-")[0]


def _has_value(version: Mapping[str, Any], now: int) -> bool:
    return not version["destroyed"] and (not version["deletion_time"] or micros(version["deletion_time"]) > now)


def _seconds(text: str) -> str:
    return moment(micros(text) // _SECOND * _SECOND)
