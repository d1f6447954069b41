"""How often each API key was used, and when last."""

from __future__ import annotations

from sidecar.pipeline.uses import Use, Uses
from tests.fakes.parts import set_stage


def test_a_key_is_counted_and_who_came_without_one_is_not() -> None:
    uses = Uses()
    assert uses.of("a") == Use(0, None)
    uses.note("a", 5)
    uses.note("a", 9)
    uses.note(None, 11)
    assert uses.of("a") == Use(2, 9)


async def test_every_call_counts_for_its_key_and_a_wrong_key_for_none() -> None:
    stage = set_stage()
    await stage.handle("alice")
    await stage.handle("alice")
    await stage.handle(None)
    use = stage.parts.uses.of("key_alice")
    assert (use.times, use.last) == (2, stage.clock.now())
    assert stage.parts.uses.of("key_bob").times == 0
