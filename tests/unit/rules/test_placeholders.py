"""Placeholders look like the provider's keys, are nobody else's, and are found wherever they stand."""

from __future__ import annotations

import base64
import itertools
import re

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from sidecar.errors import Refused
from sidecar.model.secret import Secret
from sidecar.rules.placeholders import LENGTHS, MARKER, SHORTEST_TAG, Request, Slot, Watch, find, mint

KEY = Secret(b"k" * 32)
HOST = "api.example:443"


@pytest.mark.parametrize("prefix", LENGTHS)
def test_a_placeholder_has_its_providers_form(prefix: str) -> None:
    made = mint(KEY, "acme", "llm", "agent", prefix)
    assert made.startswith(prefix)
    assert re.fullmatch(r"[A-Za-z0-9_-]+", made)
    assert len(made) == max(LENGTHS[prefix], len(prefix) + len(MARKER) + SHORTEST_TAG)


def test_a_placeholder_is_the_same_each_time_and_another_for_anything_else() -> None:
    makings = [
        (KEY, "acme", "llm", "agent", "sk-"),
        (Secret(b"j" * 32), "acme", "llm", "agent", "sk-"),
        (KEY, "globex", "llm", "agent", "sk-"),
        (KEY, "acme", "ll", "magent", "sk-"),
        (KEY, "acme", "llm", "other", "sk-"),
        (KEY, "acme", "llm", "agent", "sk-proj-"),
    ]
    made = [mint(*making) for making in makings]
    assert made == [mint(*making) for making in makings]
    assert len({one.partition(MARKER.decode())[2] for one in made}) == len(made)


def test_an_unknown_prefix_has_the_length_that_is_asked_for() -> None:
    assert len(mint(KEY, "acme", "llm", "agent", "acme_", 60)) == 60
    assert len(mint(KEY, "acme", "llm", "agent", "acme_")) == 5 + len(MARKER) + SHORTEST_TAG
    assert len(mint(KEY, "acme", "llm", "agent", "acme_", 500)) == 500


@pytest.mark.parametrize("prefix", ["", "sk%", "sk ", 'sk"', "ské", "sk/", "sk+", "sk="])
def test_a_prefix_that_would_be_escaped_is_refused(prefix: str) -> None:
    with pytest.raises(ValueError, match="prefix"):
        mint(KEY, "acme", "llm", "agent", prefix)


def test_the_tag_is_spread_over_its_alphabet() -> None:
    made = mint(KEY, "acme", "llm", "agent", "x", 6000).partition(MARKER.decode())[2]
    counts = [made.count(letter) for letter in set(made)]
    assert len(counts) == 62
    assert max(counts) < 2 * min(counts)


def slot(position: str, name: str = "") -> Slot:
    return Slot(mint(KEY, "acme", position, "agent", "sk-").encode(), position, (HOST,), position, name)


SLOTS = {
    "bearer": slot("bearer"),
    "basic": slot("basic"),
    "header": slot("header", "x-api-key"),
    "query": slot("query", "key"),
    "body": slot("body", "/auth/key"),
}


def request(position: str, text: bytes | None = None) -> Request:
    text = SLOTS[position].placeholder if text is None else text
    plain = Request("https", "POST", HOST, b"/v1/x?q=1", [(b"accept", b"*/*")], b'{"q":1}')
    match position:
        case "bearer":
            return plain._replace(headers=[*plain.headers, (b"authorization", b"Bearer " + text)])
        case "basic":
            pair = base64.b64encode(b"user:" + text)
            return plain._replace(headers=[*plain.headers, (b"authorization", b"Basic " + pair)])
        case "header":
            return plain._replace(headers=[*plain.headers, (b"x-api-key", text)])
        case "query":
            return plain._replace(target=plain.target + b"&key=" + text)
        case _:
            return plain._replace(body=b'{"auth": {"key": "' + text + b'"}, "q": 1}')


@pytest.mark.parametrize("position", SLOTS)
def test_a_placeholder_is_found_at_its_position(position: str) -> None:
    assert find(request(position), list(SLOTS.values())) is SLOTS[position]
    assert find(request(position), list(SLOTS.values()), require=True) is SLOTS[position]


@pytest.mark.parametrize("position", SLOTS)
@pytest.mark.parametrize("text", [b"", b"a-real-looking-key-9f86d081"])
def test_a_request_without_one_has_none(position: str, text: bytes) -> None:
    assert find(request(position, text), list(SLOTS.values())) is None


@given(cuts=st.lists(st.integers(0, 200), max_size=5), around=st.binary(max_size=40))
def test_a92_a_placeholder_in_a_body_that_passes_is_found_wherever_it_is_cut(cuts: list[int], around: bytes) -> None:
    body = b"x" * 20 + SLOTS["bearer"].placeholder + b"." + around
    edges = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    watch = Watch()
    with pytest.raises(Refused) as refused:
        b"".join(watch.feed(body[a:b]) for a, b in itertools.pairwise(edges))
        watch.finish()
    assert refused.value.code == "credential_misused"


@given(pieces=st.lists(st.binary(max_size=40), max_size=6))
def test_a_body_without_one_passes_as_it_is(pieces: list[bytes]) -> None:
    assume(MARKER not in b"".join(pieces))  # Hypothesis tries the constants of the module under test
    watch = Watch()
    assert b"".join(watch.feed(piece) for piece in pieces) + watch.finish() == b"".join(pieces)
