"""Hosts, ports and base URLs in the one spelling that a configuration may use: the canonical one.

A name is lower-case letters, digits and inner hyphens (RFC 1123 section 2.1), international names as A-labels
(RFC 5891), an IPv4 address four plain decimals, an IPv6 address compressed (RFC 5952) and in brackets. Everything
else is refused here, so that no two spellings of one host can be in a file and no other reader sees another host.
"""

from __future__ import annotations

import re
from ipaddress import IPv4Address, IPv6Address
from typing import Final, NamedTuple

import idna

_LABEL: Final = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?", re.ASCII)
_NUMBER: Final = re.compile(r"[0-9]+|0x[0-9a-f]*", re.ASCII)  # what some readers take for an IPv4 address
_PORT: Final = re.compile(r"[1-9][0-9]{0,4}", re.ASCII)
_BASE: Final = re.compile(r"(https?)://([^/]+)((?:/(?!\.\.?(?:/|$))[A-Za-z0-9._~$+,=:@-]+)*)/?", re.ASCII)
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}


class Base(NamedTuple):
    """A base URL in parts; ``prefix`` is empty or starts with a slash and does not end with one."""

    scheme: str
    host: str
    port: int
    prefix: str


def host(text: str) -> str:
    """``text`` without brackets, if it is the canonical spelling of a host. Raises ``ValueError`` with a sentence."""
    if text.startswith("["):
        return _ipv6(text[1:-1] if text.endswith("]") else "")
    if ":" in text:
        raise ValueError("an IPv6 address must stand in brackets")
    labels = text.split(".")
    if _NUMBER.fullmatch(labels[-1]):
        return _ipv4(text)
    if len(text) > 253 or not all(map(_LABEL.fullmatch, labels)):
        raise ValueError("a host name has lower-case letters, digits, inner hyphens and dots only")
    if any(label.startswith("xn--") for label in labels) and not _international(text):
        raise ValueError("an international name must be in its canonical ASCII form (xn--)")
    return text


def _ipv4(text: str) -> str:
    try:
        return str(IPv4Address(text))
    except ValueError:
        raise ValueError("an IPv4 address is four plain decimal numbers") from None


def _ipv6(text: str) -> str:
    try:
        address = IPv6Address(text)
    except ValueError:
        raise ValueError("the IPv6 address is not valid") from None
    if address.compressed != text or address.ipv4_mapped is not None or address.scope_id is not None:
        raise ValueError("an IPv6 address must be in its shortest lower-case form, without zone, not an IPv4 address")
    return text


def _international(text: str) -> bool:
    try:
        return idna.encode(idna.decode(text)).decode("ascii") == text
    except UnicodeError:
        return False


def host_port(text: str, default: int | None = None) -> tuple[str, int]:
    """``host:port`` in parts. Raises ``ValueError`` with a sentence."""
    name, colon, number = text.rpartition(":")
    if not colon or number.endswith("]"):
        if default is None:
            raise ValueError("the port is missing")
        return host(text), default
    if not _PORT.fullmatch(number) or int(number) > 65535:
        raise ValueError("a port is a number from 1 to 65535")
    return host(name), int(number)


def base_url(text: str) -> Base:
    """A connector's base URL in parts. Raises ``ValueError`` with a sentence, which never repeats the URL."""
    if "@" in text.partition("//")[2].partition("/")[0]:
        raise ValueError("a base URL has no user name and no password: use auth with a credential")
    parts = _BASE.fullmatch(text)
    if parts is None:
        raise ValueError("a base URL is http:// or https://, a host, a port if need be and a plain path prefix")
    scheme, authority, prefix = parts.groups(default="")
    return Base(scheme, *host_port(authority, _DEFAULT_PORTS[scheme]), prefix)
