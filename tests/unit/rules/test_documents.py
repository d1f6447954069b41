"""JSON that two readers cannot read two ways (H19)."""

from __future__ import annotations

import json

import pytest

from sidecar.errors import Refused
from sidecar.rules.documents import DEEPEST, parse_json


@pytest.mark.parametrize("text", ["{}", "[]", "null", '"a"', "1.5", '{"a":{"b":[1,{"c":null}]},"d":"x:y:z"}'])
def test_a_plain_document_is_read(text: str) -> None:
    assert parse_json(text.encode()) == json.loads(text)


@pytest.mark.parametrize(
    "text",
    [
        '{"a":1,"a":2}',
        '{"a":1,"\\u0061":2}',
        '[{"b":{"a":1,"a":1}}]',
        '{"x":"1:2:3","a":1,"a":2}',
        '{"":1,"":2}',
        '{"a":{"a":1},"a":"::::"}',
        '{"pad":"' + "p" * 100_000 + '","a":1,"a":2}',
    ],
)
def test_a_name_that_comes_twice_is_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_json(text.encode())
    assert refused.value.code == "invalid_json"
    assert "twice" in refused.value.detail


def test_one_name_in_two_objects_is_no_repetition() -> None:
    assert parse_json(b'[{"a":1},{"a":2}]') == [{"a": 1}, {"a": 2}]
    assert parse_json(b'{"a":{"a":"a:a"}}') == {"a": {"a": "a:a"}}


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"{",
        b"1e9999",
        b"-1e9999",
        b"NaN",
        b"Infinity",
        b"{'a':1}",
        b'{"a":1,}',
        b'{"a":1} {"b":2}',
        b"\xef\xbb\xbf{}",
        b'"\xff"',
        b'"\\ud800"',
        b'{"a":\x001}',
        b"// no\n{}",
        b"[" * 100_000,
        b'{"a":' * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
    ],
)
def test_what_is_not_json_is_refused(raw: bytes) -> None:
    with pytest.raises(Refused) as refused:
        parse_json(raw)
    assert refused.value.code == "invalid_json"


@pytest.mark.parametrize("unit", [("[", "]"), ('{"a":', "}")])
def test_depth_is_bounded_for_bodies_of_any_size(unit: tuple[str, str]) -> None:
    opening, closing = unit
    fits = opening * DEEPEST + "1" * (opening != "[") + closing * DEEPEST
    assert parse_json(fits.encode()) is not None
    deep = opening * (DEEPEST + 1) + "1" * (opening != "[") + closing * (DEEPEST + 1)
    for text in (deep, f'["{"p" * 200_000}",{deep}]'):
        with pytest.raises(Refused, match="deeply"):
            parse_json(text.encode())


def test_the_reason_never_quotes_the_body() -> None:
    with pytest.raises(Refused) as refused:
        parse_json(b'{"password": hunter2}')
    assert "hunter2" not in refused.value.detail
    assert "password" not in refused.value.detail
