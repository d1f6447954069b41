"""What the path works with."""

from __future__ import annotations

import msgspec

from sidecar.config.sections import Config
from sidecar.rules.catalogue import compile_catalogue
from tests.fakes.parts import CONFIG, make_parts, set_stage


def test_each_parts_has_live_state_of_its_own() -> None:
    one, other = make_parts(), make_parts()
    assert one.traffic is not other.traffic
    assert one.flood is not other.flood
    assert one.in_flight == 0


async def test_a_call_keeps_the_catalogue_it_began_with() -> None:
    """A reload in the middle of a call changes nothing about that call."""
    stage = set_stage()
    emptied = compile_catalogue(msgspec.convert(CONFIG | {"connectors": {}, "planes": {}, "sources": {}}, Config))

    def reload() -> None:
        stage.parts.catalogue = emptied

    stage.caller.before = reload
    assert (await stage.handle()).status == 200
    refused = await stage.handle()
    assert refused.problem is not None
    assert refused.problem.code == "unknown_connector"
