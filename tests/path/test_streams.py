"""A stream: every window is covered by a durable record, its end by an outcome, and everything is given back."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
from collections.abc import AsyncIterator

import pytest

from sidecar.errors import SidecarError, Unavailable, UpstreamFailure
from sidecar.model.call import Outcome
from sidecar.pipeline.meter import WINDOW_BYTES, WINDOW_SECONDS
from sidecar.rules.scrub import PIECE
from tests.fakes.answers import Pieces, answered
from tests.fakes.parts import SECRET, Stage, allowing, changed, code, in_flight, set_stage

WATCH = {"connector": "crm", "operation": "watch", "parameters": None}
EVENTS = (b"content-type", b"text/event-stream")


def streaming(*pieces: object, **more: object) -> tuple[Stage, Pieces]:
    body = Pieces(*pieces)  # type: ignore[arg-type]  # what Pieces takes
    return set_stage(None, answered(body, 200, [EVENTS]), **more), body  # type: ignore[arg-type]  # overrides


def body_of(outcome: Outcome) -> AsyncIterator[bytes]:
    assert not isinstance(outcome.body, bytes), outcome
    return outcome.body


async def rest_of(outcome: Outcome) -> bytes:
    return b"".join([piece async for piece in body_of(outcome)])


async def close(outcome: Outcome) -> None:
    body = body_of(outcome)
    assert hasattr(body, "aclose")
    await body.aclose()


async def test_a_stream_is_passed_on_piece_by_piece_and_ends_with_an_outcome() -> None:
    stage, body = streaming(b"data: 1\n\n", b"data: 2\n\n")
    outcome = await stage.handle(**WATCH)
    assert (outcome.status, outcome.headers, outcome.evidence_id) == (200, (EVENTS,), None)
    assert outcome.final_evidence_id is not None
    assert outcome.final_evidence_id() is None
    assert in_flight(stage) == 1  # the connector's place; the call itself is done
    assert await rest_of(outcome) == b"data: 1\n\ndata: 2\n\n"
    assert stage.kinds == ["intent", "chunk", "outcome"]
    assert outcome.final_evidence_id() == "acme-00000000/2"
    last = stage.evidence.leaves[2]
    assert last.intent == 0
    assert last.code is None
    assert last.result is not None
    assert last.result.bytes == 18
    plain = hashlib.sha256(b"data: 1\n\ndata: 2\n\n").digest()
    assert last.result.hash == stage.evidence.digest(plain)
    assert body.closed
    assert in_flight(stage) == 0
    assert stage.observer.named("call")[0]["evidence_id"] == "acme-00000000/2"


async def test_the_first_piece_does_not_wait_for_the_second() -> None:
    """A112: a server-sent event is not held back until the next one comes."""
    stage, _ = streaming(b"data: 1\n\n", AssertionError("asked for too early"))
    outcome = await stage.handle(**WATCH)
    assert await anext(body_of(outcome)) == b"data: 1\n\n"
    await close(outcome)


async def test_inv_7_each_window_of_bytes_is_covered_before_it_is_released() -> None:
    size = WINDOW_BYTES // 2
    stage, _ = streaming(*[bytes(size) for _ in range(5)])
    outcome = await stage.handle(**WATCH)
    passed = 0
    async for piece in body_of(outcome):
        passed += len(piece)
        records = stage.kinds.count("chunk")
        assert passed <= records * WINDOW_BYTES
    assert passed == 5 * size
    counts = [leaf.result.bytes for leaf in stage.evidence.leaves if leaf.kind == "chunk" and leaf.result]
    assert counts == [0, 2 * size, 4 * size]
    assert all(leaf.intent == 0 for leaf in stage.evidence.leaves[1:])


async def test_inv_7_a_piece_larger_than_a_window_is_cut() -> None:
    stage, _ = streaming(bytes(3 * WINDOW_BYTES + 5))
    outcome = await stage.handle(**WATCH)
    sizes = []
    async for piece in body_of(outcome):
        sizes.append(len(piece))
        assert sum(sizes) <= stage.kinds.count("chunk") * WINDOW_BYTES
    assert max(sizes) <= WINDOW_BYTES
    assert sum(sizes) == 3 * WINDOW_BYTES + 5


async def test_inv_7_each_second_is_covered_before_it_begins() -> None:
    stage, _ = streaming(*[f"data: {number}\n\n".encode() for number in range(4)])
    outcome = await stage.handle(**WATCH)
    async for _ in body_of(outcome):
        stage.clock.advance(WINDOW_SECONDS)
    assert stage.kinds == ["intent", "chunk", "chunk", "chunk", "chunk", "outcome"]


async def test_inv_7_a_window_that_cannot_be_recorded_is_not_released() -> None:
    stage, body = streaming(b"first\n", b"second\n")
    outcome = await stage.handle(**WATCH)
    assert await anext(body_of(outcome)) == b"first\n"
    stage.clock.advance(WINDOW_SECONDS)
    stage.evidence.refuses.add("chunk")
    with pytest.raises(SidecarError) as broken:
        await anext(body_of(outcome))
    assert broken.value.code == "evidence_unavailable"
    assert stage.evidence.leaves[-1].code == "evidence_unavailable"
    assert body.closed
    assert in_flight(stage) == 0


async def test_inv_7_a_stream_whose_end_cannot_be_recorded_breaks_off() -> None:
    stage, _ = streaming(b"all\n")
    outcome = await stage.handle(**WATCH)
    stage.evidence.refuses.add("outcome")
    assert await anext(body_of(outcome)) == b"all\n"
    with pytest.raises(SidecarError):
        await anext(body_of(outcome))
    assert outcome.final_evidence_id is not None
    assert outcome.final_evidence_id() is None
    assert in_flight(stage) == 0


async def test_inv_7_a_stream_whose_beginning_cannot_be_recorded_is_not_begun() -> None:
    stage, body = streaming(b"never\n")
    stage.evidence.refuses.add("chunk")
    outcome = await stage.handle(**WATCH)
    assert code(outcome) == "evidence_unavailable"
    assert stage.kinds == ["intent", "outcome"]  # owed, and recorded by a log that recovered meanwhile
    assert body.closed
    assert in_flight(stage) == 0


async def test_a_stream_that_the_caller_leaves_is_cancelled_and_given_back() -> None:
    stage, body = streaming(b"one\n", b"two\n")
    outcome = await stage.handle(**WATCH)
    await anext(body_of(outcome))
    await close(outcome)
    assert stage.kinds == ["intent", "chunk", "outcome"]
    assert stage.evidence.leaves[-1].code == "cancelled"
    assert stage.evidence.leaves[-1].result is not None
    assert stage.evidence.leaves[-1].result.bytes == 4
    assert body.closed
    assert in_flight(stage) == 0


async def test_a_stream_that_is_never_read_is_cancelled_and_given_back() -> None:
    stage, body = streaming(b"one\n")
    await close(await stage.handle(**WATCH))
    assert stage.evidence.leaves[-1].code == "cancelled"
    assert body.closed
    assert in_flight(stage) == 0


async def test_a_stream_that_the_upstream_breaks_is_a_failure_of_the_upstream() -> None:
    reset = UpstreamFailure("upstream_invalid", "It broke off.", sent=True)
    stage, body = streaming(b"half\n", reset)
    outcome = await stage.handle(**WATCH)
    assert await anext(body_of(outcome)) == b"half\n"
    with pytest.raises(UpstreamFailure):
        await anext(body_of(outcome))
    assert stage.evidence.leaves[-1].code == "upstream_invalid"
    assert stage.parts.traffic["crm"].errors == 1
    assert len(stage.caller.calls) == 1  # never asked for again: a part of it has gone out
    assert body.closed
    assert in_flight(stage) == 0


async def test_a_failure_of_our_own_in_a_stream_is_recorded_as_that() -> None:
    stage, _ = streaming(b"half\n", ValueError("hunter2"))
    outcome = await stage.handle(**WATCH)
    await anext(body_of(outcome))
    with pytest.raises(SidecarError) as broken:
        await anext(body_of(outcome))
    assert broken.value.code == "internal_error"
    assert "hunter2" not in str(broken.value)
    assert stage.evidence.leaves[-1].code == "internal_error"
    assert stage.observer.named("failure")[0]["error"] == "ValueError"
    assert in_flight(stage) == 0


async def test_a_stream_of_an_unexpected_type_is_let_go_of() -> None:
    body = Pieces(b"<html>")
    stage = set_stage(None, answered(body, 200, [(b"content-type", b"text/html")]))
    outcome = await stage.handle(connector="crm", operation="watch_typed", parameters=None)
    assert code(outcome) == "answer_unexpected"
    assert stage.kinds == ["intent", "outcome"]
    assert body.closed
    assert in_flight(stage) == 0


async def test_an_encoded_stream_that_is_broken_is_withheld() -> None:
    body = Pieces(b"\x1f\x8b")
    stage = set_stage(None, answered(body, 200, [EVENTS, (b"content-encoding", b"gzip")]))
    outcome = await stage.handle(**WATCH)
    assert outcome.headers == (EVENTS,)
    with pytest.raises(Unavailable) as refusal:
        await rest_of(outcome)
    assert refusal.value.code == "answer_withheld"
    assert body.closed


@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_inv_5_a108_a_coded_stream_is_decoded_and_scrubbed(size: int) -> None:
    text = b"".join(b"data: %d <%s>\n\n" % (at, SECRET.encode()) for at in range(50))
    coded = gzip.compress(text)
    pieces = Pieces(*(coded[at : at + size] for at in range(0, len(coded), size)))
    stage = set_stage(None, answered(pieces, 200, [EVENTS, (b"content-encoding", b"gzip")]))
    outcome = await stage.handle(**WATCH)
    assert outcome.headers == (EVENTS,)
    assert await rest_of(outcome) == text.replace(SECRET.encode(), b"[REDACTED]")
    assert in_flight(stage) == 0


async def test_a108_a_coded_stream_that_stands_for_too_much_ends_in_a_refusal() -> None:
    bomb = gzip.compress(b"\0" * (64 << 20))
    stage = set_stage(None, answered(Pieces(bomb), 200, [EVENTS, (b"content-encoding", b"gzip")]))
    outcome = await stage.handle(**WATCH)
    with pytest.raises(Unavailable) as refusal:
        await rest_of(outcome)
    assert refusal.value.code == "answer_too_large"
    assert stage.evidence.leaves[-1].code == "answer_too_large"


async def test_inv_5_a_secret_split_over_pieces_does_not_pass() -> None:
    """A107: at every place where it can be cut in two."""
    text = f"data: {SECRET} end\n\n".encode()
    for cut in range(len(text)):
        stage, _ = streaming(text[:cut], text[cut:])
        passed = await rest_of(await stage.handle(**WATCH))
        assert passed == b"data: [REDACTED] end\n\n"


async def test_a_stream_keeps_its_place_until_it_ends() -> None:
    config = changed("connectors.crm.concurrency", 1)
    stage = set_stage(config, answered(Pieces(b"x"), 200, [EVENTS]))
    outcome = await stage.handle(**WATCH)
    assert code(await stage.handle()) == "too_many_in_flight"
    await rest_of(outcome)
    assert (await stage.handle()).status == 200


async def test_a_policy_may_bound_a_stream() -> None:
    stage, _ = streaming(b"x", rule=allowing(max_bytes=7))
    await rest_of(await stage.handle(**WATCH))
    assert stage.caller.calls[0].request.stream
    assert stage.caller.calls[0].request.max_bytes == 7


async def test_others_run_while_a_coded_stream_is_decoded() -> None:
    """One chunk that stands for a megabyte is no megabyte of work in one go."""
    chunk = gzip.compress(b"\0" * 1_000_000)
    stage = set_stage(None, answered(Pieces(chunk), 200, [EVENTS, (b"content-encoding", b"gzip")]))
    outcome = await stage.handle(**WATCH)
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    running = asyncio.create_task(other())
    assert len(await rest_of(outcome)) == 1_000_000
    running.cancel()
    assert turns > 1_000_000 // PIECE
