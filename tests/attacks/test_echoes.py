"""What a hostile or a careless upstream writes of the secret into its answer, beyond the plain echo."""

from __future__ import annotations

import asyncio
import base64
import json
import time
from contextlib import suppress
from typing import Any, Final
from urllib.parse import quote

import pytest

from sidecar.model.exchange import Inbound
from sidecar.model.secret import Secret
from sidecar.rules.scrub import REDACTED, Scrubber
from tests.fakes.answers import Pieces, answered
from tests.fakes.parts import Stage, changed, code, set_stage
from tests.invariants.test_secrets import everything

PLAIN: Final = b"s3cr3t-0a1b2c3d4e5f"
ABROAD: Final = "schlüssel-ñandú-7f3a"
LONGEST_STEP: Final = 0.05  # seconds that no work on the loop may take


def holding(secret: bytes, *answers: Inbound, config: Any = None, **overrides: Any) -> Stage:
    """The stage whose connector ``crm`` is sent ``secret``."""
    stage = set_stage(config, *answers, **overrides)
    stage.credentials.put("crm", secret.decode())
    return stage


@pytest.mark.parametrize("operation", ["typed", "watch_typed"])
@pytest.mark.parametrize("kind", [PLAIN, b"text/" + PLAIN, b"text/html, " + PLAIN])
async def test_inv_5_a_type_that_is_not_accepted_is_not_repeated(operation: str, kind: bytes) -> None:
    stage = holding(PLAIN, answered(b"x", headers=[(b"content-type", kind)]))
    outcome = await stage.handle(connector="crm", operation=operation, parameters=None)
    assert code(outcome) == "answer_unexpected"
    assert PLAIN not in everything(stage, outcome)


@pytest.mark.parametrize("sent", [PLAIN + b" ", b" " + PLAIN, b"  " + PLAIN + b"  "])
async def test_inv_5_white_space_that_the_upstream_takes_off_hides_nothing(sent: bytes) -> None:
    """RFC 9110 section 5.5: blanks around a field's value are not part of it."""
    stage = holding(sent, answered(b"heard: " + PLAIN + b".", headers=[(b"etag", PLAIN)]))
    outcome = await stage.handle()
    assert outcome.body == b"heard: [REDACTED]."
    assert PLAIN not in everything(stage, outcome)


@pytest.mark.parametrize(
    "written",
    [
        ABROAD.encode(),
        ABROAD.encode("latin-1"),
        ABROAD.encode("cp1252"),
        ABROAD.encode("utf-16-le"),
        ABROAD.encode("utf-16-be"),
        quote(ABROAD, encoding="latin-1").encode(),
        base64.b64encode(b"x" + ABROAD.encode("latin-1")),
    ],
)
async def test_inv_5_another_charset_hides_nothing(written: bytes) -> None:
    outcome = await holding(ABROAD.encode(), answered(b"<" + written + b">")).handle()
    assert isinstance(outcome.body, bytes)
    assert REDACTED in outcome.body
    assert written not in outcome.body


@pytest.mark.parametrize("charset", ["koi8-r", "iso-8859-2", "windows-1251", "gbk", "shift_jis", "euc-kr"])
@pytest.mark.parametrize("secret", [ABROAD, PLAIN.decode()])
async def test_inv_5_a_charset_in_which_the_secret_is_written_otherwise_is_withheld(
    charset: str, secret: str
) -> None:
    kinds = [(b"content-type", b"text/plain; charset=" + charset.encode())]
    outcome = await holding(secret.encode(), answered(b"x", headers=kinds)).handle()
    if secret.isascii():
        assert outcome.body == b"x"
    else:
        assert code(outcome) == "answer_withheld"


@pytest.mark.parametrize("second", [b"utf-16", b"utf-7"])
async def test_inv_5_the_second_of_two_charsets_is_read_too(second: bytes) -> None:
    kinds = [(b"content-type", b"text/plain; charset=utf-8; charset=" + second)]
    assert code(await holding(PLAIN, answered(b"x", headers=kinds)).handle()) == "answer_withheld"


