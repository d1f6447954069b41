from __future__ import annotations

import pytest

from sidecar.adapters.credentials.environment import EnvironmentSource, EnvironmentStore
from sidecar.errors import Misconfigured, Refused, Unavailable
from sidecar.model.credential import Reference


def test_without_the_development_flag_there_is_no_such_source() -> None:
    with pytest.raises(Misconfigured, match="allow_environment") as refusal:
        EnvironmentSource({"TOKEN": "canary-1234"}, allowed=False)
    assert "canary" not in str(refusal.value)


async def test_a_variable_is_read_at_each_call_and_has_no_version() -> None:
    environ = {"TOKEN": "first-value"}
    source = EnvironmentSource(environ, allowed=True)
    first = await source.resolve(Reference("env", "TOKEN"))
    environ["TOKEN"] = "second-value"
    second = await source.resolve(Reference("env", "TOKEN"))
    assert (first.secret.reveal(), second.secret.reveal()) == (b"first-value", b"second-value")
    assert first.version == second.version == "environment"


@pytest.mark.parametrize("environ", [{}, {"TOKEN": ""}, {"TOKEN": "abc"}])
async def test_a_variable_that_is_unset_or_too_short_is_refused(environ: dict[str, str]) -> None:
    with pytest.raises(Unavailable) as refusal:
        await EnvironmentSource(environ, allowed=True).resolve(Reference("env", "TOKEN"))
    assert refusal.value.code == "credential_unavailable"
    assert "abc" not in str(refusal.value)


async def test_bytes_that_are_not_text_come_out_as_they_are() -> None:
    source = EnvironmentSource({"TOKEN": b"\xff\xfe\xfd\xfc".decode("utf-8", "surrogateescape")}, allowed=True)
    assert (await source.resolve(Reference("env", "TOKEN"))).secret.reveal() == b"\xff\xfe\xfd\xfc"


async def test_only_variables_that_the_configuration_names_are_shown_to_be_there() -> None:
    environ = {"TOKEN": "canary-1234", "PATH": "/usr/bin", "SHORT": "abc"}
    store = EnvironmentStore(environ, ["TOKEN", "SHORT", "UNSET", "TOKEN"])
    (row,) = await store.list()
    assert (row.reference, row.version, row.changeable) == (Reference("env", "TOKEN"), "environment", False)
    assert "canary" not in f"{row!r} {store!r}"
    for name in ("PATH", "SHORT", "UNSET"):
        with pytest.raises(Refused) as refused:
            await store.about(Reference("env", name))
        assert refused.value.code == "unknown_credential"


@pytest.mark.parametrize("reference", [Reference("env", "TOKEN", "field"), Reference("encrypted", "TOKEN")])
async def test_what_cannot_be_a_variable_is_refused(reference: Reference) -> None:
    with pytest.raises(Refused) as refused:
        await EnvironmentStore({"TOKEN": "value-1234"}, ["TOKEN"]).about(reference)
    assert refused.value.code == "invalid_payload"
