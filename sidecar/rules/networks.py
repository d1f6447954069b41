"""Which addresses may be dialled: our own table, because the common ones are wrong for this purpose.

Python's ``ipaddress.is_global`` is True for 64:ff9b::7f00:1, 2002:7f00:1::1, ::127.0.0.1, 168.63.129.16 and
224.0.0.1, and ``is_private`` misses 100.64.0.0/10. The table follows the IANA special-purpose registries (RFC 6890
and its updates) plus the metadata services of the clouds; of IPv6 only 2000::/3 is public. The most specific row
decides.

``public``    may be dialled.
``loopback``  and ``private`` only where the configuration grants them to exactly this name and port (A28).
``special``   never: not a place where a service lives, or a way around this table (NAT64, 6to4, Teredo).
``metadata``  never, even if granted: it hands out the machine's own credentials (A19, A20, S01).
"""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple

PUBLIC: Final = "public"
LOOPBACK: Final = "loopback"
PRIVATE: Final = "private"
SPECIAL: Final = "special"
METADATA: Final = "metadata"
GRANTABLE: Final = (LOOPBACK, PRIVATE)

_ROWS: Final = (
    ("0.0.0.0/0", PUBLIC, "a public address"),
    ("0.0.0.0/8", SPECIAL, "an address of this host on this network (RFC 791)"),
    ("10.0.0.0/8", PRIVATE, "a private network address (RFC 1918)"),
    ("100.64.0.0/10", PRIVATE, "a shared address (RFC 6598)"),
    ("100.100.100.200/32", METADATA, "a metadata service"),  # Alibaba Cloud
    ("127.0.0.0/8", LOOPBACK, "a loopback address (RFC 1122)"),
    ("168.63.129.16/32", METADATA, "a metadata service"),  # Azure's host channel, a public-looking address
    ("169.254.0.0/16", METADATA, "a link-local address (RFC 3927), where metadata services live"),
    ("172.16.0.0/12", PRIVATE, "a private network address (RFC 1918)"),
    ("192.0.0.0/24", SPECIAL, "a protocol assignment (RFC 6890)"),
    ("192.0.0.192/32", METADATA, "a metadata service"),  # Oracle Cloud, older
    ("192.0.2.0/24", SPECIAL, "a documentation address (RFC 5737)"),
    ("192.31.196.0/24", SPECIAL, "an AS112 sink (RFC 7535)"),
    ("192.52.193.0/24", SPECIAL, "a multicast tunnel relay (RFC 7450)"),
    ("192.88.99.0/24", SPECIAL, "a 6to4 relay (RFC 7526)"),
    ("192.168.0.0/16", PRIVATE, "a private network address (RFC 1918)"),
    ("192.175.48.0/24", SPECIAL, "an AS112 sink (RFC 7534)"),
    ("198.18.0.0/15", SPECIAL, "a benchmarking address (RFC 2544)"),
    ("198.51.100.0/24", SPECIAL, "a documentation address (RFC 5737)"),
    ("203.0.113.0/24", SPECIAL, "a documentation address (RFC 5737)"),
    ("224.0.0.0/4", SPECIAL, "a multicast address (RFC 5771)"),
    ("240.0.0.0/4", SPECIAL, "a reserved address (RFC 1112)"),
    ("::/0", SPECIAL, "not a global unicast address (RFC 4291)"),  # ::, ::/96, 64:ff9b::/96, 5f00::/16, fec0::/10 ...
    ("::1/128", LOOPBACK, "a loopback address (RFC 4291)"),
    ("2000::/3", PUBLIC, "a public address"),
    ("2001::/23", SPECIAL, "a protocol assignment, Teredo among them (RFC 2928, RFC 4380)"),
    ("2001:db8::/32", SPECIAL, "a documentation address (RFC 3849)"),
    ("2002::/16", SPECIAL, "a 6to4 address, which hides an IPv4 address (RFC 3056)"),
    ("2620:4f:8000::/48", SPECIAL, "an AS112 sink (RFC 7534)"),
    ("3ffe::/16", SPECIAL, "a returned test network (RFC 3701)"),
    ("3fff::/20", SPECIAL, "a documentation address (RFC 9637)"),
    ("fc00::/7", PRIVATE, "a unique local address (RFC 4193)"),
    ("fd00:42::42/128", METADATA, "a metadata service"),  # Scaleway
    ("fd00:c1::a9fe:a9fe/128", METADATA, "a metadata service"),  # Oracle Cloud
    ("fd00:ec2::/32", METADATA, "a metadata service"),  # AWS: ::254 the instance's, ::23 the pod's
    ("fd20:ce::254/128", METADATA, "a metadata service"),  # Google Cloud
    ("fe80::/10", METADATA, "a link-local address (RFC 4291)"),
    ("ff00::/8", SPECIAL, "a multicast address (RFC 4291)"),
)


class Row(NamedTuple):
    """A network as its first and last number, and what the table says of it."""

    first: int
    last: int
    kind: str
    reason: str


def _rows(version: int) -> tuple[Row, ...]:
    """The table of one IP version, the most specific row first."""
    networks = [(ip_network(text), kind, reason) for text, kind, reason in _ROWS]
    mine = sorted((row for row in networks if row[0].version == version), key=lambda row: -row[0].prefixlen)
    return tuple(Row(int(net[0]), int(net[-1]), kind, reason) for net, kind, reason in mine)


_TABLE: Final = {4: _rows(4), 6: _rows(6)}


class Judged(NamedTuple):
    """One address: its canonical text, and what the table says of it."""

    address: str
    version: int
    number: int
    kind: str
    reason: str


def find(version: int, first: int, last: int) -> Row:
    """The most specific row that holds a whole network."""
    return next(row for row in _TABLE[version] if row.first <= first and last <= row.last)


@lru_cache(maxsize=8192)
def judge(address: str) -> Judged:
    """What the table says of one address. An IPv4-mapped address is judged, and dialled, as its IPv4 address (A11).

    Raises ``ValueError`` when the text is not an IP address without a zone.
    """
    parsed: IPv4Address | IPv6Address = ip_address(address)
    if parsed.version == 6:
        if parsed.scope_id is not None:
            raise ValueError("an address with a zone")
        parsed = parsed.ipv4_mapped or parsed
    number = int(parsed)
    row = find(parsed.version, number, number)
    return Judged(str(parsed), parsed.version, number, row.kind, row.reason)
