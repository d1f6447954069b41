"""A sidecar as a process of its own, in a folder of its own, before an upstream that outlives it.

Every wait is bounded, every port free, and every process is ended by its own id.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from sidecar.adapters.evidence.reader import Reader
from sidecar.adapters.evidence.verify import Report, verify_log
from sidecar.cli.keys import NewKey, make
from sidecar.model.evidence import Leaf

ROOT = Path(__file__).resolve().parents[2]
WAIT = 30.0  # seconds, for anything
TENANT = "acme"
AGENT, COLLEAGUE, STRANGER = "agent", "colleague", "stranger"
Document = dict[str, Any]
_TOPIC = {"topic": {"type": "string", "minLength": 1, "maxLength": 80}}
TOPIC: Document = {"type": "object", "additionalProperties": False, "required": ["topic"], "properties": _TOPIC}
# What the ordinary agent may do: everything but `remove`.
GRANTS: list[Any] = ["up/*", {"connector": "up", "operations": ["write", "send"], "effects": ["write"]}]


class Answer(NamedTuple):
    """One reply of the agent's door, or of the probes'."""

    status: int
    headers: http.client.HTTPMessage
    body: bytes

    @property
    def document(self) -> Document:
        value = json.loads(self.body)
        assert isinstance(value, dict)
        return value

    @property
    def code(self) -> str | None:
        """The stable code of a refusal; None for an answer of the upstream."""
        if self.headers.get("Content-Type") != "application/problem+json":
            return None
        return str(self.document["code"])

    @property
    def evidence_id(self) -> str | None:
        return self.headers.get("Sidecar-Evidence-Id")


def comes_true(condition: Callable[[], object], seconds: float = WAIT) -> bool:
    """Whether ``condition()`` holds before the bound."""
    pause = threading.Event()
    return any(condition() or pause.wait(0.01) for _ in range(int(seconds * 100)))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def environment() -> dict[str, str]:
    """Ours, without what would overrule a configuration."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SIDECAR_")}
    return {**kept, "PYTHONPATH": str(ROOT)}


def configuration(upstream: int, keys: Mapping[str, NewKey]) -> Document:
    """One upstream on loopback, a plane over it with all four actions, and three callers."""
    known: Document = {name: [{"id": key.id, "sha256": key.sha256}] for name, key in keys.items()}
    read: Document = {"method": "GET", "path": "/read/{topic}", "parameters": TOPIC}
    find = {
        "method": "POST",
        "path": "/find/{topic}",
        "effect": "read",
        "body": {"limit": "{limit}"},
        "parameters": {**TOPIC, "properties": {**_TOPIC, "limit": {"type": "integer", "maximum": 20}}},
    }
    write = {"method": "POST", "path": "/write/{topic}", "parameters": TOPIC, "idempotency_header": "X-Call"}
    send = {
        "method": "POST",
        "path": "/send",
        "body": {"text": "{text}"},
        "parameters": {"type": "object", "properties": {"text": {"type": "string"}}, "additionalProperties": True},
    }
    return {
        "tenant": TENANT,
        "principals": {
            AGENT: {"roles": ["analyst"], "keys": known[AGENT]},
            COLLEAGUE: {"keys": known[COLLEAGUE]},
            STRANGER: {"tenant": "globex", "keys": known[STRANGER]},
        },
        "connectors": {
            "up": {
                "kind": "http",
                "base_url": f"http://127.0.0.1:{upstream}",
                "rate": {"requests": 1_000_000, "burst": 1_000_000},  # loads here pass the default's 1,000 a second
                "operations": {
                    "read": read,
                    "find": find,
                    "write": write,
                    "send": send,
                    "remove": {"method": "DELETE", "path": "/remove/{topic}", "parameters": TOPIC},
                },
            }
        },
        "sources": {"articles": {"connector": "up"}},
        "planes": {
            "articles": {
                "source": "articles",
                "actions": {"query": ["find"], "retrieve": ["read"], "search": ["find", "read"], "list": ["read"]},
            }
        },
        "destinations": {"up": {"name": "127.0.0.1", "port": upstream, "networks": ["127.0.0.0/8"]}},
        "doors": {"access": "127.0.0.1:0", "metrics": "127.0.0.1:0", "admin": "127.0.0.1:0"},
    }


