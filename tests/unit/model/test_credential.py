"""References read back as they are written."""

from __future__ import annotations

import pytest

from sidecar.model.credential import Credential, Reference
from sidecar.model.secret import Secret


@pytest.mark.parametrize(
    ("reference", "text"),
    [
        (Reference("encrypted", "crm"), "encrypted://crm"),
        (Reference("env", "CRM_KEY"), "env://CRM_KEY"),
        (Reference("vault", "kv/crm", "token"), "vault://kv/crm#token"),
    ],
)
def test_a_reference_is_shown_as_it_is_written(reference: Reference, text: str) -> None:
    assert str(reference) == text


def test_inv_5_a_credential_does_not_show_its_secret() -> None:
    assert "canary" not in repr(Credential(Secret("canary-value"), "3"))
