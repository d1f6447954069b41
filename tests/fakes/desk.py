"""The administrators' verbs and door over fakes: a stage, a registry in memory, and people of each role.

``Desk`` is what ``administration`` builds for a process, with ``serve`` doing what the process's does. People are
``ada`` (tenant admin), ``audrey`` (auditor), ``oscar`` (operator), ``all`` (every role) and ``nobody`` (no role);
``alice`` of the stage is an agent.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
from click.testing import CliRunner, Result

from sidecar.administration import Administration, Around
from sidecar.cli import main
from sidecar.config.sections import Config
from sidecar.model.principal import Principal
from sidecar.ports import CredentialStore
from sidecar.rules.catalogue import compile_catalogue
from sidecar.rules.registered import Combined
from tests.fakes.credentials import HeldStore
from tests.fakes.parts import ADDRESS, CONFIG, Stage, hashed_key, set_stage
from tests.fakes.registry import FakeRegistryStore

ROLES: Final = ["tenant-admin", "auditor", "operator"]
PEOPLE: Final = {"ada": ROLES[:1], "audrey": ROLES[1:2], "oscar": ROLES[2:], "nobody": [], "all": ROLES}
HOUSE: Final[dict[str, Any]] = CONFIG | {
    "principals": CONFIG["principals"]
    | {name: {"kind": "person", "roles": roles, "keys": hashed_key(name)} for name, roles in PEOPLE.items()}
}
SECTION: Final = {
    "kind": "http",
    "base_url": "https://wiki.example",
    "operations": {
        "get": {
            "method": "GET",
            "path": "/pages/{id}",
            "parameters": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string"}}},
        }
    },
}


class Desk:
    """``reloads`` counts; ``config`` is the file's configuration, which a test may replace."""

    def __init__(self, document: dict[str, Any] = HOUSE, stage: Stage | None = None) -> None:
        self.config = msgspec.convert(document, Config)
        self.stage = stage or set_stage(self.config)
        self.stage.resolver.names["wiki.example"] = (ADDRESS,)
        self.store = FakeRegistryStore(clock=self.stage.clock)
        self.reloads = 0
        self.numbers = 0
        self.vault = HeldStore(self.stage.clock)
        self.stores: dict[str, CredentialStore] = {"encrypted": self.vault}
        self.held: list[dict[str, Any]] = []
        self.unknown: list[int] = []
        around = Around(
            declared=lambda: self.config,
            serve=self.serve,
            status=lambda: {
                "ready": True,
                "credentials": self.held,
                "configuration": "/etc/sidecar.yaml",
                "doors": {"admin": 1},
            },
            reload=self.reload,
            bundles=None,
            connections=lambda _: (2, 1, 0),
            new_id=self.new_id,
            stores=self.stores,
            held=lambda: self.held,
            unknown=lambda: self.unknown,
        )
        self.administration = Administration(self.stage.parts, self.store, around)
        self.door = self.administration.door
        self.verbs = self.administration.verbs
        self.registered = self.administration.registered

    def new_id(self) -> str:
        self.numbers += 1
        return f"a-{self.numbers}"

    async def serve(self) -> Combined:
        combined = await self.registered.combine(self.config)
        self.stage.parts.catalogue = compile_catalogue(combined.config, combined.standing)
        self.stage.parts.switches.serve(self.stage.parts.catalogue)
        return combined

    async def reload(self) -> dict[str, Any]:
        self.reloads += 1
        return {"outcome": "loaded"}

    def person(self, name: str) -> Principal:
        """As the path knows them now, with the roles they were granted."""
        return self.stage.parts.catalogue.principals[name]

    @property
    def changes(self) -> list[tuple[str, str, str, str | None]]:
        """What evidence says of changes, second records only: verb, kind, id and the code of one that failed."""
        return [
            (leaf.change.verb, leaf.change.kind, leaf.change.id, leaf.code)
            for leaf in self.stage.evidence.leaves
            if leaf.change is not None and leaf.change.of is not None
        ]


@asynccontextmanager
async def served(folder: Path, desk: Desk | None = None) -> AsyncIterator[tuple[Desk, Path]]:
    """A desk whose socket is open in ``folder``, and the configuration file that names it."""
    desk = desk or Desk()
    await desk.door.start(folder / "admin.sock")
    file = folder / "sidecar.yaml"
    file.write_text("tenant: acme\n")
    try:
        yield desk, file
    finally:
        await desk.door.close()


async def run(config: Path, *arguments: str, given: str | None = None) -> Result:
    """One command of the command line, in a thread, so that the door can answer it."""
    return await asyncio.to_thread(CliRunner().invoke, main, [*arguments, "-c", str(config)], given)
