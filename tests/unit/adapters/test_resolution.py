from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from sidecar.adapters import resolution
from sidecar.adapters.resolution import SystemResolver, system_lookup
from sidecar.errors import Refused, Unavailable
from sidecar.rules.addresses import check_addresses
from tests.fakes.clock import HeldClock

PUBLIC = "93.184.215.14"


class Names:
    """A lookup that counts, answers in turn from ``answers`` (the last one again and again), and can be held."""

    def __init__(self, *answers: tuple[str, ...] | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []
        self.go = threading.Event()
        self.go.set()

    def __call__(self, name: str) -> tuple[str, ...]:
        self.asked.append(name)
        assert self.go.wait(30)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def held() -> Iterator[Names]:
    names = Names((PUBLIC,))
    names.go.clear()
    yield names
    names.go.set()


async def test_callers_of_the_same_name_share_one_lookup(held: Names) -> None:
    resolver = SystemResolver(HeldClock(), lookup=held)
    calls = [asyncio.ensure_future(resolver.resolve("a.example")) for _ in range(10)]
    await asyncio.sleep(0)
    held.go.set()
    assert await asyncio.gather(*calls) == [(PUBLIC,)] * 10
    assert held.asked == ["a.example"]


async def test_an_answer_is_kept_for_seconds_and_no_longer() -> None:
    clock, names = HeldClock(), Names((PUBLIC,))
    resolver = SystemResolver(clock, lookup=names)
    await resolver.resolve("a.example")
    clock.advance(4.9)
    await resolver.resolve("a.example")
    assert len(names.asked) == 1
    clock.advance(0.2)
    await resolver.resolve("a.example")
    assert len(names.asked) == 2


async def test_a25_s02_one_lookup_a_call_and_a_rebound_name_is_refused() -> None:
    names = Names((PUBLIC,), ("127.0.0.1",))
    resolver = SystemResolver(HeldClock(), keep=0, lookup=names)
    dialled = check_addresses("a.example", 443, await resolver.resolve("a.example"), {})
    assert dialled == (PUBLIC,)
    assert len(names.asked) == 1
    again = await resolver.resolve("a.example")
    with pytest.raises(Refused):
        check_addresses("a.example", 443, again, {})


async def test_a29_a_lookup_that_hangs_is_given_up(held: Names) -> None:
    resolver = SystemResolver(HeldClock(), timeout=0.02, lookup=held)
    with pytest.raises(Unavailable) as failed:
        await resolver.resolve("a.example")
    assert failed.value.code == "destination_forbidden"
    held.go.set()
    async with asyncio.timeout(10):
        while True:  # the lookup that was given up lands, and the next caller is answered
            try:
                assert await resolver.resolve("a.example") == (PUBLIC,)
                break
            except Unavailable:
                continue


@pytest.mark.parametrize(
    "failure", [OSError("SERVFAIL"), UnicodeError("label too long"), ValueError("embedded null"), ()]
)
async def test_a29_a_failure_is_a_refusal_and_is_not_kept(failure: Exception | tuple[str, ...]) -> None:
    resolver = SystemResolver(HeldClock(), lookup=Names(failure, (PUBLIC,)))
    with pytest.raises(Unavailable):
        await resolver.resolve("a.example")
    assert await resolver.resolve("a.example") == (PUBLIC,)


async def test_hanging_lookups_are_bounded(held: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "_LOOKUPS", 2)
    resolver = SystemResolver(HeldClock(), lookup=held)
    calls = [asyncio.ensure_future(resolver.resolve(name)) for name in ("a.example", "b.example")]
    await asyncio.sleep(0)
    with pytest.raises(Unavailable):
        await resolver.resolve("c.example")
    held.go.set()
    assert await asyncio.gather(*calls) == [(PUBLIC,)] * 2
    assert "c.example" not in held.asked


async def test_a_machine_without_threads_refuses(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_more(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    resolver = SystemResolver(HeldClock(), lookup=Names((PUBLIC,)))
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", no_more)
        with pytest.raises(Unavailable):
            await resolver.resolve("a.example")
    assert await resolver.resolve("a.example") == (PUBLIC,)


async def test_a_caller_who_goes_away_does_not_take_the_answer_along(held: Names) -> None:
    resolver = SystemResolver(HeldClock(), lookup=held)
    leaver, stayer = (asyncio.ensure_future(resolver.resolve("a.example")) for _ in range(2))
    await asyncio.sleep(0)
    leaver.cancel()
    held.go.set()
    assert await stayer == (PUBLIC,)
    with pytest.raises(asyncio.CancelledError):
        await leaver


async def test_fixed_addresses_are_never_looked_up_and_can_be_changed() -> None:
    names = Names((PUBLIC,))
    resolver = SystemResolver(HeldClock(), {"a.internal": ("10.0.0.1",)}, lookup=names)
    assert await resolver.resolve("a.internal") == ("10.0.0.1",)
    assert await resolver.resolve("b.internal") == (PUBLIC,)
    resolver.fix({"b.internal": ("10.0.0.2",)})
    assert await resolver.resolve("b.internal") == ("10.0.0.2",)
    assert await resolver.resolve("a.internal") == (PUBLIC,)
    assert names.asked == ["b.internal", "a.internal"]


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolution, "_KEPT_NAMES", 2)
    names = Names((PUBLIC,))
    resolver = SystemResolver(HeldClock(), lookup=names)
    for name in ("a", "b", "c", "c", "b", "a"):
        await resolver.resolve(name)
    assert names.asked == ["a", "b", "c", "a"]


def test_a_loop_that_has_ended_loses_an_answer_quietly(held: Names) -> None:
    async def give_up() -> None:
        with pytest.raises(Unavailable):
            await SystemResolver(HeldClock(), timeout=0.01, lookup=held).resolve("a.example")

    asyncio.run(give_up())
    (thread,) = [thread for thread in threading.enumerate() if thread.name == "lookup"]
    held.go.set()
    thread.join(10)
    assert not thread.is_alive()


def test_the_system_knows_localhost() -> None:
    assert set(system_lookup("localhost")) <= {"127.0.0.1", "::1"}
    assert system_lookup("localhost")


def test_the_system_refuses_what_is_no_name() -> None:
    with pytest.raises((OSError, UnicodeError)):
        system_lookup("a" * 64)
