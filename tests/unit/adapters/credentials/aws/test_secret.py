from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from sidecar.adapters.credentials.aws.secret import AwsSecret, members, paged, read_state, secrets_of
from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.errors import Refused
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret

WHEN = datetime(2027, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))
DESCRIBED = {
    "Name": "acme/crm",
    "CreatedDate": WHEN,
    "VersionIdsToStages": {"a": ["AWSPREVIOUS"], "b": ["AWSCURRENT", "mine"], "c": []},
    "Tags": [
        {"Key": "team", "Value": "crm"},
        {"Key": "sidecar-terms-a", "Value": "kind=OAUTH expires=2028-01-01T00:00:00Z rotate_days=30"},
    ],
}


def test_a_description_says_stages_terms_and_whether_it_leaves() -> None:
    state = read_state(DESCRIBED)
    assert (state.current, state.previous, state.leaving) == ("b", "a", False)
    assert state.created == "2027-01-01T00:00:00Z"
    assert read_state({**DESCRIBED, "DeletedDate": datetime.now(UTC)}).leaving
    empty = read_state({"Name": "acme/crm"})
    assert (empty.current, empty.previous, empty.created, empty.entries) == (None, None, None, {})


def test_a_version_that_somebody_else_made_has_the_kind_and_rotation_of_the_one_before() -> None:
    state = read_state(DESCRIBED)
    assert state.terms("a").expires is not None
    assert state.terms("b") == Terms(kind="OAUTH", rotate_days=30)
    assert state.terms("c") == Terms()


def test_an_object_has_fields_and_any_other_text_is_one_value() -> None:
    assert secrets_of('{"token": "value-12345678", "port": 5432}') == {"token": Secret("value-12345678")}
    for text in ("value-12345678", "[1, 2]", '"quoted"', "12345678"):
        assert members(text) == {"": text}
        assert secrets_of(text) == {"": Secret(text)}


def test_pages_are_asked_for_until_there_is_no_more() -> None:
    asked: list[Any] = []

    def ask(**given: Any) -> dict[str, Any]:
        asked.append(given)
        return {"Rows": [len(asked)], "NextToken": ["two", "three", ""][len(asked) - 1]}

    assert list(paged(ask, {"Name": "crm"}, "Rows")) == [1, 2, 3]
    assert asked == [{"Name": "crm"}, {"Name": "crm", "NextToken": "two"}, {"Name": "crm", "NextToken": "three"}]


class Client:
    """A client whose secret has this text, and that notes what would change it."""

    def __init__(self, text: str | None) -> None:
        self.text = text
        self.changed: list[str] = []

    def describe_secret(self, **_: Any) -> Any:
        return DESCRIBED

    def get_secret_value(self, **_: Any) -> Any:
        return {"SecretString": self.text} if self.text is not None else {"SecretBinary": b""}

    def __getattr__(self, name: str) -> Any:
        self.changed.append(name)
        raise AssertionError(name)


@pytest.mark.parametrize(
    ("held", "field", "given"),
    [
        ("one text", "token", "value-12345678"),  # would do away with the text
        ('{"token": "value"}', None, "value-12345678"),  # would do away with the fields
        ("one text", None, '{"a": "service account"}'),  # would resolve by no reference
    ],
)
def test_a_change_that_would_lose_something_is_refused(held: str, field: str | None, given: str) -> None:
    client = Client(held)
    secret = AwsSecret(client, "acme/crm", Reference("aws", "acme/crm", field))
    with pytest.raises(Refused) as refused:
        secret.write(Secret(given), Terms(), "b")
    assert (refused.value.code, refused.value.reasons[0].code) == ("invalid_payload", "fields")
    assert client.changed == []


def test_bytes_are_not_overwritten() -> None:
    with pytest.raises(StoreFailure) as failure:
        AwsSecret(Client(None), "acme/crm", Reference("aws", "acme/crm")).write(Secret("value-1234"), Terms(), "b")
    assert failure.value.code == "unusable_secret"


def test_of_a_list_only_what_is_to_be_rotated_is_asked_when_it_was_written() -> None:
    secret = AwsSecret(Client(""), "acme/crm", Reference("aws", "acme/crm"))
    assert secret.about_listed({"Name": "acme/crm"}) is None
    stages = {"SecretVersionsToStages": {"b": ["AWSCURRENT"]}}
    about = secret.about_listed({"Name": "acme/crm", "CreatedDate": WHEN, **stages})
    assert about is not None
    assert (about.version, about.created, about.updated) == ("b", "2027-01-01T00:00:00Z", None)
    promised = {"Tags": [{"Key": "sidecar-terms-b", "Value": "rotate_days=7"}]}
    with pytest.raises(AssertionError, match="list_secret_version_ids"):
        secret.about_listed({"Name": "acme/crm", **stages, **promised})
    unreadable = {"Tags": [{"Key": "sidecar-terms-b", "Value": "rotate_days=often"}]}
    broken = secret.about_listed({"Name": "acme/crm", **stages, **unreadable})
    assert broken is not None
    assert (broken.state, broken.version) == ("broken", "b")
