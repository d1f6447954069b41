"""What a hostile or a careless upstream writes of the secret into its answer, beyond the plain echo."""

from __future__ import annotations

from typing import Any, Final

import pytest

from sidecar.model.exchange import Inbound
from tests.fakes.answers import answered
from tests.fakes.parts import Stage, code, set_stage
from tests.invariants.test_secrets import everything

PLAIN: Final = b"s3cr3t-0a1b2c3d4e5f"


def holding(secret: bytes, *answers: Inbound, config: Any = None, **overrides: Any) -> Stage:
    """The stage whose connector ``crm`` is sent ``secret``."""
    stage = set_stage(config, *answers, **overrides)
    stage.credentials.put("crm", secret.decode())
    return stage


@pytest.mark.parametrize("operation", ["typed", "watch_typed"])
@pytest.mark.parametrize("kind", [PLAIN, b"text/" + PLAIN, b"text/html, " + PLAIN])
async def test_inv_5_a_type_that_is_not_accepted_is_not_repeated(operation: str, kind: bytes) -> None:
    stage = holding(PLAIN, answered(b"x", headers=[(b"content-type", kind)]))
    outcome = await stage.handle(connector="crm", operation=operation, parameters=None)
    assert code(outcome) == "answer_unexpected"
    assert PLAIN not in everything(stage, outcome)
