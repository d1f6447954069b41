"""The folder's policy: loaded, loaded again when it changes, and the last good one where it cannot be."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from sidecar.adapters.policy.directory import READ_BYTES, WatchedDirectory
from sidecar.adapters.policy.embedded import EmbeddedEngine, Policy
from sidecar.config.load import Loaded, read
from tests.fakes.observer import RecordingObserver
from tests.unit.config.builders import GOOD, changed, written


class House:
    """A folder, what keeps the engine at it, and what was told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "policy").mkdir()
        self.observer = RecordingObserver()
        self.engine = EmbeddedEngine(0.5, 5.0, self.observer)
        self.source = WatchedDirectory(self.engine, self.observer, self.loaded())

    def loaded(self, path: str = "policy.library", value: object = True) -> Loaded:
        return read(written(self.folder, changed(path, value, GOOD)), {}, {})

    def write(self, text: str) -> None:
        (self.folder / "policy" / "custom.rego").write_text(text)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.source.close()


async def test_a_policy_is_read_from_the_folder_and_named_by_its_content(house: House) -> None:
    await house.source.load()
    first = house.engine.revision
    assert first is not None
    await house.source.look()
    assert len(house.observer.named("policy_load")) == 1
    house.write("package sidecar.custom\n\nallow := false\n")
    await house.source.look()
    assert house.engine.revision not in (None, first)


async def test_a_policy_is_swapped_in_between_the_steps_of_calls_and_never_beside_one(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """P04: a call asks whether its policy reads the destination, and is decided by that policy and no newer one."""
    swapped_in: list[threading.Thread] = []
    swap = house.engine.swap

    def noted(policy: Policy) -> None:
        swapped_in.append(threading.current_thread())
        swap(policy)

    monkeypatch.setattr(house.engine, "swap", noted)
    await house.source.load()
    assert house.engine.revision is not None
    assert swapped_in == [threading.current_thread()]


async def test_a_rule_over_a_field_that_no_input_has_is_refused_with_its_place(house: House) -> None:
    await house.source.load()
    kept = house.engine.revision
    house.write(
        'package sidecar.custom\n\ndeny contains {"code": "c", "message": "m"} if input.principal.idd == "x"\n'
    )
    await house.source.look()
    assert house.engine.revision == kept
    (told,) = house.observer.named("policy_rejected")
    assert told["errors"] == ["custom.rego:3: undefined ref: input.principal.idd"]


async def test_a_folder_that_cannot_be_used_leaves_the_last_good_policy(house: House) -> None:
    await house.source.load()
    kept = house.engine.revision
    house.write("no rego")
    await house.source.look()
    assert house.engine.revision == kept
    assert house.source.problem is not None and "custom.rego" in house.source.problem
    await house.source.look()
    rejected = house.observer.named("policy_rejected")
    assert len(rejected) == 1  # told once, not at every look
    assert "custom.rego:1" in " ".join(rejected[0]["errors"])
    house.write("package sidecar.custom\n")
    await house.source.look()
    assert house.source.problem is None


async def test_another_configuration_holds_from_the_next_load(house: House) -> None:
    await house.source.load()
    with_library = house.engine.revision
    house.source.configure(house.loaded(value=False))
    assert house.engine.revision == with_library
    await house.source.load()
    assert house.engine.revision != with_library


async def test_a_folder_that_is_not_there_is_told_and_taken_when_it_comes(house: House) -> None:
    (house.folder / "policy").rename(house.folder / "away")
    await house.source.load()
    assert house.engine.revision is None and house.source.problem is not None
    (house.folder / "away").rename(house.folder / "policy")
    await house.source.look()
    assert house.engine.revision is not None


async def test_large_data_is_read_by_the_engine_and_told_by_line_where_it_is_wrong(house: House) -> None:
    data = house.folder / "policy" / "sidecar" / "grants" / "data.json"
    data.parent.mkdir(parents=True)
    lines = [f'"agent-{number}": ["*"]' for number in range(READ_BYTES // 16)]
    data.write_text("{\n" + ",\n".join(lines) + "\n}")
    house.write("package sidecar.custom\n\nobligations := {} if data.sidecar.grants[input.principal.id]\n")
    await house.source.load()
    assert house.observer.named("policy_rejected") == []
    kept = house.engine.revision
    data.write_text("{\n" + ",\n".join([*lines, lines[3]]) + "\n}")
    await house.source.look()
    assert house.engine.revision == kept
    assert f'sidecar/grants/data.json:{len(lines) + 2}: duplicate key "agent-3"' in str(house.source.problem)
