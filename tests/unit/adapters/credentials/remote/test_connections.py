from __future__ import annotations

import ssl

import pytest
import urllib3

from sidecar.adapters.credentials.remote.connections import POOLS, check_whole, has_ended, watched
from sidecar.adapters.credentials.remote.store import StoreFailure


def test_a_watched_connection_is_one_of_its_kind() -> None:
    for scheme, kind in (("http", urllib3.connection.HTTPConnection), ("https", urllib3.connection.HTTPSConnection)):
        assert issubclass(POOLS[scheme].ConnectionCls, kind)
        assert issubclass(watched(kind), kind)


@pytest.mark.parametrize(
    ("status", "headers", "length", "whole"),
    [
        (200, {"content-length": "2"}, 2, True),
        (200, {"content-length": "2"}, None, True),
        (200, {"content-length": "2"}, 1, False),
        (200, {"content-length": "2"}, 0, False),
        (200, {"content-length": ""}, 0, False),
        (200, {}, 0, False),
        (200, {"transfer-encoding": "chunked"}, 2, True),
        (200, {"transfer-encoding": "chun"}, 2, False),
        (204, {}, 0, True),
        (403, {}, 0, False),
        (403, {"content-length": "0"}, 0, True),
    ],
)
def test_an_answer_is_whole_where_its_length_is_what_it_says(
    status: int, headers: dict[str, str], length: int | None, whole: bool
) -> None:
    if whole:
        check_whole(status, headers, length)
        return
    with pytest.raises(StoreFailure) as failure:
        check_whole(status, headers, length)
    assert failure.value.is_outage


@pytest.mark.parametrize("ended", [ssl.SSLEOFError(), ssl.SSLZeroReturnError(), ConnectionResetError()])
def test_a_connection_that_ended_under_tls_is_no_matter_of_trust(ended: Exception) -> None:
    outer = urllib3.exceptions.SSLError(ended)
    outer.__cause__ = ended
    assert has_ended(outer)
    outer.__cause__, outer.__context__ = None, ended
    assert has_ended(outer)


def test_a_certificate_that_is_not_trusted_is() -> None:
    outer = urllib3.exceptions.SSLError("no")
    outer.__cause__ = ssl.SSLCertVerificationError()
    assert not has_ended(outer)
