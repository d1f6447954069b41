"""TLS of the administrators' door: 1.2 or newer, and client certificates where an authority for them is named."""

from __future__ import annotations

import ssl
import stat
from pathlib import Path

from cryptography import x509

from sidecar.errors import Misconfigured


def admin_context(certificate: Path, key: Path, client_ca: Path | None) -> ssl.SSLContext:
    """A server's context. A client may show a certificate; one that is shown must verify.

    Raises ``Misconfigured`` for a file that cannot be read or used, and for a key that anybody may read.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        if key.stat().st_mode & stat.S_IRWXO:
            raise Misconfigured(f"doors.admin_tls.key: {key} may be read by everybody; chmod 600 it")
        context.load_cert_chain(certificate, key, password=_no_password)
        if client_ca is not None:
            context.load_verify_locations(client_ca)
            context.verify_mode = ssl.CERT_OPTIONAL
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        why = getattr(error, "strerror", None) or getattr(error, "reason", None) or type(error).__name__
        raise Misconfigured(f"doors.admin_tls: the certificate, key or authority cannot be used ({why})") from None
    return context


def names_of(certificate: Path) -> tuple[str, ...]:
    """The names and addresses that the door's own certificate is for, as they stand in a Host header."""
    try:
        parsed = x509.load_pem_x509_certificate(certificate.read_bytes())
        names = parsed.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (OSError, ValueError, x509.ExtensionNotFound):
        return ()
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName) if "*" not in name]
    for address in names.get_values_for_type(x509.IPAddress):
        hosts.append(f"[{address}]" if address.version == 6 else str(address))
    return tuple(hosts)


def _no_password() -> str:
    raise ValueError("the key is encrypted")
