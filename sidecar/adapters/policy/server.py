"""Deciding with the customer's own OPA server, by its REST API.

A decision is ``POST /v1/data/sidecar/authz/decision?provenance=true`` with the input's own bytes. The answer names
the revision that gave it, from the same transaction of the server; one that does not is no decision. Everything but
a whole answer in time is ``Unavailable("policy_unavailable")``.

Beside the calls, ``look`` asks twice a second whether the server may decide at all: its health with bundles, its
status (health stays good while OPA refuses a tampered update), the age of its bundles, its revision. While one of
them is not good every call is denied with that as its reason. A look also reads the policies of a new revision and
has them analysed by the same code as the embedded engine's, so that ``reads_destination`` and ``reads`` are facts.
Where they cannot be read or analysed, the policy is taken to read everything and no decision is kept.

This stands on what a revision means: the same revision is the same policy and data. Bundles keep to it (OPA refuses
writes to what a bundle owns), and so does ``sidecar policy push``. Who writes to the server's API by hand breaks it;
so decisions are kept only where ``policy.server.cache`` says that nobody does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Final

from msgspec import Struct

from sidecar.adapters.policy import server_answers as answers
from sidecar.adapters.policy.embedded import compiled
from sidecar.adapters.policy.files import PolicyFiles
from sidecar.adapters.policy.server_answers import Unusable
from sidecar.adapters.policy.server_connection import LARGE_LIMIT, Reply, ServerConnection
from sidecar.config.load import Loaded
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.decision import Reads, Verdict
from sidecar.ports import Observer

LOOK_SECONDS: Final = 2.0  # for one whole look
FRESH_SECONDS: Final = 1.0  # decisions are kept only while a look was good so lately: a revocation holds by then
AT_ONCE: Final = 8  # decisions of one ``evaluate_all`` that are asked for at once
_DECISION: Final = "/v1/data/sidecar/authz/decision?provenance=true"
_NOTHING: Final = "/v1/data/sidecar/authz/revision?provenance=true"  # undefined: only its provenance is of interest
_JSON: Final = "application/json"


class _Active(Struct, frozen=True):
    """What is known of the revision that decides; ``reads`` is None where it could not be analysed.

    ``settled`` is False where another look may learn more.
    """

    revision: str
    reads: Reads | None = None
    reads_destination: bool = True
    settled: bool = True


class ServerEngine:
    """A ``PolicyEngine``, and ``Analysed``. Durations are seconds; nothing is decided before a good ``look``."""

    def __init__(
        self,
        connection: ServerConnection,
        budget_seconds: float,
        maximum_age_seconds: float,
        observer: Observer,
        *,
        cached: bool = False,
    ) -> None:
        self._connection = connection
        self._budget = budget_seconds
        self._maximum_age = maximum_age_seconds
        self._observer = observer
        self._cached = cached
        self._fault: str | None = "it was not asked yet"
        self._told: str | None = ""  # the fault that was last observed; nothing yet
        self._active: _Active | None = None
        self._seen = float("-inf")  # when the last good look began, on the monotonic clock
        self._look: asyncio.Task[None] | None = None

    @property
    def problem(self) -> str | None:
        """Why the server may not decide now; None where it may."""
        return self._fault

    @property
    def revision(self) -> str | None:
        """Of the policy that decides; None while the server may not."""
        return self._active.revision if self._active is not None and self._fault is None else None

    @property
    def reads_destination(self) -> bool:
        """Whether the policy depends on ``input.destination``; True where that is not known."""
        return self._active is None or self._active.reads_destination

    @property
    def reads(self) -> Reads | None:
        """What a decision cache must know; None where decisions must not be kept."""
        if not self._cached or self._fault is not None or self._active is None:
            return None
        return self._active.reads if time.monotonic() - self._seen < FRESH_SECONDS else None

    async def evaluate(self, document: bytes) -> Verdict:
        """Decide one input within the budget."""
        self._check_ready()
        known = self._active
        asked_once = known is not None and not known.reads_destination
        try:
            async with asyncio.timeout(self._budget):
                verdict = await self._ask(document)
                if asked_once and known is not None and verdict.revision != known.revision:
                    await self._check_still(verdict.revision)
                return verdict
        except TimeoutError:
            self._observer.observe("policy_timeout", {"revision": self.revision})
            raise Unavailable(
                "policy_unavailable", "The OPA server did not decide in time, so the call is denied."
            ) from None
        except Unusable as fault:
            self._observer.observe("policy_error", {"revision": self.revision, "message": str(fault)})
            raise _denied(str(fault)) from None

    async def evaluate_all(self, documents: Sequence[bytes]) -> list[Verdict]:
        """Decide many inputs by one revision, a few at once; each has the whole budget, the first failure ends it."""
        self._check_ready()
        for _ in range(2):
            verdicts = await self._evaluate_each(documents)
            if len({verdict.revision for verdict in verdicts}) <= 1:
                return verdicts
        raise _denied("its policy keeps changing")

    async def look(self) -> None:
        """Find out whether the server may decide, and by what. Never raises; looks that overlap are one."""
        if self._look is None or self._look.done():
            self._look = asyncio.create_task(self._look_once())
        await asyncio.shield(self._look)

    async def load(self) -> None:
        """Look: what decides is loaded by the server itself."""
        await self.look()

    def configure(self, loaded: Loaded) -> None:
        """Nothing of a server is changed while it decides; another one needs a restart."""

    async def close(self) -> None:
        """Close every connection."""
        if self._look is not None:
            self._look.cancel()
            await asyncio.gather(self._look, return_exceptions=True)
        self._fault = "the sidecar is shutting down"
        await self._connection.close()

    def _check_ready(self) -> None:
        if self._fault is not None:
            raise _denied(self._fault)

    async def _ask(self, document: bytes) -> Verdict:
        reply = await self._connection.exchange("POST", _DECISION, b'{"input":' + document + b"}")
        if reply.status >= 500:
            self._observer.observe(
                "policy_error", {"revision": self.revision, "message": answers.failure(reply.body)}
            )
            raise Unavailable("policy_unavailable", "The policy failed on this call, so the call is denied.")
        if reply.status != 200:
            raise Unusable(f"it answers {reply.status}")
        if reply.content_type != _JSON:
            raise Unusable("its answer is not JSON")
        return Verdict(*answers.decided(reply.body))

    async def _check_still(self, revision: str) -> None:
        """The policy was replaced after the caller learned that the destination does not matter to it.

        Raises ``Unusable`` unless the same holds of ``revision``: the caller will not ask a second time.
        """
        await self.look()
        self._check_ready()
        if self._active is None or self._active.reads_destination or self._active.revision != revision:
            raise Unusable("its policy was replaced while this call was decided; try again")

    async def _evaluate_each(self, documents: Sequence[bytes]) -> list[Verdict]:
        verdicts: list[Verdict | None] = [None] * len(documents)
        waiting = iter(enumerate(documents))

        async def work() -> None:
            for at, document in waiting:
                verdicts[at] = await self.evaluate(document)

        workers = [asyncio.create_task(work()) for _ in range(min(AT_ONCE, len(documents)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)
        return [verdict for verdict in verdicts if verdict is not None]

    async def _look_once(self) -> None:
        began = time.monotonic()
        try:
            async with asyncio.timeout(LOOK_SECONDS):
                active = await self._inspect()
        except Unusable as fault:
            self._tell(str(fault))
        except TimeoutError:
            self._tell("it does not answer in time")
        except Exception as error:  # whatever it said: what was good at the last look is not known to be so now
            self._observer.observe("failure", {"task": "policy server", "error": type(error).__name__})
            self._tell("what it says of itself cannot be understood")
        else:
            self._seen = began
            before, self._active = self._active, active
            self._tell(None)
            if before is None or before.revision != active.revision:
                self._observer.observe("policy_load", {"outcome": "loaded", "revision": active.revision})

    def _tell(self, fault: str | None) -> None:
        self._fault = fault
        if fault != self._told:
            outcome = "ready" if fault is None else "failed"
            self._observer.observe("policy_server", {"outcome": outcome, "message": fault, "revision": self.revision})
        self._told = fault

    async def _inspect(self) -> _Active:
        connection = self._connection
        await connection.prepare()
        health = await connection.exchange("GET", "/health?bundles")
        if health.status != 200:
            raise Unusable("its health is not good: a bundle is not activated, or it is still starting")
        status = await connection.exchange("GET", "/v1/status", limit=LARGE_LIMIT)
        if status.status != 200:
            raise Unusable("it tells no status: start OPA with --set status.console=true")
        answers.check_status(status.body, status.date, self._maximum_age)
        revision = await self._revision()
        if self._active is not None and self._active.revision == revision and self._active.settled:
            return self._active
        return await self._analyse(revision)

    async def _revision(self) -> str:
        reply = await self._connection.exchange("POST", _NOTHING, b'{"input":{}}')
        if reply.status != 200 or reply.content_type != _JSON:
            raise Unusable(f"it answers {reply.status} when it is asked for its revision")
        return answers.decided(reply.body)[0]

    async def _analyse(self, revision: str) -> _Active:
        """The facts of a revision, if it is still the one after its policies were read."""
        try:
            reply = await self._connection.exchange("GET", "/v1/policies", limit=LARGE_LIMIT)
            found = await asyncio.to_thread(_analysed, reply, revision)
        except Unusable:
            found = _Active(revision)
        after = await self._revision()
        return found if after == revision else _Active(after, settled=False)


def _analysed(reply: Reply, revision: str) -> _Active:
    if reply.status != 200:
        raise Unusable("its policies may not be read")
    try:
        policy = compiled(PolicyFiles(answers.modules(reply.body)))
    except (Misconfigured, Unavailable):
        raise Unusable("its policies cannot be analysed here") from None
    return _Active(revision, Reads(revision, policy.reads.paths, policy.reads.builtins), policy.reads_destination)


def _denied(reason: str) -> Unavailable:
    return Unavailable("policy_unavailable", f"The OPA server cannot decide ({reason}), so the call is denied.")
