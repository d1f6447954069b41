"""The embedded engine, asked directly: no thread, no deadline to speak of."""

from __future__ import annotations

from typing import Final

from sidecar.adapters.policy.library import Room, Status, library
from sidecar.model.decision import Reads, Verdict

REVISION: Final = "sha256:1"
_MICROSECONDS: Final = 5_000_000  # none of the policies is slow, but the machine may be


class Asked:
    """A loaded policy, asked directly."""

    def __init__(self, policy: bytes) -> None:
        self.loaded = library().load(policy)
        self.reads = Reads(REVISION, self.loaded.facts.base, self.loaded.facts.builtins)
        self._room = Room()

    def evaluate(self, document: bytes) -> Verdict | None:
        """The answer, None where the policy fails."""
        status, size = library().evaluate(self.loaded.handle, document, _MICROSECONDS, self._room)
        if status == Status.ANSWERED:
            return Verdict(REVISION, self._room.view[:size].tobytes())
        assert status in {Status.UNDEFINED, Status.FAILED}
        return Verdict(REVISION, None) if status == Status.UNDEFINED else None

    def release(self) -> None:
        library().release(self.loaded.handle)
