"""A real Vault that is sealed, slow, gone, forbidding or lying: a clear refusal, nothing stale, nothing shown."""

from __future__ import annotations

import asyncio
import http.server
import json
import logging
import threading
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.clock import SystemClock
from sidecar.adapters.credentials.remote.cached import REFUSED_SECONDS, CachedSource
from sidecar.config.remotes import VaultLogin
from sidecar.errors import Refused, Unavailable
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from tests.integration.vault_sources import VALUE, Tenant

pytestmark = pytest.mark.needs_vault
CANARY = "canary-3f9d2c71b8"


@pytest.fixture
async def tenant(tmp_path: Path) -> AsyncIterator[Tenant]:
    made = Tenant(tmp_path)
    yield made
    await made.source.close()


async def test_c01_a_sealed_vault_serves_what_is_held_within_its_age_and_refuses_past_it(tenant: Tenant) -> None:
    assert await tenant.value() == VALUE
    tenant.server.seal()
    try:
        tenant.clock.advance(tenant.section.max_age_seconds - 1)
        await tenant.source.tend()
        assert await tenant.value() == VALUE
        tenant.clock.advance(1)
        assert await tenant.reason() == "store_sealed"
        assert await tenant.reason(tenant.reference("other")) == "store_sealed"
    finally:
        tenant.server.unseal()
    tenant.clock.advance(REFUSED_SECONDS)
    assert await tenant.value() == VALUE


async def test_a_thousand_first_uses_at_once_ask_once(tenant: Tenant) -> None:
    found = await asyncio.gather(*(tenant.resolve() for _ in range(1000)))
    assert {credential.version for credential in found} == {"1"}
    assert all(credential.secret == Secret(VALUE) for credential in found)
    assert tenant.asked() == 1
    await tenant.value(field="user")  # comes with it
    assert tenant.asked() == 1


async def test_c02_rotations_while_thousands_use_it_fail_no_use(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path, max_age_seconds=0.3)
    source = CachedSource("vault", tenant.store, SystemClock(), tenant.observer, 5)
    seen: set[str] = set()
    uses, last = 0, 1
    begun = time.monotonic()
    async with asyncio.timeout(30):
        while len(seen) < 6:
            for _ in range(200):  # a refusal would raise
                seen.add((await source.resolve(tenant.reference())).version)
                uses += 1
            if str(last) in seen:
                last = await asyncio.to_thread(tenant.server.put, tenant.name, "crm", token=f"value-{uses:08}")
            await asyncio.sleep(0.001)
    await source.close()
    await tenant.source.close()
    assert uses / (time.monotonic() - begun) > 2000


async def test_a_refusal_is_remembered_for_a_moment(tenant: Tenant) -> None:
    for _ in range(100):
        assert await tenant.reason(tenant.reference("missing")) == "no_such_secret"
    assert tenant.asked("missing") == 1
    tenant.server.put(tenant.name, "missing", token=VALUE)
    tenant.clock.advance(REFUSED_SECONDS)
    assert await tenant.value("missing") == VALUE


async def test_c01_what_the_role_may_not_read_is_said_so_without_a_new_login(tenant: Tenant) -> None:
    await tenant.value()
    logins = tenant.server.asked("auth/approle/login")
    tenant.server.root.sys.create_or_update_policy(
        tenant.name, 'path "secret/data/other" { capabilities = ["read"] }'
    )
    tenant.clock.advance(tenant.section.max_age_seconds)
    assert await tenant.reason() == "store_forbidden"
    assert tenant.server.asked("auth/approle/login") == logins


async def test_a103_a_secret_that_was_deleted_is_dropped_when_it_is_looked_at_again(tenant: Tenant) -> None:
    await tenant.value()
    tenant.server.delete(tenant.name, "crm")
    tenant.clock.advance(tenant.section.max_age_seconds * 2 / 3 + 1)
    await tenant.source.tend()
    assert await tenant.reason() == "no_such_secret"  # long before its time was over


async def test_versions_and_fields_are_what_the_reference_names(tenant: Tenant) -> None:
    tenant.server.put(tenant.name, "crm", token="value-of-version-2")
    assert (await tenant.resolve()).version == "2"
    assert (await tenant.resolve(version="1")).secret == Secret(VALUE)
    assert await tenant.reason(tenant.reference(version="7")) == "no_such_version"
    assert await tenant.reason(tenant.reference(field="nothing")) == "no_such_field"
    tenant.server.delete(tenant.name, "crm")
    tenant.clock.advance(tenant.section.max_age_seconds)
    assert await tenant.reason(tenant.reference(version="2")) == "no_such_version"


