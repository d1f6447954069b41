from __future__ import annotations

import asyncio
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sidecar.adapters.credentials.remote.cached import CachedSource
from sidecar.adapters.credentials.remote.store import Fetched, Loan
from sidecar.adapters.credentials.remotes import OnFirstUse, RemoteSources
from sidecar.config.remotes import AwsSection, VaultLogin, VaultSection
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from tests.fakes.clock import HeldClock
from tests.fakes.observer import RecordingObserver
from tests.unit.adapters.credentials.remote.test_administration import ScriptedKeeper

VAULT = VaultSection(address="http://127.0.0.1:1", login=VaultLogin(method="token", file="token"), timeout_seconds=1)
OTHER = VaultSection(address="http://127.0.0.1:2", login=VaultLogin(method="token", file="token"), timeout_seconds=1)
AWS = AwsSection(region="eu-west-1")


@pytest.fixture
def remote() -> RemoteSources:
    return RemoteSources(HeldClock(), RecordingObserver())


async def test_the_same_settings_are_the_same_source(remote: RemoteSources, tmp_path: Path) -> None:
    first = remote.vault(VAULT, "acme", tmp_path)
    assert remote.vault(VAULT, "acme", tmp_path) is first
    assert remote.vault(OTHER, "acme", tmp_path) is not first
    assert remote.vault(VAULT, "globex", tmp_path) is not first
    assert remote.aws(AWS, "acme", tmp_path) is remote.aws(AWS, "acme", tmp_path)
    await remote.close()


async def test_a_source_that_is_used_no_more_leaves_after_a_while_and_the_others_stay(
    remote: RemoteSources, tmp_path: Path
) -> None:
    old, kept = remote.vault(VAULT, "acme", tmp_path), remote.aws(AWS, "acme", tmp_path)
    new = remote.vault(OTHER, "acme", tmp_path)
    remote.settle([new, kept])
    assert await reason(old) == "store_login_refused"  # a call that holds it is still served
    assert remote.vault(VAULT, "acme", tmp_path) is not old
    assert remote.aws(AWS, "acme", tmp_path) is kept
    async with asyncio.timeout(5):
        await remote.close()
    for source in (old, new):
        assert await reason(source) == "source_closed"


async def reason(source: CachedSource) -> str:
    with pytest.raises(Unavailable) as refusal:
        await source.resolve(Reference("vault", "secret/acme/crm", "token"))
    return refusal.value.reasons[0].code


async def test_what_is_held_is_listed_with_the_time_that_is_left(remote: RemoteSources, tmp_path: Path) -> None:
    source = remote.vault(VAULT, "acme", tmp_path)
    assert remote.held() == []
    fetched = Fetched({"token": Secret("canary-12345678")}, "3", 60.0)
    source._hold(("secret/acme/crm", None), fetched, HeldClock().monotonic())
    assert remote.held() == [{"place": "vault://secret/acme/crm", "version": "3", "seconds": 60.0}]
    await remote.close()


def test_a_store_is_made_once_and_when_it_is_asked() -> None:
    made: list[ScriptedKeeper] = []

    def make() -> ScriptedKeeper:
        made.append(ScriptedKeeper(lends=True))
        return made[-1]

    store, reference = OnFirstUse(make), Reference("vault", "secret/acme/crm", "token")
    store.close()
    assert made == []
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(store.fetch, [reference] * 50))
    (only,) = made
    assert only.fetched == 50
    assert store.renew(Loan("lease-1", 1)) == only.renewal
    store.give_back(Loan("lease-1", 1))
    assert store.about(reference) == only.row
    assert store.list() == [only.row]
    assert store.write(reference, Secret("value-12345678"), Terms(), None) == only.row
    assert store.amend(reference, Terms(), "1") == only.row
    store.delete(reference, "1")
    assert only.changes == ["write", "amend", "delete"]
    store.close()
    assert only.returned == ["lease-1"]
    assert only.closed


async def test_without_its_section_there_is_no_source(remote: RemoteSources, tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="vault"):
        remote.vault(None, "acme", tmp_path)
    with pytest.raises(Misconfigured, match="aws"):
        remote.aws(None, "acme", tmp_path)
    await remote.close()


def test_what_starts_a_sidecar_imports_no_stores_library() -> None:
    code = (
        "import sys; import sidecar.process;"
        "sys.exit(', '.join({'hvac', 'requests', 'urllib3', 'botocore'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.stderr.strip() == ""
