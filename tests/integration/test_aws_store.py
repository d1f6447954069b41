"""Administrators' changes in AWS Secrets Manager: stages, other fields, other tools' tags, deletion."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.clock import SystemClock
from sidecar.adapters.credentials.aws.store import SecretsManager
from sidecar.adapters.credentials.remote.administration import RemoteCredentials
from sidecar.adapters.credentials.remote.terms import entry
from sidecar.errors import SidecarError
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret
from sidecar.rules.credential_terms import DAY
from tests import aws, vault
from tests.fakes.observer import RecordingObserver

pytestmark = pytest.mark.needs_moto
VALUE, NEW = Secret("value-12345678"), Secret("rotated-51e09ab3")


class Place:
    """A tenant's secret ``crm`` in Secrets Manager, and its store."""

    def __init__(self, folder: Path) -> None:
        self.server, self.tenant = aws.server(), vault.fresh_tenant()
        self.client = self.server.client
        self.name = f"{self.tenant}/crm"
        store = SecretsManager(self.server.section(), self.tenant, folder)
        self.store = RemoteCredentials("aws", store, SystemClock(), RecordingObserver(), 30)

    def at(self, field: str | None = "token", version: str | None = None) -> Reference:
        return Reference("aws", self.name, field, version)

    def described(self) -> Any:
        return self.client.describe_secret(SecretId=self.name)

    def tags(self) -> dict[str, str]:
        return {tag["Key"]: tag["Value"] for tag in self.described().get("Tags", [])}

    async def value(self, field: str | None = "token", version: str | None = None) -> str:
        return (await self.store.resolve(self.at(field, version))).secret.reveal().decode()

    async def reason(self, work: Any) -> str:
        with pytest.raises(SidecarError) as refused:
            await work
        return refused.value.reasons[0].code


@pytest.fixture
async def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Place]:
    for name, value in aws.IDENTITY.items():
        monkeypatch.setenv(name, value)
    made = Place(tmp_path)
    yield made
    await made.store.close()


async def test_the_other_fields_stages_and_tags_stay(place: Place) -> None:
    first = place.server.put(place.name, {"token": "value-12345678", "user": "somebody"})
    place.client.tag_resource(SecretId=place.name, Tags=[{"Key": "team", "Value": "crm"}])
    pending = place.client.put_secret_value(
        SecretId=place.name, SecretString='{"token": "pending-12345678"}', VersionStages=["AWSPENDING"]
    )["VersionId"]
    about = await place.store.store(place.at(), NEW, Terms(rotate_days=7), first)
    assert await place.value("user") == "somebody"
    assert await place.value(version="AWSPREVIOUS") == "value-12345678"
    assert await place.value(version="AWSPENDING") == "pending-12345678"
    assert place.tags() == {"team": "crm", entry(about.version): "rotate_days=7"}
    stages = place.described()["VersionIdsToStages"]
    assert (stages[about.version], stages[first], stages[pending]) == (
        ["AWSCURRENT"],
        ["AWSPREVIOUS"],
        ["AWSPENDING"],
    )


async def test_a_field_is_added_to_and_taken_out_of_a_secret(place: Place) -> None:
    place.server.put(place.name, {"user": "somebody"})
    added = await place.store.store(place.at(), VALUE, Terms(expires=4_102_444_800_000_000), None)
    assert await place.value("user") == "somebody"
    await place.store.delete(place.at(), added.version)
    assert await place.reason(place.store.resolve(place.at())) == "no_such_field"
    whole = await place.store.about(place.at(None))
    assert whole.expires == added.expires
    await place.store.delete(place.at(None), whole.version)
    assert await place.reason(place.store.resolve(place.at("user"))) == "no_such_secret"


async def test_the_last_field_takes_the_secret_with_it_which_can_be_restored(place: Place) -> None:
    about = await place.store.store(place.at(), VALUE, Terms(), None)
    await place.store.delete(place.at(), about.version)
    assert place.described()["DeletedDate"] is not None
    assert await place.reason(place.store.store(place.at(), NEW, Terms(), None)) == "being_deleted"
    place.client.restore_secret(SecretId=place.name)
    assert (await place.store.about(place.at())).version == about.version


async def test_each_version_keeps_its_own_end(place: Place) -> None:
    end = time.time_ns() // 1000 + DAY
    first = await place.store.store(place.at(None), VALUE, Terms(expires=end), None)
    await place.store.store(place.at(None), NEW, Terms(), first.version)
    assert (await place.store.resolve(place.at(None))).expires is None
    assert (await place.store.resolve(place.at(None, "AWSPREVIOUS"))).expires == end
    assert (await place.store.resolve(place.at(None, first.version))).expires == end


async def test_what_awss_own_rotation_writes_keeps_the_kind_and_rotation_and_no_end(place: Place) -> None:
    end = time.time_ns() // 1000 + DAY
    await place.store.store(place.at(None), VALUE, Terms(kind="OAUTH", expires=end, rotate_days=7), None)
    place.server.put(place.name, "other-12345678")
    about = await place.store.about(place.at(None))
    assert (about.kind, about.expires, about.rotate_days) == ("OAUTH", None, 7)


async def test_terms_that_cannot_be_read_refuse_the_calls_until_they_are_said_anew(place: Place) -> None:
    first = place.server.put(place.name, "value-12345678")
    place.client.tag_resource(SecretId=place.name, Tags=[{"Key": entry(first), "Value": "expires=soon"}])
    assert await place.reason(place.store.resolve(place.at(None))) == "unusable_terms"
    (row,) = await place.store.list()
    assert (row.state, row.version) == ("broken", first)
    await place.store.amend(place.at(None), Terms(), first)
    assert await place.value(None) == "value-12345678"


async def test_who_comes_second_leaves_nothing_in_use(place: Place) -> None:
    first = place.server.put(place.name, "value-12345678")
    await place.store.store(place.at(None), NEW, Terms(rotate_days=7), first)
    with pytest.raises(SidecarError) as late:
        await place.store.store(place.at(None), VALUE, Terms(), first)
    assert late.value.code == "conflict"
    stages = [stage for stages in place.described()["VersionIdsToStages"].values() for stage in stages]
    assert sorted(stages) == ["AWSCURRENT", "AWSPREVIOUS"]


async def test_a_request_whose_answer_was_lost_is_repeated_and_makes_one_version(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = place.server.put(place.name, "value-12345678")
    client = place.store._kept._client  # type: ignore[attr-defined]  # as the library repeats a request by itself
    put = client.put_secret_value

    def twice(**given: Any) -> Any:
        put(**given)
        return put(**given)

    monkeypatch.setattr(client, "put_secret_value", twice)
    about = await place.store.store(place.at(None), NEW, Terms(rotate_days=7), first)
    assert set(place.described()["VersionIdsToStages"]) == {first, about.version}
    assert await place.value(None) == NEW.reveal().decode()


async def test_another_tenant_whose_name_begins_alike_is_not_listed(place: Place) -> None:
    place.server.put(place.name, json.dumps({"token": "value-12345678"}))
    place.server.put(f"{place.tenant}-2/crm", "value-12345678")
    place.server.put(f"other/{place.tenant}/crm", "value-12345678")
    assert [row.reference.locator for row in await place.store.list()] == [place.name]


async def test_inv_5_debug_logs_show_no_value_that_is_stored(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        about = await place.store.store(place.at(), Secret("canary-12345678"), Terms(rotate_days=1), None)
        await place.store.store(place.at(), Secret("canary-87654321"), Terms(), about.version)
        await place.store.list()
    assert caplog.records
    assert "canary" not in caplog.text
