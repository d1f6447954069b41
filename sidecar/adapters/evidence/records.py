"""From a leaf to the frames that are stored: its place, its sealed document, its size.

The stored bytes are msgspec's JSON of the leaf with keys of free mappings sorted: one spelling for one leaf, and the
bytes that the tree hashes. A leaf over 65,535 bytes is trimmed until it fits, with a marker in every place that lost
something; when it has no document of its own, the whole leaf becomes the document, so that nothing is lost (E21).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from sidecar.adapters.evidence import frames
from sidecar.adapters.evidence.frames import DOCUMENT_LIMIT, KIND_ATTACHMENT, LEAF_KINDS
from sidecar.adapters.evidence.keys import TenantKey
from sidecar.model.evidence import LEAF_LIMIT, Attachment, Leaf
from sidecar.rules.sealing import Sealer
from sidecar.rules.tree import leaf_hash

_encoder: Final = msgspec.json.Encoder(order="deterministic")
_decoder: Final = msgspec.json.Decoder(Leaf)
# (longest text, most items, deepest nesting) tried in turn; the last fits whatever the leaf held
_CUTS: Final = ((4096, 64, 8), (1024, 32, 6), (256, 16, 4), (64, 4, 2))


class Stored(NamedTuple):
    """One record ready to be written: its frames joined, and its leaf hash."""

    data: bytes
    hash: bytes


class Recorder:
    """Gives leaves of one log their place and seals their documents."""

    def __init__(self, origin: str, key: TenantKey) -> None:
        self._origin = origin
        self._key_id = key.id
        self._sealer = Sealer(key.sealing)

    def store(self, leaf: Leaf, index: int, time: int, document: bytes | None) -> Stored:
        """Both frames of one record. Raises ``TypeError`` or ``UnicodeError`` when a leaf is no JSON."""
        if document is None:
            placed = replace(leaf, origin=self._origin, index=index, time=time)
            encoded = _encoder.encode(placed)
            if len(encoded) <= LEAF_LIMIT:
                return Stored(frames.encode(LEAF_KINDS[leaf.kind], index, encoded), leaf_hash(encoded))
            document = encoded[:DOCUMENT_LIMIT]
        sealed = self._sealer.seal(document, context(self._origin, index))
        attached = Attachment(hashlib.sha256(sealed).hexdigest(), self._key_id)
        placed = replace(leaf, origin=self._origin, index=index, time=time, attachment=attached)
        encoded = _encoder.encode(placed)
        if len(encoded) > LEAF_LIMIT:
            encoded = _encoder.encode(trimmed(placed))
        attachment = frames.encode(KIND_ATTACHMENT, index, sealed)
        return Stored(attachment + frames.encode(LEAF_KINDS[leaf.kind], index, encoded), leaf_hash(encoded))


def context(origin: str, index: int) -> bytes:
    """What a sealed document is bound to: the evidence id."""
    return f"{origin}/{index}".encode()


def decode(data: bytes) -> Leaf:
    """A leaf from its stored bytes. Raises ``msgspec.DecodeError``."""
    return _decoder.decode(data)


def trimmed(leaf: Leaf) -> Leaf:
    """The leaf with its long texts, lists and mappings cut until its encoding fits ``LEAF_LIMIT``."""
    plain = msgspec.to_builtins(leaf)
    cut = leaf
    for longest, most, depth in _CUTS:
        cut = msgspec.convert({name: _cut(value, longest, most, depth) for name, value in plain.items()}, Leaf)
        if len(_encoder.encode(cut)) <= LEAF_LIMIT:
            break
    return cut


def _cut(value: Any, longest: int, most: int, depth: int) -> Any:
    if isinstance(value, str):
        return value if len(value) <= longest else f"{value[:longest]}… [{len(value) - longest} more characters]"
    if isinstance(value, dict):
        return _cut_mapping(value, longest, most, depth)
    if isinstance(value, (list, tuple)):
        if depth == 0:
            return []
        kept = [_cut(each, longest, most, depth - 1) for each in value[:most]]
        if len(value) > most:
            kept.append(_marker(value, most))
        return kept
    return value


def _cut_mapping(value: dict[str, Any], longest: int, most: int, depth: int) -> dict[str, Any]:
    if depth == 0:
        return {}
    names = list(value)[:most]
    kept = {_cut(name, longest, most, 0): _cut(value[name], longest, most, depth - 1) for name in names}
    if len(value) > most:
        whole_numbers = all(isinstance(each, int) for each in value.values())
        kept["trimmed"] = len(value) - most if whole_numbers else f"{len(value) - most} more members"
    return kept


def _marker(values: Sequence[Any], most: int) -> Any:
    """What stands for the items cut from a list, in the shape of the items that stay."""
    text = f"{len(values) - most} more"
    return {"code": "trimmed", "message": text} if isinstance(values[0], dict) else f"trimmed: {text}"
