"""Attacks on credentials at rest, in what a process shows of itself, and in what an upstream echoes."""

from __future__ import annotations

import base64
import html
import io
import json
import logging
import traceback
import urllib.parse
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.file import Head, UnknownKeyError, decode, encode, opener, seal
from sidecar.adapters.credentials.sealed.master_key import MasterKey, generate
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.cli.credentials import credentials
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.credential import Reference
from sidecar.model.secret import Secret
from sidecar.rules.references import parse
from sidecar.rules.scrub import REDACTED, Scrubber
from sidecar.rules.sealing import SealBrokenError

CANARY = 'canary/7f3a+9c"d0\\e1 5b?6'
KEY = CANARY.encode()


def _opens(data: bytes, masters: list[MasterKey]) -> bool:
    try:
        opener(decode(data, "github"), masters).plain()
    except (SealBrokenError, UnknownKeyError):
        return False
    return True


def test_c05_no_bit_of_a_sealed_file_can_be_flipped_and_no_byte_cut_off() -> None:
    master = generate()
    day = "2026-01-01T00:00:00Z"
    about = Head(id="github", kind="API_KEY", version=1, created=day, updated=day)
    data = encode(seal(about, Secret(KEY), master))
    assert _opens(data, [master])
    for at in range(len(data)):
        for bit in range(8):
            changed = data[:at] + bytes([data[at] ^ (1 << bit)]) + data[at + 1 :]
            assert not _opens(changed, [master]), (at, bit)
        assert not _opens(data[:at], [master]), at
        assert not _opens(data[:at] + data[at + 1 :], [master]), at


def _forms(plain: bytes) -> list[bytes]:
    text = plain.decode()
    forms = [plain, plain.hex().encode(), urllib.parse.quote(plain, safe="").encode(), json.dumps(text).encode()]
    return forms + [base64.b64encode(b"\0" * before + plain)[4:-4] for before in range(3)]


def test_inv_5_no_file_of_the_store_holds_a_value_in_any_form(tmp_path: Path) -> None:
    key_file = tmp_path / "master.key"
    master_key.create(key_file)
    store = SealedStore(tmp_path / "store", key_file)
    store.put("github", Secret(KEY))
    store.put("github", Secret(KEY + b"2"))
    store.rotate_master()
    for path in tmp_path.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not any(form in data for form in _forms(KEY)), path
        assert b"canary" not in data


async def test_inv_5_a_failing_resolution_shows_nothing_in_its_traceback_or_log(tmp_path: Path) -> None:
    key_file = tmp_path / "master.key"
    key = master_key.create(key_file).secret
    store = SealedStore(tmp_path / "store", key_file)
    store.put("github", Secret(KEY))
    store.put("gitlab", Secret(KEY))
    await store.resolve(Reference("encrypted", "github"))
    (tmp_path / "store" / "gitlab.sealed").rename(tmp_path / "store" / "github.sealed")
    shown = io.StringIO()
    logger = logging.Logger("attack")
    logger.addHandler(logging.StreamHandler(shown))
    with pytest.raises(Unavailable) as refusal:
        await store.resolve(Reference("encrypted", "github"))
    logger.error("failed: %s %r", refusal.value, store, exc_info=refusal.value)
    shown.write("".join(traceback.TracebackException.from_exception(refusal.value, capture_locals=True).format()))
    assert "credential_unavailable" in shown.getvalue()
    assert "canary" not in shown.getvalue()
    for form in (key.reveal().hex(), base64.b64encode(key.reveal()).decode(), repr(key.reveal())):
        assert form not in shown.getvalue()


@pytest.mark.parametrize(
    "text", [CANARY, f"encrypted://{CANARY}", f"vault://{CANARY}", f"env://{CANARY}", f"x://{CANARY}"]
)
def test_inv_5_a_raw_secret_in_place_of_its_reference_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        parse(text)
    assert "canary" not in f"{refusal.value} {refusal.value!r}"


AS_ARGUMENTS = (
    ["put", "github", CANARY],
    ["put", "github", f"--{CANARY}"],
    ["rotate", "github", CANARY],
    ["put", CANARY],
)


@pytest.mark.parametrize("arguments", AS_ARGUMENTS)
def test_inv_5_a_value_as_an_argument_is_refused_and_not_repeated(tmp_path: Path, arguments: list[str]) -> None:
    places = ["--directory", str(tmp_path / "store"), "--key-file", str(tmp_path / "key")]
    result = CliRunner().invoke(credentials, [*arguments, *places], input="x" * 20)
    assert result.exit_code != 0
    assert "canary" not in f"{result.output} {result.exception!r}"
    assert not list(tmp_path.rglob("*.sealed"))


