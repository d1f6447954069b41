"""Who asks, and for which tenant."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Refused
from sidecar.model.call import Call
from sidecar.model.principal import Principal
from sidecar.model.secret import Secret
from sidecar.pipeline.identify import identify, isolate
from sidecar.rules.catalogue import Standing, compile_catalogue
from tests.fakes.parts import CONFIG, key_of

CATALOGUE = compile_catalogue(msgspec.convert(CONFIG, Config))


def showing(token: str | bytes | None, principal: Principal | None = None) -> Call:
    secret = None if token is None else Secret(token)
    return Call(id="c", surface="access", action="execute", token=secret, principal=principal)


@pytest.mark.parametrize("name", ["alice", "bob", "stranger"])
def test_a_key_proves_its_principal(name: str) -> None:
    assert identify(showing(key_of(name)), CATALOGUE).id == name


@pytest.mark.parametrize(
    "token",
    [
        None,
        "",
        "scp_",
        "scp_key_alice",
        key_of("alice")[:-1],
        key_of("alice") + "a",
        key_of("alice").upper(),
        " " + key_of("alice"),
        key_of("alice")[:-1] + "b",
        "scp_key_bob_" + "a" * 43,
        "scp_nobody_" + "a" * 43,
        "scp__" + "a" * 43,
        "scx_key_alice_" + "a" * 43,
        b"scp_key_\xff_" + b"a" * 43,
        CONFIG["principals"]["alice"]["keys"][0]["sha256"],
        "x" * 100_000,
    ],
)
def test_anything_else_is_not_known(token: str | bytes | None) -> None:
    with pytest.raises(Refused) as refused:
        identify(showing(token), CATALOGUE)
    assert refused.value.code == "unauthenticated"
    assert "alice" not in refused.value.detail


def test_a_wrong_key_and_a_wrong_id_are_told_the_same() -> None:
    details = set()
    for token in (key_of("alice")[:-1] + "b", "scp_nobody_" + "a" * 43, "hello"):
        with pytest.raises(Refused) as refused:
            identify(showing(token), CATALOGUE)
        details.add(refused.value.detail)
    assert len(details) == 1


def test_a_principal_that_the_operating_system_proved_needs_no_key() -> None:
    prober = Principal(id="prober", kind="system", tenant="acme")
    assert identify(showing(None, prober), CATALOGUE) is prober


@pytest.mark.parametrize("tenant", ["umbrella", "", "ACME", "acme ", "*", "acme/../acme"])
def test_inv_4_another_tenants_principal_is_refused(tenant: str) -> None:
    with pytest.raises(Refused) as refused:
        isolate(Principal(id="x", kind="agent", tenant=tenant), CATALOGUE)
    assert refused.value.code == "tenant_mismatch"
    assert "acme" not in refused.value.detail


def test_inv_4_ones_own_tenant_goes_on() -> None:
    isolate(Principal(id="x", kind="agent", tenant="acme"), CATALOGUE)


def test_a_key_ends_at_its_moment() -> None:
    catalogue = compile_catalogue(msgspec.convert(CONFIG, Config), Standing(expires={"key_alice": 1000}))
    assert identify(showing(key_of("alice")), catalogue, 999).id == "alice"
    assert identify(showing(key_of("bob")), catalogue, 1 << 60).id == "bob"
    with pytest.raises(Refused, match="expired") as refused:
        identify(showing(key_of("alice")), catalogue, 1000)
    assert refused.value.code == "unauthenticated"


def test_a_suspended_tenant_is_denied_everywhere() -> None:
    catalogue = compile_catalogue(msgspec.convert(CONFIG, Config), Standing(suspended=True))
    with pytest.raises(Refused) as refused:
        isolate(Principal(id="x", kind="agent", tenant="acme"), catalogue)
    assert refused.value.code == "tenant_suspended"
    with pytest.raises(Refused) as refused:
        isolate(Principal(id="x", kind="agent", tenant="umbrella"), catalogue)
    assert refused.value.code == "tenant_mismatch"
