"""The demo's stage: what it writes, and what becomes of a process that does not start."""

from __future__ import annotations

import json
import os
import socket
import ssl
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.cli import stage as module
from sidecar.cli.stage import UPSTREAM_HOST, Stage, make_certificates
from sidecar.config.load import read
from sidecar.errors import Unavailable
from sidecar.model.credential import Reference
from sidecar.wire.tls import client_context


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    built = Stage(tmp_path)
    built.build()
    yield built
    built.stop()


def _handshake(folder: Path, ca: Path, host: str) -> None:
    """A TLS handshake in memory: the demo's certificate before our own client."""
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(folder / "server.pem", folder / "server.key")
    up, down = ssl.MemoryBIO(), ssl.MemoryBIO()
    near = client_context(ca).wrap_bio(down, up, server_hostname=host)
    far = server.wrap_bio(up, down, server_side=True)
    for _ in range(4):
        for side in (near, far):
            try:
                side.do_handshake()
            except ssl.SSLWantReadError:
                continue
    assert near.version() == "TLSv1.3"


@pytest.mark.parametrize("host", [UPSTREAM_HOST, "127.0.0.1"])
def test_the_certificate_verifies_against_its_ca(tmp_path: Path, host: str) -> None:
    make_certificates(tmp_path / "tls", UPSTREAM_HOST)
    _handshake(tmp_path / "tls", tmp_path / "tls" / "ca.pem", host)


def test_the_certificate_is_for_no_other_name_and_from_no_other_ca(tmp_path: Path) -> None:
    for name in ("one", "other"):
        make_certificates(tmp_path / name, UPSTREAM_HOST)
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(tmp_path / "one", tmp_path / "one" / "ca.pem", "other.demo.internal")
    with pytest.raises(ssl.SSLCertVerificationError):
        _handshake(tmp_path / "one", tmp_path / "other" / "ca.pem", UPSTREAM_HOST)


def test_only_the_owner_reads_the_private_key(tmp_path: Path) -> None:
    make_certificates(tmp_path / "tls", UPSTREAM_HOST)
    assert stat.S_IMODE((tmp_path / "tls").stat().st_mode) == 0o700
    assert stat.S_IMODE((tmp_path / "tls" / "server.key").stat().st_mode) == 0o600


def test_the_configuration_can_be_served(stage: Stage) -> None:
    loaded = read(stage.folder / "sidecar.yaml", {}, {})
    assert [fault.path for fault in loaded.warnings] == ["principals.visitor.tenant"]  # its purpose
    assert loaded.config.doors.access == f"127.0.0.1:{stage.access}"
    assert set(loaded.config.principals) == {stage.agent.principal, stage.stranger.principal}


async def test_the_secret_is_sealed_and_in_no_file(stage: Stage) -> None:
    store = SealedStore(stage.folder / "credentials", stage.folder / "credentials" / "master.key")
    held = await store.resolve(Reference("encrypted", "httpbin-token"))
    assert held.secret.reveal() == stage.secret.encode()
    files = [file for file in stage.folder.rglob("*") if file.is_file()]
    assert len(files) >= 7
    for secret in (stage.secret, stage.agent.key, stage.stranger.key):
        assert not [file for file in files if secret.encode() in file.read_bytes()]


def test_grants_are_replaced_whole(stage: Stage) -> None:
    stage.write_grants(["httpbin/remove"])
    (data,) = (stage.folder / "policy").iterdir()
    assert json.loads(data.read_text()) == {
        "sidecar": {"grants": {"acme": {"principals": {"researcher": ["httpbin/remove"]}}}}
    }


def test_ports_are_free_and_three(tmp_path: Path) -> None:
    made = Stage(tmp_path)
    ports = {made.upstream, made.access, made.metrics}
    assert len(ports) == 3
    for port in ports:
        with socket.create_server(("127.0.0.1", port)):
            pass


def test_what_ends_instead_of_serving_is_told_with_its_last_words(stage: Stage) -> None:
    stage._start("upstream", [sys.executable, "-c", "raise SystemExit('no such module')"])
    with pytest.raises(Unavailable, match="no such module"):
        stage._wait("upstream", lambda: False)


def test_what_does_not_serve_in_time_is_told_and_ended(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    stage._start("upstream", [sys.executable, "-c", "input()"])
    stage._start("upstream", [sys.executable, "-c", "import threading; threading.Event().wait()"])
    monkeypatch.setattr(module, "_START_SECONDS", 0.05)
    with pytest.raises(Unavailable, match="did not start"):
        stage._wait("upstream", lambda: False)
    monkeypatch.undo()
    stage.stop()
    assert [process.returncode for process in stage._processes if process.returncode is None] == []
    stage.remove()
    assert not stage.folder.exists()


def test_what_ignores_the_end_is_killed(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "import signal, threading; signal.signal(15, signal.SIG_IGN); print('up', flush=True)"
    stage._start("upstream", [sys.executable, "-c", f"{said}; threading.Event().wait()"])
    stage._wait("upstream", lambda: "up" in (stage.folder / "upstream.log").read_text())
    monkeypatch.setattr(module, "_START_SECONDS", 0.05)
    stage.stop()
    assert stage._processes[0].returncode == -9


def test_a_port_that_accepts() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
        assert module.accepts(port)
    assert not module.accepts(port)


def test_the_upstream_is_the_real_httpbin_over_tls(stage: Stage) -> None:
    """It serves the certificate made here, and echoes what it is sent."""
    commands: list[list[str]] = []

    def note(name: str, command: list[str], environment: Mapping[str, str] = os.environ) -> None:
        commands.append(command)

    stage._start = note  # type: ignore[method-assign]  # no real process
    stage._wait = lambda name, serves: None  # type: ignore[method-assign]  # the same
    stage.start()
    upstream, sidecar = commands
    assert upstream[-1] == "httpbin:app" and f"127.0.0.1:{stage.upstream}" in upstream
    assert str(stage.folder / "tls" / "server.pem") in upstream
    assert sidecar[1:4] == ["-m", "sidecar", "run"]
