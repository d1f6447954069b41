"""A policy engine without an engine: a Python function decides."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from sidecar.errors import Unavailable
from sidecar.model.decision import Verdict

Rule = Callable[[bytes], bytes | None]


class FakeEngine:
    """A ``PolicyEngine`` that answers with ``rule``; whatever the rule raises is an engine that fails."""

    def __init__(self, rule: Rule | None = None, revision: str = "sha256:" + "0" * 64) -> None:
        self._rule = rule
        self.reads_destination = False
        self._revision = revision
        self.documents: list[bytes] = []

    @property
    def revision(self) -> str | None:
        return self._revision if self._rule else None

    async def evaluate(self, document: bytes) -> Verdict:
        return self._decide(document)

    async def evaluate_all(self, documents: Sequence[bytes]) -> list[Verdict]:
        if self._rule is None:
            raise Unavailable("policy_unavailable", "No policy is loaded, so every call is denied.")
        return [self._decide(document) for document in documents]

    def _decide(self, document: bytes) -> Verdict:
        if self._rule is None:
            raise Unavailable("policy_unavailable", "No policy is loaded, so every call is denied.")
        self.documents.append(document)
        try:
            return Verdict(self._revision, self._rule(document))
        except Exception as error:
            raise Unavailable("policy_unavailable", "The policy failed on this call.") from error
