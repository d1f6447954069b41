"""Evidence for auditors: every record of the tenant, and of no other."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.errors import Refused
from sidecar.operations.tenant.evidence import Evidence
from tests.fakes.desk import Desk


async def test_an_auditor_reads_everybodys_records() -> None:
    desk = Desk()
    await desk.stage.handle("alice")
    await desk.stage.handle("bob")
    records, following = await desk.verbs.evidence.recent(None, 3, None)
    assert [record["principal"] for record in records] == ["bob", "bob", "alice"]
    older, last = await desk.verbs.evidence.recent(None, 3, following)
    assert [record["index"] for record in older] == [0] and last is None
    assert {record["principal"] for record in (await desk.verbs.evidence.recent("alice", 9, None))[0]} == {"alice"}
    one = await desk.verbs.evidence.one("acme-00000000", "0")
    assert (one["evidence_id"], one["kind"], one["tenant"]) == ("acme-00000000/0", "intent", "acme")


@pytest.mark.parametrize(
    ("origin", "index"),
    [
        ("acme-00000000", "99"),
        ("other", "0"),
        ("acme-00000000", "x"),
        ("acme-00000000", "-1"),
        ("acme-00000000", "٣"),
    ],
)
async def test_a_record_that_is_not_there(origin: str, index: str) -> None:
    desk = Desk()
    await desk.stage.handle("alice")
    with pytest.raises(Refused) as refused:
        await desk.verbs.evidence.one(origin, index)
    assert refused.value.code == "unknown_evidence"


async def test_inv_4_another_tenants_record_is_never_shown() -> None:
    desk = Desk()
    await desk.stage.handle("alice")
    leaves = desk.stage.evidence.leaves
    leaves[0] = msgspec.structs.replace(leaves[0], tenant="umbrella")
    evidence = Evidence(desk.stage.evidence, "acme-00000000", "acme")
    assert [record["index"] for record in (await evidence.recent(None, 9, None))[0]] == [1]
    with pytest.raises(Refused):
        await evidence.one("acme-00000000", "0")
