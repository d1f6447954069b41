"""Requests and answers as values."""

from __future__ import annotations

import pytest

from sidecar.model.exchange import Destination, Inbound, Outbound


def test_a_request_is_replaced_not_changed() -> None:
    request = Outbound("GET", "/a", [(b"host", b"api.example.com")], b"")
    with pytest.raises(AttributeError):
        setattr(request, "target", "/b")  # noqa: B010  # a plain assignment would not pass the type check
    assert request._replace(target="/b").target == "/b"
    assert request.target == "/a"


def test_inv_8_a_checked_destination_is_frozen() -> None:
    destination = Destination("https", "api.example.com", 443, ("203.0.113.7",))
    with pytest.raises(AttributeError):
        setattr(destination, "addresses", ("127.0.0.1",))  # noqa: B010  # the same
    assert hash(destination) == hash(Destination("https", "api.example.com", 443, ("203.0.113.7",)))


def test_an_answer_names_the_address_that_gave_it() -> None:
    assert Inbound(200, [], b"", "203.0.113.7").peer == "203.0.113.7"
