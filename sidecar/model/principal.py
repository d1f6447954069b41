"""Who asks."""

from __future__ import annotations

from msgspec import Struct


class Principal(Struct, frozen=True, kw_only=True):
    """A caller the sidecar knows. ``tenant`` may differ from the sidecar's own: such calls are refused."""

    id: str
    kind: str  # agent | workload | person | system
    tenant: str
    roles: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    key: str | None = None  # id of the API key that was shown, never the key itself
