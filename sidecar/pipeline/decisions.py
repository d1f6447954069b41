"""The decision cache, beside step 5: the answer to an input that differs from an earlier one in nothing the policy
reads.

It holds answers of one policy only. What the engine says it reads is looked at on every call: another policy, and all
is forgotten before anything is found. A policy that changes while an answer is awaited changes nothing: an answer is
kept only under the revision that gave it. Refusals to answer (errors, timeouts) are raised, so they never come here.
The least recently used answer goes first, by count and by bytes. A repeated decision leaves the same evidence as any.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from sidecar.model.decision import Reads, Verdict
from sidecar.ports import Analysed
from sidecar.rules.decision_keys import Key, why_not

MOST_BYTES: Final = 16 << 20  # of keys and answers, with what Python adds to them
LARGEST: Final = 1 << 15  # bytes of an input; larger ones hardly come twice
_ENTRY: Final = 400  # bytes that an entry takes beside its key and its answer: 290 measured, and room to grow


class _Unknown:
    """An engine that does not know what its policy reads."""

    reads: Reads | None = None


class DecisionCache:
    """Of one engine. With one that does not know what its policy reads, or no ``entries``, nothing is kept."""

    __slots__ = ("_bytes", "_engine", "_entries", "_key", "_known", "_most", "_reason", "hits", "misses", "passed")

    def __init__(self, engine: Analysed | None = None, entries: int = 0) -> None:
        self._engine: Analysed = _Unknown() if engine is None else engine
        self._most = entries
        self._known: Reads | None = None
        self._key: Key | None = None
        self._entries: OrderedDict[bytes, Verdict] = OrderedDict()
        self._bytes = 0
        self.hits = self.misses = self.passed = 0  # since they were last told; passed: not looked up at all
        self._reason = self._refusal(None)

    def find(self, document: bytes) -> Verdict | None:
        """The answer to this input, if the active policy gave it before to one that is the same to it."""
        reads = self._engine.reads
        if reads is not self._known:
            self._begin(reads)
        key = self._key
        if key is None or len(document) > LARGEST:
            self.passed += 1
            return None
        wanted = key.of(document)
        verdict = self._entries.get(wanted)
        if verdict is None:
            self.misses += 1
            return None
        self._entries.move_to_end(wanted)
        self.hits += 1
        return verdict

    def keep(self, document: bytes, verdict: Verdict) -> None:
        """Remember an answer, if the policy that gave it is still the active one."""
        reads = self._engine.reads
        if reads is not self._known:
            self._begin(reads)
        key = self._key
        if key is None or reads is None or reads.revision != verdict.revision or len(document) > LARGEST:
            return
        wanted = key.of(document)
        before = self._entries.pop(wanted, None)
        if before is not None:
            self._bytes -= _weight(wanted, before)
        self._entries[wanted] = verdict
        self._bytes += _weight(wanted, verdict)
        while self._bytes > MOST_BYTES or len(self._entries) > self._most:
            old, gone = self._entries.popitem(last=False)
            self._bytes -= _weight(old, gone)

    def resize(self, entries: int) -> None:
        """Keep this many from now on; where that is another number, what is kept is forgotten."""
        if entries != self._most:
            self._most = entries
            self._begin(self._engine.reads)

    def why_not(self) -> str | None:
        """Why decisions of the active policy are not kept, as a sentence; None where they are."""
        reads = self._engine.reads
        if reads is not self._known:
            self._begin(reads)
        return self._reason

    def tell(self) -> dict[str, int]:
        """What was counted since the last time, and what is kept now."""
        told = {
            "hits": self.hits,
            "misses": self.misses,
            "passed": self.passed,
            "entries": len(self._entries),
            "bytes": self._bytes,
        }
        self.hits = self.misses = self.passed = 0
        return told

    def _begin(self, reads: Reads | None) -> None:
        self._entries.clear()
        self._bytes = 0
        self._reason = self._refusal(reads)
        self._key = Key(reads) if reads is not None and self._reason is None else None
        self._known = reads

    def _refusal(self, reads: Reads | None) -> str | None:
        if not self._most:
            return "The cache is switched off (policy.cache_entries is 0)."
        return "The engine does not say what its policy reads." if reads is None else why_not(reads)


def _weight(key: bytes, verdict: Verdict) -> int:
    return _ENTRY + len(key) + len(verdict.answer or b"")
