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
    rest: dict[str, Any] = _copy(value, 4) if isinstance(value, dict) else {}
    gone: set[str] = set()
    for at, path in enumerate(faulty):
        match path:
            case (str(section), str(entry), *_) if section in _MAPS:
                _take(rest.get(section), entry)
                gone.add(entry)
            case ("connectors", str(entry), *inner):
                _set_connector_aside(rest.get("connectors"), entry, tuple(inner), at, gone)
            case (str(section), str(field), *_):
                _take(rest.get(section), field)
            case (str(section),):
                gone |= _ids(rest.pop(section, None))
    if not isinstance(rest.get("tenant"), str):
        rest["tenant"] = _STAND_IN
    return rest, frozenset(gone)


def _set_connector_aside(connectors: Any, entry: str, inner: JsonPath, at: int, gone: set[str]) -> None:
    connector = connectors.get(entry) if isinstance(connectors, dict) else None
    if not isinstance(connector, dict) or not inner:
        # A key is missing, or it is no mapping: what is there cannot stand for a connector.
        gone |= {entry} | (_ids(connector.get("operations")) if isinstance(connector, dict) else set())
        _take(connectors, entry)
        return
    match inner:
        case ("operations", str(operation), *_):
            gone.add(operation)
            _take(connector.get("operations"), operation)
        case ("kind",):
            connector["kind"] = "http"
        case ("base_url",):
            _take(connector, "auth")
            connector["base_url"] = f"https://{_STAND_IN}-{at}.invalid"  # a host that no other one has
        case _:
            _take(connector, str(inner[0]))


def _copy(value: Any, levels: int) -> Any:
    """The mappings of the outer levels anew, so that parts can be taken out of them; what is deeper is shared."""
    if not levels or not isinstance(value, dict):
        return value
    return {key: _copy(item, levels - 1) for key, item in value.items()}


def _take(mapping: Any, key: str) -> None:
    if isinstance(mapping, dict):
        mapping.pop(key, None)


def _ids(mapping: Any) -> set[str]:
    return {str(name) for name in mapping} if isinstance(mapping, dict) else set()
