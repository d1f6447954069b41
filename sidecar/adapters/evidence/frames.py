"""The framing of a segment file: one frame after another, nothing between them.

    length u32 | crc32c u32 | kind u8 | index u64 | bytes          (big-endian)

``length`` counts ``bytes`` alone. The CRC-32C (Castagnoli, RFC 3720 appendix B.4) covers kind, index and bytes; it
catches accidents, the Merkle tree catches hands. ``kind`` is one of the constants below. A record is its leaf's
frame, with the sealed attachment's frame of the same index just before it: so a leaf that is there is whole. A
segment begins with one head frame, whose index is that of the segment's first record.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from struct import Struct
from typing import Final

import google_crc32c
import msgspec

from sidecar.model.evidence import CHANGE, CHUNK, INTENT, OUTCOME, REFUSAL

KIND_INTENT, KIND_OUTCOME, KIND_REFUSAL, KIND_CHUNK, KIND_ATTACHMENT, KIND_HEAD, KIND_CHANGE = range(1, 8)
LEAF_KINDS: Final = {
    INTENT: KIND_INTENT,
    OUTCOME: KIND_OUTCOME,
    REFUSAL: KIND_REFUSAL,
    CHUNK: KIND_CHUNK,
    CHANGE: KIND_CHANGE,
}
_LEAVES: Final = frozenset(LEAF_KINDS.values())

DOCUMENT_LIMIT: Final = 32 << 20
_PAYLOAD_LIMIT: Final = DOCUMENT_LIMIT + (1 << 20)

_HEADER: Final = Struct(">IIBQ")
_CHECKED: Final = Struct(">BQ")
_UNCHECKED: Final = Struct(">II")
HEADER_BYTES: Final = _HEADER.size
_READ_BYTES: Final = 1 << 20
_INDEX_LEEWAY: Final = 1 << 24  # how far past the expected index a frame that follows a torn one can be


class Frame(msgspec.Struct, frozen=True):
    """One frame, and where it begins in its file."""

    offset: int
    kind: int
    index: int
    payload: bytes

    @property
    def end(self) -> int:
        """Where the next frame begins."""
        return self.offset + HEADER_BYTES + len(self.payload)


class FrameBrokenError(Exception):
    """The bytes at ``offset`` are no frame: cut off, or changed."""

    def __init__(self, offset: int, detail: str) -> None:
        super().__init__(f"{detail} at byte {offset}")
        self.offset = offset
        self.detail = detail


def encode(kind: int, index: int, payload: bytes) -> bytes:
    """One frame as it is stored."""
    checked = _CHECKED.pack(kind, index) + payload
    return _UNCHECKED.pack(len(payload), google_crc32c.value(checked)) + checked


def frames(descriptor: int, offset: int, end: int, *, attachments: bool = True) -> Iterator[Frame]:
    """Every frame from ``offset`` up to ``end``, checked. Raises ``FrameBrokenError`` at the first that is none.

    Without ``attachments`` those are passed over unread: they can be a thousand times larger than their leaves.
    """
    buffer, base = b"", offset
    while offset < end:
        at = offset - base
        if len(buffer) - at < HEADER_BYTES:
            buffer, base, at = _read(descriptor, offset, end, _READ_BYTES), offset, 0
        if len(buffer) < HEADER_BYTES:
            raise FrameBrokenError(offset, "a frame is cut off in its header")
        length, crc, kind, index = _HEADER.unpack_from(buffer, at)
        if length > _PAYLOAD_LIMIT or not KIND_INTENT <= kind <= KIND_CHANGE:
            raise FrameBrokenError(offset, "no frame begins")
        whole = HEADER_BYTES + length
        if kind == KIND_ATTACHMENT and not attachments:
            offset += whole
            continue
        if len(buffer) - at < whole:
            buffer, base, at = _read(descriptor, offset, end, max(whole, _READ_BYTES)), offset, 0
            if len(buffer) < whole:
                raise FrameBrokenError(offset, "a frame is cut off")
        if google_crc32c.value(buffer[at + 8 : at + whole]) != crc:
            raise FrameBrokenError(offset, "a frame's CRC-32C does not match")
        yield Frame(offset, kind, index, buffer[at + HEADER_BYTES : at + whole])
        offset += whole


def headers(descriptor: int, offset: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """``(offset, kind, index, end)`` of every frame, contents unchecked; ends at the first that is cut off."""
    buffer, base = b"", offset
    while offset + HEADER_BYTES <= end:
        at = offset - base
        if len(buffer) - at < HEADER_BYTES:
            buffer, base, at = _read(descriptor, offset, end, _READ_BYTES), offset, 0
            if len(buffer) < HEADER_BYTES:
                return
        length, _, kind, index = _HEADER.unpack_from(buffer, at)
        after = offset + HEADER_BYTES + length
        if after > end or not KIND_INTENT <= kind <= KIND_CHANGE:
            return
        yield offset, kind, index, after
        offset = after


def find_frame(tail: bytes, expected: int) -> int | None:
    """The position in ``tail``, after its first byte, of a whole frame whose index is ``expected`` or a little more.

    A torn write leaves none; bytes that were changed in the middle of a log leave the frames that came after them.
    """
    highs = {index.to_bytes(8, "big")[:5] for index in (expected, expected + _INDEX_LEEWAY)}
    # an index below 2^24 above the expected one shares its five high bytes, or has them one greater
    pattern = re.compile(b"(?=[\x01-\x07](?:" + b"|".join(re.escape(high) for high in highs) + b"))", re.DOTALL)
    for match in pattern.finditer(tail, 9):
        start = match.start() - 8
        if start + HEADER_BYTES > len(tail):
            break
        length, crc, _, index = _HEADER.unpack_from(tail, start)
        whole = tail[start + 8 : start + HEADER_BYTES + length]
        is_whole = length <= _PAYLOAD_LIMIT and len(whole) == HEADER_BYTES - 8 + length
        if is_whole and index >= expected and google_crc32c.value(whole) == crc:
            return start
    return None


def is_leaf(kind: int) -> bool:
    """Whether frames of this kind are leaves of the tree."""
    return kind in _LEAVES


def _read(descriptor: int, offset: int, end: int, size: int) -> bytes:
    """Up to ``size`` bytes, fewer only at ``end`` or the end of the file."""
    wanted = min(size, end - offset)
    data = os.pread(descriptor, wanted, offset)
    if len(data) in (0, wanted):
        return data
    parts = [data]
    got = len(data)
    while got < wanted and (data := os.pread(descriptor, wanted - got, offset + got)):
        parts.append(data)
        got += len(data)
    return b"".join(parts)
