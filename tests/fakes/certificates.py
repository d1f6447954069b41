"""Certificates for upstreams in tests: good ones, and each kind of bad one."""

from __future__ import annotations

import ipaddress
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = timedelta(days=1)


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _begun(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePrivateKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )


class Authority:
    """A certificate authority; ``file`` is its PEM.

    One that is not ``identified`` writes none of the key identifiers of RFC 5280, like many a private one.
    """

    def __init__(self, folder: Path, name: str = "test authority", *, identified: bool = True) -> None:
        self.folder = folder
        self._name = _name(name)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._identified = identified
        now = datetime.now(UTC)
        made = _begun(self._name, self._name, self._key, now - DAY, now + DAY).add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        if identified:
            signs = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
            itself = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
            made = made.add_extension(signs, critical=True).add_extension(itself, critical=False)
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM))

    def client(self, name: str = "sidecar", days: float = 2) -> bytes:
        """PEM of a client's key and certificate, good for ``days`` from now (or since, where negative)."""
        key = ec.generate_private_key(ec.SECP256R1())
        now = datetime.now(UTC)
        certificate = self._named(
            _begun(_name(name), self._name, key, now - 30 * DAY, now + days * DAY).add_extension(
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
            )
        ).sign(self._key, hashes.SHA256())
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return private + certificate.public_bytes(Encoding.PEM)

    def _named(self, certificate: x509.CertificateBuilder) -> x509.CertificateBuilder:
        """With the identifier of the key that signs it, where this authority writes them."""
        if not self._identified:
            return certificate
        signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key())
        return certificate.add_extension(signer, critical=False)

    def wants_clients(self, context: ssl.SSLContext) -> ssl.SSLContext:
        """``context``, now of a server that talks to nobody without a certificate of this authority."""
        context.verify_mode = ssl.CERT_REQUIRED
        context.load_verify_locations(self.file)
        return context

    def server(
        self,
        *names: str,
        expired: bool = False,
        early: bool = False,
        self_signed: bool = False,
        wrong_usage: bool = False,
    ) -> ssl.SSLContext:
        """A server's context with a certificate for ``names`` (host names or IP addresses)."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(
            self.pem(*names, expired=expired, early=early, self_signed=self_signed, client=wrong_usage)
        )
        return context

    def pem(
        self,
        *names: str,
        expired: bool = False,
        early: bool = False,
        self_signed: bool = False,
        client: bool = False,
    ) -> Path:
        """A file with a private key and its certificate, for a server or for a client."""
        key = ec.generate_private_key(ec.SECP256R1())
        usage = ExtendedKeyUsageOID.CLIENT_AUTH if client else ExtendedKeyUsageOID.SERVER_AUTH
        subject = _name("common.example")
        now = datetime.now(UTC)
        since, until = now + DAY if early else now - 3 * DAY, now - DAY if expired else now + 2 * DAY
        made = (
            _begun(subject, subject if self_signed else self._name, key, since, until)
            .add_extension(x509.SubjectAlternativeName([_alternative(name) for name in names]), critical=False)
            .add_extension(x509.ExtendedKeyUsage([usage]), critical=False)
        )
        certificate = (made if self_signed else self._named(made)).sign(
            key if self_signed else self._key, hashes.SHA256()
        )
        file = self.folder / f"{certificate.serial_number:x}.pem"
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        file.touch(mode=0o600)
        file.write_bytes(private + certificate.public_bytes(Encoding.PEM))
        return file


def _alternative(name: str) -> Any:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)
