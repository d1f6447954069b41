"""What is left of a document when its faulty parts are set aside, so that the rest can still be checked.

A user who fixes one error should not meet the next one only then. An entry of a map is set aside whole, because what
others say about it can no longer be judged; of a connector only the faulty key, so that its operations stay.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from sidecar.config.document import JsonPath

_MAPS: Final = ("principals", "credentials", "sources", "planes", "destinations")
_STAND_IN: Final = "set-aside"


def remainder(value: Any, faulty: Iterable[JsonPath]) -> tuple[dict[str, Any], frozenset[str]]:
    """A copy of ``value`` without the ``faulty`` paths, and the ids that were set aside with them."""
    rest: dict[str, Any] = dict(value) if isinstance(value, dict) else {}
    gone: set[str] = set()
    for path in faulty:
        match path:
            case (str(section), str(entry), *_) if section in _MAPS:
                rest[section] = _without(rest.get(section), entry)
                gone.add(entry)
            case ("connectors", str(entry), *inner):
                rest["connectors"] = _connector(rest.get("connectors"), entry, tuple(inner), gone)
            case (str(section), str(field), *_):
                rest[section] = _without(rest.get(section), field)
            case (str(section),):
                gone |= _ids(rest.pop(section, None))
    if not isinstance(rest.get("tenant"), str):
        rest["tenant"] = _STAND_IN
    return rest, frozenset(gone)


def _connector(connectors: Any, entry: str, inner: JsonPath, gone: set[str]) -> dict[str, Any]:
    connector = connectors.get(entry) if isinstance(connectors, dict) else None
    if not isinstance(connector, dict) or not inner:
        # A key is missing, or it is no mapping: what is there cannot stand for a connector.
        gone |= {entry} | (_ids(connector.get("operations")) if isinstance(connector, dict) else set())
        return _without(connectors, entry)
    match inner:
        case ("operations", str(operation), *_):
            gone.add(operation)
            kept = connector | {"operations": _without(connector.get("operations"), operation)}
        case ("operations",):
            kept = _without(connector, "operations")
        case ("kind",):
            kept = connector | {"kind": "http"}
        case ("base_url",):
            kept = _without(connector, "auth") | {"base_url": f"https://{entry}.{_STAND_IN}.invalid"}
        case _:
            kept = _without(connector, str(inner[0]))
    return {**connectors, entry: kept}


def _without(mapping: Any, key: str) -> dict[str, Any]:
    return {name: item for name, item in mapping.items() if name != key} if isinstance(mapping, dict) else {}


def _ids(mapping: Any) -> set[str]:
    return {str(name) for name in mapping} if isinstance(mapping, dict) else set()
