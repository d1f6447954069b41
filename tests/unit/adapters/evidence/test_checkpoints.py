"""The stored checkpoint: signed, named, and never silently absent."""

from __future__ import annotations

from pathlib import Path

import pytest

from sidecar.adapters.evidence import checkpoints
from sidecar.errors import Misconfigured
from sidecar.rules.notes import Checkpoint, Signer, checkpoint_text

SIGNER = Signer("acme-00112233", b"s" * 32)
ROOT = b"r" * 32


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    stored = checkpoints.store(tmp_path, SIGNER, 7, ROOT)
    assert checkpoints.load(tmp_path, SIGNER.verifier) == stored == Checkpoint("acme-00112233", 7, ROOT)


def test_a_missing_checkpoint_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Misconfigured, match="missing"):
        checkpoints.load(tmp_path, SIGNER.verifier)


def test_every_flipped_bit_is_refused(tmp_path: Path) -> None:
    checkpoints.store(tmp_path, SIGNER, 7, ROOT)
    path = tmp_path / checkpoints.CHECKPOINT_FILE
    good = path.read_bytes()
    for position in range(len(good)):
        changed = bytearray(good)
        changed[position] ^= 1 << (position % 8)
        path.write_bytes(bytes(changed))
        with pytest.raises(Misconfigured):
            checkpoints.load(tmp_path, SIGNER.verifier)


def test_a_checkpoint_signed_for_another_log_is_refused(tmp_path: Path) -> None:
    note = SIGNER.sign(checkpoint_text(Checkpoint("globex-00112233", 7, ROOT)))
    (tmp_path / checkpoints.CHECKPOINT_FILE).write_bytes(note)
    with pytest.raises(Misconfigured, match="globex"):
        checkpoints.load(tmp_path, SIGNER.verifier)


def test_a_signed_note_that_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / checkpoints.CHECKPOINT_FILE).write_bytes(SIGNER.sign("hello\n"))
    with pytest.raises(Misconfigured, match="not a checkpoint"):
        checkpoints.load(tmp_path, SIGNER.verifier)
