"""A credential reaches its upstream and nobody else, whatever the upstream says and whoever looks."""

from __future__ import annotations

import base64
import http.client
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.e2e.far import Far, Seen, answer, echoes, says
from tests.e2e.house import Answer, House, ask, comes_true
from tests.e2e.load import Load
from tests.e2e.secure import HOST, SECRET, everything_written, forms, found, secure
from tests.fakes.certificates import Authority
from tests.fakes.upstream import Conversation

Secured = tuple[House, Far]


@pytest.fixture
def secured(tmp_path: Path) -> Iterator[Secured]:
    authority = Authority(tmp_path)
    with Far(authority.server(HOST)) as far:
        folder = tmp_path / "house"
        folder.mkdir()
        house = House(folder, far.port)
        secure(house, far.port, authority.file)
        house.start()
        yield house, far
        house.kill()


def sent(far: Far) -> str:
    return far.seen[-1].headers["authorization"]


def shown(answers: list[Answer]) -> dict[str, bytes]:
    return {f"answer {at}": str(one.headers).encode() + one.body for at, one in enumerate(answers)}


def test_the_upstream_gets_the_secret_and_nobody_else_ever_sees_it(secured: Secured) -> None:  # A106, A111, C03
    house, far = secured
    house.write_policy('package sidecar.custom\n\nobligations := {"record_bodies": true}\n')
    assert house.event("policy_load", 2)["outcome"] == "loaded"
    echo = base64.b64encode(b"agent:" + SECRET.encode()).decode()
    answers = []
    for behaviour in (
        echoes,
        says(
            answer(b'{"token":"' + SECRET.encode() + b'"}', "200 OK", f"X-Token: {SECRET}", f"X-Basic: Basic {echo}")
        ),
        says(answer(b"no such token " + quote(SECRET, safe="").encode(), "500 Oh no", kind="text/plain")),
        says(b"HTTP/1.1 200 " + SECRET.encode() + b"\r\nBroken " + SECRET.encode() + b"\r\n\r\n", end=True),
    ):
        far.behave = behaviour
        answers.append(house.operation("write", {"topic": "secret"}))
        assert sent(far) == f"Bearer {SECRET}"
    assert [one.status for one in answers] == [200, 200, 500, 502]
    answers += [house.evidence(one.evidence_id) for one in answers]
    answers += [house.request("GET", "/v1/evidence"), house.probe("/metrics"), house.probe("/readyz")]
    assert house.stop() == 0
    house.verified()
    written = everything_written(house.folder)
    assert {"out.log", "err.log", "evidence/checkpoint", "sidecar.yaml"} <= written.keys()
    assert found(SECRET, {**written, **shown(answers)}) == []


@pytest.mark.parametrize("status", ["301 Moved", "303 See Other", "307 Temporary", "308 Permanent"])
def test_a33_a34_a35_a_redirect_takes_neither_the_credential_nor_the_body_elsewhere(
    secured: Secured, status: str
) -> None:
    house, far = secured
    with Far() as other:  # another origin, and plain http after https
        where = f"http://127.0.0.1:{other.port}/elsewhere"
        far.behave = says(answer(b"{}", status, f"Location: {where}"))
        answered = house.operation("write", {"topic": "placeholder"})
        assert (answered.status, answered.headers["Location"]) == (int(status[:3]), where)
        assert [seen.headers["authorization"] for seen in far.seen] == [f"Bearer {SECRET}"]
        assert other.connections == 0


@pytest.mark.parametrize("form", sorted(forms(SECRET)))
def test_the_search_for_the_secret_finds_it(form: bytes) -> None:
    assert found(SECRET, {"a": b"...", "b": b"-" + form + b"-"}) == ["b"]


def test_a_rotated_credential_is_used_from_the_next_call_on(secured: Secured) -> None:  # A103
    house, far = secured
    assert house.operation("write").status == 200
    assert sent(far) == f"Bearer {SECRET}"
    assert house.sidecar("credentials", "rotate", "token", given="second-1fc04ab977").returncode == 0
    far.behave = echoes
    answered = house.operation("write")
    assert answered.status == 200
    assert sent(far) == "Bearer second-1fc04ab977"
    assert found("second-1fc04ab977", shown([answered])) == []
    versions = [leaf.credential.version for leaf in house.leaves() if leaf.kind == "outcome" and leaf.credential]
    assert len(set(versions)) == 2


def test_nothing_of_an_agents_own_head_reaches_the_upstream(secured: Secured) -> None:  # A83, A84, A85, A86
    house, far = secured
    hostile = {
        "aUTHORIZATION": house.headers("agent")["Authorization"],
        "Connection": "keep-alive, authorization",
        "Proxy-Authorization": "Basic bWluZTptaW5l",
        "X-Forwarded-For": "10.0.0.1",
        "X-Forwarded-Host": "evil.example",
        "Forwarded": "for=10.0.0.1",
        "X-Real-IP": "10.0.0.1",
        "Via": "1.1 evil",
        "Cookie": "session=mine",
        "X-Api-Key": "mine",
    }
    connection = http.client.HTTPConnection("127.0.0.1", house.ports["access"], timeout=30)
    with closing(connection):
        answered = ask(
            connection, "POST", "/v1/connectors/up/operations/write", {"parameters": {"topic": "tin"}}, hostile
        )
    assert answered.status == 200
    ours = {"accept", "accept-encoding", "authorization", "content-length", "host", "user-agent"}
    assert set(far.seen[-1].headers) == ours
    assert sent(far) == f"Bearer {SECRET}"
    assert b"mine" not in far.seen[-1].raw
    assert b"10.0.0.1" not in far.seen[-1].raw


