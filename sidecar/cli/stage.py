"""The demo's stage: a real upstream over TLS, a sealed credential, a configuration, and a sidecar of its own.

Everything lives in one folder and on 127.0.0.1; every process started here is ended here, by its own id.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.cli import keys
from sidecar.cli.stage_vault import PATH, DemoVault
from sidecar.errors import Unavailable
from sidecar.model.secret import Secret

UPSTREAM_HOST: Final = "httpbin.demo.internal"
_START_SECONDS: Final = 30.0
_POLL_SECONDS: Final = 0.02


class Caller(NamedTuple):
    """A principal of the demo and its API key."""

    principal: str
    key: str


class Stage:
    """Set up in ``folder``; ``access`` and ``metrics`` are the ports of the sidecar's doors; ``vault`` a program."""

    def __init__(self, folder: Path, vault: Path | None = None) -> None:
        self.folder = folder
        self.upstream, self.access, self.metrics, port = free_ports(4)
        self.vault = DemoVault(vault, port) if vault is not None else None
        self.secret = "demo-" + secrets.token_hex(16)
        self.agent = Caller("researcher", "")
        self.stranger = Caller("visitor", "")
        self._processes: list[subprocess.Popen[bytes]] = []

    def build(self) -> None:
        """Write certificates, credential, policy and configuration."""
        make_certificates(self.folder / "tls", UPSTREAM_HOST)
        if self.vault is None:
            store = self.folder / "credentials"
            store.mkdir(mode=0o700)
            master_key.create(store / "master.key")
            SealedStore(store, store / "master.key").put("httpbin-token", Secret(self.secret))
        made = {name: keys.make(name, name) for name in ("researcher", "visitor")}
        self.agent = Caller("researcher", made["researcher"].key)
        self.stranger = Caller("visitor", made["visitor"].key)
        (self.folder / "policy").mkdir()
        self.write_grants(["httpbin/lookup", "metadata/*"])
        document = self._configuration(made["researcher"].sha256, made["visitor"].sha256)
        (self.folder / "sidecar.yaml").write_text(document)

    def write_grants(self, grants: list[str]) -> None:
        """What the policy data grants the researcher, replaced in one step."""
        data = {"sidecar": {"grants": {"acme": {"principals": {"researcher": grants}}}}}
        fresh = self.folder / "policy" / ".data.json.new"
        fresh.write_text(json.dumps(data, indent=2) + "\n")
        fresh.replace(self.folder / "policy" / "data.json")

    def start_vault(self) -> None:
        """Start the vault, if there is one, and give it the secret. Raises ``Unavailable``."""
        if self.vault is not None:
            port = self.vault.port
            self._start("vault", self.vault.command, self.vault.environment)
            self._wait("vault", lambda: accepts(port))
            self.vault.provide(self.secret, self.folder)

    def start(self) -> None:
        """Start vault, upstream and sidecar, and wait until they serve. Raises ``Unavailable``."""
        self.start_vault()
        tls = self.folder / "tls"
        upstream = [sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{self.upstream}", "--threads", "4"]
        upstream += ["--keyfile", str(tls / "server.key"), "--certfile", str(tls / "server.pem"), "httpbin:app"]
        self._start("upstream", upstream)
        self._wait("upstream", lambda: accepts(self.upstream))
        ready = self.folder / "ready"
        self._start("sidecar", [sys.executable, "-m", "sidecar", "run", "--ready-file", str(ready)])
        self._wait("sidecar", ready.exists)

    def stop(self) -> None:
        """End both, the sidecar first so that it drains."""
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(_START_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def remove(self) -> None:
        """Delete the folder."""
        shutil.rmtree(self.folder)

    def _start(self, name: str, command: list[str], environment: Mapping[str, str] = os.environ) -> None:
        with (self.folder / f"{name}.log").open("wb") as log:
            process = subprocess.Popen(  # noqa: S603  # our own interpreter, no shell
                command, cwd=self.folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environment)
            )
        self._processes.append(process)

    def _wait(self, name: str, serves: Callable[[], bool]) -> None:
        until = time.monotonic() + _START_SECONDS
        while not serves():
            ended = self._processes[-1].poll() is not None
            if ended or time.monotonic() > until:
                tail = (self.folder / f"{name}.log").read_text(errors="replace")[-2000:]
                raise Unavailable("internal_error", f"The demo's {name} did not start:\n{tail}")
            time.sleep(_POLL_SECONDS)

    def _configuration(self, agent_sha256: str, stranger_sha256: str) -> str:
        reference = "encrypted://httpbin-token" if self.vault is None else f"vault://{PATH}#token"
        vault = "" if self.vault is None else self.vault.section()
        return f"""\
# An agent, an upstream that wants a bearer token, and the plane by which the agent names it.
tenant: acme
principals:
  researcher:
    roles: [analyst]
    keys: [{{id: researcher, sha256: "{agent_sha256}"}}]
  visitor:
    tenant: globex
    keys: [{{id: visitor, sha256: "{stranger_sha256}"}}]
credentials:
  httpbin-token:
    reference: {reference}
    hosts: ["{UPSTREAM_HOST}:{self.upstream}"]
    connectors: [httpbin]
    positions: [bearer]
connectors:
  httpbin:
    kind: http
    base_url: https://{UPSTREAM_HOST}:{self.upstream}
    ca_file: tls/ca.pem
    auth: {{style: bearer, credential: httpbin-token}}
    operations:
      lookup:
        method: POST
        path: /anything/articles/{{topic}}
        effect: read
        body: {{limit: "{{limit}}"}}
        parameters:
          type: object
          additionalProperties: false
          required: [topic]
          properties:
            topic: {{type: string, minLength: 1, maxLength: 80}}
            limit: {{type: integer, minimum: 1, maximum: 20}}
      remove:
        method: DELETE
        path: /anything/articles/{{topic}}
        parameters:
          type: object
          additionalProperties: false
          required: [topic]
          properties: {{topic: {{type: string}}}}
  metadata:
    kind: http
    base_url: http://169.254.169.254
    operations:
      read: {{method: GET, path: /latest/meta-data/}}
sources:
  articles: {{connector: httpbin}}
planes:
  articles: {{source: articles, actions: {{query: [lookup]}}}}
destinations:
  httpbin: {{name: {UPSTREAM_HOST}, port: {self.upstream}, networks: [127.0.0.0/8], addresses: [127.0.0.1]}}
{vault}doors:
  access: "127.0.0.1:{self.access}"
  metrics: "127.0.0.1:{self.metrics}"
  admin: null
"""


def make_certificates(folder: Path, host: str) -> None:
    """Write ``ca.pem``, ``server.pem`` and ``server.key`` for ``host`` and 127.0.0.1, good for a day."""
    folder.mkdir(mode=0o700)
    now = datetime.now(UTC)
    ca_key = ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "policy-sidecar demo CA")])
    key_usage = x509.KeyUsage(False, False, False, False, False, True, True, False, False)
    ca = (
        _certificate(ca_name, ca_name, ca_key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(key_usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    names = x509.SubjectAlternativeName([x509.DNSName(host), x509.IPAddress(ip_address("127.0.0.1"))])
    server = (
        _certificate(name, ca_name, key.public_key(), now)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(names, critical=False)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "server.pem").write_bytes(server.public_bytes(serialization.Encoding.PEM))
    (folder / "server.key").touch(0o600)
    (folder / "server.key").write_bytes(private)


def _certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
    )


def free_ports(count: int) -> list[int]:
    """Ports of 127.0.0.1 that nobody listens on now."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


def accepts(port: int) -> bool:
    """Whether somebody listens on this port of 127.0.0.1."""
    try:
        socket.create_connection(("127.0.0.1", port), 0.5).close()
    except OSError:
        return False
    return True
