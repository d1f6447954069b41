"""One canonical form of a host, and the refusal of every other spelling.

Policy, credential and route are keyed on the host, so two spellings of one host must be one string, and a text that
another parser may read as another host must not pass at all. ``canonical_host`` gives

* a name as lower-case A-labels without a trailing dot (UTS 46, non-transitional, then IDNA 2008: RFC 5891), of
  letters, digits and inner hyphens only (RFC 1123 section 2.1; so ``my_host`` is refused);
* an IPv4 address as four plain decimals, an IPv6 address compressed and without brackets (RFC 5952); an IPv4-mapped
  one (``::ffff:a.b.c.d``) as the IPv4 address it stands for.

A name whose last label reads as a number is refused, because the WHATWG URL standard ("ends in a number") and
``getaddrinfo`` read 2130706433, 0x7f000001, 0177.0.0.1 and 127.1 as 127.0.0.1. A label of other characters that map
to plain ASCII (circled and fullwidth digits, soft hyphens) is refused too: it is a disguise, never a need.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from typing import Final, NamedTuple, NoReturn

import idna

from sidecar.errors import Refused

_NAME_LIMIT: Final = 253  # characters, RFC 1035 section 2.3.4 without the root's dot
_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*")
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}")
_PORT_LIMIT: Final = 65535
_BASE_URL: Final = re.compile(r"(https?)://([^/?#\\]+)(/[^?#]*)?")
_SEGMENT: Final = r"(?!\.\.?(?:/|$))(?:[A-Za-z0-9._~!$&'()*+,=:@-]|%(?!00|2[ef]|5c)[0-9a-f]{2})+"
_PREFIX: Final = re.compile(rf"(?:/{_SEGMENT})*/?", re.IGNORECASE)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class BaseUrl(NamedTuple):
    """A connector's base URL in parts: ``path_prefix`` is "" or starts, and never ends, with a slash."""

    scheme: str
    host: str
    port: int
    path_prefix: str


def _malformed(why: str) -> NoReturn:
    raise Refused("malformed", why)


def _ipv4(text: str) -> str | None:
    try:
        return str(IPv4Address(text))
    except AddressValueError:
        return None


def _ipv6(text: str) -> str:
    if "%" in text:
        _malformed("An IPv6 address with a zone is not accepted.")
    try:
        address = IPv6Address(text)
    except AddressValueError:
        _malformed("The host is not a valid IPv6 address.")
    mapped = address.ipv4_mapped
    return address.compressed if mapped is None else str(mapped)


def _a_label(label: str) -> str:
    """One label with characters beyond ASCII, or already in Punycode, as its canonical A-label."""
    # UTS 46 also maps other full stops to ours (A9); a dot inside a label is then refused.
    try:
        unicode = idna.ulabel(label) if label.isascii() else idna.uts46_remap(label, std3_rules=True)
        return idna.alabel(unicode).decode("ascii")
    except UnicodeError:  # IDNAError is one, and Punycode itself raises it
        _malformed("A label of the host is not valid in an internationalised name (IDNA 2008).")


def _label(label: str) -> str:
    if not label.isascii():
        encoded = _a_label(label)
        if not encoded.startswith("xn--"):
            _malformed("A label of the host spells plain letters or digits with other characters.")
        return encoded
    small = label.lower()
    if not _LABEL.fullmatch(small):
        _malformed("A label of the host is empty, too long, or holds more than letters, digits and inner hyphens.")
    if small.startswith("xn--") and _a_label(small) != small:
        _malformed("A label of the host is not canonical Punycode.")
    return small


def _name(text: str) -> str:
    labels = [_label(label) for label in text.removesuffix(".").split(".")]
    name = ".".join(labels)
    if len(name) > _NAME_LIMIT:
        _malformed(f"The host has more than {_NAME_LIMIT} characters.")
    if _NUMBER.fullmatch(labels[-1]):
        if name == "0":  # what systems take for 0.0.0.0 (A3)
            raise Refused("destination_forbidden", "The host 0 is the unspecified address.")
        _malformed("The host ends in a number and is not four plain decimals: it may be read as an IP address.")
    return name


@lru_cache(maxsize=4096)
def canonical_host(text: str) -> str:
    """The canonical form of a host name or IP literal; brackets around IPv6 are taken off.

    Idempotent. Raises ``Refused("malformed")`` for any odd form and ``Refused("destination_forbidden")`` for ``0``.
    """
    if not 0 < len(text) <= _NAME_LIMIT + 1:
        _malformed(f"The host is empty or has more than {_NAME_LIMIT} characters.")
    if text[0] == "[":
        if text[-1] != "]":
            _malformed("Only an IPv6 address may stand in brackets.")
        return _ipv6(text[1:-1])
    if ":" in text:
        return _ipv6(text)
    return _ipv4(text) or _name(text)


def is_ip_literal(host: str) -> bool:
    """Whether a canonical host is an address: only those hold a colon or end in a digit label."""
    return ":" in host or host.rpartition(".")[2].isdecimal()


def parse_port(text: str) -> int:
    """A port as 1 to 5 plain digits, 1 to 65535. Raises ``Refused("malformed")``."""
    if not _PORT.fullmatch(text) or int(text) > _PORT_LIMIT:
        _malformed("The port is not a number from 1 to 65535 in plain digits.")
    return int(text)


def parse_authority(text: str, default_port: int | None = None) -> tuple[str, int]:
    """``host:port`` as the canonical host and the port (RFC 9110 section 4.2, without userinfo).

    Without ``default_port`` the port must be there, as in CONNECT (RFC 9110 section 9.3.6). Raises ``Refused``.
    """
    bracket = text.find("]") + 1 if text.startswith("[") else 0
    host, colon, port = text[bracket:].partition(":")
    host = text[:bracket] + host
    if not bracket and ":" in port:
        _malformed("An IPv6 address must stand in brackets.")
    if colon:
        return canonical_host(host), parse_port(port)
    if default_port is None:
        _malformed("The authority has no port.")
    return canonical_host(host), default_port


def parse_base_url(text: str) -> BaseUrl:
    """A base URL of an operator: http or https, no userinfo, no query, no dot segments.

    Raises ``Refused``; the configuration turns it into its own error.
    """
    parts = _BASE_URL.fullmatch(text)
    if parts is None:
        _malformed("A base URL is http:// or https://, a host, and at most a port and a path.")
    scheme, authority, path = parts.groups(default="")
    if not _PREFIX.fullmatch(path):
        _malformed("The path of a base URL has an empty or dot segment, or a character that servers read apart.")
    host, port = parse_authority(authority, _DEFAULT_PORTS[scheme])
    return BaseUrl(scheme, host, port, path.removesuffix("/"))


def host_matches(pattern: str, host: str) -> bool:
    """Whether a canonical ``host`` is ``pattern``, or is below it where the pattern is ``*.name`` (A42).

    A wildcard covers any depth below the name, never the name itself and never an IP address.
    """
    if not pattern.startswith("*."):
        return host == pattern
    return host.endswith(pattern[1:]) and len(host) >= len(pattern) and not is_ip_literal(host)
