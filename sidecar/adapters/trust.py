"""TLS towards the parts beside the sidecar (OPA, Vault, servers of bundles): the same on every Python.

``ssl.create_default_context`` is not the same everywhere: from Python 3.13 on it refuses authorities without the key
identifiers of RFC 5280 section 4.2.1.1, which many a private one lacks and OpenSSL's own default takes; and it writes
session keys to the file that the variable SSLKEYLOGFILE names, with which whoever listens could read every token.
"""

from __future__ import annotations

import ssl
from pathlib import Path


def verifying(ca_file: Path | str | None = None) -> ssl.SSLContext:
    """A client's context: chain and name are verified, TLS 1.2 or newer, names from alternative names alone.

    With ``ca_file`` (PEM) only its authorities are trusted, otherwise the system's. Reads files; raises ``OSError``,
    of which ``ssl.SSLError`` is one.
    """
    context = untrusting()
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    else:
        context.load_verify_locations(ca_file)
    return context


def untrusting() -> ssl.SSLContext:
    """The same without any authority yet, for a library that brings them."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    return context
