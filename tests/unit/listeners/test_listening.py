"""A door that cannot be opened says which setting it is about, and what to do."""

from __future__ import annotations

import errno
import socket

import pytest
from aiohttp import http_parser

from sidecar.errors import Misconfigured
from sidecar.listeners.listening import cannot_listen, check_parser


def test_a_port_that_is_taken_names_the_setting_and_the_next_step() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        host, port = taken.getsockname()
        with pytest.raises(OSError, match="in use") as raised:
            socket.create_server((host, port))
    said = cannot_listen("doors.metrics", host, port, raised.value).detail
    assert said == (
        f"doors.metrics: cannot listen on {host}:{port}: Address already in use. "
        "Another program listens there, perhaps another sidecar: stop it, or set another port"
    )


@pytest.mark.parametrize(
    ("code", "step"), [(errno.EACCES, "above 1023"), (errno.EADDRNOTAVAIL, "set one that it has")]
)
def test_other_reasons_have_a_next_step_of_their_own(code: int, step: str) -> None:
    assert cannot_listen("doors.access", "h", 80, OSError(code, "long words")).detail.endswith(step)


def test_what_is_not_foreseen_is_told_as_the_system_says_it() -> None:
    error = socket.gaierror(socket.EAI_NONAME, "Name or service not known")
    assert cannot_listen("doors.admin", "h", 1, error).detail == (
        "doors.admin: cannot listen on h:1: Name or service not known"
    )


def test_h24_only_the_compiled_parser_will_do(monkeypatch: pytest.MonkeyPatch) -> None:
    check_parser()
    monkeypatch.setattr(http_parser, "HttpRequestParser", http_parser.HttpRequestParserPy)
    with pytest.raises(Misconfigured, match="AIOHTTP_NO_EXTENSIONS"):
        check_parser()
