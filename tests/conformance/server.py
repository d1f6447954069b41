"""A real ``opa run --server`` on a Unix socket, built from the same module as the library."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, NamedTuple, Self
from urllib.parse import quote

from sidecar.adapters.policy.library import opa_executable

_SECONDS: Final = 20.0


class Reply(NamedTuple):
    """One answer of the server."""

    status: int
    body: bytes


class _Connection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(_SECONDS)
        self.sock.connect(str(self._path))


class OpaServer:
    """Use it in a ``with``; one connection, kept alive. Raises ``OSError`` where it does not answer."""

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="opa-")
        path = Path(self._folder.name) / "opa.sock"
        command = [str(opa_executable()), "run", "--server", "--addr", f"unix://{path}", "--unix-socket-perm", "600"]
        # Its log is of no interest: where it does not start, nothing answers.
        self._process = subprocess.Popen([*command, "--skip-version-check"], stderr=subprocess.DEVNULL)
        self._connection = _Connection(path)
        self._policies: list[str] = []
        until = time.monotonic() + _SECONDS
        while True:
            try:
                self.request("GET", "/health")
            except OSError:
                self._connection.close()
                if time.monotonic() > until or self._process.poll() is not None:
                    self.__exit__(None, None, None)
                    raise
                time.sleep(0.01)
            else:
                return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()
        self._process.terminate()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(_SECONDS)
        if self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def request(self, method: str, path: str, body: bytes | None = None) -> Reply:
        """One exchange."""
        self._connection.request(method, path, body)
        answer = self._connection.getresponse()
        return Reply(answer.status, answer.read())

    def load(self, modules: dict[str, str], data: dict[str, Any]) -> None:
        """Replace everything the server decides by."""
        for name in self._policies:
            self._must("DELETE", f"/v1/policies/{name}")
        self._policies = [quote(name, safe="") for name in modules]
        self._must("PUT", "/v1/data", json.dumps(data).encode())
        for name, text in zip(self._policies, modules.values(), strict=True):
            self._must("PUT", f"/v1/policies/{name}", text.encode())

    def decide(self, document: bytes) -> Reply:
        """What it says about one input."""
        return self.request("POST", "/v1/data/sidecar/authz/decision", b'{"input":' + document + b"}")

    def _must(self, method: str, path: str, body: bytes | None = None) -> None:
        reply = self.request(method, path, body)
        if reply.status >= 300:
            raise RuntimeError(f"{method} {path}: {reply.status} {reply.body.decode()}")
