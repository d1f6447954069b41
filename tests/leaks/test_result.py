"""The hunt's result: a place that was not gathered, or in which a canary is missed, is never called clean."""

from __future__ import annotations

import json

from tests.leaks.__main__ import MEMORY, found_where_planted, is_clean, line, result
from tests.leaks.hunt import Place
from tests.leaks.scanner import Canary

CANARIES = [Canary("API_KEY", b"c4n4ry/7f3a+9c=0b"), Canary("BASIC_AUTH", b"user:c4n4ry-1f&2")]
MEMORY_PLACE = Place(json.dumps(["API_KEY"]).encode(), "[")


def test_a_clean_place_in_which_every_plant_is_found() -> None:
    told = result({"log": Place(b"event and more", "event"), MEMORY: MEMORY_PLACE}, CANARIES)
    assert line(told) == "canaries 2, places 1 of 1, hits 0"
    assert is_clean(told)
    assert told["memory"] == ["API_KEY"]


def test_a_place_without_its_beacon_was_not_gathered() -> None:
    assert not found_where_planted(Place(b"", "event"), CANARIES)
    told = result({"log": Place(b"other things", "event"), MEMORY: MEMORY_PLACE}, CANARIES)
    assert line(told) == "canaries 2, places 0 of 1, hits 0"
    assert not is_clean(told)


def test_a_hit_is_counted_and_never_shown() -> None:
    places = {"log": Place(b"event c4n4ry-1f%262", "event"), MEMORY: MEMORY_PLACE}
    told = result(places, CANARIES)
    assert told["places"]["log"]["hits"] == [
        {"kind": "BASIC_AUTH", "form": "percent"},
    ]
    assert not is_clean(told)
    assert "c4n4ry" not in json.dumps(told)


def test_what_is_in_memory_is_told_apart() -> None:
    told = result({MEMORY: MEMORY_PLACE}, CANARIES)
    assert told["places"] == {}
    assert told["hits"] == 0