def _has(load: Load, calls: int) -> bool:
    return len(load.acknowledged) >= calls


def test_c02_rotations_under_load_fail_no_call(secured: Secured) -> None:
    """The upstream takes the new value before the store has it, and the old one no more as soon as it has."""
    house, far = secured
    valid = {f"Bearer {SECRET}"}

    async def guarded(conversation: Conversation, seen: Seen) -> bool:
        good = seen.headers["authorization"] in valid
        await conversation.send(answer() if good else answer(b"{}", "401 No", "WWW-Authenticate: Bearer"))
        return True

    far.behave = guarded
    load = Load(house, "rotating", clients=8)
    load.start()
    for turn in range(4):
        wanted = 50 * (turn + 1)
        assert comes_true(partial(_has, load, wanted))
        fresh = f"value-{turn}-9f86d081"
        valid.add(f"Bearer {fresh}")
        assert house.sidecar("credentials", "rotate", "token", given=fresh).returncode == 0
        valid.intersection_update({f"Bearer {fresh}"})
    load.stop()
    assert load.broken == []
    assert {one.answer.status for one in load.acknowledged} == {200}
    assert house.stop() == 0
    versions = {leaf.credential.version for leaf in house.leaves() if leaf.kind == "outcome" and leaf.credential}
    assert versions == {"1", "2", "3", "4", "5"}
    assert house.verified().unknown == []


def test_a_client_certificate_proves_the_sidecar_to_its_upstream(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    with Far(authority.wants_clients(authority.server(HOST))) as far:
        (tmp_path / "house").mkdir()
        house = House(tmp_path / "house", far.port)
        secure(house, far.port, authority.file)
        house.config["connectors"]["up"]["auth"] = {"style": "certificate", "credential": "token"}
        house.config["credentials"]["token"] |= {"positions": ["certificate"], "reference": "encrypted://client"}
        house.write_config()
        put = house.sidecar(
            "credentials", "put", "client", "--kind", "CERTIFICATE", given=authority.client().decode()
        )
        assert put.returncode == 0, put.stderr
        try:
            house.start()
            assert house.operation("write").status == 200
            ended = authority.client(days=-1).decode()
            refused = house.sidecar("credentials", "rotate", "client", given=ended)
            assert refused.returncode == 1
            assert "has ended" in refused.stderr
            assert house.operation("write").status == 200  # the one before is still there
            fresh = authority.client().decode()
            assert house.sidecar("credentials", "rotate", "client", given=fresh).returncode == 0
            assert house.operation("write").status == 200
        finally:
            house.kill()
        assert len(far.seen) == 3
        assert "authorization" not in far.seen[0].headers


def test_without_its_credential_a_call_is_not_made(secured: Secured) -> None:
    house, far = secured
    assert house.operation("write").status == 200
    assert house.sidecar("credentials", "delete", "token", "--yes").returncode == 0
    refused = house.operation("write")
    assert (refused.status, refused.code) == (502, "credential_unavailable")
    assert len(far.seen) == 1
    assert refused.evidence_id is not None
    assert house.evidence(refused.evidence_id).document["code"] == "credential_unavailable"
    assert house.sidecar("credentials", "put", "token", given="third-71c5fe0d9a").returncode == 0
    assert house.operation("write").status == 200
    assert house.stop() == 0
    assert house.verified().unknown == []


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        (HOST, {"expired": True}),
        (HOST, {"early": True}),
        (HOST, {"self_signed": True}),
        (HOST, {"wrong_usage": True}),
        ("other.upstream.internal", {}),
    ],
)
def test_an_upstream_that_cannot_prove_its_name_never_gets_the_secret(  # A98, S09
    tmp_path: Path, name: str, kind: dict[str, bool]
) -> None:
    authority = Authority(tmp_path)
    with Far(authority.server(name, **kind)) as far:
        (tmp_path / "house").mkdir()
        house = House(tmp_path / "house", far.port)
        secure(house, far.port, authority.file)
        try:
            house.start()
            refused = house.operation("write")
            assert (refused.status, refused.code) == (502, "upstream_unavailable")
            assert house.stop() == 0
        finally:
            house.kill()
        assert far.seen == []
        assert [leaf.kind for leaf in house.leaves()] == ["intent", "outcome"]


def test_a_credential_is_not_configured_for_plain_http(house: House, far: Far, tmp_path: Path) -> None:  # A97
    secure(house, far.port, Authority(tmp_path).file)
    assert house.sidecar("check").returncode == 0
    up = house.config["connectors"]["up"]
    up["base_url"] = up["base_url"].replace("https:", "http:")
    del up["ca_file"]
    house.write_config()
    done = house.sidecar("check")
    assert done.returncode == 1
    assert "http" in done.stdout + done.stderr
    assert SECRET not in done.stdout + done.stderr
