from __future__ import annotations

import copy
import io
import json
import logging
import operator
import pickle
import pprint
import traceback

import msgspec
import orjson
import pytest

from sidecar.model.call import Call
from sidecar.model.credential import Credential
from sidecar.model.secret import MASK, Secret

CANARY = "canary-8d1f-value"


def test_the_plain_bytes_come_out_through_reveal() -> None:
    assert Secret(CANARY).reveal() == CANARY.encode()
    assert Secret(CANARY.encode()).reveal() == CANARY.encode()
    assert Secret("ü").reveal() == b"\xc3\xbc"
    assert len(Secret("ü")) == 2


def test_secrets_are_equal_by_their_bytes() -> None:
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != "a"


@pytest.mark.parametrize("value", [123456, None, bytearray(b"canary-8d1f-value"), ["canary-8d1f-value"]])
def test_anything_but_bytes_and_text_is_refused_unseen(value: object) -> None:
    with pytest.raises(TypeError) as refusal:
        Secret(value)  # type: ignore[arg-type]  # what a caller without a type checker does
    assert "canary" not in str(refusal.value)
    assert "123456" not in str(refusal.value)


def test_inv_5_a_secret_is_shown_as_its_mask() -> None:
    secret = Secret(CANARY)
    shown = [
        repr(secret),
        str(secret),
        f"{secret}",
        f"{secret:>20}",
        f"{secret!r}",
        operator.mod("%s %r", (secret, secret)),
    ]
    shown += [pprint.pformat({"a": [secret]}), repr(Credential(secret, "1")), ascii(secret)]
    shown += [json.dumps({"a": secret}, default=str), orjson.dumps({"a": secret}, default=repr).decode()]
    shown += [repr(Call(id="1", surface="access", action="query", token=secret))]
    assert all(MASK in text and "canary" not in text for text in shown)


def test_inv_5_a_secret_is_neither_encoded_copied_hashed_nor_read_out() -> None:
    secret = Secret(CANARY)
    holder = Credential(secret, "1")
    attempts = (
        lambda: pickle.dumps(secret),
        lambda: copy.copy(secret),
        lambda: copy.deepcopy({"a": secret}),
        lambda: json.dumps({"a": secret}),
        lambda: orjson.dumps({"a": secret}),
        lambda: msgspec.json.encode(holder),
        lambda: msgspec.msgpack.encode(holder),
        lambda: msgspec.to_builtins(holder),
        lambda: bytes(secret),  # type: ignore[call-overload]  # the checker already refuses it
        lambda: iter(secret),  # type: ignore[call-overload]  # likewise
        lambda: hash(secret),
        lambda: {secret: 1},
        lambda: secret.__getstate__(),
        lambda: secret.__reduce__(),
        lambda: vars(secret),
        lambda: operator.mod(b"%b", secret),
    )
    for attempt in attempts:
        with pytest.raises(TypeError) as refusal:
            attempt()
        assert "canary" not in str(refusal.value)


def test_inv_5_a_secret_is_frozen() -> None:
    secret = Secret(CANARY)
    with pytest.raises(AttributeError):
        secret._plain = b"other"
    with pytest.raises(AttributeError):
        del secret._plain
    assert secret.reveal() == CANARY.encode()


def test_inv_5_a_traceback_with_its_locals_and_a_log_line_show_no_secret() -> None:
    def fails(token: Secret) -> None:
        raise RuntimeError(f"no luck with {token}")

    stream = io.StringIO()
    logger = logging.Logger("secret")
    logger.addHandler(logging.StreamHandler(stream))
    try:
        fails(Secret(CANARY))
    except RuntimeError as error:
        logger.exception("with %s and %r", Secret(CANARY), {"a": Secret(CANARY)})
        stream.write("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
    assert MASK in stream.getvalue()
    assert CANARY not in stream.getvalue()
