"""The credential service, given canaries in every place where an administrator might put one, wrongly too."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple
from urllib.parse import quote

from tests.e2e.house import Answer, House
from tests.leaks.furniture import LOGIN, OAUTH, STYLES, Furnished

BEACON: Final = '"verb":"rotate"'  # of the access log
NOW: Final = {"If-Match": "*"}
NEW: Final = {"If-None-Match": "*"}
READ: Final = (
    *("/v1/credentials", "/v1/credentials/expiring?days=36500", "/v1/credentials/rotatable"),
    "/v1/credentials/log?limit=500",
)


class Request(NamedTuple):
    """One request to the administrators' door."""

    method: str
    path: str
    body: Any
    headers: dict[str, str]


def tell(house: House, furnished: Furnished, stores: int = 200) -> list[Answer]:
    """Store each canary anew, make every mistake with it, and read all that there is to read.

    ``stores`` is the status that a good value must be answered with.
    """
    answers = []
    for name in STYLES:
        value = furnished.used[LOGIN if name == OAUTH else name].value.decode()
        stored = house.admin(*rotation(name, value))
        if stored.status != stores:
            raise AssertionError(stored.body)
        answers.append(stored)
        answers += [house.admin(*request) for request in mistakes(name, value)]
        answers.append(house.admin("GET", at(name)))
    return [*answers, *(house.admin("GET", path) for path in READ)]


def at(reference: str, verb: str = "") -> str:
    """The path of a credential of the sealed store, or of whatever somebody takes for its name."""
    return f"/v1/credential{verb}?reference={quote(f'encrypted://{reference}', safe='')}"


def rotation(name: str, value: str) -> Request:
    """The same value as the next version."""
    return Request("POST", at(name, "/rotate"), {"value": value}, NOW)


def mistakes(name: str, value: str) -> Iterator[Request]:
    """What is refused: by its version, form, members, types, and what it is about."""
    there = at(name)
    yield Request("PUT", there, {"value": value}, NEW)
    yield Request("PUT", there, {"value": value}, {"If-Match": '"999"'})
    yield Request("PUT", there, {"value": value}, {})
    yield Request("PUT", there, {"value": f"{value}\0"}, NOW)
    yield Request("PUT", there, {"value": value * 5000}, NOW)
    yield Request("PUT", there, {"value": f"Bearer {value}", "kind": "BEARER_TOKEN"}, NOW)
    yield Request("PUT", there, {"value": value, "kind": value}, NOW)
    yield Request("PUT", there, {"value": value, "expires": value}, NOW)
    yield Request("PUT", there, {"value": value, value: value}, NOW)
    yield Request("PUT", there, {"value": [value]}, NOW)
    yield Request("PUT", there, [value], NOW)
    yield Request("PUT", there, value, NOW)
    yield Request("PATCH", there, {"value": value}, NOW)
    yield Request("PATCH", there, {"kind": value}, NOW)
    yield Request("DELETE", there, {"value": value}, NOW)
    yield Request("POST", there, {"value": value}, NOW)
    yield Request("PUT", at(value), {"value": value}, NEW)
    yield Request("GET", f"/v1/credential?reference={quote(value, safe='')}", None, {})
    yield Request("GET", f"/v1/credentials/log?reference={quote(value, safe='')}", None, {})
    yield Request("GET", f"/v1/credentials/log?since={quote(value, safe='')}", None, {})
    yield Request("GET", f"{there}&{quote(value, safe='')}=1", None, {})
