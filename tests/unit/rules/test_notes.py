"""Signed notes: another implementation's published note, and everything a note must not be."""

from __future__ import annotations

import base64

import pytest

from sidecar.rules.notes import (
    Checkpoint,
    NoteBrokenError,
    Signer,
    Verifier,
    checkpoint_text,
    open_note,
    parse_checkpoint,
)

# the example of the format's first implementation (Go, x/mod/sumdb/note)
FOREIGN_SECRET = "PRIVATE+KEY+PeterNeumann+c74f20a3+AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
FOREIGN_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
FOREIGN_NOTE = (
    "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
).encode()
FOREIGN_TEXT = FOREIGN_NOTE.decode().partition("\n\n")[0] + "\n"

SIGNER = Signer("acme-0011aabb", b"s" * 32)


def test_a_foreign_note_opens_and_ours_is_the_same_note() -> None:
    assert open_note(FOREIGN_NOTE, Verifier.from_text(FOREIGN_KEY)) == FOREIGN_TEXT
    signer = Signer.from_text(FOREIGN_SECRET)
    assert signer.verifier.text == FOREIGN_KEY
    assert signer.sign(FOREIGN_TEXT) == FOREIGN_NOTE


def test_keys_survive_their_text_forms() -> None:
    assert Signer.from_text(SIGNER.private_text).private_text == SIGNER.private_text
    assert Verifier.from_text(SIGNER.verifier.text).hash == SIGNER.verifier.hash


def test_a_signer_does_not_show_its_seed() -> None:
    assert repr(SIGNER) == "Signer(acme-0011aabb)"


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme",
        "a b+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumanm+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+C74F20A3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+AhpC2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
        "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10",
        "PeterNeumann+c74f20a3+!!!!",
    ],
)
def test_a_key_text_that_is_off_in_anything_is_refused(text: str) -> None:
    with pytest.raises(NoteBrokenError):
        Verifier.from_text(text)
    with pytest.raises(NoteBrokenError):
        Signer.from_text(f"PRIVATE+KEY+{text}")


def test_a_public_key_is_no_signing_key() -> None:
    with pytest.raises(NoteBrokenError, match="not a signing key"):
        Signer.from_text(FOREIGN_KEY)


@pytest.mark.parametrize("name", ["", "a b", "a+b", "a\n"])
def test_a_key_needs_a_plain_name(name: str) -> None:
    with pytest.raises(ValueError, match="key name"):
        Signer(name, b"s" * 32)


def test_no_flipped_bit_of_a_note_is_accepted_as_another_text() -> None:
    note = SIGNER.sign("acme-0011aabb\n7\ntext\n")
    for position in range(len(note)):
        for bit in range(8):
            changed = bytearray(note)
            changed[position] ^= 1 << bit
            with pytest.raises(NoteBrokenError):
                open_note(bytes(changed), SIGNER.verifier)


def test_other_peoples_signatures_are_carried() -> None:
    note = SIGNER.sign("hello\n")
    witness = Signer("witness.example", b"w" * 32).sign("hello\n").rpartition(b"\n\n")[2]
    assert open_note(note + witness, SIGNER.verifier) == "hello\n"
    with pytest.raises(NoteBrokenError, match="no signature of"):
        open_note(b"hello\n\n" + witness, SIGNER.verifier)


def test_a_key_of_our_name_and_another_hash_is_not_ours() -> None:
    impostor = Signer(SIGNER.verifier.name, b"x" * 32).sign("hello\n")
    with pytest.raises(NoteBrokenError, match="no signature of"):
        open_note(impostor, SIGNER.verifier)


@pytest.mark.parametrize(
    "note",
    [
        b"",
        b"hello\n",
        b"hello\n\n",
        b"hello\n\nno dash\n",
        "hello\n\n— acme-0011aabb\n".encode(),
        "hello\n\n— acme-0011aabb AAAA\n".encode(),
        "hello\n\n— acme-0011aabb !\n".encode(),
        b"\xff\n\n",
        b"tab\there\n\n",
        b"x" * 70_000,
        b"hello\n\n" + "— w AAAAAAAA\n".encode() * 40,
    ],
)
def test_what_is_no_note(note: bytes) -> None:
    with pytest.raises(NoteBrokenError):
        open_note(note, SIGNER.verifier)


def test_a_text_without_its_last_newline_cannot_be_signed() -> None:
    with pytest.raises(ValueError, match="newline"):
        SIGNER.sign("hello")


def test_checkpoints_survive_their_text() -> None:
    checkpoint = Checkpoint("acme-0011aabb", 1234, bytes(range(32)))
    text = checkpoint_text(checkpoint)
    assert text == f"acme-0011aabb\n1234\n{base64.b64encode(bytes(range(32))).decode()}\n"
    assert parse_checkpoint(text) == checkpoint
    assert parse_checkpoint(text + "an extension\n") == checkpoint


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "acme\n1\n",
        f"acme\n1\n{ROOT}",
        f"acme\n01\n{ROOT}\n",
        f"acme\n-1\n{ROOT}\n",
        f"acme\n٣\n{ROOT}\n",
        f"\n1\n{ROOT}\n",
        "acme\n1\nAAAA\n",
        f"acme\n1\n{ROOT[:-1]}\n",
        f"acme\n1\n{ROOT[:-2]}B=\n",
        f"acme\n1\n{ROOT}\n\nmore\n",
    ],
)
def test_what_is_no_checkpoint(text: str) -> None:
    with pytest.raises(NoteBrokenError):
        parse_checkpoint(text)
