"""A real ``opa run --server``, the executable that the sidecar carries: on a Unix socket, or TCP with mutual TLS.

Every wait is bounded, every port free, and the process is ended by its own id.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import signal
import socket
import ssl
import subprocess
import tempfile
import threading
from pathlib import Path
from typing import Any, Final, NamedTuple, Self

from sidecar.adapters.policy.files import PolicyFiles, revision_of
from sidecar.adapters.policy.library import opa_executable
from sidecar.adapters.policy.server_connection import ServerSettings
from tests.fakes.certificates import Authority

WAIT: Final = 30.0  # seconds, for anything
TOKEN: Final = "the-token-of-the-sidecar"
# Identity is the token, or with mutual TLS the certificate: then the token is asked for as a header.
_GUARD: Final = f"""package system.authz

default allow := false

allow if input.identity == "{TOKEN}"

allow if input.headers.Authorization[0] == "Bearer {TOKEN}"
"""


class Said(NamedTuple):
    """One answer of the server."""

    status: int
    body: bytes

    @property
    def document(self) -> Any:
        return json.loads(self.body)


class Opa:
    """One server in a folder of its own. ``modules`` become a bundle with the embedded engine's revision for them.

    ``managed``: it listens on loopback as well.
    """

    def __init__(
        self,
        modules: dict[str, str] | None = None,
        *,
        secure: bool = False,
        token: bool = False,
        options: tuple[str, ...] = (),
        config: dict[str, Any] | None = None,
        status: bool = True,
        managed: bool = False,
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="opa-"))  # a Unix socket's path must be short
        self.secure, self.token = secure, token
        self._options = list(options)
        self._status = status
        self._process: subprocess.Popen[bytes] | None = None
        self.revision: str | None = None
        if config is not None:
            (self.folder / "opa.json").write_text(json.dumps(config))
            self._options += ["--config-file", str(self.folder / "opa.json")]
        guard = {"guard.rego": _GUARD} if token else {}
        if modules is not None:
            self.revision = revision_of(PolicyFiles(modules))
            file = self.folder / "bundle.tar.gz"
            build_bundle(self.folder / "policy", file, {**modules, **guard}, self.revision)
            self._options += ["--bundle", str(file)]
        elif token:
            (self.folder / "guard.rego").write_text(_GUARD)
            self._options.append(str(self.folder / "guard.rego"))
        if secure:
            authority = Authority(self.folder)
            self.ca, self.certificate = authority.file, authority.pem("127.0.0.1")
            self.client = authority.pem("sidecar.example", client=True)
        self.port = _free_port() if secure or managed else 0
        self._managed = managed

    @property
    def socket(self) -> Path:
        return self.folder / "opa.sock"

    @property
    def url(self) -> str:
        return f"https://127.0.0.1:{self.port}" if self.secure else f"unix://{self.socket}"

    @property
    def management(self) -> str:
        """Where policies are pushed to: on loopback beside the socket, for a server that is ``managed``."""
        return self.url if self.secure else f"http://127.0.0.1:{self.port}"

    @property
    def settings(self) -> ServerSettings:
        if not self.secure:
            return ServerSettings(self.url)
        return ServerSettings(self.url, ca_file=self.ca, client_cert=self.client, client_key=self.client)

    def start(self) -> Self:
        """Start, and wait until it answers."""
        self.socket.unlink(missing_ok=True)
        command = [str(opa_executable()), "run", "--server", "--skip-version-check", "--log-level", "error"]
        if self.secure:
            command += ["--addr", self.url, "--authentication", "tls", "--tls-ca-cert-file", str(self.ca)]
            command += ["--tls-cert-file", str(self.certificate), "--tls-private-key-file", str(self.certificate)]
        else:
            command += ["--addr", self.url, "--unix-socket-perm", "600"]
            command += ["--addr", f"127.0.0.1:{self.port}"] if self._managed else []
        if self.token:
            command += [] if self.secure else ["--authentication", "token"]
            command += ["--authorization", "basic"]
        if self._status:
            command += ["--set", "status.console=true"]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [*command, *self._options], stdout=log, stderr=log, stdin=subprocess.DEVNULL
            )
        if not comes_true(self._answers):
            self.stop()
            raise AssertionError(f"opa did not start: {(self.folder / 'log').read_text()[-2000:]}")
        return self

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self.folder / "log").read_text()[-2000:]
        with contextlib.suppress(OSError):
            if self._managed:  # both listen, one a little later than the other
                socket.create_connection(("127.0.0.1", self.port), WAIT).close()
            return self.request("GET", "/health").status in (200, 401)
        return False

    def request(self, method: str, path: str, body: object = None) -> Said:
        """One request with all that the server wants; text as it is, anything else as JSON."""
        connection = self._connection()
        headers = {"Authorization": f"Bearer {TOKEN}"} if self.token else {}
        sent = body.encode() if isinstance(body, str) else None if body is None else json.dumps(body).encode()
        with contextlib.closing(connection):
            connection.request(method, path, sent, headers)
            answer = connection.getresponse()
            return Said(answer.status, answer.read())

    def _connection(self) -> http.client.HTTPConnection:
        if self.secure:
            context = ssl.create_default_context(cafile=self.ca)
            context.load_cert_chain(self.client)
            return http.client.HTTPSConnection("127.0.0.1", self.port, timeout=WAIT, context=context)
        connection = http.client.HTTPConnection("opa", timeout=WAIT)
        connection.sock = socket.socket(socket.AF_UNIX)
        try:
            connection.sock.connect(str(self.socket))
        except OSError:
            connection.close()
            raise
        return connection

    def suspend(self) -> None:
        """Alive and silent: SIGSTOP, and every thread of it has stopped."""
        self._signal(signal.SIGSTOP)
        assert self._process is not None
        threads = Path(f"/proc/{self._process.pid}/task")
        assert comes_true(lambda: all(_state(thread) == "T" for thread in threads.iterdir()))

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def kill(self) -> None:
        """SIGKILL, if it runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(WAIT)

    def stop(self) -> None:
        """End it, and take its folder away."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def _signal(self, number: int) -> None:
        assert self._process is not None
        self._process.send_signal(number)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()


def build_bundle(
    folder: Path, file: Path, modules: dict[str, str], revision: str | None, key: Path | None = None
) -> Path:
    """``file``: a bundle of ``modules`` (text by file name), signed RS256 where a private ``key`` is given."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, text in modules.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    made = file.with_name(f"{file.name}.new")
    command = [str(opa_executable()), "build", "--bundle", str(folder), "--output", str(made)]
    command += ["--revision", revision] if revision is not None else []
    command += ["--signing-key", str(key), "--signing-alg", "RS256"] if key is not None else []
    subprocess.run(command, check=True, capture_output=True, timeout=WAIT)
    return made.replace(file)


def comes_true(condition: Any, seconds: float = WAIT) -> bool:
    """Whether ``condition()`` holds before the bound."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.01) for _ in range(int(seconds * 100)))


def _state(thread: Path) -> str:
    return (thread / "stat").read_text().rpartition(")")[2].split()[0]


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port
