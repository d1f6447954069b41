from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.errors import Misconfigured
from sidecar.model.activation import ACTIVATED, Activation
from sidecar.operations.tenant.policies import Policies

ENTRY = Activation(number=1, time=2, outcome=ACTIVATED, origin="o", by="admin", revision="sha256:ab")


class Bundles:
    def __init__(self) -> None:
        self.asked: list[object] = []
        self.problem: str | None = "older"
        self.done: Activation | None = ENTRY

    async def activate(self, path: Path | None, by: str, reason: str) -> Activation | None:
        self.asked.append((path, by, reason))
        return self.done

    async def rollback(self, to: str | None, by: str, reason: str) -> Activation:
        self.asked.append((to, by, reason))
        return ENTRY

    def listed(self, limit: int) -> list[Activation]:
        return [ENTRY][:limit]


async def test_verbs_say_who_asks_and_why() -> None:
    bundles = Bundles()
    policies = Policies(bundles)
    made = await policies.activate("/b.tar.gz", by="ann", reason="now")
    assert made["activation"]["revision"] == "sha256:ab"
    assert made["activation"]["code"] == ""  # every key is there
    await policies.activate(None, by="ann", reason="")
    assert (await policies.rollback("v1", by="ann", reason="bad"))["activation"]["number"] == 1
    assert bundles.asked == [(Path("/b.tar.gz"), "ann", "now"), (None, "ann", ""), ("v1", "ann", "bad")]


async def test_what_decides_already_is_no_activation() -> None:
    bundles = Bundles()
    bundles.done = None
    assert await Policies(bundles).activate(None, by="ann", reason="") == {"activation": None}


async def test_the_history_comes_with_what_is_wrong_now() -> None:
    listed = await Policies(Bundles()).activations()
    assert [entry["number"] for entry in listed["activations"]] == [1]
    assert listed["problem"] == "older"
    assert await Policies(None).activations() == {"activations": [], "problem": None}


async def test_a_relative_path_could_mean_another_file() -> None:
    with pytest.raises(Misconfigured, match="absolute"):
        await Policies(Bundles()).activate("bundle.tar.gz", by="ann", reason="")


async def test_without_bundles_the_next_step_is_said() -> None:
    with pytest.raises(Misconfigured, match=r"policy\.bundle"):
        await Policies(None).activate(None, by="ann", reason="")
    with pytest.raises(Misconfigured, match=r"policy\.bundle"):
        await Policies(None).rollback(None, by="ann", reason="")
