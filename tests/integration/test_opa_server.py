"""A real OPA server that dies, hangs, loops, refuses a tampered bundle or grows old: deny in time, and recover."""

from __future__ import annotations

import asyncio
import functools
import json
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from sidecar.adapters.policy.server import ServerEngine
from sidecar.adapters.policy.server_connection import ServerConnection
from sidecar.errors import Unavailable
from sidecar.model.secret import Secret
from tests.fakes.observer import RecordingObserver
from tests.fakes.opa import TOKEN, WAIT, Opa, build_bundle

BUDGET = 0.1  # seconds, the default
PROMPT = 1.0  # seconds; other tests run beside on the same cores
ALLOW = 'package sidecar.authz\n\ndecision := {"allow": true, "reasons": [], "obligations": {}}\n'
DENY = ALLOW.replace("true", "false")
LOOP = (
    "package sidecar.authz\n\ndecision := {} if {\n\tsome i in numbers.range(1, 5000)\n"
    "\tsome j in numbers.range(1, 5000)\n\ti * j == -1\n}\n"
)


@asynccontextmanager
async def engine_of(opa: Opa, age: float = 600.0, token: str | None = None) -> AsyncIterator[ServerEngine]:
    async def resolve() -> Secret:
        return Secret(token or "")

    connection = ServerConnection(opa.settings, resolve if token is not None else None)
    engine = ServerEngine(connection, BUDGET, age, RecordingObserver())
    await engine.look()
    try:
        yield engine
    finally:
        await engine.close()


async def refused(engine: ServerEngine) -> str:
    """The reason of a deny, which comes within the budget."""
    started = time.monotonic()
    with pytest.raises(Unavailable) as caught:
        await engine.evaluate(b'{"tenant": "acme"}')
    assert time.monotonic() - started < BUDGET + PROMPT
    assert caught.value.code == "policy_unavailable"
    return caught.value.detail


async def sees(engine: ServerEngine, condition: Callable[[], object]) -> bool:
    """Look until ``condition`` holds, bounded."""
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        await engine.look()
        if condition():
            return True
        await asyncio.sleep(0.02)
    return False


async def allowed(engine: ServerEngine) -> bool:
    verdict = await engine.evaluate(b'{"tenant": "acme"}')
    return verdict.answer is not None and json.loads(verdict.answer)["allow"] is True


async def test_p01_a_server_that_dies_denies_and_recovers_when_it_is_back() -> None:
    with Opa({"a.rego": ALLOW}) as opa:
        async with engine_of(opa) as engine:
            assert await allowed(engine)
            opa.kill()
            assert "cannot be connected to" in await refused(engine)  # before any look has seen it
            await engine.look()
            assert "cannot be connected to" in await refused(engine)
            opa.start()
            assert await sees(engine, lambda: engine.problem is None)
            assert await allowed(engine)


async def test_p01_a_server_that_hangs_denies_within_the_budget_and_recovers() -> None:
    with Opa({"a.rego": ALLOW}) as opa:
        async with engine_of(opa) as engine:
            assert await allowed(engine)
            opa.suspend()
            for _ in range(3):
                assert "in time" in await refused(engine)
            await engine.look()
            assert "does not answer in time" in await refused(engine)
            opa.resume()
            assert await sees(engine, lambda: engine.problem is None)
            assert await allowed(engine)


async def test_p06_a_policy_that_loops_in_the_server_denies_within_the_budget() -> None:
    with Opa({"a.rego": LOOP}) as opa:
        async with engine_of(opa) as engine:
            assert "in time" in await refused(engine)
            assert engine.problem is None  # the server is well, the policy is not


async def test_a_wrong_token_is_refused_with_the_reason() -> None:
    with Opa({"a.rego": ALLOW}, token=True) as opa:
        async with engine_of(opa, token="another-token") as engine:
            assert "policy.server.token" in await refused(engine)
        async with engine_of(opa, token=TOKEN) as engine:
            assert await allowed(engine)