ECHOES: dict[str, Callable[[bytes], bytes]] = {
    "plain": lambda key: key,
    "url": lambda key: urllib.parse.quote(key, safe="").encode(),
    "url, lower case": lambda key: urllib.parse.quote(key, safe="").lower().encode(),
    "form": lambda key: urllib.parse.quote_plus(key).encode(),
    "percent, every byte": lambda key: "".join(f"%{byte:02X}" for byte in key).encode(),
    "base64, first": lambda key: base64.b64encode(key),
    "base64, second": lambda key: base64.b64encode(b"u" + key),
    "base64, third": lambda key: base64.b64encode(b"u:" + key + b"."),
    "base64url": lambda key: base64.urlsafe_b64encode(b"u" + key).rstrip(b"="),
    "basic pair": lambda key: b"Basic " + base64.b64encode(b"user:" + key),
    "basic pair in a url": lambda key: urllib.parse.quote(base64.b64encode(b"user:" + key), safe="").encode(),
    "base64 in lines": lambda key: base64.encodebytes(b"x" * 50 + key),
    "json": lambda key: json.dumps({"k": key.decode()}).encode(),
    "json, slashes escaped": lambda key: json.dumps({"k": key.decode()}).replace("/", "\\/").encode(),
    "json, every byte": lambda key: "".join(f"\\u{byte:04x}" for byte in key).encode(),
    "json in json": lambda key: json.dumps(json.dumps({"k": key.decode()})).encode(),
    "base64 in json, slashes escaped": lambda key: base64.b64encode(b"?" + key).replace(b"/", b"\\/"),
    "html": lambda key: html.escape(key.decode()).encode(),
    "hex": lambda key: key.hex().upper().encode(),
}


@pytest.mark.parametrize("form", ECHOES)
def test_a107_an_echo_split_at_every_offset_is_scrubbed_from_the_body(form: str) -> None:
    scrubber = Scrubber([Secret(KEY)])
    echo = ECHOES[form](KEY)
    body = b"event: message\ndata: <" + echo + b"> and on\n\n"
    whole, count = scrubber.scrub_body(body)
    assert count == 1
    assert not any(part in whole for part in (*_forms(KEY), echo[6:-6]))
    for at in range(len(body) + 1):
        stream = scrubber.stream()
        assert stream.feed(body[:at]) + stream.feed(body[at:]) + stream.finish() == whole, at
        assert stream.count == 1
    stream = scrubber.stream()
    assert b"".join(stream.feed(body[at : at + 1]) for at in range(len(body))) + stream.finish() == whole


@pytest.mark.parametrize("form", ECHOES)
def test_a106_c04_an_echo_is_scrubbed_from_headers(form: str) -> None:
    echo = ECHOES[form](KEY).replace(b"\n", b"")
    headers = [(b"content-type", b"text/plain"), (b"x-echo", b"sent " + echo + b"; q=1"), (b"server", b"x")]
    scrubbed, count = Scrubber([Secret(KEY)]).scrub_headers(headers)
    assert count == 1
    assert scrubbed[0] == headers[0]
    assert scrubbed[2] == headers[2]
    assert scrubbed[1][0] == b"x-echo"
    assert REDACTED in scrubbed[1][1]
    assert not any(part in scrubbed[1][1] for part in _forms(KEY))


def test_a109_fifty_decoys_do_not_hide_the_secret_behind_them() -> None:
    decoys = b"".join(KEY[: 3 + at % (len(KEY) - 3)] + b"\\" + b"%2" * at for at in range(50))
    body = decoys + KEY + b" and " + KEY
    whole, count = Scrubber([Secret(KEY)]).scrub_body(body)
    assert count == 2
    assert KEY not in whole
    assert whole == decoys + REDACTED + b" and " + REDACTED


def test_a110_only_this_calls_secrets_are_scrubbed() -> None:
    other = b"another-calls-secret-1"
    assert Scrubber([Secret(KEY)]).scrub_body(other + KEY) == (other + REDACTED, 1)


def test_every_secret_of_a_call_is_scrubbed_even_one_inside_another() -> None:
    scrubber = Scrubber([Secret("inner-secret"), Secret("the-inner-secret-and-more")])
    assert scrubber.scrub_body(b"<the-inner-secret-and-more> <inner-secret>") == (b"<[REDACTED]> <[REDACTED]>", 2)
