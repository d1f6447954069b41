from __future__ import annotations

import base64
import random
import stat
from pathlib import Path

import pytest

from sidecar.adapters.credentials.sealed.master_key import create, generate, load, store
from sidecar.errors import Misconfigured

GOOD = random.Random(7).randbytes(32)


def _file(tmp_path: Path, text: bytes, mode: int = 0o600) -> Path:
    path = tmp_path / "master.key"
    path.write_bytes(text)
    path.chmod(mode)
    return path


def test_a_new_key_is_random_private_and_read_back(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    made = create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert load(path) == (made,)
    assert len(made.secret) == 32
    assert made.id != generate().id


def test_a_key_that_is_there_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    create(path)
    before = path.read_bytes()
    with pytest.raises(Misconfigured, match="exists"):
        create(path)
    assert path.read_bytes() == before


@pytest.mark.parametrize("text", [base64.b64encode(GOOD), GOOD.hex().encode(), GOOD.hex().upper().encode() + b"\n\n"])
def test_a_bare_key_is_named_by_its_fingerprint(tmp_path: Path, text: bytes) -> None:
    (key,) = load(_file(tmp_path, text, 0o400))
    assert key.secret.reveal() == GOOD
    assert key.id == "mk-" + key.id[3:] and len(key.id) == 19


def test_several_keys_keep_their_order(tmp_path: Path) -> None:
    keys = (generate(), generate())
    path = tmp_path / "master.key"
    store(path, keys)
    assert load(path) == keys


def test_a_link_is_followed_and_stays_a_link(tmp_path: Path) -> None:
    target = tmp_path / "mounted"
    key = create(target)
    link = tmp_path / "master.key"
    link.symlink_to(target)
    assert load(link) == (key,)
    other = generate()
    store(link, (other, key))
    assert link.is_symlink()
    assert load(target) == (other, key)


PREDICTABLE = [
    bytes(32),
    b"\xff" * 32,
    b"\x00\x01" * 16,
    bytes(range(16)) * 2,
    bytes(range(32)),
    bytes(range(0, 256, 8)),
    bytes(range(255, 223, -1)),
    b"correct horse battery staple!!!!",
    b"0123456789abcdefghijklmnopqrstuv",
    GOOD[:8] * 4,
    b"Tr0ub4dor&3-correct_Horse!Xy9zQ7",
]


@pytest.mark.parametrize("key", PREDICTABLE)
def test_a_key_that_no_random_source_draws_is_refused(tmp_path: Path, key: bytes) -> None:
    for text in (base64.b64encode(key), key.hex().encode()):
        with pytest.raises(Misconfigured, match="not random"):
            load(_file(tmp_path, text))


def test_random_keys_are_not_refused(tmp_path: Path) -> None:
    chance = random.Random(11)
    for _ in range(100):
        assert load(_file(tmp_path, base64.b64encode(chance.randbytes(32))))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"", "empty"),
        (b"\n \n", "empty"),
        (base64.b64encode(GOOD[:31]), "31 bytes"),
        (base64.b64encode(GOOD + b"x"), "33 bytes"),
        (GOOD.hex().encode()[:-2], "bytes"),
        (base64.b64encode(GOOD)[:-1], "expected"),
        (b"mk-0000000000000000 " + base64.b64encode(GOOD), "damaged"),
        (b"a b " + base64.b64encode(GOOD), "expected"),
        (base64.b64encode(GOOD) + b"\n" + GOOD.hex().encode(), "twice"),
        (b"\xff\xfe!!", "expected"),
        (b"\n" * 5000, "longer"),
    ],
)
def test_a_damaged_file_is_refused_and_not_shown(tmp_path: Path, text: bytes, message: str) -> None:
    with pytest.raises(Misconfigured, match=message) as refusal:
        load(_file(tmp_path, text))
    shown = str(refusal.value)
    assert GOOD.hex()[:8] not in shown
    assert base64.b64encode(GOOD).decode()[:8] not in shown


def test_a_missing_key_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="new-key"):
        load(tmp_path / "none")


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o440, 0o604, 0o660])
def test_a_key_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    with pytest.raises(Misconfigured, match="0600 or 0400"):
        load(_file(tmp_path, base64.b64encode(GOOD), mode))


def test_inv_5_a_key_is_not_shown(tmp_path: Path) -> None:
    (key,) = load(_file(tmp_path, base64.b64encode(GOOD)))
    assert base64.b64encode(GOOD).decode()[:8] not in repr(key)
    assert GOOD.hex()[:8] not in repr(key)
