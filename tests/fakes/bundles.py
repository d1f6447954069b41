"""Real bundles: built and signed by the OPA that the package carries, or put together by hand where OPA would not."""

from __future__ import annotations

import base64
import gzip
import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sidecar.adapters.policy.library import opa_executable

ALLOW = 'package sidecar.custom\n\nallow if input.principal.id == "agent"\n'
DENY = 'package sidecar.custom\n\ndeny contains {"code": "closed", "message": "Closed."}\n'
Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey


@cache
def key(name: str = "release", algorithm: str = "RS256") -> Private:
    """A key a name, made once a process."""
    if algorithm == "ES256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def private_pem(made: Private) -> bytes:
    return made.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())


def public_pem(made: Private) -> bytes:
    return made.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def weak_key() -> Private:
    """Too short to be used."""
    return rsa.generate_private_key(public_exponent=65537, key_size=1024)


def base64url(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()


def written_key(folder: Path, name: str = "release", algorithm: str = "RS256") -> Path:
    """The public key ``name`` as a file."""
    path = folder / f"{name}.pem"
    path.write_bytes(public_pem(key(name, algorithm)))
    return path


def manifest(sequence: int | None = 1, revision: str = "r1") -> str:
    metadata = {} if sequence is None else {"metadata": {"sequence": sequence}}
    return json.dumps({"revision": revision, "roots": ["sidecar"], **metadata})


def lay_out(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def bundle(
    files: Mapping[str, str] | None = None,
    *,
    sequence: int | None = 1,
    revision: str = "r1",
    signer: str | None = "release",
    algorithm: str = "RS256",
    key_id: str | None = None,
    claims: Mapping[str, Any] | None = None,
) -> bytes:
    """A bundle of ``files`` as ``opa build`` makes it, signed by the key ``signer`` unless that is None."""
    with tempfile.TemporaryDirectory() as work:
        folder, out = Path(work, "bundle"), Path(work, "out.tar.gz")
        lay_out(
            folder,
            {".manifest": manifest(sequence, revision), **({"custom.rego": ALLOW} if files is None else files)},
        )
        command = [str(opa_executable()), "build", "--bundle", ".", "--output", str(out)]
        if signer is not None:
            secret = Path(work, "key.pem")
            if algorithm.startswith("HS"):
                secret.write_bytes(public_pem(key(signer)))  # the confusion: a public key taken for a shared secret
                command += ["--signing-key", secret.read_text()]
            else:
                secret.write_bytes(private_pem(key(signer, algorithm)))
                command += ["--signing-key", str(secret)]
            command += ["--signing-alg", algorithm, "--verification-key-id", key_id or signer]
            if claims is not None:
                Path(work, "claims.json").write_text(json.dumps(claims))
                command += ["--claims-file", str(Path(work, "claims.json"))]
        subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=30)
        return out.read_bytes()


def unpacked(archive: bytes) -> dict[str, bytes]:
    """The files of a bundle, as they are named in it."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        return {member.name: reader.read() for member in tar if (reader := tar.extractfile(member)) is not None}


def packed(files: Mapping[str, bytes]) -> bytes:
    """Any files as a gzipped tar archive."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in files.items():
            head = tarfile.TarInfo(name)
            head.size = len(content)
            tar.addfile(head, io.BytesIO(content))
    return gzip.compress(out.getvalue(), 1)


def packed_member(member: tarfile.TarInfo, content: bytes = b"") -> bytes:
    """An archive with a rule, and one member of any kind."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        rule = tarfile.TarInfo("custom.rego")
        rule.size = len(ALLOW)
        tar.addfile(rule, io.BytesIO(ALLOW.encode()))
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    return gzip.compress(out.getvalue(), 1)
