"""Tokens are fetched once, kept until shortly before their end, and got anew where an upstream takes them no more."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import msgspec
import pytest

from sidecar.adapters.callers.oauth import AGAIN_SECONDS, FAILED_SECONDS, OAuthSource
from sidecar.errors import Misconfigured, Refused, Unavailable, UpstreamFailure
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from sidecar.ports import Refreshing
from sidecar.rules.oauth import ClientGrant
from tests.evidence import until
from tests.fakes.certificates import Authority
from tests.fakes.clock import HeldClock
from tests.fakes.credentials import HeldCredentials, HeldStore
from tests.fakes.observer import RecordingObserver
from tests.fakes.upstream import recorder, upstream

REFERENCE = Reference("oauth", "crm")
GRANT = ClientGrant(
    reference=Reference("encrypted", "client"),
    host="login.example",
    port=443,
    path="/token",
    ca_file=None,
    client_id="sidecar",
    scopes=(),
    audience=None,
    in_body=True,
)
LIFE = 100  # seconds of each token


class Endpoint:
    """Gives a new token each time to who has the right secret, or what ``fails`` says."""

    def __init__(self) -> None:
        self.asked: list[bytes] = []
        self.right = b"first-secret"
        self.fails: Exception | None = None
        self.slow = asyncio.Event()
        self.slow.set()
        self.clock = HeldClock()
        self.observer = RecordingObserver()
        self.store = HeldCredentials()
        self.store.put("client", "first-secret")
        self.source = OAuthSource(self.locate, self.clock, self.observer, self.ask)
        self.source.configure({"crm": GRANT}, {"encrypted": self.store})
        self.forbidden = False

    async def locate(self, host: str, port: int) -> tuple[str, ...]:
        assert (host, port) == ("login.example", 443)
        if self.forbidden:
            raise Refused("destination_forbidden", "It is in a private network.")
        return ("93.184.216.34",)

    async def ask(
        self, grant: ClientGrant, addresses: tuple[str, ...], headers: list[tuple[bytes, bytes]], body: bytes
    ) -> tuple[int, bytes]:
        assert addresses == ("93.184.216.34",)
        self.asked.append(body)
        number = len(self.asked)
        await self.slow.wait()
        if self.fails is not None:
            raise self.fails
        if self.right not in body:
            return 401, b'{"error": "invalid_client"}'
        return 200, json.dumps(
            {"access_token": f"token-{number}", "token_type": "bearer", "expires_in": LIFE}
        ).encode()

    async def value(self) -> bytes:
        return (await self.source.resolve(REFERENCE)).secret.reveal()

    async def reason(self) -> str:
        with pytest.raises(Unavailable) as unavailable:
            await self.source.resolve(REFERENCE)
        assert unavailable.value.code == "credential_unavailable"
        assert "first-secret" not in f"{unavailable.value!r} {unavailable.value.reasons}"
        return unavailable.value.reasons[0].code


@pytest.fixture
async def endpoint() -> Endpoint:
    return Endpoint()


async def test_a_token_is_kept_until_shortly_before_its_end(endpoint: Endpoint) -> None:
    credential = await endpoint.source.resolve(REFERENCE)
    assert (credential.secret.reveal(), credential.version, credential.kind) == (b"token-1", "1-1", "OAUTH")
    assert credential.expires == endpoint.clock.now() + LIFE * 1_000_000
    endpoint.clock.advance(LIFE * 0.79)
    assert await endpoint.value() == b"token-1"
    endpoint.clock.advance(LIFE * 0.02)
    assert await endpoint.value() == b"token-2"


async def test_a_thousand_first_uses_fetch_one_token(endpoint: Endpoint) -> None:
    endpoint.slow.clear()
    waiting = [asyncio.create_task(endpoint.value()) for _ in range(1000)]
    await asyncio.sleep(0)
    waiting[0].cancel()  # who went away takes nobody's token along
    await asyncio.sleep(0)
    endpoint.slow.set()
    assert set(await asyncio.gather(*waiting[1:])) == {b"token-1"}
    assert len(endpoint.asked) == 1


async def test_a_refused_token_is_got_anew_once_for_all(endpoint: Endpoint) -> None:
    first = await endpoint.source.resolve(REFERENCE)
    assert isinstance(endpoint.source, Refreshing)
    fresh = await asyncio.gather(*(endpoint.source.refresh(REFERENCE, first.version) for _ in range(50)))
    assert {one.secret.reveal() for one in fresh} == {b"token-2"}
    assert len(endpoint.asked) == 2


async def test_an_upstream_that_refuses_every_token_costs_one_fetch_in_ten_seconds(endpoint: Endpoint) -> None:
    for _ in range(3):
        version = (await endpoint.source.resolve(REFERENCE)).version
        for _ in range(200):
            version = (await endpoint.source.refresh(REFERENCE, version)).version
            endpoint.clock.advance(AGAIN_SECONDS / 200.5)
    assert len(endpoint.asked) == 1 + 3


async def test_a_clients_secret_that_was_rotated_is_resolved_anew_once(endpoint: Endpoint) -> None:
    endpoint.right = b"second-secret"
    assert await endpoint.reason() == "token_refused"
    assert len(endpoint.asked) == 1  # there was no other version
    endpoint.clock.advance(FAILED_SECONDS)

    class Keeping(HeldCredentials):
        async def refresh(self, reference: Reference, refused: str) -> object:
            self.put("client", "second-secret")
            return await self.resolve(reference)

    store = Keeping()
    store.put("client", "first-secret")
    endpoint.source.configure({"crm": GRANT}, {"encrypted": store})
    assert await endpoint.value() == b"token-3"
    assert len(endpoint.asked) == 3


async def test_a_failure_is_told_and_not_asked_for_again_at_once(endpoint: Endpoint) -> None:
    endpoint.fails = UpstreamFailure("upstream_timeout", "login.example did not answer", sent=True)
    assert [await endpoint.reason() for _ in range(10)] == ["token_unreachable"] * 10
    assert len(endpoint.asked) == 1
    endpoint.fails = None
    endpoint.clock.advance(FAILED_SECONDS)
    assert await endpoint.value() == b"token-2"


async def test_each_fetch_is_told_without_its_token(endpoint: Endpoint) -> None:
    await endpoint.value()
    await endpoint.value()
    endpoint.clock.advance(LIFE)
    endpoint.right = b"another-secret"
    await endpoint.reason()
    told = [fields for event, fields in endpoint.observer.events if event == "credential"]
    assert [(fields["outcome"], fields["version"]) for fields in told] == [
        ("resolved", "1-1"),
        ("token_refused", None),
    ]
    assert "token-1" not in repr(told)


async def test_an_endpoint_that_may_not_be_dialled_is_not_asked(endpoint: Endpoint) -> None:
    endpoint.forbidden = True
    assert await endpoint.reason() == "token_forbidden"
    assert endpoint.asked == []


async def test_inv_6_a_ca_file_that_went_bad_is_not_named_to_callers(endpoint: Endpoint) -> None:
    endpoint.fails = Misconfigured("/etc/authority.pem holds no PEM certificates")
    with pytest.raises(Unavailable) as unavailable:
        await endpoint.source.resolve(REFERENCE)
    assert "/etc" not in f"{unavailable.value} {unavailable.value.reasons}"
    assert unavailable.value.reasons[0].code == "token_unreachable"


async def test_an_unknown_grant_or_store_is_refused(endpoint: Endpoint) -> None:
    with pytest.raises(Unavailable, match="No grant"):
        await endpoint.source.resolve(Reference("oauth", "other"))
    endpoint.source.configure({"crm": GRANT}, {})
    assert await endpoint.reason() == "token_unknown"


async def test_a_reload_keeps_the_tokens_of_grants_that_did_not_change(endpoint: Endpoint) -> None:
    assert await endpoint.value() == b"token-1"
    endpoint.source.configure({"crm": GRANT}, {"encrypted": endpoint.store})
    assert await endpoint.value() == b"token-1"
    wider = msgspec.structs.replace(GRANT, scopes=("write",))
    endpoint.source.configure({"crm": wider}, {"encrypted": endpoint.store})
    assert await endpoint.value() == b"token-2"


async def test_inv_5_what_is_kept_is_ciphertext(endpoint: Endpoint) -> None:
    await endpoint.value()
    kept = endpoint.source._kept["crm"]
    assert b"token-1" not in kept.opener._sealed
    assert "token-1" not in repr(vars(endpoint.source))


async def test_the_request_goes_over_verified_tls_to_the_checked_address(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    document = b'{"access_token":"tok3n","token_type":"Bearer","expires_in":60}'
    answer = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(document), document)
    seen: list[bytes] = []
    store = HeldCredentials()
    store.put("client", "first-secret")

    async def locate(host: str, port: int) -> tuple[str, ...]:
        return ("127.0.0.1",)

    async with upstream(recorder(seen, answer), tls=authority.server("login.example")) as up:
        grant = msgspec.structs.replace(GRANT, port=up.port, ca_file=str(authority.file))
        source = OAuthSource(locate, HeldClock(), RecordingObserver())
        source.configure({"crm": grant}, {"encrypted": store})
        assert (await source.resolve(REFERENCE)).secret.reveal() == b"tok3n"
        assert seen[0].startswith(b"POST /token HTTP/1.1\r\n")
        assert b"client_secret=first-secret" in seen[0]
        stranger = OAuthSource(locate, HeldClock(), RecordingObserver())
        stranger.configure({"crm": msgspec.structs.replace(grant, ca_file=None)}, {"encrypted": store})
        with pytest.raises(Unavailable, match="not trusted"):
            await stranger.resolve(REFERENCE)
        assert len(seen) == 1


async def test_a_token_goes_when_the_clients_secret_is_deleted(endpoint: Endpoint) -> None:
    assert await endpoint.value() == b"token-1"
    endpoint.store.delete("client")
    with pytest.raises(Unavailable, match="could not be resolved"):
        await endpoint.source.resolve(REFERENCE)
    assert len(endpoint.asked) == 1


async def test_a_token_goes_when_the_clients_secret_has_ended(endpoint: Endpoint) -> None:
    store = HeldStore(endpoint.clock)
    ends = endpoint.clock.now() + LIFE // 2 * 1_000_000
    await store.store(GRANT.reference, Secret("first-secret"), Terms(expires=ends), None)
    endpoint.source.configure({"crm": GRANT}, {"encrypted": store})
    assert await endpoint.value() == b"token-1"
    endpoint.clock.advance(LIFE // 2)
    assert await endpoint.reason() == "credential_expired"


async def test_a_clients_secret_that_was_rotated_gets_another_token(endpoint: Endpoint) -> None:
    assert await endpoint.value() == b"token-1"
    endpoint.right = b"second-secret"
    endpoint.store.put("client", "second-secret")
    found = await endpoint.source.resolve(REFERENCE)
    assert (found.secret.reveal(), found.version) == (b"token-2", "2-2")


@pytest.mark.parametrize("change", ["reload", "rotation"])
async def test_a_fetch_that_was_under_way_serves_no_call_that_came_after(endpoint: Endpoint, change: str) -> None:
    endpoint.slow.clear()
    before = asyncio.create_task(endpoint.value())
    await until(lambda: len(endpoint.asked) == 1)
    if change == "reload":
        other = msgspec.structs.replace(GRANT, client_id="another")
        endpoint.source.configure({"crm": other}, {"encrypted": endpoint.store})
    else:
        endpoint.store.put("client", "first-secret-anew")
    after = asyncio.create_task(endpoint.value())
    await until(lambda: len(endpoint.asked) == 2)
    endpoint.slow.set()
    assert [*await asyncio.gather(before, after)] == [b"token-1", b"token-2"]
    assert (b"client_id=another" in endpoint.asked[1]) == (change == "reload")
    assert (b"first-secret-anew" in endpoint.asked[1]) == (change == "rotation")


async def test_l05_a_clock_that_is_put_forward_costs_one_fetch_and_no_call(endpoint: Endpoint) -> None:
    await endpoint.value()
    endpoint.clock.step(LIFE * 1_000_000)
    found = await endpoint.source.resolve(REFERENCE)
    assert found.secret.reveal() == b"token-2"
    assert found.expires == endpoint.clock.now() + LIFE * 1_000_000


async def test_l05_a_clock_that_is_put_back_lengthens_no_token(endpoint: Endpoint) -> None:
    await endpoint.value()
    endpoint.clock.step(-LIFE * 1_000_000)
    endpoint.clock.advance(LIFE)
    assert await endpoint.value() == b"token-2"


async def test_a_clients_secret_that_was_deleted_and_stored_anew_is_another_one(endpoint: Endpoint) -> None:
    store = HeldStore(endpoint.clock)
    await store.store(GRANT.reference, Secret("first-secret"), Terms(), None)
    endpoint.source.configure({"crm": GRANT}, {"encrypted": store})
    assert await endpoint.value() == b"token-1"
    await store.delete(GRANT.reference, "1")
    endpoint.right = b"second-secret"
    await store.store(GRANT.reference, Secret("second-secret"), Terms(), None)
    assert store.version("client") == "1"  # counting from the beginning again
    assert await endpoint.value() == b"token-2"
