"""TLS towards upstreams: verification is always on, and a failure says which part of it failed (A98, S09)."""

from __future__ import annotations

import os
import ssl
from pathlib import Path
from typing import Final

from sidecar.errors import Misconfigured

_CAUSES: Final = {
    9: "its certificate is not valid yet",
    10: "its certificate has expired",
    18: "its certificate is self-signed",
    19: "its certificate chain ends in a self-signed certificate that is not trusted",
    20: "its certificate is signed by an authority that is not trusted",
    21: "its certificate is signed by an authority that is not trusted",
    23: "its certificate is revoked",
    24: "its certificate is signed by a certificate that is no authority",
    26: "its certificate is not meant for servers",
    62: "its certificate is for another name",
    64: "its certificate is for another address",
}  # OpenSSL's X509_V_ERR_* numbers


def client_context(ca_file: Path | None, certificate: bytes | None = None) -> ssl.SSLContext:
    """A verifying context: TLS 1.2 or newer, HTTP/1.1 only, names from the subject alternative names alone.

    With ``ca_file`` (PEM) only its authorities are trusted, otherwise the system's; ``certificate`` (PEM, the key and
    the chain) proves us. Reads files: make it once and keep it. Raises ``Misconfigured``.
    """
    # not create_default_context(): it would write session keys to the file that SSLKEYLOGFILE names
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.hostname_checks_common_name = False
    context.set_alpn_protocols(["http/1.1"])
    if certificate is not None:
        _load_certificate(context, certificate)
    if ca_file is None:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
        return context
    try:
        context.load_verify_locations(cafile=ca_file)
    except ssl.SSLError:
        raise Misconfigured(f"{ca_file} holds no PEM certificates") from None
    except OSError as error:
        raise Misconfigured(f"the CA file {ca_file} cannot be read: {error.strerror}") from None
    return context


def _load_certificate(context: ssl.SSLContext, pem: bytes) -> None:
    """``ssl`` takes certificates from files only: this one is in memory, has no name, and is gone on return."""
    file = os.memfd_create("certificate", os.MFD_CLOEXEC)
    try:
        os.write(file, pem)
        # An empty password: OpenSSL would ask the terminal for that of an encrypted key.
        context.load_cert_chain(f"/proc/self/fd/{file}", password=lambda: b"")
    except (ssl.SSLError, OSError):
        raise Misconfigured("the client certificate is no PEM of an unencrypted key and its certificate") from None
    finally:
        os.close(file)


def verifies(context: ssl.SSLContext) -> bool:
    """Whether the context checks both the chain and the name."""
    return context.verify_mode is ssl.CERT_REQUIRED and context.check_hostname


def explain(error: ssl.SSLError, host: str) -> str:
    """One sentence for the caller: which host, and what class of failure. Never OpenSSL's own text."""
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"{host} could not be verified: {_CAUSES.get(error.verify_code, 'its certificate is not acceptable')}"
    return f"the TLS handshake with {host} failed"
