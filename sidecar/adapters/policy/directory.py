"""The policy of a folder: loaded when it starts, and again whenever a file of it changes.

A folder that cannot be used leaves the last good policy deciding; before the first one every call is denied. A rule
that reads a field no input has is such a fault: it would never hold, and a deny that was misspelt would deny nothing.
"""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from sidecar.adapters.policy.embedded import EmbeddedEngine, Policy
from sidecar.adapters.policy.files import fingerprint, read_policy
from sidecar.config.load import Loaded
from sidecar.errors import SidecarError
from sidecar.ports import Observer

READ_BYTES: Final = 1 << 17  # of JSON that Python reads, in some 5 ms; the engine reads the rest beside the loop


class WatchedDirectory:
    """Keeps ``engine`` at what the configured folder holds. What blocks goes to threads."""

    def __init__(self, engine: EmbeddedEngine, observer: Observer, loaded: Loaded) -> None:
        self._engine = engine
        self._observer = observer
        self._print: str | None = None
        self._loading = asyncio.Lock()
        self.problem: str | None = None  # what is wrong with the folder as it is; None where it decides
        self.configure(loaded)

    def configure(self, loaded: Loaded) -> None:
        """Take another configuration; it holds from the next ``load`` on."""
        section = loaded.config.policy
        self._folder, self._with_library = loaded.resolve(section.directory), section.library

    async def load(self) -> None:
        """Read and compile the folder. Never raises: what is wrong is told (``policy_rejected``)."""
        async with self._loading:
            folder, with_library = self._folder, self._with_library
            self._print = await asyncio.to_thread(fingerprint, folder)
            try:
                policy = await asyncio.to_thread(_compile, self._engine, folder, with_library)
            except SidecarError as error:
                self.problem = error.detail
                errors = [reason.message for reason in error.reasons]
                self._observer.observe("policy_rejected", {"message": error.detail, "errors": errors})
            else:
                self._engine.swap(policy)
                self.problem = None

    async def look(self) -> None:
        """Load again where a file changed; polling, because a mounted ConfigMap changes by swapping links."""
        if await asyncio.to_thread(fingerprint, self._folder) != self._print:
            await self.load()

    async def close(self) -> None:
        """Let the engine end."""
        self._engine.close()


def _compile(engine: EmbeddedEngine, folder: Path, with_library: bool) -> Policy:
    return engine.compile(read_policy(folder, with_library=with_library, read_bytes=READ_BYTES), checked=True)
