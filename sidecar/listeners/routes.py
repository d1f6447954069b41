"""Routes and their guards. A route without a guard, and one that is listed twice, refuses to start."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Generic, NamedTuple, TypeVar

from sidecar.errors import Misconfigured, Refused

Handler = TypeVar("Handler")

PUBLIC = "public"  # probes and metrics: no tenant data
AGENT = "agent"  # a principal of the tenant, by API key

# The roles of people at the administrators' door.
TENANT_ADMIN, AUDITOR, OPERATOR = "tenant-admin", "auditor", "operator"
ROLES = (TENANT_ADMIN, AUDITOR, OPERATOR)

# The guards of that door: who may enter. An auditor reads; what is the operator's is not the tenant's (INV-6).
READS = "reads"
READS_EVIDENCE = "reads evidence"
CHANGES = "changes"
RUNS = "runs"
OPERATES = "operates"
ADMIN_GUARDS: dict[str, frozenset[str]] = {
    READS: frozenset({TENANT_ADMIN, AUDITOR, OPERATOR}),
    READS_EVIDENCE: frozenset({TENANT_ADMIN, AUDITOR}),
    CHANGES: frozenset({TENANT_ADMIN, OPERATOR}),
    RUNS: frozenset({TENANT_ADMIN}),
    OPERATES: frozenset({OPERATOR}),
}

_GUARDS = frozenset({PUBLIC, AGENT, *ADMIN_GUARDS})
_PLACE = re.compile(r"\{(\w+)\}")


class Route(NamedTuple, Generic[Handler]):
    """``pattern`` is a path with ``{name}`` for one segment; ``guard`` says who may enter."""

    method: str
    pattern: str
    guard: str
    handler: Handler


class Found(NamedTuple, Generic[Handler]):
    """A route that matched, with its path's values."""

    handler: Handler
    values: dict[str, str]


class Routes(Generic[Handler]):
    """Finds the route of a request."""

    def __init__(self, routes: Iterable[Route[Handler]]) -> None:
        self._fixed: dict[tuple[str, str], Found[Handler]] = {}
        self._patterns: list[tuple[re.Pattern[str], Route[Handler]]] = []
        seen: set[tuple[str, str]] = set()
        for route in routes:
            if route.guard not in _GUARDS:
                raise Misconfigured(f"the route {route.method} {route.pattern} declares no guard")
            shape = (route.method, _PLACE.sub("{}", route.pattern))
            if shape in seen:
                raise Misconfigured(f"the route {route.method} {route.pattern} is listed twice")
            seen.add(shape)
            if _PLACE.search(route.pattern):
                self._patterns.append((_compile(route.pattern), route))
            else:
                self._fixed[route.method, route.pattern] = Found(route.handler, {})

    def find(self, method: str, path: str) -> Found[Handler]:
        """Raises ``Refused("not_found")``, or ``Refused("method_not_allowed")`` where another method would do."""
        fixed = self._fixed.get((method, path))
        if fixed is not None:
            return fixed
        for pattern, route in self._patterns:
            if route.method == method and (match := pattern.fullmatch(path)):
                return Found(route.handler, match.groupdict())
        allowed = self.methods(path)
        if allowed:
            raise Refused("method_not_allowed", f"This route takes {', '.join(allowed)}.")
        raise Refused("not_found", "There is no such route; the README lists them.")

    def methods(self, path: str) -> list[str]:
        """What a path takes: the ``Allow`` header of a 405 (RFC 9110 section 15.5.6)."""
        allowed = {known for known, at in self._fixed if at == path}
        allowed |= {route.method for pattern, route in self._patterns if pattern.fullmatch(path)}
        return sorted(allowed)


def _compile(pattern: str) -> re.Pattern[str]:
    pieces = _PLACE.split(pattern)
    return re.compile(
        "".join(f"(?P<{piece}>[^/]+)" if at % 2 else re.escape(piece) for at, piece in enumerate(pieces))
    )
