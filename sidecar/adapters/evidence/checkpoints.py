"""The log's latest signed checkpoint, in the file ``checkpoint``: what a start and ``verify`` hold the log to."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from sidecar.adapters.evidence.disk import replace_file
from sidecar.errors import Misconfigured
from sidecar.rules.notes import (
    Checkpoint,
    NoteBrokenError,
    Signer,
    Verifier,
    checkpoint_text,
    open_note,
    parse_checkpoint,
)

CHECKPOINT_FILE: Final = "checkpoint"


def store(directory: Path, signer: Signer, size: int, root: bytes) -> Checkpoint:
    """Sign and replace the checkpoint, durably. Raises ``OSError`` or ``SyncFailedError``."""
    checkpoint = Checkpoint(signer.verifier.name, size, root)
    replace_file(directory / CHECKPOINT_FILE, signer.sign(checkpoint_text(checkpoint)))
    return checkpoint


def load(directory: Path, verifier: Verifier) -> Checkpoint:
    """The checkpoint, its signature and origin checked. Raises ``Misconfigured``."""
    path = directory / CHECKPOINT_FILE
    try:
        checkpoint = parse_checkpoint(open_note(path.read_bytes(), verifier))
    except FileNotFoundError:
        raise Misconfigured(
            f"{path}: the signed checkpoint is missing, so nothing says how much evidence there was. Restore it, or"
            " keep this directory for inspection and start with an empty one."
        ) from None
    except NoteBrokenError as error:
        raise Misconfigured(f"{path}: {error}. The checkpoint was changed, or the key is another log's.") from None
    if checkpoint.origin != verifier.name:
        raise Misconfigured(f"{path}: it is the checkpoint of {checkpoint.origin}, not of {verifier.name}.")
    return checkpoint
