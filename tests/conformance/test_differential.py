"""The embedded engine answers as a real OPA server does, also where other engines for Rego allow (INV-3)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from tests.conformance.differential import ODD, UNDEFINED, ask, compare
from tests.conformance.server import OpaServer
from tests.conformance.values import plain
from tests.rego.policies import NARROW

DENY: Final = "default decision := false\n"

# What reads as "allow unless": a policy, and an input that it allows. Of an absent member all of them must deny: two
# engines that are not OPA's code allow at the first, because they negate the whole expression.
FAIL_OPEN: Final[dict[str, tuple[str, bytes]]] = {
    "not in a set": ('decision if not input.user in {"mallory"}', b'{"user":"alice"}'),
    "not in data": ("decision if not input.user in data.blocked", b'{"user":"alice"}'),
    "no such key": ('decision if not "k", input.user in data.limits', b'{"user":"alice"}'),
    "not equal": ('decision if input.user != "mallory"', b'{"user":"alice"}'),
    "not equal to a call": ('decision if not lower(input.user) == "mallory"', b'{"user":"Alice"}'),
    "not a list": ('decision if not [input.user, 1] == ["mallory", 1]', b'{"user":"alice"}'),
    "not in a set with an absent one": (
        'decision if not input.user in {"mallory", input.other}',
        b'{"user":"alice","other":"bob"}',
    ),
    "not a prefix": ('decision if not startswith(input.path, "/admin")', b'{"path":"/"}'),
    "not inside a call": ('decision if not contains(lower(input.path), "admin")', b'{"path":"/"}'),
    "not a pattern": ('decision if not regex.match("^m", input.user)', b'{"user":"alice"}'),
    "not a function": ('f(x) if x == "mallory"\ndecision if not f(input.user)', b'{"user":"alice"}'),
    "not in data by a name": ("decision if not data.limits[input.user]", b'{"user":"alice"}'),
    "not more": ("decision if not input.level > 5", b'{"level":4}'),
    "not more by a sum": ("decision if not input.level + 1 > 5", b'{"level":3}'),
    "less": ("decision if input.level < 5", b'{"level":4}'),
    "none of them": ("decision if count(input.violations) == 0", b'{"violations":[]}'),
    "every one": ('decision if every x in input.list { x == "ok" }', b'{"list":["ok"]}'),
    "not lent": (
        "p if input.user in data.blocked\ndecision if not p with input.user as input.other",
        b'{"other":"alice"}',
    ),
    "not in an object": ('decision if not object.get(input.of, "user", "") == "mallory"', b'{"of":{}}'),
}


@pytest.fixture(scope="module")
def server() -> Iterator[OpaServer]:
    with OpaServer() as running:
        yield running


def test_p13_the_embedded_engine_answers_as_an_opa_server_does() -> None:
    found = compare()
    assert found.differences == []
    assert found.compared >= 10_000
    assert 0.1 * found.compared < found.undefined < 0.6 * found.compared
    assert found.failed > 0


@pytest.mark.parametrize("name", FAIL_OPEN)
def test_inv_3_an_absent_member_denies_where_other_engines_may_allow(server: OpaServer, name: str) -> None:
    rules, allowed = FAIL_OPEN[name]
    (_, absent, theirs), (_, there, beside) = ask(server, DENY + rules, [b"{}", allowed])
    assert absent == theirs == plain(False)
    assert there == beside == plain(True)


def test_a_difference_is_seen(server: OpaServer) -> None:
    """An embedded engine with another policy than the server's would be found out."""
    server.load({"p.rego": "package sidecar.authz\ndecision := 1.0 if input.a\n"}, {})
    replies = [server.decide(document).body for document in (b'{"a":1}', b"{}")]
    assert b'"result":1' in replies[0]
    assert b"result" not in replies[1]
    told = [one != other for _, one, other in ask(server, NARROW["plain references"], ODD)]
    assert not any(told)
    assert {one for _, one, _ in ask(server, 'decision := "x" if input.a == 1', [b"{}", b'{"a":1}'])} == {
        UNDEFINED,
        plain("x"),
    }
