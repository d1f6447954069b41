"""A private authority is trusted on every Python, whatever it leaves out; nobody else is."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path

import pytest

from sidecar.adapters.trust import untrusting, verifying
from tests.fakes.certificates import Authority


async def greet(server: ssl.SSLContext, client: ssl.SSLContext, name: str = "opa.test") -> None:
    """One handshake; raises what the client's side of it raises."""
    listening = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=server)
    async with listening:
        port = listening.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=client, server_hostname=name)
        writer.close()


@pytest.mark.parametrize("identified", [True, False])
async def test_an_authority_with_and_without_key_identifiers_is_trusted(tmp_path: Path, identified: bool) -> None:
    authority = Authority(tmp_path, identified=identified)
    await greet(authority.server("opa.test"), verifying(authority.file))


async def test_s09_another_authority_another_name_and_an_old_certificate_are_refused(tmp_path: Path) -> None:
    authority, other = Authority(tmp_path), Authority(tmp_path, "other authority")
    trusting = verifying(authority.file)
    for server, name in (
        (other.server("opa.test"), "opa.test"),
        (authority.server("opa.test"), "vault.test"),
        (authority.server("opa.test", expired=True), "opa.test"),
    ):
        with pytest.raises(ssl.SSLCertVerificationError):
            await greet(server, trusting, name)


async def test_nobody_is_trusted_before_authorities_are_brought(tmp_path: Path) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        await greet(Authority(tmp_path).server("opa.test"), untrusting())


@pytest.mark.parametrize("made", [verifying, untrusting])
def test_session_keys_are_written_nowhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: type[ssl.SSLContext]
) -> None:
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = made()
    assert not context.keylog_filename
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
