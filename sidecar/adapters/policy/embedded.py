"""The embedded engine: OPA in this process, one compiled policy at a time, swapped whole.

An evaluation takes some 40 microseconds, less than handing it to a thread, so it runs on the event loop with a short
deadline. What does not end in time starts again in a worker thread with the rest of the budget; a large input starts
there. A revision of which more than one in a hundred of the last thousand evaluations expired goes to the threads at
once, so that a slow policy costs its own calls time and nobody else's. An expiry counts when the second evaluation is
slow as well, by its processor time where that can be told: on a busy machine a quick policy expires too, and threads
would only make it slower.

Every failure is ``Unavailable("policy_unavailable")``: no policy, no answer in time, an error or a panic of the
engine. An evaluation keeps the policy it began with; a swapped-out policy is released when the last one has ended.
"""

from __future__ import annotations

import asyncio
import time
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final

from sidecar.adapters.policy.files import PolicyFiles, digest_of, source_of, with_schema
from sidecar.adapters.policy.library import Facts, Library, Loaded, Room, Status, library
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.decision import Reads, Verdict
from sidecar.ports import Observer

WINDOW: Final = 1000  # evaluations of a revision that are looked back on
TOLERATED: Final = WINDOW // 100
WORKERS: Final = 4
QUICK_BYTES: Final = 1 << 15  # a larger input is not even read on the event loop


class Policy:
    """A compiled policy and how punctual it has been. Released when nothing refers to it any more."""

    def __init__(self, engine: Library, loaded: Loaded, revision: str) -> None:
        self.engine = engine
        self.handle = loaded.handle
        self.facts = loaded.facts
        self.revision = revision
        self.reads = Reads(self.revision, loaded.facts.base, loaded.facts.builtins)
        self.reads_destination = any(
            path[0] == "input" and (len(path) == 1 or path[1] == "destination") for path in loaded.facts.base
        )
        self.evaluations = 0
        self.threaded = False
        self._expired: deque[int] = deque()
        weakref.finalize(self, engine.release, loaded.handle)

    def expire(self) -> bool:
        """Note that the evaluation that just ran expired; say whether the revision goes to the threads now."""
        self._expired.append(self.evaluations)
        while self._expired[0] <= self.evaluations - WINDOW:
            self._expired.popleft()
        self.threaded = len(self._expired) > TOLERATED
        return self.threaded

    def decide(self, document: bytes, deadline: float, room: Room) -> tuple[int, bytes]:
        """Evaluate by ``deadline`` (``time.monotonic`` seconds): a status, and the answer or a message."""
        microseconds = int((deadline - time.monotonic()) * 1e6)
        if microseconds <= 0:
            return Status.TIMEOUT, b""
        status, size = self.engine.evaluate(self.handle, document, microseconds, room)
        if status == Status.TOO_SMALL:
            return self.decide(document, deadline, Room(size * 2))
        return status, room.view[:size].tobytes()


