"""What the commands of the registries share."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from sidecar.cli import registry
from sidecar.errors import Misconfigured
from tests.fakes.desk import Desk, run, served


@pytest.mark.parametrize(
    ("text", "told"),
    [("a: [", "not YAML"), ("- a", "no mapping"), ("a: 1\na: 2", ":2: the key is written twice"), ("", "empty")],
)
def test_a_file_that_is_no_document_is_refused_with_its_line(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(Misconfigured, match=told):
        registry.read(file)


def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="cannot be read"):
        registry.read(tmp_path / "none")


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_dots_are_no_name(name: str) -> None:
    with pytest.raises(click.BadParameter):
        registry.segment(name)


def test_a_name_cannot_change_the_path() -> None:
    assert registry.segment("../a?b#c") == "..%2Fa%3Fb%23c"


async def test_a_list_is_read_to_its_last_page(tmp_path: Path) -> None:
    desk = Desk()
    async with served(tmp_path, desk) as (_, config):
        for number in range(3):
            await desk.verbs.keys.make("bob", None, desk.person("ada"))
            assert number < 3
        result = await run(config, "keys", "list", "--principal", "bob", "-o", "json")
        assert result.stdout.count('"principal": "bob"') == 4


def test_moments_and_lists_are_shown_for_people() -> None:
    assert registry.text("expires", 1_700_000_000_000_000) == "2023-11-14 22:13:20 UTC"
    assert registry.text("roles", ["a", "b"]) == "a, b"
    assert registry.text("labels", {"team": "x"}) == "team: x"
    assert registry.text("owner", None) == ""
