"""The grants of the configuration: which name and port may reach which loopback or private networks.

A grant never covers a public network, a metadata address, or a port of our own; a configuration that asks for one is
refused when it is read, and the address check would refuse it again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from ipaddress import IPv6Network, ip_network

from sidecar.config.sections import DestinationSection
from sidecar.errors import Misconfigured, Refused
from sidecar.rules.addresses import GRANTABLE, Grants, Range, find, is_localhost, judge
from sidecar.rules.hosts import canonical_host, is_ip_literal


def _grantable(where: str, text: str) -> Range:
    try:
        network = ip_network(text)
    except ValueError:
        raise Misconfigured(f"{where}: {text!r} is not a network such as 10.0.0.0/8 (no host bits set)") from None
    first, last = int(network[0]), int(network[-1])
    row = find(network.version, first, last)
    if row.kind not in GRANTABLE:
        hint = (
            " (write the IPv4 network instead)" if isinstance(network, IPv6Network) and first >> 32 == 0xFFFF else ""
        )
        raise Misconfigured(
            f"{where}: {text} is {row.reason}; only loopback and private networks can be granted{hint}"
        )
    return Range(network.version, first, last)


def _name(where: str, section: DestinationSection) -> str:
    try:
        return canonical_host(section.name)
    except Refused as refused:
        raise Misconfigured(f"{where}.name: {refused.detail}") from None


def compile_grants(destinations: Mapping[str, DestinationSection]) -> Grants:
    """The grants of the configuration, ready for the hot path.

    Raises ``Misconfigured`` for a bad name, a network that cannot be granted (public ones and metadata included),
    or a (name, port) that is granted twice.
    """
    ranges: dict[tuple[str, int], tuple[Range, ...]] = {}
    for key, section in destinations.items():
        where = f"destinations.{key}"
        name = _name(where, section)
        if (name, section.port) in ranges:
            raise Misconfigured(f"{where}: {name}:{section.port} is granted twice")
        ranges[name, section.port] = tuple(_grantable(f"{where}.networks", text) for text in section.networks)
    return Grants(ranges)


def static_addresses(destinations: Mapping[str, DestinationSection]) -> dict[str, tuple[str, ...]]:
    """The addresses that the configuration fixes, by canonical name: they are used instead of a lookup.

    Raises ``Misconfigured`` when one is not an address, is outside its grant's networks, or when one name has
    two different sets (a name is looked up without its port).
    """
    fixed: dict[str, tuple[str, ...]] = {}
    for key, section in destinations.items():
        if not section.addresses:
            continue
        where = f"destinations.{key}.addresses"
        name = _name(f"destinations.{key}", section)
        grants = compile_grants({key: section})
        for text in section.addresses:
            _granted_address(where, text, grants, name, section.port)
        addresses = tuple(judge(text).address for text in section.addresses)
        if fixed.setdefault(name, addresses) != addresses:
            raise Misconfigured(f"{where}: {name} has other addresses in another destination")
    return fixed


def _granted_address(where: str, text: str, grants: Grants, name: str, port: int) -> None:
    try:
        judged = judge(text)
    except ValueError:
        raise Misconfigured(f"{where}: {text!r} is not an IP address") from None
    if judged.kind not in GRANTABLE or not grants.permit(name, port, judged):
        raise Misconfigured(f"{where}: {text} is outside the networks of its destination")


def own_addresses(doors: Iterable[tuple[str, int]]) -> frozenset[tuple[str, int]]:
    """``own`` of ``check_addresses`` from host and port pairs; ``localhost`` stands for both loopbacks.

    Names other than localhost cannot be compared with addresses: look them up first. Raises ``Misconfigured``.
    """
    own: set[tuple[str, int]] = set()
    for host, port in doors:
        if is_localhost(host):
            own |= {("127.0.0.1", port), ("::1", port)}
        elif is_ip_literal(host):
            own.add((judge(host).address, port))
        else:
            raise Misconfigured(f"{host}:{port} must be given by address, so that it can be kept from being dialled")
    return frozenset(own)
