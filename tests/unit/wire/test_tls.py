"""Contexts that verify, and failures that explain themselves."""

from __future__ import annotations

import os
import select
import ssl
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import BestAvailableEncryption, Encoding, PrivateFormat

from sidecar.errors import Misconfigured
from sidecar.wire.tls import client_context, explain, verifies
from tests.fakes.certificates import Authority


def test_a_context_verifies_and_speaks_http_1_1_only(tmp_path: Path) -> None:
    context = client_context(Authority(tmp_path).file)
    assert verifies(context)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
    assert not context.hostname_checks_common_name
    assert len(context.get_ca_certs()) == 1


def test_without_a_file_the_systems_authorities_are_trusted() -> None:
    assert verifies(client_context(None))


def test_session_keys_are_never_written_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    assert client_context(None).keylog_filename is None
    assert not (tmp_path / "keys").exists()


@pytest.mark.parametrize("content", [None, b"", b"not a certificate"])
def test_a_bad_ca_file_is_named(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Misconfigured, match=r"ca\.pem"):
        client_context(file)


def test_a_lax_context_does_not_verify(tmp_path: Path) -> None:
    context = client_context(Authority(tmp_path).file)
    context.check_hostname = False
    assert not verifies(context)


def failure(code: int) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "[SSL] certificate verify failed: internals (_ssl.c:1006)")
    error.verify_code = code
    return error


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (10, "expired"), (9, "not valid yet"), (18, "self-signed"), (19, "self-signed"), (20, "not trusted"),
        (26, "not meant for servers"), (62, "another name"), (64, "another address"), (9999, "not acceptable"),
    ],
)  # fmt: skip
def test_a98_the_reason_is_told_without_internals(code: int, words: str) -> None:
    text = explain(failure(code), "api.example")
    assert "api.example" in text
    assert words in text
    assert "_ssl" not in text


def test_other_failures_name_the_host_only() -> None:
    assert explain(ssl.SSLError(1, "[SSL] wrong version (_ssl.c:1)"), "h") == "the TLS handshake with h failed"


def test_a_client_certificate_is_loaded_from_memory_and_leaves_no_file(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    before = {path.name for path in Path("/proc/self/fd").iterdir()}
    client_context(authority.file, authority.client())
    assert {path.name for path in Path("/proc/self/fd").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == [authority.file.name]


def _encrypted() -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"canary"))


@pytest.mark.parametrize("kind", ["nothing", "noise", "key only", "encrypted", "another's key"])
def test_a_client_certificate_that_cannot_be_used_is_refused_without_a_word_of_it(tmp_path: Path, kind: str) -> None:
    authority = Authority(tmp_path)
    one, other = authority.client(), authority.client()
    cut = one.index(b"-----BEGIN CERTIFICATE")
    pem = {
        "nothing": b"",
        "noise": b"canary",
        "key only": one[:cut],
        "encrypted": _encrypted() + one[cut:],
        "another's key": one[:cut] + other[other.index(b"-----BEGIN CERTIFICATE") :],
    }[kind]
    with pytest.raises(Misconfigured) as refusal:
        client_context(authority.file, pem)
    assert "canary" not in str(refusal.value)


AT_A_TERMINAL = """
import fcntl, sys, termios
from pathlib import Path
from sidecar.errors import Misconfigured
from sidecar.wire.tls import client_context
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
try:
    client_context(None, Path("client.pem").read_bytes())
except Misconfigured:
    print("refused")
"""


def test_the_key_of_a_client_certificate_is_not_asked_for_at_a_terminal(tmp_path: Path) -> None:
    one = Authority(tmp_path).client()
    (tmp_path / "client.pem").write_bytes(_encrypted() + one[one.index(b"-----BEGIN CERTIFICATE") :])
    ours, theirs = os.openpty()
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    child = subprocess.Popen(
        [sys.executable, "-c", AT_A_TERMINAL],
        cwd=tmp_path, env=environment, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    while b"\n" not in said and select.select([ours], [], [], 30)[0]:
        said += os.read(ours, 200)
    child.kill()
    child.wait(30)
    os.close(ours)
    assert said == b"refused\r\n"
