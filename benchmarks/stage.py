"""Where governed calls are measured: an upstream, a policy with a grant, and a sidecar as its users run it."""

from __future__ import annotations

import http.client
import json
import secrets
import ssl
import sys
from pathlib import Path
from typing import Any, Final, Self

import yaml

from benchmarks.load import Stream
from benchmarks.processes import Running
from benchmarks.upstream import ID_HEADER
from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.cli import keys
from sidecar.cli.stage import free_ports, make_certificates
from sidecar.cli.stage_vault import PATH, DemoVault
from sidecar.model.secret import Secret

HOST: Final = "articles.bench.internal"
GOVERNED: Final = "governed"  # first path segment of what a governed call sends
_WIDE: Final = {"requests": 1_000_000, "burst": 1_000_000}
_PARAMETERS: Final = {
    "type": "object",
    "additionalProperties": False,
    "required": ["item"],
    "properties": {
        "item": {"type": "string", "minLength": 1, "maxLength": 80},
        "note": {"type": "string", "maxLength": 200},
    },
}


class Upstream:
    """The counting upstream. ``tls`` serves the certificate below ``folder/tls`` and keeps the idempotency keys; with
    ``tokens`` it refuses every bearer token that does not stand in that file.
    """

    def __init__(self, folder: Path, *, tls: bool = False, tokens: Path | None = None) -> None:
        folder.mkdir(exist_ok=True)
        ready = folder / "upstream.port"
        self._tls = tls
        self._ids = folder / "ids"
        command: list[str | Path] = [sys.executable, "-m", "benchmarks.upstream", ready]
        if tls:
            make_certificates(folder / "tls", HOST)
            command += ["--certificate", folder / "tls/server.pem", "--key", folder / "tls/server.key"]
            command += ["--ids", self._ids]
        if tokens is not None:
            command += ["--tokens", tokens]
        self.process = Running("upstream", command, folder)
        try:
            self.process.wait_until(ready.exists)
        except BaseException:
            self.process.stop()
            raise
        self.port = int(ready.read_text())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.stop()

    def count(self, segment: str) -> int:
        """How many requests came to paths below ``segment``."""
        connection: http.client.HTTPConnection
        if self._tls:
            trust = ssl.create_default_context(cafile=str(self._ids.parent / "tls/ca.pem"))
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=trust)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/counts")
            return int(json.loads(connection.getresponse().read()).get(segment, 0))
        finally:
            connection.close()

    def ids(self) -> list[str]:
        """Every idempotency key that arrived; ask after ``count``."""
        return self._ids.read_text().split()


class Governed:
    """A sidecar in ``folder``: ``start`` runs it, with ``tls`` towards the upstream and an injected credential.

    ``operations`` more are configured beside the one that is called, and granted. Its calls reach the upstream below
    ``segment``. Every call is decided by an evaluation, unless ``cached``. The credential is in ``vault``,
    or in the sealed store.
    """

    def __init__(
        self, folder: Path, upstream: int, *, tls: bool = False, operations: int = 0, segment: str = GOVERNED,
        cached: bool = False, vault: DemoVault | None = None,
    ) -> None:  # fmt: skip
        self._folder = folder
        self._vault = vault
        self._segment = segment
        self._cached = cached
        self._ready = folder / "ready"
        self.evidence = folder / "evidence"
        self.config = folder / "sidecar.yaml"
        self.port, self.metrics = free_ports(2)
        made = keys.make("bench-agent", "bench-agent")
        self.key = made.key
        folder.mkdir(exist_ok=True)
        (folder / "policy").mkdir()
        more = [f"article-{number:04d}" for number in range(operations)]
        grants = ["articles/lookup", *(f"articles/{name}" for name in more)]
        data = {"sidecar": {"grants": {"acme": {"principals": {"bench-agent": grants}}}}}
        (folder / "policy/data.json").write_text(json.dumps(data))
        # JSON is YAML
        self.config.write_text(json.dumps(self._document(made.sha256, upstream, more, tls=tls), indent=1))
        self.token = new_token()
        if vault is not None:
            vault.provide(self.token, folder)
        elif tls:
            self.store(self.token)

    def stream(self, label: str, *, keyed: bool = False, repeated: bool = False) -> Stream:
        """A stream of payloads for this sidecar."""
        return Stream(label, self.key, keyed, repeated)

    def start(self, *before: str) -> Running:
        """Start it behind ``before`` (a tracer's command line) and wait until every door is open."""
        self._ready.unlink(missing_ok=True)
        sidecar: list[str | Path] = [sys.executable, "-m", "sidecar", "run", "--ready-file", self._ready]
        process = Running("sidecar", [*before, *sidecar], self._folder)
        try:
            process.wait_until(self._ready.exists)
        except BaseException:
            process.stop()
            raise
        return process

    def store(self, token: str) -> None:
        """Make ``token`` the newest version of the credential, past the running sidecar."""
        self.token = token
        if self._vault is not None:
            self._vault.store(token)
            return
        store = self._folder / "credentials"
        if not store.exists():
            store.mkdir(mode=0o700)
            master_key.create(store / "master.key")
        SealedStore(store, store / "master.key").put("articles-token", Secret(token))

    def _document(self, sha256: str, upstream: int, more: list[str], *, tls: bool) -> dict[str, Any]:
        connector: dict[str, Any] = {
            "kind": "http",
            "base_url": f"{'https' if tls else 'http'}://{HOST}:{upstream}",
            "rate": _WIDE,
            "concurrency": 1024,
            "connections": 128,
            "operations": {"lookup": _operation(self._segment), **{name: _operation(name) for name in more}},
        }
        document: dict[str, Any] = {
            "tenant": "acme",
            "principals": {"bench-agent": {"roles": ["analyst"], "keys": [{"id": "bench-agent", "sha256": sha256}]}},
            "connectors": {"articles": connector},
            "sources": {"articles": {"connector": "articles"}},
            "planes": {"articles": {"source": "articles", "actions": {"query": ["lookup"]}}},
            "destinations": {
                "articles": {"name": HOST, "port": upstream, "networks": ["127.0.0.0/8"], "addresses": ["127.0.0.1"]}
            },
            "limits": {"principal": _WIDE},
            # What calls cost is measured, not deadlines: a machine that stalls for 100 ms must not spoil the run.
            "policy": {"budget_ms": 2000, **({} if self._cached else {"cache_entries": 0})},
            "doors": {"access": f"127.0.0.1:{self.port}", "metrics": f"127.0.0.1:{self.metrics}", "admin": None},
        }
        if tls:
            connector["ca_file"] = "tls/ca.pem"
            connector["auth"] = {"style": "bearer", "credential": "articles-token"}
            connector["operations"]["lookup"]["idempotency_header"] = ID_HEADER
            document["credentials"] = {
                "articles-token": {
                    "reference": "encrypted://articles-token" if self._vault is None else f"vault://{PATH}#token",
                    "hosts": [f"{HOST}:{upstream}"],
                    "connectors": ["articles"],
                    "positions": ["bearer"],
                }
            }
            document |= {} if self._vault is None else yaml.safe_load(self._vault.section())
        return document


def new_token() -> str:
    """A bearer token that nobody has seen."""
    return "bench-" + secrets.token_hex(16)


def _operation(name: str) -> dict[str, Any]:
    return {
        "method": "POST",
        "path": f"/{name}/{{item}}",
        "effect": "read",
        "body": {"item": "{item}", "note": "{note}"},
        "parameters": _PARAMETERS,
    }
