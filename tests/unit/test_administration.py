"""The administrators' door and its verbs, built for one process."""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar.config.load import read
from sidecar.errors import Misconfigured, Unavailable
from sidecar.pipeline.switches import Switches
from tests.fakes.certificates import Authority
from tests.fakes.desk import HOUSE, SECTION, Desk
from tests.fakes.parts import code, set_stage
from tests.unit.config.builders import GOOD, changed, written


def loaded(folder: Path, doors: dict[str, Any]) -> Any:
    return read(written(folder, changed("doors", doors)), {}, {})


async def test_socket_and_tcp_are_opened_as_configured(tmp_path: Path) -> None:
    administration = Desk().administration
    port = await administration.open(loaded(tmp_path, {"admin": "127.0.0.1:0", "admin_socket": "a.sock"}))
    assert port and stat.S_IMODE((tmp_path / "a.sock").stat().st_mode) == 0o600
    async with aiohttp.ClientSession() as session, session.get(f"http://127.0.0.1:{port}/v1/status") as answer:
        assert answer.status == 401
    await administration.door.close()


async def test_without_an_address_there_is_the_socket_only(tmp_path: Path) -> None:
    administration = Desk().administration
    assert await administration.open(loaded(tmp_path, {"admin": None})) is None
    await administration.door.close()


async def test_with_tls_the_door_speaks_nothing_else(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    both = tmp_path / "door.pem"
    both.write_bytes(authority.pem("127.0.0.1").read_bytes())
    both.chmod(0o600)
    tls = {"certificate": "door.pem", "key": "door.pem", "client_ca": authority.file.name}
    administration = Desk().administration
    port = await administration.open(loaded(tmp_path, {"admin": "127.0.0.1:0", "admin_tls": tls}))
    async with aiohttp.ClientSession() as session:
        with pytest.raises(aiohttp.ClientError):
            await session.get(f"http://127.0.0.1:{port}/v1/status")
    await administration.door.close()


async def test_tls_that_cannot_be_served_refuses_to_start(tmp_path: Path) -> None:
    tls = {"certificate": "none.pem", "key": "none.pem"}
    administration = Desk().administration
    with pytest.raises(Misconfigured, match=r"doors\.admin_tls"):
        await administration.open(loaded(tmp_path, {"admin": "127.0.0.1:0", "admin_tls": tls}))
    await administration.door.close()


async def test_what_another_sidecar_registered_is_followed() -> None:
    desk = Desk()
    document = {"section": SECTION, "status": "ready"}
    await desk.store.put("connector", "wiki", document, expected=None, by="elsewhere")
    await desk.administration.follow()
    await desk.registered.refresh()
    assert "wiki" in desk.stage.parts.catalogue.connectors
    await desk.store.put("switch", "connector:wiki", {"reason": "leaks"}, expected=None, by="elsewhere")
    await desk.administration.follow()
    assert [switch.id for switch in desk.verbs.switches.listed()] == ["wiki"]


async def test_a_registry_that_is_down_leaves_what_was_known() -> None:
    desk = Desk()
    await desk.verbs.connectors.save("wiki", SECTION, draft=False, version=None, by="ada")
    desk.store.available = False
    with pytest.raises(Unavailable):
        await desk.administration.follow()
    assert "wiki" in desk.stage.parts.catalogue.connectors
    assert desk.verbs.connectors.shown("wiki").status == "ready"


async def test_only_what_is_known_can_be_killed() -> None:
    desk = Desk()
    switches = desk.verbs.switches
    for target, id in (("connector", "crm"), ("principal", "bob"), ("key", "key_bob"), ("tenant", "acme")):
        assert (await switches.set(target, id, reason="leaks", asker=desk.person("ada"))).id == id
    assert GOOD["tenant"] == "acme"


async def test_a_registry_that_comes_late_is_served_before_anything_is_allowed() -> None:
    stage = set_stage(HOUSE, switches=Switches(60.0))
    desk = Desk(stage=stage)
    suspended = {"status": "suspended", "reason": "unpaid"}
    await desk.store.put("tenant", "acme", suspended, expected=None, by="oscar")
    desk.store.available = False
    with pytest.raises(Unavailable):
        await desk.administration.follow()
    await desk.administration.refresh()
    assert code(await stage.handle()) == "registry_unavailable"
    desk.store.available = True
    await desk.administration.follow()
    assert code(await stage.handle()) == "registry_unavailable", "what it says is not in force yet"
    await desk.administration.refresh()
    assert code(await stage.handle()) == "tenant_suspended"
    await desk.verbs.tenant.activate("paid", "oscar")
    assert (await stage.handle()).problem is None