async def test_a_client_without_a_certificate_gets_no_connection() -> None:
    with Opa({"a.rego": ALLOW}, secure=True) as opa:
        settings = type(opa.settings)(opa.url, ca_file=opa.ca)
        engine = ServerEngine(ServerConnection(settings), BUDGET, 600.0, RecordingObserver())
        await engine.look()
        assert engine.revision is None
        await refused(engine)
        await engine.close()


async def test_a_server_without_a_status_is_not_ready() -> None:
    with Opa({"a.rego": ALLOW}, status=False) as opa:
        async with engine_of(opa) as engine:
            assert "--set status.console=true" in await refused(engine)


async def test_a_bundle_without_a_revision_decides_nothing(tmp_path: Path) -> None:
    bundle = build_bundle(tmp_path / "policy", tmp_path / "bundle.tar.gz", {"a.rego": ALLOW}, None)
    with Opa(options=("--bundle", str(bundle))) as opa:
        async with engine_of(opa) as engine:
            assert "opa build --revision" in await refused(engine)


# bundles that OPA downloads itself


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def serving(folder: Path) -> Iterator[str]:
    """An HTTP server of ``folder``; its URL."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join(WAIT)


class Publisher:
    """Who signs bundles, and where they are served."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.served = folder / "served"
        self.served.mkdir()
        self._key = folder / "key.pem"
        self.public = _key_pair(self._key)

    def publish(self, text: str, revision: str, *, signed: bool = True) -> None:
        key = self._key if signed else None
        build_bundle(self._folder / "policy", self.served / "bundle.tar.gz", {"a.rego": text}, revision, key)

    def config(self, url: str) -> dict[str, Any]:
        polling = {"min_delay_seconds": 1, "max_delay_seconds": 1}
        return {
            "services": {"shop": {"url": url}},
            "keys": {"signer": {"algorithm": "RS256", "key": self.public}},
            "bundles": {
                "authz": {
                    "service": "shop",
                    "resource": "bundle.tar.gz",
                    "polling": polling,
                    "signing": {"keyid": "signer"},
                }
            },
        }


def _key_pair(file: Path) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def test_p03_a_tampered_bundle_makes_the_server_not_ready_although_its_health_is_good(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish(ALLOW, "one")
    with serving(publisher.served) as url, Opa(config=publisher.config(url)) as opa:
        async with engine_of(opa) as engine:
            assert await sees(engine, lambda: engine.revision == "one")
            assert await allowed(engine)
            publisher.publish(DENY, "two", signed=False)
            assert await sees(engine, lambda: engine.problem is not None)
            assert opa.request("GET", "/health?bundles").status == 200  # the trap
            assert "bundle authz failed to download, verify or activate" in await refused(engine)
            publisher.publish(DENY, "three")
            assert await sees(engine, lambda: engine.revision == "three")
            assert not await allowed(engine)


async def test_a_policy_that_the_server_cannot_confirm_any_more_is_not_served(tmp_path: Path) -> None:
    """Stale by age: the source went silent without an error, so only the age can tell."""
    publisher = Publisher(tmp_path)
    publisher.publish(ALLOW, "one")
    with serving(publisher.served) as url:
        config = publisher.config(url)
        config["bundles"]["authz"]["polling"] = {"min_delay_seconds": 3600, "max_delay_seconds": 3600}
        with Opa(config=config) as opa:
            async with engine_of(opa, age=1.0) as engine:
                assert await sees(engine, lambda: "older than 1 seconds" in (engine.problem or ""))
                assert "older than 1 seconds" in await refused(engine)
            async with engine_of(opa) as patient:
                assert await allowed(patient)


async def test_a_server_whose_source_is_gone_says_so(tmp_path: Path) -> None:
    publisher = Publisher(tmp_path)
    publisher.publish(ALLOW, "one")
    with serving(publisher.served) as url:
        opa = Opa(config=publisher.config(url))
        opa.start()
    try:
        async with engine_of(opa) as engine:
            assert await sees(engine, lambda: "failed to download" in (engine.problem or ""))
            await refused(engine)
    finally:
        opa.stop()