class EmbeddedEngine:
    """A ``PolicyEngine``. Durations are seconds; nothing is loaded before the first ``load``."""

    def __init__(self, quick_seconds: float, budget_seconds: float, observer: Observer) -> None:
        self._quick = min(quick_seconds, budget_seconds)
        self._quick_microseconds = max(1, int(self._quick * 1e6))
        self._budget = budget_seconds
        self._observer = observer
        self._policy: Policy | None = None
        self._room = Room()  # the event loop's; worker threads bring their own
        self._workers = ThreadPoolExecutor(WORKERS, thread_name_prefix="policy")

    @property
    def revision(self) -> str | None:
        """Of the active policy and its data; None before the first load."""
        policy = self._policy
        return policy.revision if policy else None

    @property
    def reads_destination(self) -> bool:
        """Whether the active policy depends on ``input.destination``, by OPA's own analysis of it."""
        policy = self._policy
        return policy is None or policy.reads_destination

    @property
    def facts(self) -> Facts | None:
        """What OPA's analysis says of the active policy; None before the first load."""
        policy = self._policy
        return policy.facts if policy else None

    @property
    def reads(self) -> Reads | None:
        """What a decision cache must know of the active policy (``ports.Analysed``)."""
        policy = self._policy
        return policy.reads if policy else None

    def load(self, files: PolicyFiles, *, checked: bool = False) -> str:
        """``compile`` and ``swap``; the revision. Raises like ``compile``."""
        policy = self.compile(files, checked=checked)
        self.swap(policy)
        return policy.revision

    def compile(self, files: PolicyFiles, *, checked: bool = False) -> Policy:
        """A policy for ``swap``; may be called from a thread. ``checked`` as in ``compiled``.

        Raises ``Misconfigured`` with every error of the failing stage, and ``Unavailable`` without an engine; the
        policy that was active stays so.
        """
        try:
            return compiled(files, checked=checked)
        except (Misconfigured, Unavailable):
            self._observer.observe("policy_load", {"outcome": "failed", "revision": self.revision})
            raise

    def swap(self, policy: Policy) -> None:
        """Let ``policy`` decide from the next evaluation on; those under way end with the one they began with.

        While calls are made, on the event loop only: a call asks what the policy reads, and is then decided by that.
        """
        self._policy = policy
        self._observer.observe("policy_load", {"outcome": "loaded", "revision": policy.revision})

    async def evaluate(self, document: bytes) -> Verdict:
        """Decide one input, by one revision, within the budget."""
        policy = self._policy
        if policy is None:
            raise _no_policy()
        policy.evaluations += 1
        if policy.threaded or len(document) > QUICK_BYTES:
            return await self._evaluate_in_thread(policy, document, time.monotonic() + self._budget)
        room = self._room
        status, size = policy.engine.evaluate(policy.handle, document, self._quick_microseconds, room)
        if status == Status.ANSWERED:
            return Verdict(policy.revision, room.view[:size].tobytes())
        if status == Status.UNDEFINED:
            return Verdict(policy.revision, None)
        if status == Status.FAILED:
            raise self._failed(policy, room.view[:size].tobytes())
        deadline = time.monotonic() + self._budget - self._quick
        return await self._evaluate_in_thread(policy, document, deadline, expired=status == Status.TIMEOUT)

    async def evaluate_all(self, documents: Sequence[bytes]) -> list[Verdict]:
        """Decide many inputs by one revision in a thread; each has the whole budget, the first failure ends it."""
        policy = self._policy
        if policy is None:
            raise _no_policy()

        def decide_all() -> list[tuple[int, bytes]]:
            room, results = Room(), []
            for document in documents:
                results.append(policy.decide(document, time.monotonic() + self._budget, room))
                if results[-1][0] > Status.UNDEFINED:
                    break
            return results

        results = await asyncio.get_running_loop().run_in_executor(self._workers, decide_all)
        return [self._verdict(policy, status, answer) for status, answer in results]

    def close(self) -> None:
        """Let the worker threads end."""
        self._workers.shutdown(wait=False, cancel_futures=True)

    async def _evaluate_in_thread(
        self, policy: Policy, document: bytes, deadline: float, *, expired: bool = False
    ) -> Verdict:
        def decide() -> tuple[int, bytes, float]:
            started = time.thread_time()
            status, answer = policy.decide(document, deadline, Room())
            return status, answer, time.thread_time() - started

        work = asyncio.get_running_loop().run_in_executor(self._workers, decide)
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                status, answer, seconds = await work
        except TimeoutError:  # still in the queue, or the engine is about to say so itself
            status, answer, seconds = Status.TIMEOUT, b"", self._quick
        slow = seconds >= self._quick / 2 or status == Status.TIMEOUT or policy.facts.detached
        if expired and slow and policy.expire():
            self._observer.observe("policy_slow", {"revision": policy.revision})
        return self._verdict(policy, status, answer)

    def _verdict(self, policy: Policy, status: int, answer: bytes) -> Verdict:
        if status == Status.ANSWERED:
            return Verdict(policy.revision, answer)
        if status == Status.UNDEFINED:
            return Verdict(policy.revision, None)
        if status == Status.TIMEOUT:
            self._observer.observe("policy_timeout", {"revision": policy.revision})
            raise Unavailable("policy_unavailable", "The policy did not decide in time, so the call is denied.")
        raise self._failed(policy, answer)

    def _failed(self, policy: Policy, message: bytes) -> Unavailable:
        # The message may quote the policy or the input: it is for the operator, not for the caller.
        text = message.decode(errors="replace")
        self._observer.observe("policy_error", {"revision": policy.revision, "message": text})
        return Unavailable("policy_unavailable", "The policy failed on this call, so the call is denied.")


def compiled(files: PolicyFiles, *, checked: bool = False) -> Policy:
    """The policy of a directory's files, ready to decide. Raises like ``EmbeddedEngine.load``.

    ``checked``: every use of the input must fit its schema, for a rule that reads a misspelt field never holds, and a
    deny would be none.
    """
    engine, source = library(), source_of(files)
    loaded = engine.load(with_schema(source) if checked else source)
    return Policy(engine, loaded, digest_of(source))


def _no_policy() -> Unavailable:
    return Unavailable("policy_unavailable", "No policy is loaded, so every call is denied.")
