from __future__ import annotations

import base64
import hashlib
from typing import Final

import msgspec
import pytest

from sidecar.adapters.credentials.sealed.file import (
    Head,
    SealedFile,
    UnknownKeyError,
    decode,
    encode,
    opener,
    rewrap,
    seal,
)
from sidecar.adapters.credentials.sealed.master_key import _named, generate
from sidecar.model.credential import Terms
from sidecar.model.secret import Secret
from sidecar.rules.sealing import SealBrokenError

MASTER = generate()
ABOUT = Head(id="github", kind="API_KEY", version=3, created="2026-01-01T00:00:00Z", updated="2026-01-02T00:00:00Z")
VALUE = Secret("value-12345678")


def _sealed(**changes: object) -> SealedFile:
    return seal(msgspec.structs.replace(ABOUT, **changes), VALUE, MASTER)


def _opens(file: SealedFile) -> bool:
    try:
        return opener(file, [MASTER]).plain() == VALUE.reveal()
    except (SealBrokenError, UnknownKeyError):
        return False


def test_what_is_sealed_opens_under_its_master_key_only() -> None:
    file = _sealed()
    assert opener(file, [generate(), MASTER]).plain() == VALUE.reveal()
    with pytest.raises(UnknownKeyError):
        opener(file, [generate()])
    other = generate()
    with pytest.raises(SealBrokenError):
        opener(msgspec.structs.replace(file, master_key=other.id), [other])


def test_a_file_is_read_back_under_its_own_name_only() -> None:
    file = _sealed()
    assert decode(encode(file), "github") == file
    with pytest.raises(SealBrokenError):
        decode(encode(file), "gitlab")


@pytest.mark.parametrize(
    "data", [b"", b"{}", b"null", b"[]", b"\xff", b'{"format":"policy-sidecar sealed credential 2"}']
)
def test_what_is_not_a_sealed_file_is_refused(data: bytes) -> None:
    with pytest.raises(SealBrokenError):
        decode(data, "github")


def test_another_spelling_of_the_same_document_is_refused() -> None:
    data = encode(_sealed())
    members = msgspec.json.decode(data)
    spellings = (
        b" " + data,
        data + b"\n",
        data.rstrip(),
        data.replace(b'"version":3', b'"version": 3'),
        data.replace(b'"version":3', b'"version":3.0'),
        data.replace(b'"version":3', b'"version":9,"version":3'),
        msgspec.json.encode(dict(reversed(members.items()))) + b"\n",
        msgspec.json.encode(members | {"more": 1}) + b"\n",
    )
    for spelling in spellings:
        with pytest.raises(SealBrokenError):
            decode(spelling, "github")


def test_c05_everything_a_file_says_is_authenticated() -> None:
    file = _sealed()
    assert _opens(file)
    changes: tuple[dict[str, object], ...] = (
        {"id": "gitlab"},
        {"kind": "SSH_KEY"},
        {"version": 4},
        {"created": "2026-01-01T00:00:01Z"},
        {"updated": "2026-01-01T00:00:01Z"},
    )
    for change in changes:
        assert not _opens(msgspec.structs.replace(file, **change)), change


def test_parts_of_two_files_do_not_make_one() -> None:
    first, second, other = _sealed(), _sealed(), _sealed(version=4)
    for file in (second, other):
        assert not _opens(msgspec.structs.replace(first, value=file.value))
        assert not _opens(msgspec.structs.replace(first, wrapped_key=file.wrapped_key))


def test_c05_no_two_files_share_a_key_or_a_nonce() -> None:
    files = [_sealed() for _ in range(50)]
    assert len({file.value[:29] for file in files}) == 50
    assert len({file.wrapped_key[:29] for file in files}) == 50


def test_a_new_master_key_wraps_the_small_key_and_leaves_the_value() -> None:
    file, master = _sealed(), generate()
    wrapped = rewrap(file, [MASTER], master)
    assert wrapped.value == file.value
    assert opener(wrapped, [master]).plain() == VALUE.reveal()
    assert not _opens(wrapped)


def test_inv_5_the_value_is_not_in_the_file() -> None:
    data = encode(_sealed())
    for before in range(3):
        assert base64.b64encode(b"\0" * before + VALUE.reveal())[4:-4] not in data
    assert VALUE.reveal() not in data
    assert VALUE.reveal() not in msgspec.json.decode(data, type=SealedFile).value


# Written before a sealed file had terms.
OLDER: Final = (
    b'{"id":"github","kind":"OAUTH","version":3,"created":"2026-01-01T00:00:00Z","updated":"2026-01-02T00:00:00Z",'
    b'"format":"policy-sidecar sealed credential 1","master_key":"mk-4c3dd7879e3150af","wrapped_key":"ATDtGrYTFiQPC0'
    b'ak+QhnBzAAAAAAAAAAAAAAAADrzwzjT6KLxgyFKJBpiDS6FHqvdLeyS2LgbYw+WuYZKjbuMP80UTO5LgaGFa61J8s=","value":"AetCQ5ld3fy'
    b'ph2jTCRmw3rEAAAAAAAAAAAAAAABiEvaOQm3iliyNuRNmZrNxj23lt5772yo4JGJTIWw="}\n'
)


def test_a_file_of_before_terms_still_opens() -> None:
    file = decode(OLDER, "github")
    assert opener(file, [_named(hashlib.sha256(b"golden").digest())]).plain() == VALUE.reveal()
    assert file.terms() == Terms(kind="OAUTH")
    assert encode(file) == OLDER


def test_terms_are_part_of_the_document() -> None:
    head = Head.of("github", Terms(expires=7, rotate_days=30), version=1, created="c", updated="u")
    file = decode(encode(seal(head, VALUE, MASTER)), "github")
    assert _opens(file)
    assert (file.head(), file.terms()) == (head, Terms(kind="API_KEY", expires=7, rotate_days=30))


@pytest.mark.parametrize("change", [{"expires": 8}, {"expires": msgspec.UNSET}, {"rotate_days": 31}])
def test_c05_an_end_that_was_moved_or_taken_away_does_not_open(change: dict[str, object]) -> None:
    file = _sealed(expires=7, rotate_days=30)
    assert _opens(file)
    assert not _opens(msgspec.structs.replace(file, **change))
    assert not _opens(msgspec.structs.replace(_sealed(), expires=7))
