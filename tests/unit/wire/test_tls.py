"""Contexts that verify, and failures that explain themselves."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

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
