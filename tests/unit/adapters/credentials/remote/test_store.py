from __future__ import annotations

import pytest

from sidecar.adapters.credentials.remote.store import FAILURES, OUTAGES, StoreFailure


@pytest.mark.parametrize("code", sorted(FAILURES))
def test_every_reason_is_a_sentence_for_people(code: str) -> None:
    failure = StoreFailure(code)
    assert failure.message.endswith(".")
    assert failure.is_outage == (code in OUTAGES)


def test_only_known_reasons_are_given() -> None:
    assert set(FAILURES) > OUTAGES
    with pytest.raises(KeyError):
        StoreFailure("the vault's own words")