class House:
    """A folder with a configuration, a policy and keys, and the sidecar that runs in it."""

    def __init__(self, folder: Path, upstream: int) -> None:
        self.folder = folder
        self.keys = {name: make(name, name) for name in (AGENT, COLLEAGUE, STRANGER)}
        self.config = configuration(upstream, self.keys)
        self.process: subprocess.Popen[bytes] | None = None
        self.ports: dict[str, int] = {}
        (folder / "policy").mkdir()
        self.write_config()
        self.grant(GRANTS)

    # what an operator does

    def write_config(self, text: str | None = None) -> None:
        """Replace ``sidecar.yaml`` in one step by ``text``, or by ``config`` as it is now."""
        _replace(self.folder / "sidecar.yaml", json.dumps(self.config, indent=1) if text is None else text)

    def write_policy(self, text: str, name: str = "custom.rego") -> None:
        _replace(self.folder / "policy" / name, text)

    def grant(self, grants: list[Any], principal: str = AGENT) -> None:
        """Replace every grant of the policy's data by these."""
        data = {"sidecar": {"grants": {TENANT: {"principals": {principal: grants}}}}}
        self.write_policy(json.dumps(data), "data.json")

    def sidecar(self, *arguments: str, given: str = "") -> subprocess.CompletedProcess[str]:
        """One command of the command line, run to its end in the folder."""
        command = [sys.executable, "-m", "sidecar", *arguments]
        return subprocess.run(
            command, cwd=self.folder, env=environment(), input=given, capture_output=True, text=True,
            check=False, timeout=WAIT,
        )  # fmt: skip

    def start(self, under: Sequence[str] = ()) -> None:
        """Start, and wait until every door is open. ``under`` is a tracer that lets the sidecar be our own child."""
        self.launch(under)
        self.await_ready()

    def launch(self, under: Sequence[str] = ()) -> None:
        """Start, and do not wait."""
        ready = self.folder / "ready"
        ready.unlink(missing_ok=True)
        command = [*under, sys.executable, "-m", "sidecar", "run", "--ready-file", str(ready)]
        with (self.folder / "out.log").open("ab") as out, (self.folder / "err.log").open("ab") as err:
            self.process = subprocess.Popen(
                command, cwd=self.folder, env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    def await_ready(self) -> None:
        """Until ``process`` has written its ready file."""
        ready, process = self.folder / "ready", self.process
        assert process is not None
        comes_true(lambda: ready.exists() or process.poll() is not None)
        if process.poll() is not None or not ready.exists():
            raise AssertionError(f"the sidecar did not start: {(self.folder / 'err.log').read_text()[-2000:]}")
        self.ports = json.loads(ready.read_text())

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> int:
        """SIGTERM, and the exit code."""
        self.signal(signal.SIGTERM)
        return self.ended()

    def ended(self) -> int:
        assert self.process is not None
        return self.process.wait(WAIT)

    def kill(self) -> None:
        """SIGKILL, if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(WAIT)

    def reload(self) -> None:
        """SIGHUP, and wait until the reload was told."""
        before = len(self.events("reload"))
        self.signal(signal.SIGHUP)
        assert comes_true(lambda: len(self.events("reload")) > before)

    # what an agent does

    def request(
        self, method: str, path: str, body: object = None, *, key: str | None = AGENT, raw: bytes | None = None,
        door: str = "access",
    ) -> Answer:  # fmt: skip
        """One request on a connection of its own; ``key`` names whose key is sent."""
        connection = http.client.HTTPConnection("127.0.0.1", self.ports[door], timeout=WAIT)
        try:
            return ask(connection, method, path, body, self.headers(key), raw)
        finally:
            connection.close()

    def headers(self, key: str | None) -> dict[str, str]:
        return {} if key is None else {"Authorization": f"Bearer {self.keys[key].key}"}

    def operation(
        self, name: str, parameters: object = None, *, connector: str = "up", key: str | None = AGENT,
        call: str | None = None,
    ) -> Answer:  # fmt: skip
        """A call that names its connector; ``call`` is its idempotency key."""
        body: Document = {"parameters": {"topic": "tin"} if parameters is None else parameters}
        if call is not None:
            body["idempotency_key"] = call
        return self.request("POST", f"/v1/connectors/{connector}/operations/{name}", body, key=key)

    def access(
        self, action: str, parameters: object = None, *, plane: str = "articles", key: str | None = AGENT,
        operation: str | None = None,
    ) -> Answer:  # fmt: skip
        payload: Document = {"parameters": {"topic": "tin"} if parameters is None else parameters}
        if operation is not None:
            payload["operation"] = operation
        return self.request("POST", "/v1/access", {"plane_id": plane, "action": action, "payload": payload}, key=key)

    def evidence(self, evidence_id: str | None, key: str = AGENT) -> Answer:
        return self.request("GET", f"/v1/evidence/{evidence_id}", key=key)

    # what an operator sees

    def probe(self, path: str) -> Answer:
        return self.request("GET", path, door="metrics", key=None)

    def admin(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> Answer:
        """One request to the administrators' socket."""
        connection = http.client.HTTPConnection("admin", timeout=WAIT)
        connection.sock = socket.socket(socket.AF_UNIX)
        with contextlib.closing(connection):
            connection.sock.connect(str(self.folder / "admin.sock"))
            return ask(connection, method, path, body, headers)

    def status(self) -> Document:
        return self.admin("GET", "/v1/status").document

    def metric(self, name: str, **labels: str) -> float | None:
        """The value of one series of ``/metrics``; None where it is not there."""
        for line in self.probe("/metrics").body.decode().splitlines():
            series, _, value = line.rpartition(" ")
            if series.partition("{")[0] == name and dict(re.findall(r'(\w+)="([^"]*)"', series)) == labels:
                return float(value)
        return None

    def lines(self) -> list[Document]:
        """Every whole line of the log on standard output."""
        text = (self.folder / "out.log").read_bytes()
        return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines()]

    def events(self, name: str) -> list[Document]:
        return [line for line in self.lines() if line["event"] == name]

    def leaves(self) -> list[Leaf]:
        """Every record of the evidence log, by index."""
        reader = Reader.open(self.folder / "evidence")
        return list(reader.range(0, reader.size()))

    def event(self, name: str, count: int = 1) -> Document:
        """The ``count``-th line of this name, once it is there."""
        assert comes_true(lambda: len(self.events(name)) >= count), f"no {name} in the log"
        return self.events(name)[count - 1]

    def verified(self) -> Report:
        report = verify_log(self.folder / "evidence")
        assert report.ok, report.problems
        return report


def ask(
    connection: http.client.HTTPConnection, method: str, path: str, body: object = None,
    headers: Mapping[str, str] | None = None, raw: bytes | None = None,
) -> Answer:  # fmt: skip
    """One request on ``connection``, which may be kept; ``body`` as JSON, or ``raw`` as it is."""
    sent = dict(headers or {})
    if body is not None or raw is not None:
        sent["Content-Type"] = "application/json"
    connection.request(method, path, json.dumps(body).encode() if body is not None else raw, sent)
    answer = connection.getresponse()
    return Answer(answer.status, answer.headers, answer.read())


@contextlib.contextmanager
def living(house: House, under: Sequence[str] = ()) -> Iterator[House]:
    """``house`` with its sidecar running; whatever still runs at the end is killed."""
    try:
        house.start(under)
        yield house
    finally:
        house.kill()


def _replace(path: Path, text: str) -> None:
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text)
    fresh.replace(path)
