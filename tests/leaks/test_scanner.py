"""The scanner finds what it should in every form, and nothing else."""

from __future__ import annotations

import base64
import codecs
import json
import urllib.parse
from collections.abc import Callable

import pytest

from tests.leaks.scanner import Canary, Hit, needles, scan, texts

SECRET = b'S3cr/et+va=l"ue&7f2d40c1'
CANARY = Canary("TOKEN", SECRET)

WRITTEN: dict[str, Callable[[bytes], bytes]] = {
    "as it is": lambda text: text,
    "in a url": lambda text: urllib.parse.quote(text, safe="").encode(),
    "in a form": lambda text: urllib.parse.urlencode({"k": text}).encode(),
    "in json": lambda text: json.dumps({"k": text.decode()}).encode(),
    "in json in json": lambda text: json.dumps({"k": json.dumps({"k": text.decode()})}).encode(),
    "in a basic pair": lambda text: base64.b64encode(b"user:" + text),
    "in base64 after two bytes": lambda text: base64.b64encode(b"xy" + text + b"z"),
    "in base64url": lambda text: base64.urlsafe_b64encode(b"x" + text),
    "as hex": lambda text: codecs.encode(text, "hex").upper(),
    "as python shows bytes": lambda text: repr({"k": text}).encode(),
    "as windows writes text": lambda text: text.decode().encode("utf-16"),
}


@pytest.mark.parametrize("how", WRITTEN)
def test_a_secret_is_found_however_it_was_written(how: str) -> None:
    hits = scan({"clean": b"nothing", "place": b"before " + WRITTEN[how](SECRET) + b" after"}, [CANARY])
    assert {(hit.place, hit.kind) for hit in hits} == {("place", "TOKEN")}


def test_nothing_is_found_where_nothing_is() -> None:
    assert scan({"place": b"s3cr/et+va=l S3cr/et 7f2d40c1"}, [CANARY]) == []


def test_a_password_is_found_without_its_user_and_a_key_by_any_line() -> None:
    assert list(texts(b"user:pass-word")) == [b"user:pass-word", b"pass-word"]
    key = b"-----BEGIN PRIVATE KEY-----\n" + b"A" * 64 + b"\n" + b"B" * 64 + b"\nCC==\n-----END PRIVATE KEY-----\n"
    assert list(texts(key)) == [b"A" * 64, b"B" * 64]
    assert scan({"log": b"... " + b"B" * 64}, [Canary("KEY", key)]) == [Hit("log", "KEY", "plain")]


def test_no_needle_is_looked_for_twice() -> None:
    looked_for = [needle for _, _, needle in needles([CANARY, CANARY])]
    assert len(looked_for) == len(set(looked_for))
