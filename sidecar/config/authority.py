"""Hosts, ports and base URLs in the one spelling that a configuration may use: the canonical one.

What is canonical is ``model.hosts``'s to say. A file must already be written so, because two spellings of one host in
it would be two answers to the question whose a destination is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from sidecar.errors import Refused
from sidecar.model.hosts import BaseUrl, canonical_host, parse_authority, parse_base_url

Read = TypeVar("Read")


def host(text: str) -> str:
    """``text``, if it is the canonical spelling of a host; an IPv6 address in brackets, which are taken off.

    Raises ``ValueError`` with a sentence, like every function here.
    """
    read = _read(canonical_host, text)
    _settled(text, _shown(read))
    return read


def host_port(text: str) -> tuple[str, int]:
    """``host:port`` in parts."""
    name, port = _read(parse_authority, text)
    _settled(text, f"{_shown(name)}:{port}")
    return name, port


def base_url(text: str) -> BaseUrl:
    """A connector's base URL in parts. A sentence about a wrong one repeats none of it but its host."""
    authority = text.partition("//")[2].partition("/")[0]
    if "@" in authority:
        raise ValueError("a base URL has no user name and no password: use auth with a credential")
    base = _read(parse_base_url, text)
    shown = _shown(base.host)
    if authority != shown:
        _settled(authority, f"{shown}:{base.port}")
    return base


def _read(read: Callable[[str], Read], text: str) -> Read:
    try:
        return read(text)
    except Refused as refused:
        raise ValueError(refused.detail[:1].lower() + refused.detail[1:].removesuffix(".")) from None


def _shown(name: str) -> str:
    return f"[{name}]" if ":" in name else name


def _settled(text: str, canonical: str) -> None:
    if text != canonical:
        raise ValueError(f"write the host in its canonical form: {canonical}")
