from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest

from sidecar.cli.credentials_where import Places, Quiet, configured, done, named, opened, places
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.credential import Reference
from tests.unit.config.builders import changed, written

LOGIN = {"method": "token", "file": "token"}
NOWHERE: dict[str, Any] = {"config": "sidecar.yaml", "directory": None, "key_file": None}


@pytest.fixture(autouse=True)
def _command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    with click.Context(click.Command("list", params=[click.Option(["--config"])])) as context:
        context.set_parameter_source("config", click.core.ParameterSource.DEFAULT)
        yield


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("github", Reference("encrypted", "github")),
        ("encrypted://github", Reference("encrypted", "github")),
        ("vault://secret/acme/crm#token", Reference("vault", "secret/acme/crm", "token")),
        ("vault://secret/acme/crm", Reference("vault", "secret/acme/crm")),
        ("aws://acme/crm", Reference("aws", "acme/crm")),
    ],
)
def test_an_id_alone_is_one_of_the_sealed_store(text: str, reference: Reference) -> None:
    assert named(text) == reference


@pytest.mark.parametrize("text", ["Bad Name", "vault://secret/../crm#token", "ftp://x", "canary/12345678"])
def test_what_is_neither_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Misconfigured) as refused:
        named(text)
    assert "canary" not in str(refused.value)


def test_flags_go_over_the_configuration(tmp_path: Path) -> None:
    assert places(NOWHERE) == (tmp_path / "credentials", tmp_path / "credentials/master.key")
    written(tmp_path, changed("store", {"key_file": "k", "directory": "d"}))
    assert places(NOWHERE) == Places(tmp_path / "d", tmp_path / "k")
    assert places({**NOWHERE, "directory": "other"}) == Places(Path("other"), tmp_path / "k")
    assert places({**NOWHERE, "directory": "a", "key_file": "b"}) == Places(Path("a"), Path("b"))


def test_the_sealed_store_is_looked_at_where_it_is_there_or_is_the_only_one(tmp_path: Path) -> None:
    assert configured(NOWHERE) == ["encrypted"]
    written(tmp_path, changed("store", {"key_file": "k", "directory": "d"}))
    assert configured(NOWHERE) == ["encrypted"]
    vault = changed("vault", {"address": "http://127.0.0.1:1", "login": LOGIN})
    both = changed("store", {"key_file": "k", "directory": "d", "allow_environment": True}, vault)
    written(tmp_path, changed("aws", {"region": "eu-west-1"}, both))
    assert configured(NOWHERE) == ["vault", "aws", "env"]
    (tmp_path / "d").mkdir()
    assert configured(NOWHERE) == ["encrypted", "vault", "aws", "env"]
    assert configured({**NOWHERE, "directory": "a", "key_file": "b"}) == ["encrypted"]


@pytest.mark.parametrize(
    ("scheme", "said"), [("vault", "section vault"), ("aws", "section aws"), ("env", "allow_environment")]
)
def test_a_store_that_is_not_configured_is_named(tmp_path: Path, scheme: str, said: str) -> None:
    written(tmp_path, changed("store", {"key_file": "k", "directory": "d"}))

    async def work() -> None:
        async with opened(NOWHERE, scheme):
            pass

    with pytest.raises(Misconfigured, match=said):
        done(work())


def test_what_is_wrong_with_the_machines_own_files_is_said_as_it_is(tmp_path: Path) -> None:
    async def work() -> None:
        async with opened(NOWHERE, "encrypted") as store:
            await store.list()

    with pytest.raises(Misconfigured, match="no master key"):
        done(work())

    async def fails() -> None:
        raise Unavailable("store_unavailable", "The credential store did not do it.")

    with pytest.raises(Unavailable):
        done(fails())
    Quiet().observe("credential", {})
