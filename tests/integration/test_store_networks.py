"""Sources of credentials before a network that fails: a Vault's and AWS's alike, with a clock that stands still."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.credentials.remote.cached import REFUSED_SECONDS, THREADS, CachedSource
from sidecar.adapters.credentials.remotes import RemoteSources
from sidecar.errors import Unavailable
from sidecar.model.credential import Reference
from tests import aws, toxiproxy, vault
from tests.e2e.house import comes_true
from tests.fakes.clock import HeldClock
from tests.fakes.observer import RecordingObserver
from tests.toxiproxy import Between, Toxic, cut_after, hung_up, in_slices, latency, reset, swallowed

pytestmark = pytest.mark.needs_toxiproxy
BOUND = 0.4  # seconds
CANARY, SECOND = "canary-3f9d2c71b8", "second-1fc04ab977"


class Behind:
    """A tenant's source, whose store is behind ``between``. ``put`` writes to the store itself."""

    def __init__(self, kind: str, folder: Path, between: Between) -> None:
        self.folder = folder
        self.between = between
        self.clock = HeldClock()
        self.observer = RecordingObserver()
        self.tenant = vault.fresh_tenant()
        self.remotes = RemoteSources(self.clock, self.observer)
        self.source, self._mount = self._aws(folder) if kind == "aws" else self._vault(folder, kind == "vault, TLS")
        self.put("crm", CANARY)

    def _vault(self, folder: Path, secure: bool) -> tuple[CachedSource, str]:
        server = vault.server()
        there: dict[str, Any] = {"address": self.between.address}
        if secure:
            there = {"address": f"https://127.0.0.1:{self.between.port}", "ca_file": str(server.authority.file)}
        section = server.section(server.approle(self.tenant, folder), timeout_seconds=BOUND, **there)
        self.age = section.max_age_seconds
        self.put: Callable[[str, str], Any] = lambda name, value: server.put(self.tenant, name, token=value)
        return self.remotes.vault(section, self.tenant, folder), "secret/"

    def _aws(self, folder: Path) -> tuple[CachedSource, str]:
        server = aws.server()
        section = server.section(endpoint=self.between.address, timeout_seconds=BOUND)
        self.age = section.max_age_seconds
        self.put = lambda name, value: server.put(f"{self.tenant}/{name}", {"token": value})
        return self.remotes.aws(section, self.tenant, folder), ""

    def reference(self, name: str = "crm") -> Reference:
        scheme = "vault" if self._mount else "aws"
        return Reference(scheme, f"{self._mount}{self.tenant}/{name}", "token")

    async def value(self, name: str = "crm") -> str:
        credential = await self.source.resolve(self.reference(name))
        return credential.secret.reveal().decode()

    async def in_the_end(self, name: str = "crm") -> str:
        """The value, which a connection that was just cut may cost a try, and a busy machine more."""
        for _ in range(20):
            try:
                return await self.value(name)
            except Unavailable:
                self.clock.advance(REFUSED_SECONDS)
        return await self.value(name)

    async def refusal(self, name: str = "crm") -> Unavailable:
        with pytest.raises(Unavailable) as refusal:
            await self.source.resolve(self.reference(name))
        assert refusal.value.code == "credential_unavailable"
        return refusal.value

    def threads(self) -> int:
        return sum(thread.name.startswith(("vault-store", "aws-store")) for thread in threading.enumerate())


STORES = [
    pytest.param("vault", marks=pytest.mark.needs_vault),
    pytest.param("vault, TLS", marks=pytest.mark.needs_vault),
    pytest.param("aws", marks=pytest.mark.needs_moto),
]


def port_of(kind: str) -> int:
    if kind == "aws":
        return int(aws.server().endpoint.rpartition(":")[2])
    return vault.server().secure_port if kind == "vault, TLS" else vault.server().port


@pytest.fixture(params=STORES)
async def behind(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Behind]:
    for name, value in aws.IDENTITY.items():
        monkeypatch.setenv(name, value)
    with toxiproxy.server().between(port_of(request.param)) as between:
        made = Behind(request.param, tmp_path, between)
        assert await made.in_the_end() == CANARY  # the library was imported by now, which may take longer than BOUND
        yield made
        await made.remotes.close()


OUTAGES: dict[str, Toxic | None] = {
    "down": None,
    "late": latency(1000),
    "partition": swallowed("upstream"),
    "hung up": hung_up(50),
    "reset": reset(),
    "cut in the head": cut_after(20),
    "cut in the body": cut_after(450),
    "trickle": in_slices(1, 50_000),
}


@pytest.mark.parametrize("name", OUTAGES)
async def test_c01_what_is_held_serves_through_an_outage_to_its_end_and_not_beyond(behind: Behind, name: str) -> None:
    toxic = OUTAGES[name]
    if toxic is None:
        behind.between.down()
    else:
        behind.between.put(toxic)
    for share in (2 / 3, 1 / 4):  # renewals that do not get through
        behind.clock.advance(behind.age * share)
        await behind.source.tend()
        assert await behind.value() == CANARY
    behind.put("crm", SECOND)
    behind.clock.advance(behind.age / 12 + 1)
    for _ in range(2):
        refusal = await behind.refusal()
        assert refusal.reasons[0].code in {"store_slow", "store_unreachable", "store_failing"}
    behind.between.up()
    behind.between.clear()
    behind.clock.advance(REFUSED_SECONDS)
    assert await behind.in_the_end() == SECOND


async def test_200_calls_into_a_black_hole_hold_few_threads_and_not_the_loop(behind: Behind) -> None:
    names = [f"crm-{number}" for number in range(200)]
    behind.between.put(swallowed("upstream"))
    turns = 0
    calls = [asyncio.create_task(behind.refusal(name)) for name in names]
    while not all(call.done() for call in calls):
        await asyncio.sleep(0)
        turns += 1
        assert behind.threads() <= THREADS
    reasons = {(await call).reasons[0].code for call in calls}
    assert reasons == {"store_slow"}
    assert turns > 100  # a loop that was held would have turned a few times
    behind.between.clear()
    behind.put("crm-later", CANARY)
    assert await behind.in_the_end("crm-later") == CANARY


async def test_inv_5_no_outage_tells_a_secret_or_a_login(behind: Behind) -> None:
    shown = []
    for number, toxic in enumerate(filter(None, OUTAGES.values())):
        behind.between.put(toxic)
        refusal = await behind.refusal(f"crm-{number}")
        assert (refusal.__cause__, refusal.__context__) == (None, None)  # the connection's own have the token
        shown.append(f"{refusal!r} {refusal.reasons!r}")
    behind.between.clear()
    told = "\n".join([*shown, repr(behind.observer.events), repr(behind.source)])
    login = [file.read_text() for file in behind.folder.glob("secret-id")]
    needles = [CANARY, *login, "hvs.", *aws.IDENTITY.values(), str(behind.between.port)]
    assert not [needle for needle in needles if needle in told]


async def test_a_trickle_does_not_keep_a_thread_for_good(behind: Behind) -> None:
    behind.between.put(in_slices(1, 100_000))  # an answer would take a minute, and no pause in it is long
    for number in range(2 * THREADS):
        behind.put(f"crm-{number}", CANARY)
        assert (await behind.refusal(f"crm-{number}")).reasons[0].code == "store_slow"
    await behind.remotes.close()
    assert await asyncio.to_thread(comes_true, lambda: behind.threads() == 0)
