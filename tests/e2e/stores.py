"""A whole sidecar whose credential is in a remote store, behind a network that fails on demand."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests import aws, postgres, toxiproxy, vault
from tests.e2e.far import Far
from tests.e2e.house import GRANTS, TENANT, Answer, House
from tests.e2e.secure import HOST
from tests.fakes.certificates import Authority
from tests.toxiproxy import Between

SECRET = "s3cr/et+va=lue&5b1d80c7e2aa9f64"
AGE = 1.5  # seconds that a value may be used for
BOUND = 1.0  # seconds that the store is waited for
_CREATE = "CREATE ROLE \"{{name}}\" LOGIN PASSWORD '{{password}}' VALID UNTIL '{{expiration}}'"


class Store(NamedTuple):
    """What tests do with either kind of store."""

    port: int
    put: Callable[[str, str], object]
    delete: Callable[[str], object]
    reference: Callable[[str], str]
    section: Callable[[House, str], dict[str, Any]]  # of a configuration, for a store at this address


def _vault_section(house: House, address: str) -> dict[str, Any]:
    login = vault.server().approle(TENANT, house.folder)
    return {
        "vault": {
            "address": address,
            "login": {"method": "approle", "role_id": login.role_id, "file": login.file},
            "paths": ["secret/{tenant}", "database/creds/{tenant}-reports"],
            "max_age_seconds": AGE,
            "timeout_seconds": BOUND,
        }
    }


def _aws_section(_: House, address: str) -> dict[str, Any]:
    settings = {"region": aws.REGION, "endpoint": address, "max_age_seconds": AGE, "timeout_seconds": BOUND}
    return {"aws": settings}


def _vault() -> Store:
    server = vault.server()
    return Store(
        server.port,
        lambda name, value: server.put(TENANT, name, token=value),
        lambda name: server.delete(TENANT, name),
        lambda name: f"vault://secret/{TENANT}/{name}#token",
        _vault_section,
    )


def _aws() -> Store:
    server = aws.server()
    return Store(
        int(server.endpoint.rpartition(":")[2]),
        lambda name, value: server.put(f"{TENANT}/{name}", {"token": value}),
        lambda name: server.delete(f"{TENANT}/{name}"),
        lambda name: f"aws://{TENANT}/{name}#token",
        _aws_section,
    )


STORES: dict[str, Callable[[], Store]] = {"vault": _vault, "aws": _aws}
BOTH = [
    pytest.param("vault", marks=[pytest.mark.needs_vault, pytest.mark.needs_toxiproxy]),
    pytest.param("aws", marks=[pytest.mark.needs_moto, pytest.mark.needs_toxiproxy]),
]


class Stored(NamedTuple):
    """A sidecar, its upstream, its store with the network before it, and the secret's name there.

    ``open`` is another upstream, whose connector of that name needs no credential.
    """

    house: House
    far: Far
    open: Far
    between: Between
    name: str
    store: Store

    def call(self) -> Answer:
        return self.house.operation("write")

    def sent(self) -> str:
        return self.far.seen[-1].headers["authorization"]

    def reference(self) -> str:
        """Of the credential in use."""
        return str(self.house.config["credentials"]["token"]["reference"])

    def refer(self, reference: str) -> None:
        """Use this credential from now on."""
        self.house.config["credentials"]["token"]["reference"] = reference
        self.house.write_config()
        if self.house.ports:
            self.house.reload()

    def another(self, value: str = SECRET) -> str:
        """Use a new secret, which was never asked for; its name."""
        name = f"crm-{os.urandom(4).hex()}"
        self.store.put(name, value)
        self.refer(self.store.reference(name))
        return name


@contextlib.contextmanager
def stored(kind: str, folder: Path, **settings: Any) -> Iterator[Stored]:
    """A sidecar that runs; ``settings`` are the store's section's own."""
    store, authority, name = STORES[kind](), Authority(folder), f"crm-{os.urandom(4).hex()}"
    store.put(name, SECRET)
    (folder / "house").mkdir()
    with contextlib.ExitStack() as stack:
        identity = stack.enter_context(pytest.MonkeyPatch.context())
        for variable, value in aws.IDENTITY.items():
            identity.setenv(variable, value)
        far, other = stack.enter_context(Far(authority.server(HOST))), stack.enter_context(Far())
        between = stack.enter_context(toxiproxy.server().between(store.port))
        house = House(folder / "house", far.port)
        up = house.config["connectors"]["up"]
        auth = {"style": "bearer", "credential": "token"}
        base = f"https://{HOST}:{far.port}"
        up |= {"base_url": base, "ca_file": str(authority.file), "auth": auth, "concurrency": 1000}
        house.config["destinations"]["up"] |= {"name": HOST, "addresses": ["127.0.0.1"]}
        credential = {"reference": store.reference(name), "hosts": [f"{HOST}:{far.port}"], "connectors": ["up"]}
        house.config |= {"credentials": {"token": credential}, **store.section(house, between.address)}
        house.config[kind] |= settings
        _add_open(house, other.port)
        house.write_config()
        stack.callback(house.kill)
        house.start()
        yield Stored(house, far, other, between, name, store)


def _add_open(house: House, port: int) -> None:
    look = {"method": "GET", "path": "/look", "parameters": {"type": "object"}}
    house.config["connectors"]["open"] = {
        "kind": "http", "base_url": f"http://127.0.0.1:{port}", "operations": {"look": look},
    }  # fmt: skip
    house.config["destinations"]["open"] = {"name": "127.0.0.1", "port": port, "networks": ["127.0.0.0/8"]}
    house.grant([*GRANTS, "open/*"])


def lends(name: str, ttl: str = "1h") -> str:
    """Let the Vault lend users of the real database to the tenant's sidecar; the reference of one's name."""
    database: Any = vault.server().root.secrets.database
    host = postgres.server().owner.partition("host=")[2]
    database.configure(
        name=name, plugin_name="postgresql-database-plugin", allowed_roles=["*"],
        connection_url=f"postgresql://{{{{username}}}}:{{{{password}}}}@/postgres?host={host}",
        username="postgres", password="anything",
    )  # fmt: skip
    database.create_role(
        name=f"{TENANT}-reports", db_name=name, creation_statements=[_CREATE], default_ttl=ttl, max_ttl="2h"
    )
    return f"vault://database/creds/{TENANT}-reports#username"


def is_user(name: str) -> bool:
    """Whether the database has this user."""
    return bool(postgres.run(postgres.server().ask(f"SELECT 1 FROM pg_roles WHERE rolname = '{name}'")))
