"""Who asks, for routes that only read. Offers and callers that are turned away are in ``tests/path``."""

from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.pipeline.reception import recognise
from tests.fakes.parts import set_stage


async def test_recognise() -> None:
    stage = set_stage()
    assert (await recognise(stage.parts, stage.call("bob"))).id == "bob"
    for name, expected in ((None, "unauthenticated"), ("stranger", "tenant_mismatch")):
        with pytest.raises(Refused) as refused:
            await recognise(stage.parts, stage.call(name))
        assert refused.value.code == expected
    stage.counter.waits["principal:bob"] = 1.0
    with pytest.raises(Refused) as refused:
        await recognise(stage.parts, stage.call("bob"))
    assert refused.value.code == "rate_limited"
