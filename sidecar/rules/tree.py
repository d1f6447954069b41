"""The Merkle tree over evidence: RFC 9162 section 2.1 (the same tree as RFC 6962), SHA-256.

A leaf is hashed as ``SHA-256(0x00 || bytes)``, a node as ``SHA-256(0x01 || left || right)``: the prefixes keep a node
from ever passing for a leaf. ``Frontier`` is the compact form a writer keeps, the roots of the perfect subtrees that
make up the tree, largest first (one for each set bit of the size). All hashes are 32 raw bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

HASH_BYTES: Final = 32
EMPTY_ROOT: Final = sha256(b"").digest()


class ProofBrokenError(Exception):
    """The proof does not show what it claims."""


def leaf_hash(data: bytes) -> bytes:
    """The hash of one leaf."""
    return sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The hash of one inner node."""
    return sha256(b"\x01" + left + right).digest()


class Frontier:
    """The roots of the perfect subtrees of a growing tree: enough to append to it and to know its root."""

    __slots__ = ("_hashes", "_size")

    def __init__(self, size: int = 0, hashes: Sequence[bytes] = ()) -> None:
        if size < 0 or len(hashes) != size.bit_count() or any(len(each) != HASH_BYTES for each in hashes):
            raise ValueError("a frontier has one 32-byte hash for each set bit of its size")
        self._size = size
        self._hashes = list(hashes)

    @property
    def size(self) -> int:
        """How many leaves the tree has."""
        return self._size

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The subtree roots, largest subtree first."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf by its hash: subtrees of equal size merge like the carries of a binary counter."""
        hashes, size = self._hashes, self._size
        while size & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            size >>= 1
        hashes.append(leaf)
        self._size += 1

    def root(self) -> bytes:
        """The root of the whole tree; of no leaves, SHA-256 of nothing."""
        if not self._hashes:
            return EMPTY_ROOT
        root = self._hashes[-1]
        for left in reversed(self._hashes[:-1]):
            root = node_hash(left, root)
        return root


def root_of(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes, by the recursive definition (RFC 9162 section 2.1.1)."""
    if not leaves:
        return EMPTY_ROOT
    if len(leaves) == 1:
        return leaves[0]
    middle = _split(len(leaves))
    return node_hash(root_of(leaves[:middle]), root_of(leaves[middle:]))


def inclusion_proof(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The path from leaf ``index`` to the root of ``leaves``, lowest first (RFC 9162 section 2.1.3.1)."""
    if not 0 <= index < len(leaves):
        raise ValueError("no such leaf in the tree")
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*inclusion_proof(leaves[:middle], index), root_of(leaves[middle:])]
    return [*inclusion_proof(leaves[middle:], index - middle), root_of(leaves[:middle])]


def verify_inclusion(leaf: bytes, index: int, size: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ``ProofBrokenError`` unless ``leaf`` is at ``index`` of the tree (RFC 9162 section 2.1.3.2)."""
    if not 0 <= index < size:
        raise ProofBrokenError("the leaf lies outside the tree")
    position, last, running = index, size - 1, leaf
    for step in proof:
        if last == 0:
            raise ProofBrokenError("the inclusion proof is too long")
        if position & 1 or position == last:
            running = node_hash(step, running)
            position, last = _leave_right_edge(position, last)
        else:
            running = node_hash(running, step)
        position, last = position >> 1, last >> 1
    if last != 0 or running != root:
        raise ProofBrokenError("the inclusion proof does not lead to the root")


def consistency_proof(leaves: Sequence[bytes], old_size: int) -> list[bytes]:
    """Shows that the tree of the first ``old_size`` leaves is a prefix of ``leaves`` (RFC 9162 section 2.1.4.1)."""
    if not 0 < old_size <= len(leaves):
        raise ValueError("no such earlier tree")
    return _subproof(leaves, old_size, whole=True)


def verify_consistency(old_size: int, old_root: bytes, size: int, root: bytes, proof: Sequence[bytes]) -> None:
    """Raise ``ProofBrokenError`` unless the older tree is a prefix of the newer (RFC 9162 section 2.1.4.2)."""
    if not 0 < old_size <= size:
        raise ProofBrokenError("the older tree cannot be empty or larger than the newer")
    if old_size == size:
        if proof or old_root != root:
            raise ProofBrokenError("two trees of one size differ")
        return
    path = list(proof)
    if old_size & (old_size - 1) == 0:
        path.insert(0, old_root)
    if not path:
        raise ProofBrokenError("the consistency proof is empty")
    position, last = old_size - 1, size - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_running = new_running = path[0]
    for step in path[1:]:
        if last == 0:
            raise ProofBrokenError("the consistency proof is too long")
        if position & 1 or position == last:
            old_running = node_hash(step, old_running)
            new_running = node_hash(step, new_running)
            position, last = _leave_right_edge(position, last)
        else:
            new_running = node_hash(new_running, step)
        position, last = position >> 1, last >> 1
    if last != 0 or old_running != old_root or new_running != root:
        raise ProofBrokenError("the newer tree does not extend the older")


def _split(size: int) -> int:
    return 1 << ((size - 1).bit_length() - 1)


def _leave_right_edge(position: int, last: int) -> tuple[int, int]:
    """Skip the levels where a node on the right edge has no sibling and so no step in the proof."""
    while position and not position & 1:
        position, last = position >> 1, last >> 1
    return position, last


def _subproof(leaves: Sequence[bytes], old_size: int, *, whole: bool) -> list[bytes]:
    if old_size == len(leaves):
        return [] if whole else [root_of(leaves)]
    middle = _split(len(leaves))
    if old_size <= middle:
        return [*_subproof(leaves[:middle], old_size, whole=whole), root_of(leaves[middle:])]
    return [*_subproof(leaves[middle:], old_size - middle, whole=False), root_of(leaves[:middle])]
