"""An upstream's answer is checked, interpreted and masked; what cannot be made safe is withheld."""

from __future__ import annotations

import gzip
from typing import Any

import msgspec
import pytest

from sidecar.config.sections import Config
from sidecar.errors import Unavailable
from sidecar.model.decision import Obligations
from sidecar.pipeline.answer import check_answer, interpret, is_read, passed_headers, withheld
from sidecar.rules.catalogue import Operation, compile_catalogue
from sidecar.rules.decoding import Undecodable
from tests.fakes.answers import answered
from tests.fakes.parts import CONFIG

OPERATIONS = compile_catalogue(msgspec.convert(CONFIG, Config)).connectors["crm"].operations


def refused(
    headers: list[tuple[bytes, bytes]], *, body: Any = b"x", secret: bool = False, name: str = "typed"
) -> str:
    try:
        check_answer(answered(body, headers=headers), OPERATIONS[name], 1000, read=secret)
    except Unavailable as error:
        return error.code
    return ""


@pytest.mark.parametrize(
    "value", [b"application/json", b"Application/JSON", b"application/json; charset=utf-8", b" application/json "]
)
def test_an_accepted_type_goes_on(value: bytes) -> None:
    assert not refused([(b"content-type", value)])


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"content-type", b"text/html")],
        [(b"content-type", b"")],
        [(b"content-type", b"application/json-seq")],
        [(b"content-type", b"text/html, application/json")],
        [(b"content-type", b"application/json"), (b"content-type", b"text/html")],
    ],
)
def test_any_other_type_is_unexpected(headers: list[tuple[bytes, bytes]]) -> None:
    assert refused(headers) == "answer_unexpected"
    assert not refused(headers, name="get")


def test_an_empty_answer_needs_no_type() -> None:
    assert not refused([], body=b"")


@pytest.mark.parametrize(
    "header",
    [
        (b"content-encoding", b"compress"),
        (b"content-encoding", b"gzip, gzip, gzip"),
        (b"content-type", b"application/json; charset=utf-16"),
    ],
)
def test_an_answer_that_cannot_be_searched_is_withheld_where_a_secret_went_out(header: tuple[bytes, bytes]) -> None:
    assert refused([header], secret=True, name="get") == "answer_withheld"
    assert not refused([header], name="get")


def test_identity_is_no_encoding() -> None:
    answer = answered(headers=[(b"content-encoding", b"Identity")])
    assert check_answer(answer, OPERATIONS["get"], 1000, read=True) is None


def test_a_coding_is_taken_off_where_somebody_reads_the_answer() -> None:
    answer = answered(headers=[(b"content-encoding", b"gzip")])
    assert check_answer(answer, OPERATIONS["get"], 1000, read=False) is None
    decoder = check_answer(answer, OPERATIONS["get"], 1000, read=True)
    assert decoder is not None
    assert b"".join(decoder.pieces(gzip.compress(b"text"))) == b"text"


def test_who_interprets_or_masks_reads() -> None:
    assert not is_read(OPERATIONS["get"], Obligations())
    assert is_read(OPERATIONS["get"], Obligations(mask=("/a",)))
    assert is_read(OPERATIONS["find"], Obligations())


def test_a_decoded_answer_speaks_of_no_coding() -> None:
    headers = [(b"content-type", b"a/b"), (b"content-encoding", b"gzip")]
    assert passed_headers(headers) == headers
    assert passed_headers(headers, decoded=True) == headers[:1]


def test_what_cannot_be_decoded_is_withheld_or_too_large() -> None:
    assert withheld(Undecodable("it is broken")).code == "answer_withheld"
    assert withheld(Undecodable("it is large", too_large=True)).code == "answer_too_large"


def test_only_listed_headers_pass() -> None:
    passed = [(b"content-type", b"a/b"), (b"etag", b"1"), (b"x-ratelimit-left", b"1"), (b"ratelimit", b"r=1")]
    dropped = [
        *((b"set-cookie", b"a=b"), (b"www-authenticate", b"Basic"), (b"proxy-authenticate", b"x"), (b"via", b"x")),
        *((b"server", b"x"), (b"connection", b"close"), (b"sidecar-evidence-id", b"forged"), (b"x-internal", b"x")),
        *((b"access-control-allow-origin", b"*"), (b"content-length", b"9"), (b"trailer", b"x")),
        (b"authorization", b"Bearer x"),
    ]
    assert passed_headers([*dropped, *passed]) == passed


@pytest.mark.parametrize("name", ["get", "find"])
def test_an_empty_body_stays_empty(name: str) -> None:
    assert interpret(b"", OPERATIONS[name], Obligations(mask=("/a",))) == b""


def test_passthrough_is_what_came() -> None:
    assert interpret(b"\xff{not json", OPERATIONS["get"], Obligations()) == b"\xff{not json"


def test_json_is_read_and_written() -> None:
    assert (
        interpret(b' {"a" : [1, 2.5, "\\u00e9"]} ', OPERATIONS["find"], Obligations()) == '{"a":[1,2.5,"é"]}'.encode()
    )


@pytest.mark.parametrize("name", ["get", "find"])
def test_masked_values_are_gone(name: str) -> None:
    body = b'{"people":[{"name":"x","ssn":"1"},{"ssn":"2"}],"ssn":"3"}'
    masked = interpret(body, OPERATIONS[name], Obligations(mask=("/people/*/ssn", "/none")))
    assert masked == b'{"people":[{"name":"x","ssn":"[MASKED]"},{"ssn":"[MASKED]"}],"ssn":"3"}'


def test_a_repeated_name_cannot_hide_a_value_from_the_mask() -> None:
    assert b"1" not in interpret(b'{"a":"1","a":"1"}', OPERATIONS["get"], Obligations(mask=("/a",)))


@pytest.mark.parametrize("body", [b"<html>", b"{", b"\xff", b'{"a":1}{"a":1}', b"[" * 300 + b"]" * 300, b"[" * 5000])
@pytest.mark.parametrize(("name", "mask"), [("get", ("/a",)), ("find", ())])
def test_what_cannot_be_read_is_withheld(body: bytes, name: str, mask: tuple[str, ...]) -> None:
    operation: Operation = OPERATIONS[name]
    with pytest.raises(Unavailable) as unavailable:
        interpret(body, operation, Obligations(mask=mask))
    assert unavailable.value.code == "answer_withheld"