@pytest.mark.parametrize("value", ["abc", 12345678, {"nested": "value"}, ["value-12345678"], "x" * 70_000, None])
async def test_what_is_no_usable_text_is_no_credential(tenant: Tenant, value: object) -> None:
    tenant.server.put(tenant.name, "odd", token=value)
    assert await tenant.reason(tenant.reference("odd")) == "no_such_field"


async def test_c06_a_reference_of_another_tenant_is_refused_before_anything_is_asked(tenant: Tenant) -> None:
    other = f"{tenant.name}-other"
    tenant.server.put(other, "crm", token=CANARY)
    for locator in (f"secret/{other}/crm", "secret/crm", f"secret/{tenant.name}-", f"nowhere/{tenant.name}/crm"):
        assert await tenant.reason(Reference("vault", locator, "token")) == "other_tenant"
    assert tenant.server.asked(f"secret/data/{other}/crm", "read") == 0


async def test_writing_compares_versions(tenant: Tenant) -> None:
    reference = tenant.reference()
    change, write = asyncio.to_thread, tenant.store.write
    assert (await change(write, reference, Secret("rotated-12345678"), Terms(), "1")).version == "2"
    with pytest.raises(Refused) as late:
        await change(write, reference, Secret("too-late-12345678"), Terms(), "1")
    assert late.value.code == "conflict"
    with pytest.raises(Refused):
        await change(write, reference, Secret("not-new-12345678"), Terms(), None)
    assert await tenant.value() == "rotated-12345678"
    assert await tenant.value(field="user") == "somebody"  # the other fields stay
    assert (await change(write, tenant.reference("made"), Secret("made-12345678"), Terms(), None)).version == "1"


async def test_a_clock_that_jumps_does_not_lengthen_a_lease(tenant: Tenant, monkeypatch: pytest.MonkeyPatch) -> None:
    await tenant.value()
    monkeypatch.setattr(time, "time", lambda: 0.0)  # the wall's clock is not what leases are measured by
    tenant.clock.advance(tenant.section.max_age_seconds)
    tenant.server.put(tenant.name, "crm", token="later-12345678")
    assert await tenant.value() == "later-12345678"


def redirecting(asked: list[str]) -> type[http.server.BaseHTTPRequestHandler]:
    """A server that sends everybody elsewhere, and notes what it was asked."""

    class Redirects(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.path)
            self.rfile.read(int(self.headers.get("Content-Length") or 0))
            self.send_response(307)
            self.send_header("Location", "/v1/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    return Redirects


async def test_c07_a_redirect_is_not_followed_and_nothing_goes_there(tenant: Tenant) -> None:
    asked: list[str] = []
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), redirecting(asked))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        await tenant.source.close()
        tenant.open(tenant.section.login, address=f"http://127.0.0.1:{server.server_address[1]}")
        assert await tenant.reason() == "store_failing"
        assert asked == ["/v1/auth/approle/login"]
    finally:
        server.shutdown()
        thread.join(10)
        server.server_close()


async def test_inv_5_neither_secrets_nor_logins_are_told(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path)
    tenant.server.put(tenant.name, "crm", token=CANARY, user=CANARY)
    secret_id = (tmp_path / "secret-id").read_text()
    shown = [repr(await tenant.resolve())]
    told = [repr(tenant.source), repr(tenant.store), repr(tenant.section)]
    for reference in (tenant.reference(field="nothing"), tenant.reference("missing"), tenant.reference(version="9")):
        with pytest.raises(Unavailable) as refusal:
            await tenant.source.resolve(reference)
        told += [str(refusal.value), repr(refusal.value), repr(refusal.value.reasons), repr(refusal.value.__cause__)]
    (tmp_path / "secret-id").write_text(f"{secret_id}-{CANARY}")
    await tenant.source.close()
    tenant.open(tenant.section.login)
    assert await tenant.reason() == "store_login_refused"
    told.append(json.dumps(tenant.observer.events))
    everything = "\n".join(told + shown)
    assert CANARY not in everything
    assert secret_id not in everything
    assert tenant.server.root.token not in everything
    await tenant.source.close()


async def test_inv_5_debug_logs_show_no_secret(tenant: Tenant, caplog: pytest.LogCaptureFixture) -> None:
    secret_id = (tenant.folder / "secret-id").read_text()
    with caplog.at_level(logging.DEBUG):
        assert await tenant.value() == VALUE
        await asyncio.to_thread(tenant.store.write, tenant.reference(), Secret(CANARY), Terms(), "1")
        await tenant.source.close()
    assert caplog.records
    assert not [text for text in (VALUE, CANARY, secret_id, "hvs.") if text in caplog.text]


async def test_c01_a_vault_that_is_not_there(tmp_path: Path, tenant: Tenant) -> None:
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("something")
    await tenant.source.close()
    tenant.open(VaultLogin(method="token", file="token"), address="http://127.0.0.1:1")
    assert await tenant.reason() == "store_unreachable"
