"""Two phases between an offered bundle and the decisions it makes, and the way back.

First everything that can fail: open, verify, order, compile, schema, the bundle's own tests, the canaries. Then, and
only where all of that passed: a record in the evidence, a line of history on the disk with the archive beside it, and
the swap, which is one assignment. Who asked is answered after that. Whatever fails leaves the last good policy
deciding, is recorded with its reasons, and is told once (event ``policy_rejected``), however often it is offered.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from pathlib import Path
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from sidecar.adapters.policy.bundle_sources import FileSource, Source
from sidecar.adapters.policy.bundles import Opened, Terms, ask_canaries
from sidecar.adapters.policy.embedded import EmbeddedEngine, Policy
from sidecar.adapters.policy.history import History
from sidecar.adapters.policy.library import About
from sidecar.adapters.policy.succession import check_order
from sidecar.errors import Misconfigured, Reason, SidecarError
from sidecar.model.activation import ACTIVATED, BY_SOURCE, REFUSED, Activation
from sidecar.model.evidence import CHANGE, LEAF_VERSION, Change, Leaf
from sidecar.ports import Clock, EvidenceLog, Observer

CHANGE_KIND: Final = "activation"
_ERRORS_KEPT: Final = 20  # of one refusal
_DIGEST_START: Final = len("sha256:") + 8  # how much of a digest names a bundle


class Settings(NamedTuple):
    """What a reload of the configuration may change. ``poll_seconds``: how often the source is asked."""

    source: Source
    terms: Terms
    poll_seconds: float


class _Asked(NamedTuple):
    """Who asks for an activation, and why."""

    origin: str
    by: str = BY_SOURCE
    reason: str = ""
    rollback: bool = False


class Activations:
    """The bundles of one engine. Its coroutines run on the event loop; what blocks goes to threads."""

    def __init__(
        self,
        engine: EmbeddedEngine,
        history: History,
        settings: Settings,
        evidence: EvidenceLog,
        clock: Clock,
        observer: Observer,
    ) -> None:
        self._engine = engine
        self._history = history
        self._settings = settings
        self._evidence = evidence
        self._clock = clock
        self._observer = observer
        self._seen: str | None = None  # tag of what the source gave last
        self._due = 0.0
        self._trouble = ""
        self._changing = asyncio.Lock()

    def configure(self, settings: Settings) -> None:
        """Serve another configuration from the next look on, which comes at once."""
        self._settings, self._seen, self._due = settings, None, 0.0

    async def start(self) -> None:
        """Let the policy decide that was active before, then see what the source has. Raises nothing for either."""
        async with self._changing:
            active = self._history.standing.active
            if active is not None and active.bundle is not None:
                try:
                    policy = await asyncio.to_thread(self._again, active.bundle)
                except SidecarError as error:
                    self._reject(error, active)
                else:
                    self._engine.swap(policy)
        await self.look()

    async def look(self) -> None:
        """Ask the source if it is time to. What is offered is activated, or refused and told; nothing is raised."""
        if self._clock.monotonic() < self._due:
            return
        with contextlib.suppress(SidecarError):  # told where it happened
            await self.activate()

    async def activate(self, path: Path | None = None, by: str = BY_SOURCE, reason: str = "") -> Activation | None:
        """Activate what the source, or the file at ``path``, has; None where nothing has changed.

        Raises ``Misconfigured`` where it is refused, with every reason, and ``Unavailable`` where it cannot be read
        or recorded now.
        """
        async with self._changing:
            source = self._settings.source if path is None else FileSource(path)
            self._due = self._clock.monotonic() + self._settings.poll_seconds
            try:
                offer = await source.fetch(self._seen if path is None and by == BY_SOURCE else None)
            except SidecarError as error:
                self._source_fails(source.origin, error)
                raise
            self._source_answers(source.origin)
            if offer is None:
                return None
            try:
                done = await self._activate(offer.archive, _Asked(source.origin, by, reason))
            except Misconfigured:
                self._seen = (
                    offer.tag if path is None else self._seen
                )  # refused for good; anything else is tried again
                raise
            self._seen = offer.tag if path is None else self._seen
            return done

    async def rollback(self, to: str | None, by: str, reason: str) -> Activation:
        """Go back to the kept bundle before the active one, or to ``to``: a revision, the first characters of one,
        a manifest's revision or a sequence. Raises as ``activate`` does.
        """
        async with self._changing:
            chosen = self._chosen(to)
            assert chosen.bundle is not None
            archive = await asyncio.to_thread(self._history.archive, chosen.bundle)
            done = await self._activate(archive, _Asked(chosen.origin, by, reason, rollback=True))
            if done is None:
                raise Misconfigured("that bundle decides already")
            return done

    def listed(self, limit: int) -> list[Activation]:
        """The last entries of the history, newest first."""
        return self._history.entries[: -limit - 1 : -1]

    def kept(self) -> list[Activation]:
        """What can be gone back to, newest first."""
        return self._history.kept()

    def close(self) -> None:
        """Give the history back."""
        self._history.close()

    def _chosen(self, to: str | None) -> Activation:
        active = self._history.standing.active
        others = [entry for entry in self._history.kept() if active is None or entry.bundle != active.bundle]
        if to is not None:
            others = [entry for entry in others if _is_called(entry, to)]
        if not others:
            raise Misconfigured(
                "no other bundle is kept that this could go back to; `sidecar policy history` lists them"
            )
        if to is not None and len(others) > 1:
            raise Misconfigured(f"several kept bundles are called {to!r}; name one by its sha256")
        return others[0]

    def _again(self, bundle: str) -> Policy:
        opened = Opened(self._settings.terms, self._history.archive(bundle), again=True)
        if opened.about.bundle != bundle:
            raise Misconfigured(f"the kept bundle {bundle} has other content now")
        return opened.load()[0]

    async def _activate(self, archive: bytes, asked: _Asked) -> Activation | None:
        about = About()
        try:
            opened = await asyncio.to_thread(Opened, self._settings.terms, archive)
            about = opened.about
            if about.digest == self._engine.revision:
                return None
            if not asked.rollback:
                ordered, by_hand = bool(self._settings.terms.keys), asked.by != BY_SOURCE
                check_order(self._history.standing, about, ordered=ordered, asked=by_hand)
            policy, tests, cases = await asyncio.to_thread(self._prepared, opened)
        except Misconfigured as error:
            await self._refused(about, asked, error)
            raise
        entry = self._entry(about, asked, ACTIVATED)
        entry = replace(entry, tests=tests, cases=cases)
        await self._commit(entry, archive, policy)
        return entry

    def _prepared(self, opened: Opened) -> tuple[Policy, int, int]:
        policy, tests = opened.load()
        return policy, tests, ask_canaries(policy, self._settings.terms)

    async def _commit(self, entry: Activation, archive: bytes, policy: Policy) -> None:
        before = self._engine.revision
        try:
            first = await self._record(entry, before)
            await asyncio.to_thread(self._history.append, entry, archive)
        except SidecarError as error:
            self._reject(error, entry)
            raise
        self._engine.swap(policy)
        self._observer.observe("policy_activated", _told(entry))
        await self._record(entry, before, first)

    async def _refused(self, about: About, asked: _Asked, error: Misconfigured) -> None:
        entry = self._entry(about, asked, REFUSED)
        reasons = error.reasons or (Reason(error.code, error.detail),)
        entry = replace(
            entry, code=reasons[0].code, errors=tuple(reason.message for reason in reasons[:_ERRORS_KEPT])
        )
        last = next((one for one in reversed(self._history.entries) if one.by == entry.by), None)
        if last is not None and replace(last, number=entry.number, time=entry.time) == entry:
            return  # offered again, as after a restart: told before
        self._reject(error, entry)
        await self._record(entry, self._engine.revision)
        await asyncio.to_thread(self._history.append, entry)

    async def _record(self, entry: Activation, before: str | None, first: int | None = None) -> int:
        change = Change(
            kind=CHANGE_KIND,
            id=entry.revision or entry.origin,
            verb="put",
            version=entry.number if first is not None or entry.code else None,
            before=before,
            after=entry.revision,
            of=first,
        )
        leaf = Leaf(
            v=LEAF_VERSION,
            kind=CHANGE,
            origin="",
            index=-1,
            call_id=secrets.token_hex(16),
            time=0,
            tenant=self._settings.terms.tenant,
            principal=entry.by,
            surface="policy",
            bundle=entry.revision,
            code=entry.code or None,
            reasons=tuple({"code": entry.code, "message": message[:500]} for message in entry.errors),
            change=change,
        )
        return (await self._evidence.append(leaf)).index

    def _entry(self, about: About, asked: _Asked, outcome: str) -> Activation:
        return Activation(
            number=len(self._history.entries) + 1,
            time=self._clock.now(),
            outcome=outcome,
            origin=asked.origin,
            by=asked.by,
            reason=asked.reason,
            revision=about.digest or None,
            bundle=about.bundle or None,
            name=about.revision,
            sequence=about.sequence,
            key=about.key,
            rollback=asked.rollback,
        )

    def _reject(self, error: SidecarError, entry: Activation) -> None:
        """The alarm: the last good policy goes on deciding; before the first one every call is denied."""
        errors = [reason.message for reason in error.reasons]
        code = error.reasons[0].code if error.reasons else error.code
        self._observer.observe(
            "policy_rejected", {"message": error.detail, "errors": errors, **_told(entry), "code": code}
        )

    def _source_fails(self, origin: str, error: SidecarError) -> None:
        if error.detail != self._trouble:
            self._trouble = error.detail
            self._observer.observe("policy_source", {"outcome": "failed", "origin": origin, "message": error.detail})

    def _source_answers(self, origin: str) -> None:
        if self._trouble:
            self._trouble = ""
            self._observer.observe("policy_source", {"outcome": "answers", "origin": origin, "message": ""})


def _is_called(entry: Activation, name: str) -> bool:
    start = f"sha256:{name.removeprefix('sha256:')}"
    is_digest = len(start) >= _DIGEST_START and any(
        (digest or "").startswith(start) for digest in (entry.revision, entry.bundle)
    )
    return is_digest or name in (entry.name, str(entry.sequence))


def _told(entry: Activation) -> dict[str, Any]:
    return {
        "revision": entry.revision,
        "name": entry.name,
        "sequence": entry.sequence,
        "origin": entry.origin,
        "by": entry.by,
        "reason": entry.reason,
        "rollback": entry.rollback,
    }