@pytest.mark.parametrize("width", [60, 76, 1000])
def test_inv_5_a_key_whose_lines_were_broken_anew_is_found(width: int) -> None:
    body = base64.b64encode(bytes(range(256)) * 2)
    lines = [body[at : at + 64] for at in range(0, len(body), 64)]
    pem = b"\n".join([b"-----BEGIN PRIVATE KEY-----", *lines, b"-----END PRIVATE KEY-----", b""])
    file = json.dumps({"type": "account", "private_key": pem.decode()}).encode()
    anew = [body[at : at + width] for at in range(0, len(body), width)]
    for secret in (pem, file):
        for text in (b"\n".join(anew), json.dumps(b"\r\n".join(anew).decode()).encode()):
            scrubbed = Scrubber([Secret(secret)]).scrub_body(text)[0]
            assert not any(line[8:-8] in scrubbed for line in (*lines[:-1], *anew[:-1]))


async def test_inv_5_the_password_of_a_url_is_not_echoed_alone() -> None:
    url = b"postgres://reporter:pa%40ss-7f3a9c@db.example/reports"
    auth = {"style": "header", "credential": "crm", "name": "X-Database"}
    shown = b'password authentication failed for "reporter" with "pa@ss-7f3a9c", or pa%40ss-7f3a9c'
    stage = holding(url, answered(shown), config=changed("connectors.crm.auth", auth))
    outcome = await stage.handle()
    assert outcome.body == b'password authentication failed for "reporter" with "[REDACTED]", or [REDACTED]'


@pytest.mark.parametrize(
    ("header", "value", "shown"),
    [
        ("Cookie", b"session=abc-7f3a9c12; theme=dark", b'{"cookies": {"session": "abc-7f3a9c12"}}'),
        ("Authorization", b"Token abc-7f3a9c12", b"invalid token abc-7f3a9c12"),
        ("Authorization", b"Basic dXNlcjphYmMtN2YzYTljMTI=", b"no user with the password abc-7f3a9c12"),
    ],
)
async def test_inv_5_what_the_upstream_takes_out_of_a_header_is_not_echoed_alone(
    header: str, value: bytes, shown: bytes
) -> None:
    auth = {"style": "header", "credential": "crm", "name": header}
    outcome = await holding(value, answered(shown), config=changed("connectors.crm.auth", auth)).handle()
    assert outcome.body == shown.replace(b"abc-7f3a9c12", REDACTED)


async def test_headers_that_would_take_long_to_search_are_withheld() -> None:
    outcome = await holding(PLAIN, answered(b"x", headers=[(b"location", b"%26%5c" * 4000)])).handle()
    assert code(outcome) == "answer_withheld"
    outcome = await holding(PLAIN, answered(b"x", headers=[(b"x-unseen", b"%26%5c" * 4000)])).handle()
    assert outcome.body == b"x"


async def test_inv_5_an_agent_cannot_guess_the_secret_by_what_a_stream_of_events_holds_back() -> None:
    """The agent has its upstream say a guess and pause; what it sees until then is the same whatever it guessed."""
    seen = set()
    for guess in (PLAIN[:1], PLAIN[:5], PLAIN[:-1], PLAIN[:4] + b"~", b"~~~~"):
        events = [(b"content-type", b"text/event-stream")]
        stage = holding(PLAIN, answered(Pieces(b"data: 1\n\ndata: " + guess, b"~\n\n"), headers=events))
        outcome = await stage.handle(connector="crm", operation="watch", parameters=None)
        assert not isinstance(outcome.body, bytes)
        pieces = [piece async for piece in outcome.body]
        seen.add(pieces[0])
        assert b"".join(pieces) == b"data: 1\n\ndata: " + guess + b"~\n\n"
    assert seen == {b"data: 1\n\n"}


HOSTILE: Final = {
    "a queue of single bytes": [b"x"] * 100_000,
    "one piece of the slowest text": [b"%5c&amp;\\u0025\\\\" * 40_000],
    "a beginning that never ends, byte by byte": [
        *(bytes([letter]) for letter in b"".join(bytes([one]) + b"\\u0020" * 90 for one in base64.b64encode(PLAIN)))
    ],
}


@pytest.mark.parametrize("how", HOSTILE)
async def test_no_stream_holds_the_others_up(how: str) -> None:
    """An upstream that wants the sidecar to stop: all of it is there at once, and nothing has to be waited for."""
    stage = holding(PLAIN, answered(Pieces(*HOSTILE[how])))
    longest = 0.0

    async def watch() -> None:
        nonlocal longest
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            longest = max(longest, time.thread_time() - before)

    watcher = asyncio.create_task(watch())
    outcome = await stage.handle(connector="crm", operation="watch", parameters=None)
    assert not isinstance(outcome.body, bytes)
    with suppress(Exception):  # it may be withheld
        async for _ in outcome.body:
            pass
    watcher.cancel()
    assert longest < LONGEST_STEP
