"""A network that fails on demand: Toxiproxy, one server a process, started when the first test needs it.

What it does to connections are its own *toxics*. One that is added works on open connections too; only ``reset_peer``
sends its reset on those that are made while it is there, and ends older ones without.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
from collections.abc import Iterator
from functools import cache
from typing import Any, Literal

import requests

from tests.e2e.house import WAIT, comes_true, free_port
from tests.fixtures.programs import program

Stream = Literal["upstream", "downstream"]  # to the server, and from it
Toxic = tuple[str, Stream, dict[str, int]]  # its type, where, and its attributes: milliseconds, bytes, kB/s


def latency(milliseconds: int, jitter: int = 0) -> Toxic:
    """Every piece of an answer comes so much later, give or take the jitter."""
    return "latency", "downstream", {"latency": milliseconds, "jitter": jitter}


def reset(stream: Stream = "downstream") -> Toxic:
    """The connection is reset when the first byte goes that way."""
    return "reset_peer", stream, {"timeout": 0}


def swallowed(stream: Stream = "downstream") -> Toxic:
    """A partition: what goes that way is taken, never arrives, and nobody is told."""
    return "timeout", stream, {"timeout": 0}


def hung_up(milliseconds: int) -> Toxic:
    """Nothing comes back, and then the connection is closed."""
    return "timeout", "downstream", {"timeout": milliseconds}


def slow_close(milliseconds: int) -> Toxic:
    """A connection's end comes so much later."""
    return "slow_close", "downstream", {"delay": milliseconds}


def cut_after(count: int) -> Toxic:
    """A connection is closed after so many bytes of answers."""
    return "limit_data", "downstream", {"bytes": count}


def bandwidth(kilobytes: int) -> Toxic:
    """So many kB a second."""
    return "bandwidth", "downstream", {"rate": kilobytes}


def in_slices(count: int, microseconds: int) -> Toxic:
    """An answer comes in pieces of so many bytes, so far apart."""
    return "slicer", "downstream", {"average_size": count, "size_variation": 0, "delay": microseconds}


class Between:
    """The network before one server. ``port`` stays the same while it is down."""

    def __init__(self, server: Toxiproxy, name: str, port: int) -> None:
        self._server = server
        self._path = f"/proxies/{name}"
        self.port = port
        self.address = f"http://127.0.0.1:{port}"

    def put(self, *toxics: Toxic) -> None:
        """Do this to every connection from now on, and nothing else any more."""
        self.clear()
        for at, (kind, stream, attributes) in enumerate(toxics):
            toxic = {"name": f"{kind}-{at}", "type": kind, "stream": stream, "attributes": attributes}
            self._server.ask("POST", f"{self._path}/toxics", toxic)

    def clear(self) -> None:
        """Let everything pass again."""
        for toxic in self._server.ask("GET", f"{self._path}/toxics"):
            self._server.ask("DELETE", f"{self._path}/toxics/{toxic['name']}")

    def down(self) -> None:
        """Close every connection, and refuse new ones."""
        self._server.ask("POST", self._path, {"enabled": False})

    def up(self) -> None:
        """Take connections again."""
        self._server.ask("POST", self._path, {"enabled": True})

    def cut(self) -> None:
        """Close every connection; new ones are taken."""
        self.down()
        self.up()


class Toxiproxy:
    """Listens on loopback alone; ``between`` opens a port before a server."""

    def __init__(self) -> None:
        self._session = requests.Session()
        self._session.trust_env = False
        port = free_port()
        self._api = f"http://127.0.0.1:{port}"
        self._made = 0
        self.process = subprocess.Popen(
            [program("toxiproxy"), "-host", "127.0.0.1", "-port", str(port)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={"PATH": os.environ["PATH"], "LOG_LEVEL": "error"},
        )
        atexit.register(self.stop)
        assert comes_true(self._is_up)

    def _is_up(self) -> bool:
        try:
            return self._session.get(f"{self._api}/version", timeout=WAIT).status_code == 200
        except requests.ConnectionError:
            return False

    def ask(self, method: str, path: str, document: Any = None) -> Any:
        """One request to its API; the answer's document."""
        answered = self._session.request(method, f"{self._api}{path}", json=document, timeout=WAIT)
        answered.raise_for_status()
        return answered.json() if answered.content else None

    @contextlib.contextmanager
    def between(self, port: int) -> Iterator[Between]:
        """The network before ``127.0.0.1:port``, until the end of the block."""
        self._made += 1
        name = f"b{self._made}"
        proxy = {"name": name, "listen": "127.0.0.1:0", "upstream": f"127.0.0.1:{port}", "enabled": True}
        made = self.ask("POST", "/proxies", proxy)
        try:
            yield Between(self, name, int(made["listen"].rpartition(":")[2]))
        finally:
            self.ask("DELETE", f"/proxies/{name}")

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(WAIT)


@cache
def server() -> Toxiproxy:
    """The server of this process."""
    return Toxiproxy()
