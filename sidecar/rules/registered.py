"""What ``sidecar.yaml`` declares, together with what the registry holds: one configuration.

The documents of the registry's rows, by kind:

========= ==========================================================================================
connector ``{"section": {...}, "status": ...}``: the section as in the file, a status of ``rules.lifecycle``
source    the same
plane     ``{"section": {...}, "status": "active" | "inactive"}``
principal ``{"section": {...}}``, without keys, which are rows of their own
role      id ``<principal>:<role>``: ``{"principal": ..., "role": ...}``
key       ``{"principal": ..., "sha256": ..., "expires": microseconds or null}``
tenant    ``{"status": "active" | "suspended", "reason": ...}``
========= ==========================================================================================

The file goes first: a row whose id the file declares too, and one that no longer fits together with the rest, is set
aside with its faults, and everything else is served.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, NamedTuple

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from sidecar.config import cross
from sidecar.config.authority import base_url, host_port
from sidecar.config.document import JsonPath
from sidecar.config.faults import Fault, Faults
from sidecar.config.fields import Sha256
from sidecar.config.kinds import KINDS, NOT_BUILT
from sidecar.config.load import entry
from sidecar.config.sections import Config, ConnectorSection, Key, PrincipalSection
from sidecar.model.registry import CONNECTOR, KEY, PLANE, PRINCIPAL, ROLE, SOURCE, TENANT
from sidecar.rules.catalogue import Standing
from sidecar.rules.lifecycle import COMPLETED, IN_SERVICE

At = tuple[str, str]  # kind and id of a row
Documents = Mapping[At, dict[str, Any]]

MAPS: Final = {PRINCIPAL: "principals", CONNECTOR: "connectors", SOURCE: "sources", PLANE: "planes"}
KINDS_HELD: Final = frozenset({*MAPS, ROLE, KEY, TENANT})
ACTIVE, SUSPENDED = "active", "suspended"
_NOUNS: Final = {name: kind for kind, name in MAPS.items()}


class Combined(NamedTuple):
    """The configuration to serve, what admins decided beside it, and the rows set aside, each with its faults."""

    config: Config
    standing: Standing
    faults: dict[At, tuple[Fault, ...]]


class _Placed(Struct, frozen=True, forbid_unknown_fields=True):
    section: dict[str, Any]
    status: str


class _Person(Struct, frozen=True, forbid_unknown_fields=True):
    section: dict[str, Any]


class _Granted(Struct, frozen=True, forbid_unknown_fields=True):
    principal: str
    role: str


class _Proof(Struct, frozen=True, forbid_unknown_fields=True):
    principal: str
    sha256: Sha256
    expires: int | None


class _Record(Struct, frozen=True, forbid_unknown_fields=True):
    status: Literal["active", "suspended"]
    reason: str


_FORMS: Final[dict[str, type[Struct]]] = {
    CONNECTOR: _Placed,
    SOURCE: _Placed,
    PLANE: _Placed,
    PRINCIPAL: _Person,
    ROLE: _Granted,
    KEY: _Proof,
    TENANT: _Record,
}
UNREADABLE_TENANT: Final = {"status": SUSPENDED, "reason": "The tenant's record in the registry cannot be read."}


def is_readable(kind: str, document: object) -> bool:
    """Whether a row has the form this version writes. What has not was written by something else: not believed."""
    try:
        msgspec.convert(document, _FORMS[kind])
    except msgspec.ValidationError:
        return False
    return True


def combine(declared: Config, documents: Documents) -> Combined:
    """Everything that fits together. Takes as long as reading the whole file does: not for the event loop."""
    faults: dict[At, tuple[Fault, ...]] = {}
    sections: dict[str, dict[str, Any]] = {kind: {} for kind in MAPS}
    for (kind, id), document in sorted(documents.items()):
        if kind in MAPS and document.get("status", ACTIVE) in COMPLETED:
            found = Faults("registry")
            section = _section(kind, id, document.get("section"), declared, found)
            if section is None:
                faults[kind, id] = tuple(found.errors)
            else:
                sections[kind][id] = section
    people = {**declared.principals, **sections[PRINCIPAL]}
    _add_roles(documents, people, faults)
    _add_keys(documents, people, faults)
    config = _fitting(declared, sections, people, faults)
    return Combined(config, _standing(declared, documents), faults)


def _section(kind: str, id: str, document: Any, declared: Config, faults: Faults) -> Any:
    path: JsonPath = (MAPS[kind], id)
    if id in getattr(declared, MAPS[kind]):
        faults.error("declared", path, "the configuration declares this id; choose another one", key=True)
        return None
    if kind == CONNECTOR and isinstance(document, dict) and document.get("kind") in NOT_BUILT:
        message = f"this version has no connectors of that kind; it has: {', '.join(KINDS)}"
        faults.error("not_built", (*path, "kind"), message)
        return None
    read = entry(MAPS[kind], id, document, faults)
    section = None if read is None else getattr(read, MAPS[kind])[id]
    for field, message in _not_here(kind, section, declared):
        faults.error("only_in_the_file", (*path, field), message)
    return None if faults.errors else section


def _not_here(kind: str, section: Any, declared: Config) -> Iterator[tuple[str, str]]:
    """What a row may not say, because only the file's owner decides it."""
    if kind == CONNECTOR and section is not None and section.ca_file is not None:
        yield "ca_file", "it names a file of the sidecar's machine; declare such a connector in sidecar.yaml"
    if kind == PRINCIPAL and section is not None:
        if section.keys:
            yield "keys", "keys are made by themselves: POST /v1/keys"
        if section.tenant not in (None, declared.tenant):
            yield "tenant", "the registry holds principals of its own tenant only"
        if section.kind == "system":
            yield "kind", "principals of kind system are the sidecar's own parts"


