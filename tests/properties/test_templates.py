"""Whatever the parameters are, the request keeps the template's shape (INV-2)."""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import parse_qsl, unquote

import orjson
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Refused
from sidecar.rules.templates import Rendered, compile_template, render

NASTY: Final = (
    *("..", ".", "%2e%2e", "%252e", "../../etc/passwd", "..\\..", "a/b", "a//b", ";x=1", "?x=1", "#f", "&x=1", "="),
    *("\r\nHost: evil", "\n", "\0", "\x7f", "\t", " ", "", "@evil.example", "http://evil.example/", "//evil.example"),
    *("%00", "%0d%0a", "%2f", "%5c", "{id}", "{*}", "{secret}", "\u2025", "\uff0e\uff0e", "\u2028", "\ud800", "é"),
    *("Bearer x", "Authorization: x", "x" * 5000, "+", "*", "~", "'", '"', "<", "\\", "|", "`"),
)

text = st.one_of(
    st.sampled_from(NASTY), st.text(max_size=20), st.lists(st.sampled_from(NASTY), max_size=3).map("".join)
)
scalar = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.integers(min_value=-(1 << 80), max_value=1 << 80),
    st.floats(),
    text,
)
value = st.recursive(
    scalar, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3), max_leaves=8
)
parameters = st.fixed_dictionaries({}, optional=dict.fromkeys(("a", "b", "c", "authorization", "host"), value))

TEMPLATE: Final = compile_template(
    "GET",
    "/v1",
    "/items/{a}/x-{b}/end",
    {"one": "{a}", "two": "n:{c}", "three": "{c}", "fixed": "yes"},
    {"X-One": "{a}", "X-Two": "v={c}"},
    {"item": "{c}", "list": ["{b}", 1], "fixed": "{a} is text", "all": "{*}"},
)


def filled(given_parameters: dict[str, Any]) -> Rendered | None:
    try:
        return render(TEMPLATE, given_parameters)
    except Refused as refused:
        assert refused.code == "invalid_payload"
        return None


@given(parameters)
def test_inv_2_the_path_keeps_its_segments(chosen: dict[str, Any]) -> None:
    made = filled(chosen)
    if made is None:
        return
    assert re.fullmatch(r"/[A-Za-z0-9._~%/-]*", made.path)
    segments = made.path.split("/")
    assert len(segments) == 6
    assert segments[:3] == ["", "v1", "items"]
    assert segments[4].startswith("x-")
    assert segments[5] == "end"
    for decoded in (made.path, unquote(made.path), unquote(unquote(made.path))):
        assert not {".", ".."} & set(re.split(r"[/\\]", decoded))
    assert not re.search(r"[\x00-\x1f\x7f]", unquote(made.path))
    assert unquote(segments[3]) == _as_text(chosen["a"])


@given(parameters)
def test_inv_2_the_query_has_only_the_templates_fields(chosen: dict[str, Any]) -> None:
    made = filled(chosen)
    if made is None:
        return
    assert re.fullmatch(r"[A-Za-z0-9._~%&=-]*", made.query)
    fields = parse_qsl(made.query, keep_blank_values=True, strict_parsing=True)
    assert {name for name, _ in fields} <= {"one", "two", "three", "fixed"}
    assert [content for name, content in fields if name == "fixed"] == ["yes"]
    for name in ("one", "two"):
        assert sum(field == name for field, _ in fields) <= 1


@given(parameters)
def test_inv_2_the_headers_are_the_templates_and_hold_no_line_break(chosen: dict[str, Any]) -> None:
    made = filled(chosen)
    if made is None:
        return
    names = [name for name, _ in made.headers]
    assert set(names) <= {b"x-one", b"x-two", b"content-type"}
    assert len(names) == len(set(names))
    for _, content in made.headers:
        assert re.fullmatch(rb"[\x20-\x7e]+", content)
        assert content == content.strip()


@given(parameters)
def test_inv_2_the_body_keeps_its_shape(chosen: dict[str, Any]) -> None:
    made = filled(chosen)
    if made is None:
        return
    body = orjson.loads(made.body)
    assert set(body) <= {"item", "list", "fixed", "all"}
    assert body["fixed"] == "{a} is text"
    assert body["list"][-1] == 1
    assert len(body["list"]) <= 2


@given(value)
def test_inv_2_one_value_in_the_path_is_one_segment_or_refused(chosen: Any) -> None:
    template = compile_template("GET", "", "/{a}", {}, {}, None)
    try:
        path = render(template, {"a": chosen}).path
    except Refused:
        return
    assert path.count("/") == 1
    assert len(path) > 1
    assert unquote(path[1:]) == _as_text(chosen)


def _as_text(chosen: object) -> str:
    return chosen if isinstance(chosen, str) else orjson.dumps(chosen).decode()
