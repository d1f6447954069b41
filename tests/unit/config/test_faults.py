"""Errors with their places, together, without values."""

from __future__ import annotations

import pytest

from sidecar.config.document import parse
from sidecar.config.faults import Faults, among, misconfigured, nearest, show
from sidecar.errors import Reason

CANARY = "ghp" + "_" + "c4n4ry" * 6


def test_a_reason_names_file_line_path_and_what_is_wrong() -> None:
    faults = Faults("sidecar.yaml", parse(b"a:\n  b: 1\n"))
    faults.error("wrong_value", ("a", "b"), "must be 2")
    assert faults.errors[0].reason() == Reason("wrong_value", "sidecar.yaml:2: a.b: must be 2")


def test_a_flag_or_variable_stands_in_for_the_line() -> None:
    faults = Faults("sidecar.yaml", parse(b"a: 1"))
    faults.origins[("a",)] = "environment SIDECAR_A"
    faults.error("wrong_value", ("a",), "must be 2")
    faults.outside("unknown_flag", "flag b", "no such field")
    assert [fault.reason().message for fault in faults.errors] == [
        "environment SIDECAR_A: a: must be 2",
        "flag b: no such field",
    ]


def test_one_error_is_told_once_and_all_come_in_the_order_of_the_file() -> None:
    faults = Faults("sidecar.yaml", parse(b"a: 1\nb: 2\n"))
    for path in ("b", "a", "b"):
        faults.error("wrong_value", (path,), "no")
    raised = misconfigured("sidecar.yaml", faults.errors)
    assert str(raised) == "sidecar.yaml has 2 errors"
    assert [reason.message for reason in raised.reasons] == ["sidecar.yaml:1: a: no", "sidecar.yaml:2: b: no"]
    assert str(misconfigured("f", faults.errors[:1])) == "f has 1 error"


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("connectors", "crm", "hosts", 0), "connectors.crm.hosts[0]"),
        (("labels", "a.b"), 'labels."a.b"'),
        (("x", "a\nb"), 'x."a\\nb"'),
        (("x", CANARY), "x.********"),
    ],
)
def test_paths_read_like_the_file_and_hide_secrets(path: tuple[str | int, ...], text: str) -> None:
    assert show(path) == text


def test_nearest_and_among() -> None:
    assert nearest("tenat", ["tenant", "limits"]) == "; did you mean 'tenant'?"
    assert nearest("zzz", ["tenant"]) == ""
    assert nearest("a" * 100_000, ["a" * 90_000]) == ""
    assert among({}) == "none is configured"
    assert among(dict.fromkeys("cab")) == "known: a, b, c"
    assert among(dict.fromkeys("abcdefghij")).endswith("h, ...")
