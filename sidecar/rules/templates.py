"""HTTP templates: the only way from an agent's parameters to a request.

A template fixes method, path, field names and body shape; parameters fill marked places and can never add another
(INV-2). ``{name}`` stands for a parameter:

path     percent-encoded whole (RFC 3986 section 2.1), so a value never starts a segment, a query or a fragment;
         empty values and dot segments are refused, because a server would remove them (section 5.2.4).
query    percent-encoded; a list repeats the field; an absent optional parameter drops it.
header   visible ASCII only; an absent optional parameter drops it.
body     a string that is exactly ``"{name}"`` becomes the parameter, typed; ``"{*}"`` becomes all of them; an absent
         optional parameter drops its member. Any other string is text, even with braces in it.
"""

from __future__ import annotations

import re
from typing import Any, Final, NamedTuple
from urllib.parse import quote, unquote

import orjson
from msgspec import Struct

from sidecar.errors import Reason, Refused

_PLACE: Final = re.compile(r"\{([A-Za-z_][A-Za-z0-9_]*)\}")
_WHOLE: Final = re.compile(r"\A\{([A-Za-z_][A-Za-z0-9_]*|\*)\}\Z")
_HEADER_VALUE: Final = re.compile(r"\A[\x21-\x7e](?:[\x20-\x7e]*[\x21-\x7e])?\Z")
_DOT_SEGMENT: Final = re.compile(r"(?:\A|[/\\])\.\.?(?:[/\\]|\Z)")  # some servers decode %2F before they normalise
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")
_ABSENT: Final = object()
_LARGEST: Final = (1 << 63) - 1


class Text(Struct, frozen=True):
    """A string cut at its placeholders: odd positions are parameter names, even ones literal text."""

    parts: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The parameters it needs, in order."""
        return self.parts[1::2]


class Template(Struct, frozen=True):
    """One compiled operation."""

    method: str
    path: Text
    query: tuple[tuple[str, Text], ...]
    headers: tuple[tuple[bytes, Text], ...]
    body: Any = None

    @property
    def names(self) -> frozenset[str]:
        """Every parameter the template mentions; ``*`` where the body takes them all."""
        texts = (self.path, *(text for _, text in self.query), *(text for _, text in self.headers))
        return frozenset(name for text in texts for name in text.names) | frozenset(_body_names(self.body))


class Rendered(NamedTuple):
    """A template filled in: percent-encoded path and query, headers, and the body's bytes."""

    path: str
    query: str
    headers: list[tuple[bytes, bytes]]
    body: bytes


def compile_text(text: str) -> Text:
    """Cut ``text`` at its placeholders."""
    return Text(tuple(_PLACE.split(text)))


def compile_template(
    method: str, prefix: str, path: str, query: dict[str, str], headers: dict[str, str], body: object
) -> Template:
    """A template ready to fill. ``prefix`` is the base URL's path, without a trailing slash."""
    return Template(
        method=method,
        path=compile_text(prefix + path),
        query=tuple((quote(name, safe=""), compile_text(value)) for name, value in query.items()),
        headers=tuple((name.lower().encode("ascii"), compile_text(value)) for name, value in headers.items()),
        body=body,
    )


def render(template: Template, parameters: dict[str, Any]) -> Rendered:
    """Fill ``template``. Raises ``Refused("invalid_payload")`` for a value that has no safe form at its place."""
    headers = [
        (name, value) for name, text in template.headers if (value := _header(name, text, parameters)) is not None
    ]
    shape = _ABSENT if template.body is None else _body(template.body, parameters)
    body = b""
    if shape is not _ABSENT:
        body = _json(shape)
        headers.append((b"content-type", b"application/json"))
    return Rendered(_path(template.path, parameters), _query(template.query, parameters), headers, body)


def _refused(place: str, message: str) -> Refused:
    return Refused(
        "invalid_payload",
        f"The parameter at {place} cannot be sent: {message}.",
        [Reason("unsafe_parameter", f"{place}: {message}")],
    )


def _json(shape: object) -> bytes:
    try:
        return orjson.dumps(shape)
    except TypeError:  # nested too deeply, or an integer of more than 64 bits
        raise _refused("the body", "it is nested too deeply, or holds a number that is too large") from None


def _scalar(name: str, value: object) -> str:
    match value:
        case str():
            return value
        case bool():
            return "true" if value else "false"
        case int() | float() if -_LARGEST <= value <= _LARGEST:
            return orjson.dumps(value).decode()
        case _:
            raise _refused(name, "only a string, a boolean or a number of usual size fits here")


def _path(text: Text, parameters: dict[str, Any]) -> str:
    parts = text.parts
    if len(parts) == 1:
        return parts[0]
    filled = list(parts)
    for at in range(1, len(parts), 2):
        name = parts[at]
        value = _scalar(name, parameters.get(name))
        if not value or _CONTROL.search(value):
            raise _refused(name, "a path value must not be empty or hold control characters")
        filled[at] = _quoted(name, value)
    path = "".join(filled)
    # As a server sees it that decodes before it normalises, and as one sees it that decodes twice (A80).
    if ("." in path or "%25" in path) and _DOT_SEGMENT.search(unquote(unquote(path))):
        raise _refused(", ".join(text.names), "the path would hold a dot segment")
    return path


def _quoted(name: str, value: str) -> str:
    if value.isascii() and value.isalnum():  # most values: nothing to encode
        return value
    try:
        return quote(value, safe="")
    except UnicodeEncodeError:
        raise _refused(name, "it is not valid Unicode") from None


def _query(fields: tuple[tuple[str, Text], ...], parameters: dict[str, Any]) -> str:
    pairs: list[str] = []
    for field, text in fields:
        parts = text.parts
        if len(parts) == 3 and not parts[0] and not parts[2]:
            value = parameters.get(parts[1])
            values = value if isinstance(value, list) else [] if value is None else [value]
            pairs += [f"{field}={_quoted(parts[1], _scalar(parts[1], one))}" for one in values]
        elif (filled := _fill(text, parameters)) is not None:
            pairs.append(f"{field}={_quoted(field, filled)}")
    return "&".join(pairs)


def _header(name: bytes, text: Text, parameters: dict[str, Any]) -> bytes | None:
    value = _fill(text, parameters)
    if value is None:
        return None
    if not _HEADER_VALUE.match(value):
        raise _refused(name.decode(), "a header value must be visible ASCII")
    return value.encode("ascii")


def _fill(text: Text, parameters: dict[str, Any]) -> str | None:
    parts = text.parts
    if len(parts) == 1:
        return parts[0]
    filled = list(parts)
    for at in range(1, len(parts), 2):
        value = parameters.get(parts[at])
        if value is None:
            return None
        filled[at] = _scalar(parts[at], value)
    return "".join(filled)


def _body(shape: object, parameters: dict[str, Any]) -> Any:
    match shape:
        case str() if place := _WHOLE.match(shape):
            return parameters if place[1] == "*" else parameters.get(place[1], _ABSENT)
        case dict():
            pairs = ((key, _body(value, parameters)) for key, value in shape.items())
            return {key: value for key, value in pairs if value is not _ABSENT}
        case list():
            return [value for item in shape if (value := _body(item, parameters)) is not _ABSENT]
        case _:
            return shape


def _body_names(shape: object) -> list[str]:
    match shape:
        case str() if place := _WHOLE.match(shape):
            return [place[1]]
        case dict():
            return [name for value in shape.values() for name in _body_names(value)]
        case list():
            return [name for value in shape for name in _body_names(value)]
        case _:
            return []
