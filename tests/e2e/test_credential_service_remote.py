"""The credential service of a whole sidecar over a real Vault and AWS, with the network between them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tests.e2e.house import Answer, Document
from tests.e2e.load import Load, paused
from tests.e2e.secure import everything_written, found
from tests.e2e.stores import BOTH, SECRET, Stored, lends, stored

NOW = {"If-Match": "*"}


@pytest.fixture(params=BOTH)
def kept(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stored]:
    """What is held may be used for an hour: only a change here can end that earlier."""
    with stored(request.param, tmp_path, max_age_seconds=3600) as made:
        yield made


def at(kept: Stored, verb: str = "") -> str:
    return f"/v1/credential{verb}?reference={quote(kept.store.reference(kept.name), safe='')}"


def ask(kept: Stored, method: str, path: str, body: Any = None, **headers: str) -> Answer:
    return kept.house.admin(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})


def shown(kept: Stored) -> Document:
    answer = ask(kept, "GET", at(kept))
    assert answer.status == 200, answer.body
    return answer.document


def accesses(kept: Stored) -> list[Document]:
    """The whole log of the credential, newest first."""
    found: list[Document] = []
    query = f"limit=500&reference={quote(kept.store.reference(kept.name), safe='')}"
    before = ""
    while True:
        page = ask(kept, "GET", f"/v1/credentials/log?{query}{before}").document
        found += page["accesses"]
        if page["next"] is None:
            return found
        before = f"&before={page['next']}"


def test_a_rotation_here_holds_from_the_next_call_on_and_fails_none(kept: Stored) -> None:  # C02, A103
    assert kept.call().status == 200 and kept.sent() == f"Bearer {SECRET}"
    before = shown(kept)
    assert (before["state"], before["used_by"], before["changeable"]) == ("ok", ["up"], True)
    assert [row["version"] for row in before["held"]] == [before["version"]]
    load = Load(kept.house, "rotated", 8)
    load.start()
    versions = [before["version"]]
    for number in range(3):
        paused(0.2)
        value = f"rotated-{number}-/+=&7d1c0b"
        told = ask(kept, "POST", at(kept, "/rotate"), {"value": value}, If_Match=f'"{versions[-1]}"')
        assert told.status == 200, told.body
        versions.append(told.document["version"])
        assert kept.house.operation("read").status == 200
        assert f"Bearer {value}" in {seen.headers["authorization"] for seen in kept.far.seen}
    load.stop()
    assert {one.answer.status for one in load.acknowledged} == {200} and not load.broken
    used = accesses(kept)
    assert [one["version"] for one in used if one["verb"] == "rotate"] == versions[:0:-1]
    assert {one["version"] for one in used if one["verb"] == "use"} == set(versions)
    assert kept.house.stop() == 0
    assert found("rotated-1-/+=&7d1c0b", everything_written(kept.house.folder)) == []


def test_terms_are_kept_where_the_secret_is_and_an_end_is_enforced(kept: Stored) -> None:
    version = shown(kept)["version"]
    end = 4_070_995_199_000_000
    amended = ask(kept, "PATCH", at(kept), {"expires": end, "rotate_days": 30, "kind": "API_KEY"}, If_Match="*")
    assert (amended.status, amended.document["version"]) == (200, version), amended.body
    told = shown(kept)
    assert (told["expires"], told["rotate_days"], told["kind"], told["expired"]) == (end, 30, "API_KEY", False)
    listed = ask(kept, "GET", "/v1/credentials/expiring?days=36500").document["credentials"]
    assert kept.name in [one["reference"].rpartition("/")[2].partition("#")[0] for one in listed]
    assert kept.call().status == 200


def test_a_deletion_here_refuses_the_next_call_whatever_was_held(kept: Stored) -> None:
    assert kept.call().status == 200
    refused = ask(kept, "DELETE", at(kept), If_Match="*")
    assert (refused.status, refused.code) == (409, "in_use")
    gone = ask(kept, "DELETE", f"{at(kept)}&force=true", If_Match="*")
    assert (gone.status, gone.document["left_without"]) == (200, ["up"]), gone.body
    assert kept.call().code == "credential_unavailable"
    assert ask(kept, "GET", at(kept)).code == "unknown_credential"


def test_a_store_that_is_away_is_said_and_changes_nothing(kept: Stored) -> None:
    assert kept.call().status == 200
    kept.between.down()
    rotated = ask(kept, "POST", at(kept, "/rotate"), {"value": "never-stored-77aa"}, If_Match="*")
    assert (rotated.status, rotated.code) == (502, "store_unavailable")
    assert rotated.document["reasons"][0]["code"] == "store_unreachable", rotated.body
    listed = ask(kept, "GET", "/v1/credentials").document
    assert [fault["code"] for fault in listed["faults"]] == ["store_unavailable"]
    assert [one["state"] for one in listed["credentials"] if one["used_by"]] == ["unknown"]
    kept.between.up()
    assert kept.call().status == 200 and kept.sent() == f"Bearer {SECRET}"


def test_c06_another_tenants_place_is_refused_before_the_store_is_asked(kept: Stored) -> None:
    theirs = quote(kept.store.reference(kept.name).replace("acme", "umbrella"), safe="")
    for method, body in (("GET", None), ("PUT", {"value": "mine-now-77aa"}), ("DELETE", None)):
        headers = {} if method == "GET" else {"If_Match": "*"}
        refused = ask(kept, method, f"/v1/credential?reference={theirs}", body, **headers)
        assert (refused.status, refused.code) == (403, "tenant_mismatch")


@pytest.mark.needs_postgres
@pytest.mark.needs_toxiproxy
@pytest.mark.needs_vault
def test_a_lent_user_is_shown_with_its_lease_and_is_changed_in_the_vault_only(tmp_path: Path) -> None:
    with stored("vault", tmp_path) as kept:
        reference = lends("service")
        kept.refer(reference)
        assert kept.call().status == 200
        path = f"/v1/credential?reference={quote(reference, safe='')}"
        view = ask(kept, "GET", path).document
        assert (view["kind"], view["changeable"], view["used_by"]) == ("DATABASE", False, ["up"])
        [lease] = view["held"]
        [use] = ask(kept, "GET", "/v1/credentials/log?connector=up").document["accesses"]
        assert (use["reference"], use["version"]) == (reference, lease["version"]) and use["version"].startswith(
            "lease-"
        )
        rotate = path.replace("credential?", "credential/rotate?")
        refused = ask(kept, "POST", rotate, {"value": "a-value-of-ours"}, If_Match="*")
        assert (refused.status, refused.code) == (409, "read_only") and "vault write" in refused.document["detail"]
        for query, listed in (("days=1", False), ("days=1&leases=true", True)):
            found = ask(kept, "GET", f"/v1/credentials/expiring?{query}").document["credentials"]
            assert ("database" in str(found)) is listed
