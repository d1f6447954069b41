"""``sidecar credentials`` on the stores themselves, beside a sidecar that uses what they keep."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.e2e.far import Far, Seen, answer
from tests.e2e.house import Answer, House, comes_true
from tests.e2e.load import Load
from tests.e2e.secure import HOST, SECRET, everything_written, found, secure
from tests.e2e.stores import BOTH, STORES, stored
from tests.fakes.certificates import Authority
from tests.fakes.upstream import Conversation

NEW = "second-1fc04ab977"


class Kept(NamedTuple):
    """A sidecar that runs, its upstream, and the reference of its credential."""

    house: House
    far: Far
    reference: str

    def call(self) -> Answer:
        return self.house.operation("write")

    def command(self, verb: str, *arguments: str, given: str = "") -> str:
        done = self.house.sidecar("credentials", verb, *arguments, given=given)
        assert done.returncode == 0, done.stderr
        assert found(given or SECRET, {"out": done.stdout.encode(), "err": done.stderr.encode()}) == []
        return done.stdout

    def shown(self) -> Any:
        return json.loads(self.command("show", self.reference, "-o", "json"))


@contextmanager
def _sealed(folder: Path) -> Iterator[Kept]:
    authority = Authority(folder)
    with Far(authority.server(HOST)) as far:
        (folder / "house").mkdir()
        house = House(folder / "house", far.port)
        secure(house, far.port, authority.file)
        house.start()
        yield Kept(house, far, "token")
        house.kill()


@contextmanager
def _remote(folder: Path, kind: str) -> Iterator[Kept]:
    with stored(kind, folder) as made:
        yield Kept(made.house, made.far, STORES[kind]().reference(made.name))


@pytest.fixture(params=["sealed", *BOTH])
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Kept]:
    made = _sealed(tmp_path) if request.param == "sealed" else _remote(tmp_path, request.param)
    with made as one:
        yield one


def test_calls_are_refused_from_the_end_that_was_said_and_served_again_after_a_rotation(kept: Kept) -> None:
    assert kept.call().status == 200
    end = datetime.now(UTC) + timedelta(seconds=4)
    kept.command("update", kept.reference, "--expires", end.isoformat(), "--rotate-days", "30")
    assert json.loads(kept.command("expiring", "-o", "json"))[0]["version"] == kept.shown()["version"]
    answers: list[Answer] = []

    def is_refused() -> bool:
        answers.append(kept.call())
        return answers[-1].status != 200

    assert comes_true(is_refused)
    assert datetime.now(UTC) >= end
    refused = answers[-1]
    assert (refused.status, refused.code) == (502, "credential_unavailable")
    assert refused.document["reasons"][0]["code"] == "credential_expired"
    assert kept.house.evidence(refused.evidence_id).document["code"] == "credential_unavailable"
    reached = len(kept.far.seen)
    assert kept.call().code == "credential_unavailable"
    assert len(kept.far.seen) == reached
    kept.command("rotate", kept.reference, given=NEW)
    assert comes_true(lambda: kept.call().status == 200)
    assert kept.far.seen[-1].headers["authorization"] == f"Bearer {NEW}"
    assert (kept.shown()["expires"], kept.shown()["rotate_days"]) == (None, 30)


def test_c02_rotations_from_the_command_line_under_load_fail_no_call(kept: Kept) -> None:
    """The upstream takes a new value before the store has it, and the old one until the sidecar uses the new."""
    valid = {f"Bearer {SECRET}", "Bearer s3cr/et+va=lue&5b1d80c7e2aa9f64"}

    async def guarded(conversation: Conversation, seen: Seen) -> bool:
        good = seen.headers["authorization"] in valid
        await conversation.send(answer() if good else answer(b"{}", "401 No", "WWW-Authenticate: Bearer"))
        return True

    kept.far.behave = guarded
    load = Load(kept.house, "rotating", clients=8)
    load.start()

    def sent(value: str) -> bool:
        return bool(kept.far.seen) and kept.far.seen[-1].headers["authorization"] == value

    for turn in range(3):
        fresh = f"value-{turn}-9f86d081"
        valid.add(f"Bearer {fresh}")
        kept.command("rotate", kept.reference, given=fresh)
        assert comes_true(partial(sent, f"Bearer {fresh}"))
        valid.intersection_update({f"Bearer {fresh}"})
    load.stop()
    assert load.broken == []
    assert {one.answer.status for one in load.acknowledged} == {200}
    assert len(load.acknowledged) > 100
    assert kept.house.stop() == 0
    versions = {leaf.credential.version for leaf in kept.house.leaves() if leaf.kind == "outcome" and leaf.credential}
    assert len(versions) >= 4
    assert found("9f86d081", everything_written(kept.house.folder)) == []
    assert kept.house.verified().unknown == []


def test_a_credential_that_was_deleted_is_listed_no_more_and_calls_are_refused(kept: Kept) -> None:
    assert kept.call().status == 200
    locator = kept.reference.partition("#")[0].rpartition("/")[2]

    def listed() -> list[str]:
        return [row["reference"] for row in json.loads(kept.command("list", "-o", "json"))]

    assert any(reference.endswith(locator) for reference in listed())
    kept.command("delete", kept.reference, "--yes")
    assert not any(reference.endswith(locator) for reference in listed())
    assert comes_true(lambda: kept.call().status == 502)
    assert kept.call().code == "credential_unavailable"


BAD: list[tuple[list[str], str, str]] = [
    (["rotate"], "one-12345678\r\nX-Evil: two", "line_break"),
    (["rotate", "--kind", "CERTIFICATE", "--expires", "90d"], "canary-12345678", "wrong_form"),
]


def test_a87_what_cannot_be_used_is_refused_and_the_old_value_goes_on(kept: Kept) -> None:
    before = kept.shown()
    for (verb, *options), value, reason in BAD:
        done = kept.house.sidecar("credentials", verb, kept.reference, *options, given=value)
        assert (done.returncode, done.stdout) == (1, "")
        assert f"[{reason}]" in done.stderr
        assert "canary" not in done.stderr and "X-Evil" not in done.stderr
    assert kept.shown() == before or kept.reference.startswith("aws://")  # moto dates a version when it is asked
    assert kept.shown()["version"] == before["version"]
    assert kept.call().status == 200


@pytest.mark.parametrize("kind", BOTH)
def test_c06_another_tenants_place_is_refused(tmp_path: Path, kind: str) -> None:
    with _remote(tmp_path, kind) as kept:
        stranger = kept.reference.replace("acme", "globex")
        assert stranger != kept.reference
        commands: list[Callable[[], Any]] = [
            partial(kept.house.sidecar, "credentials", "put", stranger, given=NEW),
            partial(kept.house.sidecar, "credentials", "delete", stranger, "--yes"),
        ]
        for command in commands:
            done = command()
            assert done.returncode == 1
            assert "[other_tenant]" in done.stderr
