"""The credential service of a whole sidecar: over the administrators' door, with sealed files that calls read."""

from __future__ import annotations

import http.client
import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import pytest

from sidecar.cli.keys import make
from tests.e2e.far import Far, Held
from tests.e2e.house import AGENT, WAIT, Answer, Document, House, ask, comes_true
from tests.e2e.load import Load, paused
from tests.e2e.secure import HOST, SECRET, everything_written, found, secure
from tests.fakes.certificates import Authority

PEOPLE = {"ada": ["tenant-admin"], "audrey": ["auditor"]}
ONE = "/v1/credential?reference=" + quote("encrypted://token", safe="")
ROTATE = ONE.replace("credential?", "credential/rotate?")
LOG = "/v1/credentials/log"


class Secured(NamedTuple):
    house: House
    far: Far

    def ask(self, method: str, path: str, body: Any = None, *, who: str = "ada", **headers: str) -> Answer:
        """One request to the administrators' TCP door."""
        connection = http.client.HTTPConnection("127.0.0.1", self.house.ports["admin"], timeout=WAIT)
        try:
            sent = self.house.headers(who) | {name.replace("_", "-"): value for name, value in headers.items()}
            return ask(connection, method, path, body, sent)
        finally:
            connection.close()

    def log(self, query: str = "", who: str = "audrey") -> list[Document]:
        told = self.ask("GET", f"{LOG}?{query}", who=who)
        assert told.status == 200, told.body
        found: list[Document] = told.document["accesses"]
        return found

    def whole_log(self) -> list[Document]:
        """Every page, newest first."""
        found: list[Document] = []
        before = ""
        while True:
            page = self.ask("GET", f"{LOG}?limit=500{before}", who="audrey").document
            found += page["accesses"]
            if page["next"] is None:
                return found
            before = f"&before={page['next']}"

    def sent(self) -> str:
        return self.far.seen[-1].headers["authorization"]


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    authority = Authority(tmp_path)
    with Far(authority.server(HOST)) as far:
        folder = tmp_path / "house"
        folder.mkdir()
        house = House(folder, far.port)
        for name, roles in PEOPLE.items():
            house.keys[name] = key = make(name, name)
            keys = [{"id": key.id, "sha256": key.sha256}]
            house.config["principals"][name] = {"kind": "person", "roles": roles, "keys": keys}
        secure(house, far.port, authority.file)
        house.start()
        yield Secured(house, far)
        house.kill()


def test_a_rotated_value_is_used_by_the_next_call_and_no_call_under_load_fails(secured: Secured) -> None:  # A103, C02
    load = Load(secured.house, "load", 8)
    load.start()
    values = [f"rotated-{number}-/+=&7d1c" for number in range(5)]
    for number, value in enumerate(values, 1):
        paused(0.1)
        told = secured.ask("POST", ROTATE, {"value": value}, If_Match=f'"{number}"')
        assert (told.status, told.headers["ETag"]) == (200, f'"{number + 1}"'), told.body
        assert secured.house.operation("read").status == 200
        assert secured.far.seen and f"Bearer {value}" in {seen.headers["authorization"] for seen in secured.far.seen}
    load.stop()
    assert {one.answer.status for one in load.acknowledged} == {200} and not load.broken
    used = secured.whole_log()
    assert {one["version"] for one in used if one["verb"] == "use"} == {"1", "2", "3", "4", "5", "6"}
    assert [one["version"] for one in used if one["verb"] == "rotate"] == ["6", "5", "4", "3", "2"]
    secured.house.verified()


def test_of_many_who_rotate_at_once_one_does(secured: Secured) -> None:
    def rotate(number: int) -> Answer:
        return secured.ask("POST", ROTATE, {"value": f"rotated-{number}-7d1c0b"}, If_Match='"1"')

    with ThreadPoolExecutor(8) as people:
        told = list(people.map(rotate, range(8)))
    assert sorted(one.status for one in told) == [200, *[409] * 7]
    [winner] = [number for number, one in enumerate(told) if one.status == 200]
    assert secured.house.operation("write").status == 200
    assert secured.sent() == f"Bearer rotated-{winner}-7d1c0b"
    assert [one["code"] for one in secured.whole_log() if one["verb"] == "rotate" and one["code"] == "done"] == [
        "done"
    ]