def _add_roles(
    documents: Documents, people: dict[str, PrincipalSection], faults: dict[At, tuple[Fault, ...]]
) -> None:
    for (kind, id), document in sorted(documents.items()):
        if kind != ROLE:
            continue
        section = people.get(document["principal"])
        found = Faults("registry")
        if section is None:
            faults[kind, id] = (_gone(kind, id),)
        elif entry("principals", document["principal"], {"roles": [document["role"]]}, found) is None:
            faults[kind, id] = tuple(found.errors)
        elif document["role"] not in section.roles:
            people[document["principal"]] = replace(section, roles=(*section.roles, document["role"]))


def _add_keys(documents: Documents, people: dict[str, PrincipalSection], faults: dict[At, tuple[Fault, ...]]) -> None:
    known = _key_ids(people)
    for (kind, id), document in sorted(documents.items()):
        if kind != KEY:
            continue
        section = people.get(document["principal"])
        if section is None:
            faults[kind, id] = (_gone(kind, id),)
        elif id in known:
            message = "the configuration has a key of this id"
            faults[kind, id] = (Fault("declared", "registry", None, None, f"keys.{id}", message),)
        else:
            key = Key(id=id, sha256=document["sha256"])
            people[document["principal"]] = replace(section, keys=(*section.keys, key))


def _key_ids(people: Mapping[str, PrincipalSection]) -> set[str]:
    return {key.id for section in people.values() for key in section.keys}


def _gone(kind: str, id: str) -> Fault:
    return Fault("unknown_reference", "registry", None, None, f"{kind}s.{id}", "its principal is not there any more")


def _fitting(
    declared: Config,
    sections: dict[str, dict[str, Any]],
    people: dict[str, PrincipalSection],
    faults: dict[At, tuple[Fault, ...]],
) -> Config:
    """The configuration without what does not fit. Taking one away may make another unfit: it is looked at again."""
    while True:
        config = replace(
            declared,
            principals=people,
            connectors={**declared.connectors, **sections[CONNECTOR]},
            sources={**declared.sources, **sections[SOURCE]},
            planes={**declared.planes, **sections[PLANE]},
        )
        found = Faults("registry")
        cross.check(config, found)
        if not found.errors:
            return config
        blamed: dict[At, list[Fault]] = {}
        faulty = list(zip(found.paths, found.errors, strict=True))
        # A clash may end when the one that is wrong by itself is gone: nobody is blamed for it before.
        alone = [pair for pair in faulty if pair[1].code != "overlap"]
        for path, fault in alone or faulty:
            for at in _blamed(path, sections, config):
                blamed.setdefault(at, []).append(fault)
        if not blamed:  # nothing the registry holds explains it: the file alone was good, so it alone is served
            blamed = {(kind, id): list(found.errors) for kind, named in sections.items() for id in named}
            people = dict(declared.principals)
        for (kind, id), why in blamed.items():
            faults[kind, id] = tuple(why)
            sections[kind].pop(id, None)
            if kind == PRINCIPAL:
                people.pop(id, None)
        if not blamed:
            return declared


def _blamed(path: JsonPath, sections: dict[str, dict[str, Any]], config: Config) -> Iterator[At]:
    section, id = path[0], str(path[1]) if len(path) > 1 else ""
    if section == "credentials":  # the file's credential is not for the connector that would use it
        for name, connector in sections[CONNECTOR].items():
            if connector.auth and connector.auth.credential == id and not _may_use(name, connector, config, id):
                yield CONNECTOR, name
        return
    kind = _NOUNS.get(str(section))
    if kind is not None and id in sections[kind]:
        yield kind, id


def _may_use(name: str, connector: ConnectorSection, config: Config, credential: str) -> bool:
    bound = config.credentials[credential]
    try:
        base = base_url(connector.base_url)
    except ValueError:  # told at the connector itself
        return True
    hosts = {host_port(text) for text in bound.hosts}
    return name in bound.connectors and (base.host, base.port) in hosts


def _standing(declared: Config, documents: Documents) -> Standing:
    """What rows say beside their sections; of an id that the file declares they say nothing."""
    tenant = documents.get((TENANT, declared.tenant), {})
    keys = _key_ids(declared.principals)
    return Standing(
        suspended=tenant.get("status") == SUSPENDED,
        inactive=frozenset(
            at
            for at, document in documents.items()
            if at[0] in MAPS
            and document.get("status", ACTIVE) not in IN_SERVICE
            and at[1] not in getattr(declared, MAPS[at[0]])
        ),
        expires={
            id: document["expires"]
            for (kind, id), document in documents.items()
            if kind == KEY and document.get("expires") is not None and id not in keys
        },
    )
