"""The sections of a policy: the tenant's own folder by default, bounded times, no unsigned surprise."""

from __future__ import annotations

import msgspec
import pytest

from sidecar.config.policy_sections import PolicySection, PolicyServer
from sidecar.config.sections import Config
from tests.unit.config.builders import changed


def test_defaults_decide_here_with_the_shipped_rules() -> None:
    policy = PolicySection()
    assert policy.server is None
    assert policy.bundle is None
    assert policy.library
    assert policy.quick_ms < policy.budget_ms <= 100


@pytest.mark.parametrize("path", ["policy.budget_ms", "policy.quick_ms"])
@pytest.mark.parametrize("value", [0, -1, None, 1e9])
def test_a_decision_without_a_bound_cannot_be_written(path: str, value: object) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(changed(path, value), Config)


@pytest.mark.parametrize(
    "url", ["ftp://opa.example", "http://user@127.0.0.1:8181", "https://opa.example/v1/data", "unix://", "opa:8181"]
)
def test_an_opa_server_is_an_origin_or_a_socket(url: str) -> None:
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert({"url": url}, PolicyServer)
    assert msgspec.convert({"url": "unix:///run/opa.sock"}, PolicyServer).cache is False
