"""The check of looked-up addresses before one is dialled, and the grants that widen it.

A grant is for exactly one name and port, and only for loopback and private networks. It never covers a public
network, a metadata address or a port of our own: a configuration that asks for one is refused when it is read, and
the check would refuse it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Final, NamedTuple, NoReturn

from sidecar.config.sections import DestinationSection
from sidecar.errors import Misconfigured, Reason, Refused
from sidecar.model.hosts import canonical_host, is_ip_literal
from sidecar.rules.networks import GRANTABLE, LOOPBACK, PUBLIC, Judged, find, judge

_UNSPECIFIED: Final = frozenset({str(IPv4Address(0)), str(IPv6Address(0))})
_MAPPED: Final = 0xFFFF  # the upper bits of ::ffff:0:0/96


class Range(NamedTuple):
    """A granted network as its first and last number."""

    version: int
    first: int
    last: int


class Grant(NamedTuple):
    """The loopback and private networks that one name and port may reach."""

    ranges: tuple[Range, ...]

    def covers(self, judged: Judged) -> bool:
        """Whether this address is in one of the networks."""
        return any(r.version == judged.version and r.first <= judged.number <= r.last for r in self.ranges)


Grants = Mapping[tuple[str, int], Grant]
Own = frozenset[tuple[str, int]]  # (address, port) of our own doors and of the parts beside us
NO_GRANT: Final = Grant(())


def _network(where: str, text: str) -> Range:
    try:
        network = ip_network(text)
    except ValueError:
        raise Misconfigured(f"{where}: {text!r} is not a network such as 10.0.0.0/8 (no host bits set)") from None
    first, last = int(network[0]), int(network[-1])
    row = find(network.version, first, last)
    if row.kind not in GRANTABLE:
        hint = "; write it as an IPv4 network" if network.version == 6 and first >> 32 == _MAPPED else ""
        raise Misconfigured(f"{where}: {text} is {row.reason}; only loopback and private networks are granted{hint}")
    return Range(network.version, first, last)


def _name(where: str, section: DestinationSection) -> str:
    try:
        return canonical_host(section.name)
    except Refused as refused:
        raise Misconfigured(f"{where}.name: {refused.detail}") from None


def compile_grants(destinations: Mapping[str, DestinationSection]) -> dict[tuple[str, int], Grant]:
    """The grants of the configuration by canonical name and port.

    Raises ``Misconfigured`` for a bad name, a network that cannot be granted (public ones and metadata included), or
    a (name, port) that is granted twice.
    """
    grants: dict[tuple[str, int], Grant] = {}
    for key, section in destinations.items():
        where = f"destinations.{key}"
        name = _name(where, section)
        if (name, section.port) in grants:
            raise Misconfigured(f"{where}: {name}:{section.port} is granted twice")
        grants[name, section.port] = Grant(tuple(_network(f"{where}.networks", text) for text in section.networks))
    return grants


def static_addresses(destinations: Mapping[str, DestinationSection]) -> dict[str, tuple[str, ...]]:
    """The addresses that the configuration fixes, by canonical name: they are used instead of a lookup.

    Raises ``Misconfigured`` when one is not an address or is outside its destination's networks, and when one name
    has two different sets (a name is looked up without its port).
    """
    fixed: dict[str, tuple[str, ...]] = {}
    for key, section in destinations.items():
        if not section.addresses:
            continue
        where = f"destinations.{key}"
        name = _name(where, section)
        grant = Grant(tuple(_network(f"{where}.networks", text) for text in section.networks))
        addresses = tuple(_fixed(f"{where}.addresses", text, grant) for text in section.addresses)
        if fixed.setdefault(name, addresses) != addresses:
            raise Misconfigured(f"{where}.addresses: another destination gives {name} other addresses")
    return fixed


def _fixed(where: str, text: str, grant: Grant) -> str:
    try:
        judged = judge(text)
    except ValueError:
        raise Misconfigured(f"{where}: {text!r} is not an IP address") from None
    if judged.kind not in GRANTABLE or not grant.covers(judged):
        raise Misconfigured(f"{where}: {text} is outside the networks of its destination")
    return judged.address


def own_addresses(doors: Iterable[tuple[str, int]]) -> Own:
    """``own`` of ``check_addresses`` from (host, port) pairs; ``localhost`` stands for both loopbacks.

    Raises ``Misconfigured`` for another name: look it up first, for names cannot be compared with addresses.
    """
    own: set[tuple[str, int]] = set()
    for host, port in doors:
        if _is_localhost(host):
            own |= {("127.0.0.1", port), ("::1", port)}
        elif is_ip_literal(host):
            own.add((judge(host).address, port))
        else:
            raise Misconfigured(f"{host}:{port}: give an IP address, so that it can be kept from being dialled")
    return frozenset(own)


def _is_localhost(host: str) -> bool:
    return host == "localhost" or host.endswith(".localhost")


def _is_own(judged: Judged, port: int, own: Own) -> bool:
    """A door on an unspecified address is behind every granted one, a loopback door behind all of 127.0.0.0/8."""
    if (judged.address, port) in own:
        return True
    if judged.kind == PUBLIC:
        return False
    doors = [address for address, door in own if door == port]
    loopback = judged.kind == LOOPBACK
    return any(door in _UNSPECIFIED or (loopback and judge(door).kind == LOOPBACK) for door in doors)


class _Found(NamedTuple):
    addresses: tuple[str, ...]
    judged: tuple[Judged, ...]


@lru_cache(maxsize=4096)
def _judge_all(addresses: tuple[str, ...]) -> _Found:
    judged = tuple(dict.fromkeys(judge(address) for address in addresses))
    return _Found(tuple(one.address for one in judged), judged)


def check_addresses(
    host: str,
    port: int,
    addresses: tuple[str, ...],
    grants: Grants,
    own: Own = frozenset(),
) -> tuple[str, ...]:
    """The canonical addresses to dial for a canonical ``host``. Raises ``Refused("destination_forbidden")``.

    Every address must pass, for whoever controls the name chooses which one is dialled (A26). ``own`` is never
    dialled, granted or not (A24, S04). The refusal says which kind of address stood in the way, never the address.
    """
    try:
        found = _judge_all(addresses)
    except ValueError:
        _forbid(host, "address_invalid", "one of its addresses is not one that can be dialled")
    if not found.addresses:
        _forbid(host, "no_address", "the name has no address")
    localhost = _is_localhost(host)
    for judged in found.judged:
        kind = judged.kind
        if kind != PUBLIC:
            _check_granted(host, port, judged, grants)
        if localhost and kind != LOOPBACK:
            _forbid(host, "address_localhost", "a localhost name has only loopback addresses (RFC 6761)")
        if _is_own(judged, port, own):
            _forbid(host, "address_own", "it is a port of the sidecar, or of a part beside it")
    return found.addresses


def _check_granted(host: str, port: int, judged: Judged, grants: Grants) -> None:
    code = f"address_{judged.kind}"
    if judged.kind not in GRANTABLE:
        _forbid(host, code, f"one of its addresses is {judged.reason}")
    if not grants.get((host, port), NO_GRANT).covers(judged):
        _forbid(host, code, f"one of its addresses is {judged.reason}, which no destination grants it")


def _forbid(host: str, code: str, why: str) -> NoReturn:
    raise Refused("destination_forbidden", f"{host} may not be reached: {why}.", (Reason(code, why),))
