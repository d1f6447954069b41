"""The trail of a call, and the leaves made from it.

A trail collects what is known as the path goes on, so that a refusal at any step is recorded with all that was known
then. It never holds a secret.
"""

from __future__ import annotations

import base64
from collections.abc import AsyncIterator
from typing import Any, Final

import msgspec

from sidecar.errors import SidecarError, Unavailable
from sidecar.model.call import Call
from sidecar.model.decision import Decision, Obligations
from sidecar.model.evidence import (
    CHUNK,
    INTENT,
    LEAF_VERSION,
    OUTCOME,
    REFUSAL,
    CredentialUse,
    DestinationUse,
    Leaf,
    Result,
)
from sidecar.model.principal import Principal
from sidecar.pipeline.select import Target
from sidecar.pipeline.traffic import Traffic

MOST_RECORDED: Final = 16 << 20  # bytes of two bodies; in base64 they are under the log's limit for a document
_MICROSECONDS = 1_000_000
_NOTHING = Obligations()


class Trail:
    """What is known of one call so far. Times are seconds of a monotonic clock."""

    __slots__ = (
        "body",
        "call",
        "closing",
        "credential",
        "decision",
        "destination",
        "document",
        "input_hash",
        "intent",
        "laps",
        "place",
        "principal",
        "result",
        "revision",
        "started",
        "target",
        "tenant",
    )

    def __init__(self, call: Call, tenant: str, started: float) -> None:
        self.call = call
        self.tenant = tenant  # the sidecar's own: evidence is the tenant's, whoever called
        self.started = started
        self.laps: dict[str, int] = {}
        self.principal: Principal | None = None
        self.target: Target | None = None
        self.document: bytes | None = None
        self.input_hash: str | None = None
        self.revision: str | None = None
        self.decision: Decision | None = None
        self.destination: DestinationUse | None = None
        self.credential: CredentialUse | None = None
        self.intent: int | None = None
        self.result: Result | None = None
        # What is given back when the call ends, unless a stream has taken it over.
        self.place: Traffic | None = None
        self.body: AsyncIterator[bytes] | None = None
        self.closing = False  # the outcome is on its way to the log: it must not be recorded twice

    @property
    def caller(self) -> Principal:
        """Who asks, from the moment that it is known."""
        assert self.principal is not None
        return self.principal

    def lap(self, name: str, since: float, now: float) -> None:
        """Note how long a step took; shown in evidence in microseconds."""
        self.laps[name] = int((now - since) * _MICROSECONDS)

    def intent_leaf(self) -> Leaf:
        """What is about to be done, and why it may be."""
        decision = self.decision
        assert decision is not None
        return self._leaf(
            INTENT,
            decision=True,
            reasons=tuple({"code": reason.code, "message": reason.message} for reason in decision.reasons),
            obligations=_set(decision),
            input_hash=self.input_hash,
            destination=self.destination,
            credential=self.credential,
            idempotency_key=self.call.idempotency_key,
        )

    def outcome_leaf(self) -> Leaf:
        """What came of it."""
        return self._leaf(
            OUTCOME,
            intent=self.intent,
            destination=self.destination,
            credential=self.credential,
            result=self.result,
            timings=self.laps,
        )

    def chunk_leaf(self, result: Result) -> Leaf:
        """What of a stream has gone out so far."""
        return self._leaf(CHUNK, intent=self.intent, result=result)

    def refusal_leaf(self, error: SidecarError, count: int | None = None) -> Leaf:
        """Why nothing, or nothing more, was done; after an intent it is the intent's outcome."""
        return self._leaf(
            REFUSAL if self.intent is None else OUTCOME,
            intent=self.intent,
            code=error.code,
            reasons=tuple({"code": reason.code, "message": reason.message} for reason in error.reasons),
            decision=self.decision.allow if self.decision else None,
            input_hash=self.input_hash if self.intent is None else None,
            destination=self.destination,
            credential=self.credential,
            result=self.result,
            timings=self.laps or None,
            peer=self.call.peer or None,
            count=count,
        )

    def event(self, code: str, evidence_id: str | None) -> dict[str, Any]:
        """The canonical event of the call, for the observer: ``code`` is allowed or why it was refused."""
        call, target = self.call, self.target
        return {
            "call_id": call.id,
            "tenant": self.tenant,
            "traceparent": call.traceparent,
            "surface": call.surface,
            "action": call.action,
            "principal": self.principal.id if self.principal else None,
            "plane": call.plane if target else None,
            "connector": target.connector.id if target else None,
            "operation": target.operation.id if target else None,
            "code": code,
            "evidence_id": evidence_id,
            "policy_revision": self.revision,
            "status": self.result.status if self.result else None,
            "laps": self.laps,
        }

    def alarm(self, error: SidecarError) -> dict[str, Any]:
        """For the observer: a credential, or what stands for one, was about to be used where it may not be."""
        target = self.target
        binding = target.connector.binding if target else None
        return {
            "call_id": self.call.id,
            "principal": self.principal.id if self.principal else None,
            "connector": target.connector.id if target else None,
            "credential": binding.id if binding else None,
            "reasons": [reason.code for reason in error.reasons] or [error.code],
        }

    def _leaf(self, kind: str, **more: Any) -> Leaf:
        call, principal, target = self.call, self.principal, self.target
        return Leaf(
            v=LEAF_VERSION,
            kind=kind,
            origin="",
            index=-1,
            call_id=call.id,
            time=0,
            tenant=self.tenant,
            principal=principal.id if principal else None,
            key=principal.key if principal else None,
            surface=call.surface,
            action=call.action,
            plane=call.plane,
            connector=target.connector.id if target else call.connector,
            operation=target.operation.id if target else call.operation,
            session=call.session,
            bundle=self.revision,
            **more,
        )


def _set(decision: Decision) -> dict[str, Any] | None:
    """The obligations that ask for something."""
    if decision.obligations == _NOTHING:
        return None
    values = msgspec.structs.asdict(decision.obligations)
    return {name: value for name, value in values.items() if value} or None


def agents_view(leaf: Leaf) -> Leaf:
    """What an agent sees of its own record: nothing of the transport, the vault or the log's keys (INV-6)."""
    where = leaf.destination
    return msgspec.structs.replace(
        leaf,
        destination=DestinationUse(host=where.host, port=where.port) if where else None,
        credential=None,
        attachment=None,
    )


def body_record(request: bytes, answer: bytes) -> bytes:
    """The bodies of an exchange as one document, sealed beside the outcome: base64, because they may be anything.

    The request's is the one before the credential; the answer's is scrubbed. Raises
    ``Unavailable("answer_too_large")`` for more than the log would take: the outcome itself must not be lost.
    """
    if len(request) + len(answer) > MOST_RECORDED:
        detail = f"The policy records both bodies, which may have {MOST_RECORDED} bytes together; these have more."
        raise Unavailable("answer_too_large", detail)
    encoded = {"request": base64.b64encode(request).decode(), "answer": base64.b64encode(answer).decode()}
    return msgspec.json.encode(encoded)


def counted_leaf(tenant: str, call_id: str, peer: str, code: str, count: int) -> Leaf:
    """One record that stands for ``count`` refusals of an unauthenticated peer."""
    return Leaf(
        v=LEAF_VERSION,
        kind=REFUSAL,
        origin="",
        index=-1,
        call_id=call_id,
        time=0,
        tenant=tenant,
        code=code,
        peer=peer,
        count=count,
    )
