"""A policy asked away from a sidecar: by the commands of its author, in the engine that decides in production.

Deciding takes as long as it takes: a trial has no budget to keep but the one it is given.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Final

from sidecar.adapters.policy.files import PolicyFiles, revision_of, source_of
from sidecar.adapters.policy.library import Room, Status, library
from sidecar.config.decision_cases import Case, Difference, differences
from sidecar.errors import Unavailable

BUDGET_SECONDS: Final = 5.0
_WARM: Final = 200


class Trial:
    """A loaded policy; a context manager, which releases it.

    Raises ``Misconfigured`` where the policy does not compile, and ``Unavailable`` without an engine.
    """

    def __init__(self, files: PolicyFiles) -> None:
        self._engine = library()
        self.revision = revision_of(files)
        loaded = self._engine.load(source_of(files))
        self.facts = loaded.facts
        self._handle = loaded.handle
        self._room = Room(1 << 20)

    def __enter__(self) -> Trial:
        return self

    def __exit__(self, *_: object) -> None:
        self._engine.release(self._handle)

    def answer(self, document: bytes) -> bytes | None:
        """The policy's answer to one input, None where it is undefined.

        Raises ``Unavailable("policy_unavailable")`` with the engine's own words where it fails or takes too long.
        """
        status, size = self._engine.evaluate(self._handle, document, int(BUDGET_SECONDS * 1e6), self._room)
        said = self._room.view[:size].tobytes()
        match status:
            case Status.ANSWERED:
                return said
            case Status.UNDEFINED:
                return None
            case Status.FAILED:
                words = f"The policy failed: {said.decode(errors='replace')}"
            case Status.TIMEOUT:
                words = f"The policy did not decide in {BUDGET_SECONDS:g} seconds."
            case _:
                words = f"The policy's answer is larger than {self._room.size} bytes."
        raise Unavailable("policy_unavailable", words)

    def check(self, cases: Sequence[Case]) -> list[tuple[Case, tuple[Difference, ...]]]:
        """Each case with what it and the policy disagree about; a failure of the policy is a difference too."""
        return [(case, self._differences(case)) for case in cases]

    def _differences(self, case: Case) -> tuple[Difference, ...]:
        try:
            return differences(case, self.answer(case.document()))
        except Unavailable as error:
            return (Difference("decision", "allow" if case.allow else "deny", error.detail),)

    def time(self, document: bytes, count: int) -> list[int]:
        """Nanoseconds of wall clock of each of ``count`` evaluations, after some that do not count."""
        taken = []
        for _ in range(min(_WARM, count)):
            with suppress(Unavailable):
                self.answer(document)
        for _ in range(count):
            started = time.perf_counter_ns()
            self._engine.evaluate(self._handle, document, int(BUDGET_SECONDS * 1e6), self._room)
            taken.append(time.perf_counter_ns() - started)
        return taken
