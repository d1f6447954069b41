"""The admin verbs of policy bundles: activate one now, go back to one, and what was activated so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from msgspec.structs import asdict

from sidecar.errors import Misconfigured
from sidecar.model.activation import Activation

MOST_LISTED = 1000


class BundlePolicies(Protocol):
    """Who activates bundles. Raises ``Misconfigured`` with every reason, and ``Unavailable``."""

    @property
    def problem(self) -> str | None:
        """Why what the source has does not decide; None where it does."""

    async def activate(self, path: Path | None, by: str, reason: str) -> Activation | None:
        """Activate what the source, or the file at ``path``, has; None where that decides already."""

    async def rollback(self, to: str | None, by: str, reason: str) -> Activation:
        """Go back to a bundle that is kept."""

    def listed(self, limit: int) -> list[Activation]:
        """The last activations and refusals, newest first."""


class Policies:
    """``bundles`` is None where no bundles decide: then a folder is watched, or an OPA server asked."""

    def __init__(self, bundles: BundlePolicies | None) -> None:
        self._bundles = bundles

    async def activate(self, path: str | None, *, by: str, reason: str) -> dict[str, Any]:
        """Two phases now, and the answer after both: the activation, or null where nothing changed.

        ``path`` is absolute: a file of the machine that the sidecar runs on.
        """
        bundles = self._known()
        if path is not None and not Path(path).is_absolute():
            raise Misconfigured("the path of a bundle is absolute: the sidecar may run in another folder")
        done = await bundles.activate(None if path is None else Path(path), by, reason)
        return {"activation": None if done is None else asdict(done)}

    async def rollback(self, to: str | None, *, by: str, reason: str) -> dict[str, Any]:
        """Go back to the bundle before, or to the one that ``to`` names."""
        return {"activation": asdict(await self._known().rollback(to, by, reason))}

    async def activations(self) -> dict[str, Any]:
        """The history, newest first, and what keeps the source's bundle from deciding."""
        if self._bundles is None:
            return {"activations": [], "problem": None}
        listed = [asdict(entry) for entry in self._bundles.listed(MOST_LISTED)]
        return {"activations": listed, "problem": self._bundles.problem}

    def _known(self) -> BundlePolicies:
        if self._bundles is None:
            raise Misconfigured(
                "no bundles decide here: set policy.bundle and start the sidecar again, or change the files of the "
                "policy folder themselves"
            )
        return self._bundles