def test_a_deleted_credential_refuses_the_next_call_and_both_are_in_the_log(secured: Secured) -> None:
    assert secured.house.operation("write").status == 200
    refused = secured.ask("DELETE", ONE, If_Match='"1"')
    assert (refused.status, refused.code) == (409, "in_use")
    gone = secured.ask("DELETE", f"{ONE}&force=true", If_Match='"1"')
    assert (gone.status, gone.document["left_without"]) == (200, ["up"])
    assert secured.house.operation("write").code == "credential_unavailable"
    told = [(one["verb"], one["principal"], one["version"], one["code"]) for one in secured.log()]
    assert told == [
        ("use", AGENT, None, "credential_unavailable"),
        ("delete", "ada", None, "done"),
        ("use", AGENT, "1", "allowed"),
    ]
    made = secured.ask("PUT", ONE, {"value": SECRET, "kind": "CUSTOM"}, If_None_Match="*")
    assert made.status == 201, made.body
    assert secured.house.operation("write").status == 200


def test_an_end_is_enforced_and_shows(secured: Secured) -> None:
    soon = int((time.time() + 1.5) * 1e6)
    assert secured.ask("PATCH", ONE, {"expires": soon}, If_Match='"1"').status == 200
    assert [one["reference"] for one in secured.ask("GET", "/v1/credentials/expiring?days=1").document["credentials"]]
    assert comes_true(lambda: secured.house.operation("write").code == "credential_unavailable")
    last = secured.log("limit=1")[0]
    assert (last["code"], last["reasons"], last["version"]) == (
        *("credential_unavailable", ["credential_expired"], "1"),
    )
    assert secured.ask("GET", ONE).document["expired"] is True
    assert secured.ask("PATCH", ONE, {"expires": None}, If_Match='"1"').status == 200
    assert secured.house.operation("write").status == 200


def test_e20_a_call_that_a_crash_cut_off_is_in_the_log_as_unknown(secured: Secured) -> None:
    secured.far.behave = held = Held()
    load = Load(secured.house, "cut", 1)
    load.start()
    assert comes_true(lambda: held.waiting)
    secured.house.signal(signal.SIGKILL)
    secured.house.ended()
    held.release()
    load.stop()
    secured.house.start()
    [cut] = secured.log()
    assert (cut["code"], cut["principal"], cut["reference"], cut["version"]) == (
        *("unknown", AGENT, "encrypted://token", None),
    )


def test_inv_5_what_the_door_was_given_is_written_nowhere(secured: Secured) -> None:
    canary, wrong = "c4n4ry/of+the=door&5b1d80", "c4n4ry-of-a-mistake-77aa"
    answers = [
        secured.ask("POST", ROTATE, {"value": canary}, If_Match='"1"'),
        secured.ask("POST", ROTATE, {"value": wrong}, If_Match='"1"'),
        secured.ask("PUT", ONE, {"value": f"{wrong}\r\n"}, If_Match='"2"'),
        secured.ask("PUT", ONE, {"value": wrong, wrong: wrong}, If_Match='"2"'),
        secured.ask("PUT", ONE, {"value": wrong, "kind": wrong}, If_Match='"2"'),
        secured.ask("PUT", ONE, {"value": wrong}, If_Match='"2"', who="audrey"),
        secured.ask("PUT", f"/v1/credential?reference={wrong}", {"value": wrong}, If_None_Match="*"),
    ]
    assert [one.status for one in answers] == [200, 409, 422, 422, 422, 403, 422]
    assert secured.house.operation("write").status == 200 and secured.sent() == f"Bearer {canary}"
    answers += [secured.ask("GET", path, who="audrey") for path in (ONE, "/v1/credentials", LOG, "/v1/evidence")]
    done = [secured.house.sidecar("credentials", *command, "-o", form) for command in (["log"], ["served"])
            for form in ("table", "json")]  # fmt: skip
    assert [one.returncode for one in done] == [0] * 4, done[0].stderr
    shown = {f"answer {at}": str(one.headers).encode() + one.body for at, one in enumerate(answers)}
    shown |= {f"command {at}": (one.stdout + one.stderr).encode() for at, one in enumerate(done)}
    assert secured.house.stop() == 0
    written = everything_written(secured.house.folder) | shown
    assert found(canary, written) == [] and found(wrong, written) == []
    sealed = (secured.house.folder / "credentials" / "token.sealed").read_bytes()
    assert found(canary, {"sealed": sealed}) == []
    report = secured.house.verified()
    assert report.records
