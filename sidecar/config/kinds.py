"""What each kind of connector can do, and which types of data source it can serve.

A connector may declare fewer capabilities than its kind has; an operation that needs one it does not have is refused
when it is configured, and again when it is called.
"""

from __future__ import annotations

from typing import Final, NamedTuple

CAPABILITIES: Final = ("read", "write", "query", "stream", "batch", "transaction", "search", "vector_search")
SOURCE_TYPES: Final = ("database", "document", "file", "vector", "api", "stream", "custom")
NOT_BUILT: Final = ("sql", "mcp", "vector", "file", "serverless", "stream", "custom")  # kinds this version has not

# The actions of a plane that need a capability of their own; `retrieve` and `list` are plain reads.
NAMED_CAPABILITIES: Final = frozenset({"query", "search"})


class Kind(NamedTuple):
    """What connectors of one kind can do."""

    capabilities: frozenset[str]
    serves: frozenset[str]  # types of data source


KINDS: Final = {
    "http": Kind(
        capabilities=frozenset({"read", "write", "query", "stream", "search"}),
        serves=frozenset({"api", "document"}),
    ),
}


def capabilities(kind: str, declared: tuple[str, ...] | None) -> frozenset[str]:
    """What a connector can do: what it declares, or everything its kind can."""
    return KINDS[kind].capabilities if declared is None else frozenset(declared)


def needed(effect: str, stream: bool, action: str | None = None) -> frozenset[str]:
    """What one call needs: its ``effect`` (read or write), a stream, and the plane's action it is asked by."""
    needs = {effect}
    if stream:
        needs.add("stream")
    if action in NAMED_CAPABILITIES:
        needs.add(action)
    return frozenset(needs)
