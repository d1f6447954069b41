"""Kill switches through a whole process: what is stopped is stopped at once, for as long as it should be."""

from __future__ import annotations

import http.client

import pytest

from sidecar.model.evidence import OUTCOME, REFUSAL, Leaf
from tests.e2e.far import Far
from tests.e2e.house import AGENT, COLLEAGUE, House, comes_true
from tests.faults.test_process_stream import Faucet, chunk, streaming, watching

SECOND = 1_000_000  # microseconds
WHY = "it went wild"


def killed(house: House, *arguments: str) -> None:
    done = house.sidecar("kill", *arguments, "--reason", WHY)
    assert done.returncode == 0, done.stderr


def cut_after(house: House, code: str = "killed") -> float:
    """Microseconds from the first record of the change to the outcome of the stream that it cut."""

    def outcomes() -> list[Leaf]:
        return [leaf for leaf in house.leaves() if (leaf.kind, leaf.code) == (OUTCOME, code)]

    assert comes_true(outcomes, 5.0)
    (outcome,) = outcomes()
    began = next(leaf for leaf in house.leaves() if leaf.change is not None)
    assert outcome.time >= began.time
    return outcome.time - began.time


@pytest.mark.parametrize("target", [("principal", AGENT), ("connector", "up"), ("tenant",)])
def test_p12_an_open_stream_is_cut_within_a_second_and_its_outcome_says_killed(
    house: House, far: Far, target: tuple[str, ...]
) -> None:
    faucet = far.behave = Faucet()
    streaming(house)
    house.start()
    with watching(house) as answer:
        faucet.give(chunk(b"first"))
        assert answer.read(5) == b"first"
        killed(house, *target)
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    assert cut_after(house) < SECOND
    assert house.operation("read").code == "killed"
    assert house.stop() == 0
    assert house.verified().unknown == []


def test_p12_a_stream_whose_reader_does_not_read_is_cut_too(house: House, far: Far) -> None:
    faucet = far.behave = Faucet()
    streaming(house)
    house.config["connectors"]["up"]["operations"]["watch"]["answer"] = {"max_bytes": 1 << 30}
    house.write_config()
    house.start()
    with watching(house) as answer:
        faucet.give(chunk(b"first"))
        assert answer.read(5) == b"first"
        for _ in range(400):
            faucet.give(chunk(b"x" * 50_000))  # far more than the buffers between us take
        killed(house, "principal", AGENT)
        assert cut_after(house) < SECOND
    assert house.stop() == 0


def test_p12_a_stream_ends_within_a_second_of_its_tenants_suspension_which_outlives_the_process(
    house: House, far: Far
) -> None:
    faucet = far.behave = Faucet()
    streaming(house)
    house.start()
    with watching(house) as answer:
        faucet.give(chunk(b"first"))
        assert answer.read(5) == b"first"
        assert house.admin("POST", "/v1/tenant/suspend", {"reason": "unpaid"}).status == 200
        with pytest.raises((http.client.IncompleteRead, ConnectionError)):
            answer.read()
    assert cut_after(house, "tenant_suspended") < SECOND
    house.kill()
    house.start()
    assert house.operation("read").code == "tenant_suspended"
    assert house.admin("POST", "/v1/tenant/activate", {"reason": "paid"}).status == 200
    assert house.stop() == 0


def test_a_caller_that_is_stopped_is_told_why_and_others_go_on(house: House, far: Far) -> None:
    house.config["principals"][COLLEAGUE]["roles"] = ["analyst"]
    house.write_config()
    house.write_policy('{"sidecar": {"grants": {"acme": {"roles": {"analyst": ["up/*"]}}}}}', "data.json")
    house.start()
    key = house.config["principals"][AGENT]["keys"][0]["id"]
    killed(house, "key", key)
    refused = house.operation("read")
    assert (refused.status, refused.code) == (403, "killed")
    assert WHY in refused.document["detail"]
    assert house.operation("read", key=COLLEAGUE).status == 200
    assert len(far.seen) == 1
    leaf = house.leaves()[-3]
    assert (leaf.kind, leaf.code, leaf.principal) == (REFUSAL, "killed", AGENT)
    assert house.sidecar("switches", "clear", "key", key).returncode == 0
    assert house.operation("read").status == 200
    assert house.stop() == 0


def test_a_switch_outlives_the_process(house: House) -> None:
    house.start()
    killed(house, "connector", "up")
    house.kill()  # not even a chance to say goodbye
    house.start()
    assert house.operation("read").code == "killed"
    listed = house.sidecar("switches", "list", "-o", "json")
    assert WHY in listed.stdout
    assert house.status()["registry"]["kill_switches"] == 1
    assert comes_true(lambda: house.metric("sidecar_kill_switches") == 1)
    assert house.sidecar("switches", "clear", "connector", "up").returncode == 0
    assert house.operation("read").status == 200
    assert house.stop() == 0


def test_policy_sees_what_is_stopped(house: House) -> None:
    """A policy may deny more than the switch itself does."""
    house.write_policy(
        'package custom_switches\n\nimport rego.v1\n\nstopped if "principal:colleague" in input.switches\n'
    )
    house.start()
    killed(house, "principal", COLLEAGUE)
    assert house.operation("read").status == 200
    leaf = next(leaf for leaf in reversed(house.leaves()) if leaf.kind == "intent")
    shown = house.sidecar("evidence", "show", f"{leaf.origin}/{leaf.index}", "--input", "-o", "json")
    assert '"principal:colleague"' in shown.stdout
    assert house.stop() == 0
