"""The remote stores of a process, kept from one configuration to the next where their settings stay the same.

A reload must not end leases that calls are using. A source whose section is unchanged goes on with what it holds; one
that nothing uses any more gives back everything, once the calls that may still hold it are over. A store's library is
imported when it is first used: hvac takes 7 MB, botocore 16.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Sequence
from math import inf
from pathlib import Path
from typing import Any, Final

from sidecar.adapters.credentials.remote.administration import RemoteCredentials
from sidecar.adapters.credentials.remote.cached import GRACE_SECONDS, CachedSource
from sidecar.adapters.credentials.remote.store import Fetched, KeptStore, Loan
from sidecar.config.remotes import AwsSection, VaultSection
from sidecar.errors import Misconfigured
from sidecar.model.credential import About, Reference, Terms
from sidecar.model.secret import Secret
from sidecar.ports import Clock, Observer

_CLOSE_SECONDS: Final = 5.0  # for all that is given back when the process ends, which a pod gives 30


class OnFirstUse:
    """A ``KeptStore``, made when it is first asked, in the thread that asks: that takes longer than a loop may."""

    def __init__(self, make: Callable[[], KeptStore]) -> None:
        self._make = make
        self._made: KeptStore | None = None
        self._alone = threading.Lock()

    def fetch(self, reference: Reference) -> Fetched:
        """As the store does."""
        return self._store().fetch(reference)

    def renew(self, loan: Loan, /) -> float:
        """As the store does."""
        return self._store().renew(loan)

    def give_back(self, loan: Loan, /) -> None:
        """As the store does."""
        self._store().give_back(loan)

    def about(self, reference: Reference) -> About:
        """As the store does."""
        return self._store().about(reference)

    def list(self) -> Sequence[About]:
        """As the store does."""
        return self._store().list()

    def write(self, reference: Reference, secret: Secret, terms: Terms, expected: str | None) -> About:
        """As the store does."""
        return self._store().write(reference, secret, terms, expected)

    def amend(self, reference: Reference, terms: Terms, expected: str) -> About:
        """As the store does."""
        return self._store().amend(reference, terms, expected)

    def delete(self, reference: Reference, expected: str) -> None:
        """As the store does."""
        self._store().delete(reference, expected)

    def close(self) -> None:
        """As the store does, if there is one."""
        if self._made is not None:
            self._made.close()

    def _store(self) -> KeptStore:
        with self._alone:
            if self._made is None:
                self._made = self._make()
            return self._made


class RemoteSources:
    """Builds each source once. ``settle`` and ``close`` are called on the event loop."""

    def __init__(self, clock: Clock, observer: Observer) -> None:
        self._clock = clock
        self._observer = observer
        self._made: dict[Any, RemoteCredentials] = {}
        self._leaving: dict[asyncio.Task[None], CachedSource] = {}

    def vault(self, section: VaultSection | None, tenant: str, directory: Path) -> RemoteCredentials:
        """The source of ``vault://``. Raises ``Misconfigured`` where there is no vault."""
        if section is None:
            raise Misconfigured("vault:// references need the section vault: address, login, paths")

        def store() -> KeptStore:
            from sidecar.adapters.credentials.vault.store import VaultStore  # noqa: PLC0415  # 7 MB that others need not pay

            return VaultStore(section, tenant, directory, self._clock.monotonic)

        return self._source("vault", (section, tenant, directory), store, section.timeout_seconds)

    def aws(self, section: AwsSection | None, tenant: str, directory: Path) -> RemoteCredentials:
        """The source of ``aws://``. Raises ``Misconfigured`` where AWS is not configured."""
        if section is None:
            raise Misconfigured("aws:// references need the section aws: region, names")

        def store() -> KeptStore:
            from sidecar.adapters.credentials.aws.store import SecretsManager  # noqa: PLC0415  # 16 MB, likewise

            return SecretsManager(section, tenant, directory)

        return self._source("aws", (section, tenant, directory), store, section.timeout_seconds)

    def settle(self, used: Iterable[object]) -> None:
        """Let every source go that is not among ``used``."""
        kept = {id(source) for source in used}
        for settings, source in list(self._made.items()):
            if id(source) not in kept:
                del self._made[settings]
                task = asyncio.get_running_loop().create_task(source.close(after=GRACE_SECONDS))
                self._leaving[task] = source
                task.add_done_callback(lambda done: self._leaving.pop(done, None))

    async def close(self) -> None:
        """Give everything back now; bounded. What does not answer keeps its leases until they end by themselves."""
        leaving = dict(self._leaving)
        for task in leaving:
            task.cancel()
        sources = [*self._made.values(), *leaving.values()]
        self._made.clear()
        if sources:
            await asyncio.wait([asyncio.create_task(one.close()) for one in sources], timeout=_CLOSE_SECONDS)

    def held(self) -> list[dict[str, Any]]:
        """What is held now, soonest end first: ``place`` (scheme and path), ``version``, ``seconds`` left."""
        rows = [
            {"place": f"{scheme}://{place}", "version": version, "seconds": round(seconds, 1)}
            for (scheme, _), source in self._made.items()
            for place, version, seconds in source.expiring(inf)
        ]
        return sorted(rows, key=lambda row: row["seconds"])

    def _source(
        self, scheme: str, settings: Any, store: Callable[[], KeptStore], seconds: float
    ) -> RemoteCredentials:
        key = (scheme, repr(settings))
        if key not in self._made:
            self._made[key] = RemoteCredentials(scheme, OnFirstUse(store), self._clock, self._observer, seconds)
        return self._made[key]
