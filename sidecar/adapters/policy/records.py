"""What is written down of activations: evidence, the history on the disk, and what the observer is told.

An activation is recorded before it is made (evidence of kind ``change``, then a line of history with the archive
beside it) and once more before it is acknowledged, or with the reason why it was not made; a refusal once, however
often the same is offered again.
"""

from __future__ import annotations

import asyncio
import secrets
from typing import Any, Final, NamedTuple

from msgspec.structs import replace

from sidecar.adapters.policy.history import History
from sidecar.adapters.policy.library import About
from sidecar.errors import Misconfigured, Reason, SidecarError, Unavailable
from sidecar.model.activation import ACTIVATED, BY_SOURCE, REFUSED, Activation
from sidecar.model.evidence import CHANGE, LEAF_VERSION, Change, Leaf
from sidecar.model.registry import ACTIVATION
from sidecar.ports import Clock, EvidenceLog, Observer

CHANGE_KIND: Final = ACTIVATION
_ERRORS_KEPT: Final = 20  # of one refusal
_MESSAGE_KEPT: Final = 500  # characters of each, in evidence


class Asked(NamedTuple):
    """From where something is offered, who asks for it, and why."""

    origin: str
    by: str = BY_SOURCE
    reason: str = ""
    rollback: bool = False


class Intended(NamedTuple):
    """The evidence of an activation that has been recorded and not been made: its index, and the call id of both."""

    record: int
    call_id: str


class Records:
    """The three places together."""

    def __init__(
        self, history: History, evidence: EvidenceLog, clock: Clock, observer: Observer, tenant: str
    ) -> None:
        self.history = history
        self._evidence = evidence
        self._clock = clock
        self._observer = observer
        self._tenant = tenant
        self._alarmed: dict[str, Any] | None = None

    def activation(self, about: About, asked: Asked, tests: int, cases: int) -> Activation:
        """What will be written of a bundle that passed everything."""
        return replace(self._entry(about, asked, ACTIVATED), tests=tests, cases=cases)

    async def intend(self, entry: Activation, archive: bytes, before: str | None) -> Intended:
        """Make ``entry`` durable; then it may decide. Its evidence, for ``confirm``.

        Raises ``Unavailable`` where evidence or history cannot be written: then it may not, and the evidence says so.
        """
        try:
            first = await self._append(entry, before)
            try:
                await asyncio.to_thread(self.history.append, entry, archive)
            except Unavailable as error:
                await self._append(replace(entry, code=error.code, errors=(error.detail,)), before, first)
                raise
        except SidecarError as error:
            self.alarm(error, entry)
            raise
        return first

    async def confirm(self, entry: Activation, before: str | None, first: Intended) -> None:
        """It decides now. Raises ``Unavailable`` where that cannot be recorded."""
        self._alarmed = None
        self._observer.observe("policy_activated", _told(entry))
        await self._append(entry, before, first)

    async def refuse(self, about: About, asked: Asked, error: Misconfigured, before: str | None) -> None:
        """Write down why something is refused, unless it is what was refused last."""
        reasons = error.reasons or (Reason(error.code, error.detail),)
        messages = tuple(reason.message for reason in reasons[:_ERRORS_KEPT])
        entry = replace(self._entry(about, asked, REFUSED), code=reasons[0].code, errors=messages)
        last = next((one for one in reversed(self.history.entries) if one.by == entry.by), None)
        if last is not None and replace(last, number=entry.number, time=entry.time) == entry:
            return  # offered again, as after a restart
        self.alarm(error, entry)
        await self._append(entry, before)
        await asyncio.to_thread(self.history.append, entry)

    def alarm(self, error: SidecarError, entry: Activation) -> None:
        """Tell the observer that something may not decide; the same again is not told until something else is."""
        told = {
            "message": error.detail,
            "errors": [reason.message for reason in error.reasons],
            "code": error.reasons[0].code if error.reasons else error.code,
        }
        told |= _told(entry)
        if told != self._alarmed:
            self._alarmed = told
            self._observer.observe("policy_rejected", told)

    def _entry(self, about: About, asked: Asked, outcome: str) -> Activation:
        return Activation(
            number=len(self.history.entries) + 1,
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

    async def _append(self, entry: Activation, before: str | None, first: Intended | None = None) -> Intended:
        intended = entry.outcome == ACTIVATED and first is None
        call_id = first.call_id if first else secrets.token_hex(16)
        leaf = Leaf(
            v=LEAF_VERSION,
            kind=CHANGE,
            origin="",
            index=-1,
            call_id=call_id,
            time=0,
            tenant=self._tenant,
            principal=entry.by,
            surface="policy",
            bundle=entry.revision,
            code=entry.code or None,
            reasons=tuple({"code": entry.code, "message": text[:_MESSAGE_KEPT]} for text in entry.errors),
            change=Change(
                kind=CHANGE_KIND,
                id=entry.revision or entry.origin,
                verb="put",
                version=None if intended or (first and entry.code) else entry.number,
                before=before,
                after=entry.revision,
                of=first.record if first else None,
            ),
        )
        return Intended((await self._evidence.append(leaf)).index, call_id)


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
