"""Evidence in memory: passes the contract suite of the segment log, and can be told to fail."""

from __future__ import annotations

import hmac

from msgspec.structs import replace

from sidecar.errors import Unavailable
from sidecar.model.evidence import Leaf, Receipt

KINDS = ("intent", "outcome", "refusal", "chunk", "change")


class MemoryEvidence:
    """``leaves`` and ``documents`` hold what came; ``available = False`` refuses all, ``full`` all but outcomes."""

    def __init__(self, origin: str = "acme-00000000", key: bytes = b"k" * 32) -> None:
        self._origin = origin
        self._key = key
        self.available = True
        self.full = False
        self.leaves: list[Leaf] = []
        self.documents: dict[int, bytes] = {}

    @property
    def origin(self) -> str:
        return self._origin

    @property
    def size(self) -> int:
        return len(self.leaves)

    def writable(self) -> bool:
        return self.available and not self.full

    async def append(self, leaf: Leaf, document: bytes | None = None) -> Receipt:
        if leaf.kind not in KINDS:
            raise ValueError(f"no such kind of leaf: {leaf.kind}")
        owed = leaf.intent is not None or leaf.kind in ("outcome", "chunk")
        if not self.available or (self.full and not owed):
            raise Unavailable("evidence_unavailable", "The evidence log takes no records.")
        index = len(self.leaves)
        time = self.leaves[-1].time + 1 if self.leaves else 1
        self.leaves.append(replace(leaf, origin=self._origin, index=index, time=time))
        if document is not None:
            self.documents[index] = document
        return Receipt(self._origin, index)

    def digest(self, data: bytes) -> str:
        return hmac.digest(self._key, data, "sha256").hex()

    async def read(self, index: int) -> Leaf | None:
        return self.leaves[index] if 0 <= index < len(self.leaves) else None

    async def recent(self, principal: str | None, limit: int, before: int | None) -> tuple[list[Leaf], int | None]:
        stop = len(self.leaves) if before is None else max(0, min(before, len(self.leaves)))
        found: list[Leaf] = []
        for index in range(stop - 1, -1, -1):
            if len(found) == limit:
                return found, index + 1
            if principal is None or self.leaves[index].principal == principal:
                found.append(self.leaves[index])
        return found, None

    async def close(self) -> None:
        self.available = False
