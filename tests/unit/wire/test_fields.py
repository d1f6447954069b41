"""The grammar of field lines."""

from __future__ import annotations

import pytest

from sidecar.wire import fields


def test_pairs_keep_order_lower_names_and_strip_outer_blanks() -> None:
    block = b"Host: a\r\nX-One:\t 1 2 \t\r\nx-one:\r\n"
    assert fields.acceptable(block)
    assert fields.pairs(block) == [(b"host", b"a"), (b"x-one", b"1 2"), (b"x-one", b"")]


def test_pairs_start_where_they_are_told() -> None:
    assert fields.pairs(b"GET / HTTP/1.1\r\nA: b\r\n", 16) == [(b"a", b"b")]


def test_an_empty_block_is_acceptable() -> None:
    assert fields.acceptable(b"")
    assert fields.pairs(b"") == []


@pytest.mark.parametrize(
    "line",
    [
        b"Name : x\r\n",
        b" Name: x\r\n",
        b"Name\r\n",
        b": x\r\n",
        b"Na me: x\r\n",
        b"Name: x\n",
        b"Name: x\r",
        b"Name: x",
        b"Name: a\r\n b\r\n",
        b"Name: a\x00b\r\n",
        b"Name: a\x0bb\r\n",
        b"Name: a\x7fb\r\n",
        b"N\xc3\xa4me: a\r\n",
        b"Name: a\rb\r\n",
        b"Name: a\nb\r\n",
        b"\r\n",
    ],
)
def test_a_line_outside_the_grammar_is_not_acceptable(line: bytes) -> None:
    assert not fields.acceptable(line)
    assert not fields.acceptable(b"Fine: yes\r\n" + line)


def test_a_long_block_is_judged_in_linear_time() -> None:
    assert fields.acceptable(b"a: " + b"b" * 1_000_000 + b"\r\n")
    assert not fields.acceptable(b"a: " + b"b" * 1_000_000)
