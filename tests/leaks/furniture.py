"""A house with a canary of every type: a connector for each, all before one upstream that echoes what it knows."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from sidecar.adapters.credentials.sealed import master_key
from tests.e2e.house import AGENT, House
from tests.fakes.certificates import Authority
from tests.leaks.scanner import Canary

DOMAIN: Final = "upstream.internal"
OPEN: Final = "open"  # a connector without a credential
LOGIN: Final = "login"  # the token endpoint of `oauth`
OAUTH: Final = "oauth"
MUTUAL: Final = "certificate"  # its upstream wants a client certificate
MARK: Final = "c4n4ry"  # in every textual canary, so that faults know one when they see it

# id of connector and credential: the kind, and how it enters a request
STYLES: Final[dict[str, tuple[str, dict[str, str]]]] = {
    "api-key": ("API_KEY", {"style": "header", "name": "X-Api-Key"}),
    "bearer-token": ("BEARER_TOKEN", {"style": "bearer"}),
    "basic-auth": ("BASIC_AUTH", {"style": "basic"}),
    OAUTH: ("OAUTH", {"style": "bearer"}),
    "database": ("DATABASE", {"style": "query", "name": "password"}),
    "ssh-key": ("SSH_KEY", {"style": "body", "path": "/auth/key"}),
    "custom": ("CUSTOM", {"style": "body", "path": "/auth/custom"}),
    MUTUAL: ("CERTIFICATE", {"style": "certificate"}),
}
WHAT: Final[dict[str, Any]] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["what"],
    "properties": {"what": {"type": "string"}, "note": {"type": "string"}},
}


class Furnished(NamedTuple):
    """The canaries by the upstream that is sent them, and those that nobody is."""

    used: dict[str, Canary]
    kept: list[Canary]

    @property
    def canaries(self) -> list[Canary]:
        return [*self.used.values(), *self.kept]


def values(authority: Authority) -> dict[str, bytes]:
    """A fresh value for each type, with what its form allows of what an encoding changes."""
    fresh = {name: f"{MARK}-{secrets.token_hex(12)}" for name in STYLES}
    ssh = ed25519.Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())
    return {
        "api-key": f'{fresh["api-key"]}/+=&% "k'.encode(),
        "bearer-token": f"{fresh['bearer-token']}-._~+/==".encode(),
        "basic-auth": f"someone:{fresh['basic-auth']}/+&= %".encode(),
        OAUTH: f"{fresh[OAUTH]}<&>+/".encode(),
        "database": f"{fresh['database']}&=?/#+ %".encode(),
        "ssh-key": ssh,
        "custom": f'{fresh["custom"]}\\"/ü\t<>'.encode(),
        MUTUAL: authority.client(),
    }


def furnish(house: House, port: int, mutual_port: int, authority: Authority) -> Furnished:
    """Write the configuration, make the master key and store every canary."""
    made = values(authority)
    house.config |= {
        "connectors": {name: _connector(name, port, mutual_port, authority.file) for name in (*STYLES, OPEN)},
        "credentials": {name: _credential(name, port, mutual_port) for name in STYLES},
        "destinations": {name: _destination(name, port, mutual_port) for name in (*STYLES, OPEN, LOGIN)},
        "sources": {"open": {"connector": OPEN}},
        "planes": {"open": {"source": "open", "actions": {"query": ["do"]}}},
    }
    house.config["credentials"][OAUTH]["oauth"] = {
        "token_url": f"https://{host(LOGIN)}:{port}/token",
        "client_id": "sidecar",
        "ca_file": str(authority.file),
    }
    house.write_config()
    grants: list[Any] = [f"{name}/*" for name in (*STYLES, OPEN)]
    grants += [{"connector": name, "operations": ["watch"], "effects": ["write"]} for name in (*STYLES, OPEN)]
    house.grant(grants)
    house.write_policy(
        'package sidecar.custom\n\nobligations := {"record_bodies": true} if input.operation.id == "do"\n'
    )
    _done(house, "new-key")
    for name, (kind, _) in STYLES.items():
        _done(house, "put", name, "--kind", kind, given=made[name].decode())
    kept = [
        Canary("MASTER_KEY", master_key.load(house.folder / "credentials" / "master.key")[0].secret.reveal()),
        Canary("AGENT_KEY", house.keys[AGENT].key.encode()),
    ]
    used = {name: Canary(kind, made[name]) for name, (kind, _) in STYLES.items()}
    token = Canary("ACCESS_TOKEN", f"{MARK}-{secrets.token_hex(24)}.-_~+/".encode())
    return Furnished(used | {LOGIN: used[OAUTH], OAUTH: token}, kept)


def _done(house: House, *arguments: str, given: str = "") -> None:
    done = house.sidecar("credentials", *arguments, given=given)
    if done.returncode != 0:
        raise AssertionError(done.stderr)


def host(name: str) -> str:
    """The name of a connector's upstream."""
    return f"{name}.{DOMAIN}"


def _port(name: str, port: int, mutual_port: int) -> int:
    return mutual_port if name == MUTUAL else port


def _connector(name: str, port: int, mutual_port: int, ca_file: Path) -> dict[str, Any]:
    body = {"note": "{note}", "auth": {}}
    made: dict[str, Any] = {
        "kind": "http",
        "base_url": f"https://{host(name)}:{_port(name, port, mutual_port)}",
        "ca_file": str(ca_file),
        "breaker": {"failures": 1_000_000},
        "operations": {
            "do": {"method": "POST", "path": "/{what}", "effect": "read", "body": body, "parameters": WHAT},
            "typed": {
                "method": "POST",
                "path": "/{what}",
                "effect": "read",
                "body": body,
                "parameters": WHAT,
                "answer": {"content_types": ["text/csv"]},
            },
            "watch": {"method": "POST", "path": "/{what}", "body": body, "parameters": WHAT, "stream": True},
        },
    }
    if name != OPEN:
        made["auth"] = STYLES[name][1] | {"credential": name}
    return made


def _credential(name: str, port: int, mutual_port: int) -> dict[str, Any]:
    return {
        "reference": f"encrypted://{name}",
        "hosts": [f"{host(name)}:{_port(name, port, mutual_port)}"],
        "connectors": [name],
        "positions": [STYLES[name][1]["style"]],
    }


def _destination(name: str, port: int, mutual_port: int) -> dict[str, Any]:
    return {
        "name": host(name),
        "port": _port(name, port, mutual_port),
        "networks": ["127.0.0.0/8"],
        "addresses": ["127.0.0.1"],
    }
