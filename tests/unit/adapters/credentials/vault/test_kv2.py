from __future__ import annotations

from typing import Any

import pytest

from sidecar.adapters.credentials.vault.kv2 import no_field, read_state, terms_of
from sidecar.model.credential import About, Reference, Terms
from sidecar.rules.credential_terms import micros

CRM = Reference("vault", "secret/acme/crm", "token")


def version(deletion: str = "", destroyed: bool = False) -> dict[str, Any]:
    return {"created_time": "2027-01-02T00:00:00.123456789Z", "deletion_time": deletion, "destroyed": destroyed}


def answer(current: int, entries: dict[str, str] | None = None, **versions: dict[str, Any]) -> dict[str, Any]:
    return {
        "current_version": current,
        "created_time": "2027-01-01T00:00:00.987654321Z",
        "updated_time": "2027-01-03T00:00:00Z",
        "custom_metadata": entries,
        "versions": {name.removeprefix("v"): one for name, one in versions.items()},
    }


def test_what_is_shown_of_the_newest_version() -> None:
    entries = {"sidecar-terms-2": "kind=OAUTH expires=2028-01-01T00:00:00Z", "team": "crm"}
    state = read_state(answer(2, entries, v1=version(), v2=version()))
    assert state.alive
    assert state.about(CRM) == About(
        reference=CRM,
        kind="OAUTH",
        version="2",
        created="2027-01-01T00:00:00Z",
        updated="2027-01-02T00:00:00Z",
        expires=micros("2028-01-01T00:00:00Z"),
    )


@pytest.mark.parametrize(
    "newest", [version("2001-01-01T00:00:00.1Z"), version(destroyed=True), version("2001-01-01T00:00:00Z", True)]
)
def test_a_secret_whose_newest_version_was_deleted_has_no_value(newest: dict[str, Any]) -> None:
    assert not read_state(answer(2, v1=version(), v2=newest)).alive
    assert not read_state(answer(0)).alive
    assert read_state(answer(0)).terms() == Terms()


def test_a_version_that_the_server_will_delete_ends_then() -> None:
    state = read_state(answer(1, {"sidecar-terms-1": "none"}, v1=version("2999-01-01T00:00:00.5Z")))
    assert state.alive
    assert state.about(CRM).expires == micros("2999-01-01T00:00:00.5Z")


def test_terms_that_cannot_be_read_leave_a_version_to_say_them_anew_over() -> None:
    about = read_state(answer(3, {"sidecar-terms-3": "expires=never"}, v3=version())).about(CRM)
    assert (about.state, about.version, about.kind) == ("broken", "3", None)


def test_only_versions_that_are_destroyed_have_no_terms_to_keep() -> None:
    state = read_state(answer(3, v1=version(destroyed=True), v2=version("2001-01-01T00:00:00Z"), v3=version()))
    assert state.versions == {"2", "3"}


def test_a_value_is_a_field() -> None:
    assert no_field().code == "invalid_payload"


def test_the_entry_with_the_versions_time_counts_and_the_newest_before_it_where_there_is_none() -> None:
    own, stamp = "sidecar-terms-12-2027-01-02T00:00:00Z", "2027-01-02T00:00:00Z"
    entries = {own: "rotate_days=12", "sidecar-terms-12": "rotate_days=1", "sidecar-terms-x": "odd"}
    assert terms_of(entries, 12, stamp).rotate_days == 12
    assert terms_of(entries, 12, "2027-01-03T00:00:00Z").rotate_days == 1
    older = {
        "sidecar-terms-9-2027": "rotate_days=9",
        "sidecar-terms-10-2027": "rotate_days=10",
        own: "rotate_days=12",
    }
    assert terms_of(older, 11, stamp).rotate_days == 10
    assert terms_of({}, 1, stamp) == Terms()
