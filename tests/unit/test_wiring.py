"""Which parts a configuration gets, and that another configuration is taken whole or not at all."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import msgspec
import pytest

from sidecar.adapters.credentials.environment import EnvironmentSource, EnvironmentStore
from sidecar.adapters.credentials.remote.cached import CachedSource
from sidecar.adapters.credentials.remotes import RemoteSources
from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.policy.activation import Activations
from sidecar.adapters.policy.directory import WatchedDirectory
from sidecar.adapters.policy.embedded import EmbeddedEngine
from sidecar.adapters.policy.server import ServerEngine
from sidecar.adapters.registry.postgres import PostgresStore
from sidecar.adapters.registry.sqlite import SqliteStore
from sidecar.config.load import Loaded, read
from sidecar.config.remotes import AwsSection, VaultLogin, VaultSection
from sidecar.errors import Misconfigured
from sidecar.rules.catalogue import Standing, compile_catalogue
from sidecar.wiring import (
    POLICIES,
    REGISTRIES,
    SOURCES,
    STORES,
    Around,
    Built,
    build,
    credential_sources,
    credential_stores,
    http_settings,
    policy_kind,
    policy_state,
    server_addresses,
    split,
    swap,
    table,
)
from tests.fakes.clock import HeldClock
from tests.fakes.evidence import MemoryEvidence
from tests.fakes.observer import RecordingObserver
from tests.unit.config.builders import changed, written

BASE = changed("evidence.reserve_bytes", 1 << 16, changed("limits.in_flight", 3))
SERVER = {"url": "unix:///run/opa.sock"}
FIXED = {"name": "crm.example.com", "port": 443, "networks": ["10.0.0.0/8"], "addresses": ["10.1.2.3"]}


def loaded(folder: Path, document: dict[str, Any] = BASE) -> Loaded:
    return read(written(folder, document), {}, {})


@pytest.fixture(autouse=True)
def store(tmp_path: Path) -> None:
    (tmp_path / "credentials").mkdir(mode=0o700)
    master_key.create(tmp_path / "credentials" / "master.key")


@pytest.fixture
async def built(tmp_path: Path) -> AsyncIterator[Built]:
    (tmp_path / "policy").mkdir()
    lines = LineWriter(os.open(os.devnull, os.O_WRONLY))
    made = build(loaded(tmp_path, changed("destinations.crm", FIXED, BASE)), lines)
    yield made
    await made.caller.close()
    await made.evidence.close()
    await made.policy.close()
    lines.close()
    os.close(lines._descriptor)


def test_a_table_keeps_its_order() -> None:
    assert list(table([("b", 1), ("a", 2)]).items()) == [("b", 1), ("a", 2)]
    assert table([]) == {}


def test_a_name_that_stands_twice_refuses_to_start() -> None:
    with pytest.raises(Misconfigured, match="'env'"):
        table([("env", 1), ("other", 2), ("env", 1)])


def test_every_place_of_a_registry_has_its_store(tmp_path: Path) -> None:
    shared = changed("registry", {"postgres": "env://URL"}, changed("store.allow_environment", True, BASE))
    at = loaded(tmp_path, shared)
    made = {name: make(at, credential_sources(at, remote()), HeldClock()) for name, make in REGISTRIES.items()}
    assert isinstance(made["sqlite"], SqliteStore)
    assert isinstance(made["postgres"], PostgresStore)
    assert set(made) == {"sqlite", "postgres"}
    assert not (tmp_path / "registry.db").exists()  # made at the first question


async def test_nothing_is_allowed_before_the_kill_switches_are_known(built: Built) -> None:
    assert isinstance(built.registry, SqliteStore)
    assert built.parts.switches.is_stale(built.parts.clock.monotonic())
    built.parts.switches.known(built.parts.clock.monotonic())
    assert not built.parts.switches.is_stale(built.parts.clock.monotonic() + 59)
    assert built.parts.switches.is_stale(built.parts.clock.monotonic() + 61)


VAULT = VaultSection(address="http://127.0.0.1:8200", login=VaultLogin(method="token", file="token"))


def test_a24_what_holds_the_secrets_is_never_a_destination(tmp_path: Path) -> None:
    config = loaded(tmp_path, {"tenant": "acme"}).config
    aws = AwsSection(region="eu-west-1", endpoint="https://10.0.0.9")
    config = msgspec.structs.replace(config, vault=VAULT, aws=aws)
    assert server_addresses(config) == [("127.0.0.1", 8200), ("10.0.0.9", 443)]


def remote() -> RemoteSources:
    return RemoteSources(HeldClock(), RecordingObserver())


def test_every_scheme_has_its_source(tmp_path: Path) -> None:
    config = loaded(tmp_path, changed("store.allow_environment", True, BASE)).config
    config = msgspec.structs.replace(config, vault=VAULT, aws=AwsSection(region="eu-west-1"))
    made = {scheme: make(config, tmp_path, remote()) for scheme, make in SOURCES.items()}
    assert isinstance(made["encrypted"], SealedStore)
    assert isinstance(made["env"], EnvironmentSource)
    assert isinstance(made["vault"], CachedSource)
    assert isinstance(made["aws"], CachedSource)
    assert set(made) == {"encrypted", "env", "vault", "aws"}


def test_only_schemes_that_are_referred_to_get_a_source(tmp_path: Path) -> None:
    assert set(credential_sources(loaded(tmp_path), remote())) == {"encrypted"}
    assert credential_sources(loaded(tmp_path, {"tenant": "acme"}), remote()) == {}
    both = changed(
        "credentials.dev", {"reference": "env://DEV", "hosts": ["x.example:443"], "connectors": ["crm"]}, BASE
    )
    both = changed("store.allow_environment", True, both)
    assert set(credential_sources(loaded(tmp_path, both), remote())) == {"encrypted", "env"}


def test_a_store_without_its_key_refuses_to_start(tmp_path: Path, store: None) -> None:
    (tmp_path / "credentials" / "master.key").unlink()
    with pytest.raises(Misconfigured, match="master key"):
        credential_sources(loaded(tmp_path), remote())


def test_references_to_the_environment_are_refused_unless_allowed(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="development only"):
        SOURCES["env"](loaded(tmp_path).config, tmp_path, remote())


def test_a_scheme_without_a_source_leaves_a_gap_and_not_a_guess(tmp_path: Path) -> None:
    later = changed("credentials.crm-key.reference", "vault://kv/crm#key", BASE)
    assert credential_sources(loaded(tmp_path, later), remote()) == {}


def test_settings_of_the_caller_are_the_connectors_own(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("")
    document = changed("connectors.crm.ca_file", "ca.pem", BASE)
    document = changed("connectors.crm.connections", 7, document)
    document = changed(
        "connectors.crm.timeouts",
        {"connect_seconds": 1, "head_seconds": 2, "idle_seconds": 3, "total_seconds": 4},
        document,
    )
    plain = {"kind": "http", "base_url": "http://plain.example"}
    settings = http_settings(loaded(tmp_path, changed("connectors.plain", plain, document)))
    assert set(settings) == {"crm", "plain"}
    crm = settings["crm"]
    assert (crm.secure, crm.ca_file, crm.connections) == (True, tmp_path / "ca.pem", 7)
    bounds = crm.timeouts
    assert (bounds.connect, bounds.head, bounds.idle, bounds.total) == (1, 2, 3, 4)
    assert (settings["plain"].secure, settings["plain"].ca_file) == (False, None)


@pytest.mark.parametrize(
    ("address", "parts"),
    [("127.0.0.1:8080", ("127.0.0.1", 8080)), ("[::1]:0", ("::1", 0)), ("localhost:9464", ("localhost", 9464))],
)
def test_an_address_in_two(address: str, parts: tuple[str, int]) -> None:
    assert split(address) == parts


async def test_what_is_built_fits_the_configuration(built: Built, tmp_path: Path) -> None:
    parts = built.parts
    assert set(parts.catalogue.connectors) == {"crm"}
    assert parts.evidence is built.evidence and parts.reader is built.evidence
    assert parts.engine is built.engine and built.engine.revision is None  # a policy is loaded by the process
    assert built.evidence.origin.startswith("acme-")
    assert (tmp_path / "evidence" / "origin").is_file()
    assert await built.resolver.resolve("crm.example.com") == ("10.1.2.3",)
    assert ("127.0.0.1", 8080) in parts.own_ports and ("127.0.0.1", 9464) in parts.own_ports


async def test_a_log_has_one_writer(built: Built, tmp_path: Path) -> None:
    lines = LineWriter(os.open(os.devnull, os.O_WRONLY))
    with pytest.raises(Misconfigured):
        build(loaded(tmp_path), lines)
    lines.close()
    os.close(lines._descriptor)


async def test_another_configuration_is_served_from_the_next_call_on(built: Built, tmp_path: Path) -> None:
    document = changed("connectors.erp", {"kind": "http", "base_url": "https://erp.example"}, BASE)
    document = changed("credentials", {}, changed("connectors.crm.auth", ..., document))
    document = changed("destinations.crm", {**FIXED, "addresses": ["10.9.9.9"]}, document)
    fresh = loaded(tmp_path, document)
    swap(built, fresh, compile_catalogue(fresh.config))
    assert set(built.parts.catalogue.connectors) == {"crm", "erp"}
    assert built.parts.credentials == {}
    assert await built.resolver.resolve("crm.example.com") == ("10.9.9.9",)


@pytest.mark.parametrize("broken", ["authorities", "destinations", "catalogue"])
async def test_what_cannot_be_compiled_leaves_everything_as_it_was(built: Built, tmp_path: Path, broken: str) -> None:
    catalogue, sources = built.parts.catalogue, built.parts.credentials
    settings = {name: line.settings for name, line in built.caller._lines.items()}
    document = changed("connectors.erp", {"kind": "http", "base_url": "https://erp.example"}, BASE)
    document = changed("destinations.crm", {**FIXED, "addresses": ["10.9.9.9"]}, document)
    if broken == "authorities":
        (tmp_path / "ca.pem").write_text("no certificate")
        document = changed("connectors.erp.ca_file", "ca.pem", document)
    elif broken == "destinations":
        document = changed("destinations.other", {**FIXED, "port": 444, "addresses": ["10.8.8.8"]}, document)
    else:
        grant = {"name": "crm.example.com", "port": 443, "networks": ["8.8.8.0/24"]}  # a public network
        document = changed("destinations.crm", grant, document)
    fresh = loaded(tmp_path, document)
    with pytest.raises(Misconfigured):
        swap(built, fresh, compile_catalogue(fresh.config))
    assert built.parts.catalogue is catalogue
    assert built.parts.credentials is sources
    assert {name: line.settings for name, line in built.caller._lines.items()} == settings
    assert await built.resolver.resolve("crm.example.com") == ("10.1.2.3",)


def around(at: Loaded) -> Around:
    return Around(credential_sources(at, remote()), MemoryEvidence(), HeldClock(), RecordingObserver())


async def test_either_the_folder_or_the_server_decides(built: Built, tmp_path: Path) -> None:
    assert isinstance(built.engine, EmbeddedEngine) and isinstance(built.policy, WatchedDirectory)
    server = loaded(tmp_path, changed("policy", {"server": SERVER}, BASE))
    decides, source = POLICIES[policy_kind(server.config)](server, around(server))
    assert isinstance(decides, ServerEngine) and source is decides
    assert set(POLICIES) == {"bundle", "directory", "server"}
    await source.close()


async def test_bundles_have_their_history_beside_the_evidence(tmp_path: Path) -> None:
    bundle = {"file": "bundle.tar.gz"}
    named = loaded(tmp_path, changed("policy", {"bundle": bundle}, BASE))
    assert policy_state(named) == tmp_path / "evidence" / "policy"
    moved = loaded(tmp_path, changed("policy", {"bundle": bundle, "state": "state"}, BASE))
    decides, source = POLICIES[policy_kind(moved.config)](moved, around(moved))
    assert isinstance(decides, EmbeddedEngine) and isinstance(source, Activations)
    assert (tmp_path / "state" / "history.jsonl").is_file()
    await source.close()


def test_the_servers_address_is_no_destination_of_anybodys(tmp_path: Path) -> None:
    assert server_addresses(loaded(tmp_path).config) == []
    for url, addresses in (
        ("unix:///run/opa.sock", []),
        ("http://127.0.0.1:8181", [("127.0.0.1", 8181)]),
        ("https://opa.example", []),
    ):
        asked = loaded(tmp_path, changed("policy", {"server": {"url": url}}, BASE)).config
        assert server_addresses(asked) == addresses


def test_the_servers_token_gets_its_source(tmp_path: Path) -> None:
    document = {"tenant": "acme", "policy": {"server": {**SERVER, "token": "encrypted://opa"}}}
    assert set(credential_sources(loaded(tmp_path, document), remote())) == {"encrypted"}


def test_a_connector_out_of_service_has_no_connections(tmp_path: Path) -> None:
    at = loaded(tmp_path)
    assert set(http_settings(at)) == {"crm"}
    assert set(http_settings(at, Standing(inactive=frozenset({("connector", "crm")})))) == set()


AT = {"address": "http://127.0.0.1:1", "login": {"method": "token", "file": "token"}, "timeout_seconds": 1}


def test_every_scheme_that_resolves_is_administered() -> None:
    assert set(STORES) == set(SOURCES)


async def test_a_store_that_is_configured_is_administered_whether_or_not_it_is_referred_to(tmp_path: Path) -> None:
    parts = remote()
    assert set(credential_stores(loaded(tmp_path), parts)) == {"encrypted"}
    document = changed("aws", {"region": "eu-west-1"}, changed("vault", AT, BASE))
    document = changed("store", {"allow_environment": True}, document)
    document = changed("credentials.crm-key.reference", "env://CRM_KEY", document)
    stores = credential_stores(loaded(tmp_path, document), parts)
    assert set(stores) == {"encrypted", "vault", "aws", "env"}
    assert isinstance(stores["env"], EnvironmentStore)
    assert stores["env"]._names == ["CRM_KEY"]
    await parts.close()


def test_the_sealed_store_is_administered_where_no_key_is_yet(tmp_path: Path) -> None:
    (tmp_path / "credentials" / "master.key").unlink()
    assert set(credential_stores(loaded(tmp_path), remote())) == {"encrypted"}


async def test_calls_and_administrators_share_what_is_held_of_a_remote_store(tmp_path: Path) -> None:
    parts = remote()
    document = changed("credentials.crm-key.reference", "vault://secret/acme/crm#token", changed("vault", AT, BASE))
    at = loaded(tmp_path, document)
    both: list[object] = [credential_stores(at, parts)["vault"], credential_sources(at, parts)["vault"]]
    assert both[0] is both[1]
    await parts.close()


async def test_administrators_keep_one_mapping_over_every_reload(built: Built, tmp_path: Path) -> None:
    stores = built.stores
    assert set(stores) == {"encrypted"}
    with_vault = loaded(tmp_path, changed("vault", AT, BASE))
    swap(built, with_vault, compile_catalogue(with_vault.config))
    assert set(stores) == {"encrypted", "vault"}
    first: object = stores["vault"]
    swap(built, with_vault, compile_catalogue(with_vault.config))
    assert stores["vault"] is first
    assert built.remote._leaving == {}  # nothing refers to it, and it stays all the same
    without = loaded(tmp_path)
    swap(built, without, compile_catalogue(without.config))
    assert set(stores) == {"encrypted"}
    (leaving,) = map(id, built.remote._leaving.values())
    assert leaving == id(first)
    await built.remote.close()
