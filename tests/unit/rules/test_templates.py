"""A template fixes method, path, names and shape; a parameter fills one place and no other (INV-2)."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from sidecar.errors import Refused
from sidecar.rules.templates import Rendered, compile_template, compile_text, render


def rendered(
    parameters: dict[str, Any],
    path: str = "/items/{id}",
    query: dict[str, str] | None = None,
    headers: dict[str, str] | None = None,
    body: object = None,
) -> Rendered:
    return render(compile_template("GET", "/v1", path, query or {}, headers or {}, body), parameters)


def test_a_text_is_cut_at_its_places() -> None:
    assert compile_text("/a/{x}/b/{y_1}").parts == ("/a/", "x", "/b/", "y_1", "")
    assert compile_text("/a/{x}/b/{y_1}").names == ("x", "y_1")
    assert compile_text("{not a place} {1}{}").names == ()


def test_a_template_names_every_parameter_it_mentions() -> None:
    template = compile_template("GET", "", "/{a}", {"q": "{b}x"}, {"H": "{c}"}, {"k": ["{d}", {"l": "{e}"}], "m": 1})
    assert template.names == {"a", "b", "c", "d", "e"}
    assert compile_template("POST", "", "/", {}, {}, "{*}").names == {"*"}


@pytest.mark.parametrize(
    ("value", "path"),
    [
        ("7", "/v1/items/7"),
        (7, "/v1/items/7"),
        (-7, "/v1/items/-7"),
        (1.5, "/v1/items/1.5"),
        (True, "/v1/items/true"),
        (False, "/v1/items/false"),
        ("a b", "/v1/items/a%20b"),
        ("a/b", "/v1/items/a%2Fb"),
        ("a\\b", "/v1/items/a%5Cb"),
        ("a?b=c#d", "/v1/items/a%3Fb%3Dc%23d"),
        ("a;b,c", "/v1/items/a%3Bb%2Cc"),
        ("100%", "/v1/items/100%25"),
        ("é😀", "/v1/items/%C3%A9%F0%9F%98%80"),
        ("report.pdf", "/v1/items/report.pdf"),
        ("..hidden", "/v1/items/..hidden"),
        ("...", "/v1/items/..."),
        ("http://169.254.169.254/", "/v1/items/http%3A%2F%2F169.254.169.254%2F"),
    ],
)
def test_a_path_value_is_encoded_whole(value: object, path: str) -> None:
    assert rendered({"id": value}).path == path


@pytest.mark.parametrize(
    "value",
    [
        *("", ".", "..", "../x", "x/..", "x/../y", "./x", "x/.", "..\\x", "x\\..", "/../", "\\..\\"),
        # dot segments to a server that decodes twice (A80)
        *("%2e%2e", "%2E%2e/x", "x%2f..", "x%2F%2e%2E", "%2e", "..%2f", "..%5cx"),
        *("a\0b", "a\nb", "a\rb", "a\x1fb", "a\x7fb", "\t"),
        *(None, [], ["x"], {}, {"x": 1}, "\ud800", 1 << 70, -(1 << 70)),
        *(float("inf"), float("-inf"), float("nan")),
    ],
)
def test_a_path_value_without_a_safe_form_is_refused(value: object) -> None:
    with pytest.raises(Refused) as refused:
        rendered({"id": value})
    assert refused.value.code == "invalid_payload"
    assert refused.value.reasons[0].code == "unsafe_parameter"


def test_a_dot_segment_cannot_be_put_together_from_two_values_or_the_text_beside_them() -> None:
    for path, parameters in (
        ("/{a}{b}", {"a": ".", "b": "."}),
        ("/.{a}/x", {"a": "."}),
        ("/{a}./x", {"a": "."}),
        ("/{a}..", {"a": "x/"}),
        ("/{a}{b}", {"a": "x/", "b": ".."}),
        ("/{a}{b}", {"a": "%", "b": "2e%2e"}),
    ):
        with pytest.raises(Refused):
            rendered(parameters, path)


def test_a_missing_path_value_is_refused() -> None:
    with pytest.raises(Refused):
        rendered({})


@pytest.mark.parametrize(
    ("template", "parameters", "query"),
    [
        ("{q}", {"q": "a&b=c#d"}, "f=a%26b%3Dc%23d"),
        ("{q}", {"q": ["a", 1, True]}, "f=a&f=1&f=true"),
        ("{q}", {"q": []}, ""),
        ("{q}", {"q": ""}, "f="),
        ("{q}", {}, ""),
        ("{q}", {"q": None}, ""),
        ("name:{q}", {"q": "x y"}, "f=name%3Ax%20y"),
        ("name:{q}", {}, ""),
        ("fixed&x=1", {}, "f=fixed%26x%3D1"),
        ("{q}{q}", {"q": "+"}, "f=%2B%2B"),
        ("{q}", {"q": "a\r\nb"}, "f=a%0D%0Ab"),
    ],
)
def test_a_query_value_stays_in_its_field(template: str, parameters: dict[str, Any], query: str) -> None:
    assert rendered({"id": 1} | parameters, query={"f": template}).query == query


@pytest.mark.parametrize("value", [{"a": 1}, [["x"]], [None], [{"a": 1}], "\udfff", 1 << 64])
def test_a_query_value_without_a_safe_form_is_refused(value: object) -> None:
    with pytest.raises(Refused, match="cannot be sent"):
        rendered({"id": 1, "q": value}, query={"f": "{q}"})


def test_a_query_name_is_encoded() -> None:
    assert rendered({"id": 1}, query={"a&b": "x"}).query == "a%26b=x"


def test_a_header_is_lower_case_visible_text_and_dropped_when_absent() -> None:
    headers = {"X-Region": "{r}", "X-Fixed": "yes", "X-Mixed": "r={r}"}
    assert rendered({"id": 1, "r": "eu 1"}, headers=headers).headers == [
        (b"x-region", b"eu 1"),
        (b"x-fixed", b"yes"),
        (b"x-mixed", b"r=eu 1"),
    ]
    assert rendered({"id": 1}, headers=headers).headers == [(b"x-fixed", b"yes")]


@pytest.mark.parametrize("value", ["a\r\nx: y", "a\n", "\0", "é", " a", "a ", "", "\x7f", ["x"], {}, "a\tb"])
def test_a_header_value_without_a_safe_form_is_refused(value: object) -> None:
    with pytest.raises(Refused) as refused:
        rendered({"id": 1, "r": value}, headers={"x-region": "{r}"})
    assert refused.value.code == "invalid_payload"


@pytest.mark.parametrize(
    ("shape", "parameters", "body"),
    [
        ({"a": "{x}"}, {"x": 1}, {"a": 1}),
        ({"a": "{x}"}, {"x": [1, {"b": None}]}, {"a": [1, {"b": None}]}),
        ({"a": "{x}"}, {"x": None}, {"a": None}),
        ({"a": "{x}", "b": 1}, {}, {"b": 1}),
        (["{x}", 2], {}, [2]),
        ({"a": "{x} and more"}, {"x": 1}, {"a": "{x} and more"}),
        ({"{x}": 1}, {"x": "name"}, {"{x}": 1}),
        ("{*}", {"x": 1, "y": 2}, {"x": 1, "y": 2}),
        ({"all": "{*}"}, {"x": 1}, {"all": {"x": 1}}),
        ({"a": "{x}"}, {"x": "{y}", "y": "no"}, {"a": "{y}"}),
        ({"a": True, "b": None, "c": 1.5}, {}, {"a": True, "b": None, "c": 1.5}),
    ],
)
def test_a_body_takes_typed_values(shape: object, parameters: dict[str, Any], body: object) -> None:
    made = rendered(parameters, "/items", body=shape)
    assert orjson.loads(made.body) == body
    assert made.headers == [(b"content-type", b"application/json")]


def test_a_body_that_is_one_absent_value_is_no_body() -> None:
    made = rendered({}, "/items", body="{x}")
    assert made.body == b""
    assert made.headers == []
    assert rendered({"x": "text"}, "/items", body="{x}").body == b'"text"'


def test_a_body_value_that_json_cannot_hold_is_refused() -> None:
    deep: Any = 1
    for _ in range(300):
        deep = [deep]
    for value in (deep, 1 << 70):
        with pytest.raises(Refused) as refused:
            rendered({"x": value}, "/items", body={"a": "{x}"})
        assert refused.value.code == "invalid_payload"


def test_a_refusal_does_not_repeat_the_value() -> None:
    with pytest.raises(Refused) as refused:
        rendered({"id": "hunter2/.."})
    assert "hunter2" not in str(refused.value)
    assert not any("hunter2" in reason.message for reason in refused.value.reasons)
