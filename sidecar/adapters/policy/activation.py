"""Two phases between an offered bundle and the decisions it makes, and the way back.

First everything that can fail: open, verify, order, compile, schema, the bundle's own tests, the canaries. Then, and
only where all of that passed: a record in the evidence, a line of history on the disk with the archive beside it, and
the swap, which is one assignment. Who asked is answered after that. Whatever fails leaves the last good policy
deciding, and is recorded and told (``policy_rejected``) with its reasons. A start begins with what was active before.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Final

from sidecar.adapters.policy.bundle_sources import FileSource, FolderSource, HttpSource, Offer, Source
from sidecar.adapters.policy.bundles import Opened, Terms, ask_canaries
from sidecar.adapters.policy.embedded import EmbeddedEngine, Policy
from sidecar.adapters.policy.library import About
from sidecar.adapters.policy.records import Asked, Records
from sidecar.adapters.policy.server_connection import Token
from sidecar.adapters.policy.succession import check_order
from sidecar.config.load import Loaded
from sidecar.errors import Misconfigured, SidecarError, Unavailable
from sidecar.model.activation import BY_SOURCE, Activation
from sidecar.ports import Clock, Observer

AGAIN_SECONDS: Final = 5.0  # until what could not be recorded is tried again
_DIGEST_START: Final = len("sha256:") + 8  # how much of a digest names a bundle


class Activations:
    """The bundles of one engine. Its coroutines run on the event loop; what blocks goes to threads."""

    def __init__(
        self,
        engine: EmbeddedEngine,
        records: Records,
        loaded: Loaded,
        clock: Clock,
        observer: Observer,
        token_of: Callable[[str], Token],
    ) -> None:
        self._engine = engine
        self._records = records
        self._history = records.history
        self._clock = clock
        self._observer = observer
        self._token_of = token_of
        self._seen: str | None = None  # tag of what the source gave last
        self._due = 0.0
        self._begun = False
        self._changing = asyncio.Lock()
        self._unreachable: str | None = None
        self._answers: bool | None = None  # whether the source did when it was asked last
        self._refused: str | None = None
        self.configure(loaded)

    @property
    def problem(self) -> str | None:
        """Why what the source has does not decide; None where it does."""
        return self._unreachable or self._refused

    def configure(self, loaded: Loaded) -> None:
        """Take another configuration; it holds from the next ``load`` on."""
        section = loaded.config.policy.bundle
        assert section is not None
        self._source, self._terms = source_of(loaded, self._token_of), terms_of(loaded)
        # A file or a folder is looked at with every turn of the process; only a url is asked less often.
        self._poll_seconds = section.poll_seconds if section.url else 0.0

    async def load(self) -> None:
        """Take what the source has now, at the first time after what was active before. Never raises."""
        if not self._begun:
            self._begun = True
            async with self._changing:
                await self._resume()
        async with self._changing:
            self._seen, self._due = None, 0.0
        await self.look()

    async def look(self) -> None:
        """Ask the source if it is time to: what is new is activated, or refused and told. Never raises."""
        if self._clock.monotonic() >= self._due:
            with contextlib.suppress(SidecarError):  # told where it happened
                await self.activate()

    async def activate(self, path: Path | None = None, by: str = BY_SOURCE, reason: str = "") -> Activation | None:
        """Activate what the source, or the file at ``path``, has; None where that decides already.

        Raises ``Misconfigured`` where it is refused, with every reason, and ``Unavailable`` where it cannot be read
        or recorded now; then the next look tries again.
        """
        async with self._changing:
            if path is not None:
                offer = await FileSource(path).fetch(None)
                return offer and await self._activate(offer.archive, Asked(str(path), by, reason))
            self._due = self._clock.monotonic() + self._poll_seconds
            offer = await self._fetch(self._seen if by == BY_SOURCE else None)
            if offer is None:
                return None
            try:
                done = await self._activate(offer.archive, Asked(self._source.origin, by, reason))
            except Misconfigured as error:
                self._seen, self._refused = offer.tag, error.detail  # for good; it is not asked for again
                raise
            except Unavailable:  # it cannot be recorded: each try costs its tests, and evidence
                self._due = self._clock.monotonic() + max(self._poll_seconds, AGAIN_SECONDS)
                raise
            self._seen, self._refused = offer.tag, None
            return done

    async def rollback(self, to: str | None, by: str, reason: str) -> Activation:
        """Go back to the kept bundle before the active one that was not rolled back from, or to ``to``: a digest or
        its first eight digits, a manifest's revision or a sequence. Raises as ``activate`` does.
        """
        async with self._changing:
            chosen = self._chosen(to)
            assert chosen.bundle is not None
            archive = await asyncio.to_thread(self._history.archive, chosen.bundle)
            done = await self._activate(archive, Asked(chosen.origin, by, reason, rollback=True), chosen.bundle)
            assert done is not None, "what decides is not among those it could go back to"
            return done

    def listed(self, limit: int) -> list[Activation]:
        """The last entries of the history, newest first."""
        return self._history.entries[: -limit - 1 : -1]

    async def close(self) -> None:
        """Give the history back, and let the engine end."""
        self._history.close()
        self._engine.close()

    async def _fetch(self, seen: str | None) -> Offer | None:
        origin = self._source.origin
        try:
            offer = await self._source.fetch(seen)
        except SidecarError as error:
            self._tell_source("failed", origin, error.detail)
            raise
        self._tell_source("answers", origin, None)
        return offer

    def _tell_source(self, outcome: str, origin: str, message: str | None) -> None:
        """Once, until it changes."""
        answers = message is None
        if (answers, message) != (self._answers, self._unreachable):
            self._answers, self._unreachable = answers, message
            self._observer.observe("policy_source", {"outcome": outcome, "origin": origin, "message": message})

    async def _resume(self) -> None:
        """Let the policy decide that was active before: signature, bounds and rules are checked again, tests not."""
        active = self._history.standing.active
        if active is None or active.bundle is None:
            return
        try:
            policy = await asyncio.to_thread(self._again, active.bundle)
        except SidecarError as error:
            self._refused = error.detail
            self._records.alarm(error, active)
        else:
            self._engine.swap(policy)

    def _again(self, bundle: str) -> Policy:
        opened = Opened(self._terms, self._history.archive(bundle), again=True)
        _check_kept(opened.about, bundle)
        return opened.load()[0]

    def _chosen(self, to: str | None) -> Activation:
        standing = self._history.standing
        others = [
            entry
            for entry in self._history.kept()
            if standing.active is None or entry.bundle != standing.active.bundle
        ]
        if to is not None:
            others = [entry for entry in others if _is_called(entry, to)]
            what = f"no other bundle that is kept is called {to!r}"
        else:
            what = "no other bundle is kept"
            if others:  # a second rollback goes further back: what was rolled back from comes back by its name only
                others = [entry for entry in others if entry.bundle not in standing.withdrawn]
                what = "every other bundle that is kept was rolled back from; name the one that is meant with --to"
        if not others:
            raise Misconfigured(f"{what}; `sidecar policy history` lists what was active")
        if to is not None and len(others) > 1:
            raise Misconfigured(f"several kept bundles are called {to!r}; name one by its digest")
        return others[0]

    async def _activate(self, archive: bytes, asked: Asked, kept: str | None = None) -> Activation | None:
        """``kept`` is the bundle that the archive was kept as."""
        about, before = About(), self._engine.revision
        try:
            opened = await asyncio.to_thread(Opened, self._terms, archive)
            about = opened.about
            if kept is not None:
                _check_kept(about, kept)
            if about.digest == before:
                return None
            if not asked.rollback:
                ordered, by_hand = bool(self._terms.keys), asked.by != BY_SOURCE
                check_order(self._history.standing, about, ordered=ordered, asked=by_hand)
            policy, tests, cases = await asyncio.to_thread(self._prepare, opened)
        except Misconfigured as error:
            await self._records.refuse(about, asked, error, before)
            raise
        entry = self._records.activation(about, asked, tests, cases)
        first = await self._records.intend(entry, archive, before)
        self._engine.swap(policy)
        await self._records.confirm(entry, before, first)
        return entry

    def _prepare(self, opened: Opened) -> tuple[Policy, int, int]:
        policy, tests = opened.load()
        return policy, tests, ask_canaries(policy, self._terms)


def _check_kept(about: About, bundle: str) -> None:
    if about.bundle != bundle:
        raise Misconfigured(f"the kept bundle {bundle} has other content now")


def source_of(loaded: Loaded, token_of: Callable[[str], Token]) -> Source:
    """Where a configuration says that bundles are; ``token_of`` resolves a reference when it is needed."""
    section = loaded.config.policy.bundle
    assert section is not None
    if section.url is not None:
        ca_file = loaded.resolve(section.ca_file) if section.ca_file else None
        token = token_of(section.token) if section.token else None
        return HttpSource(section.url, section.timeout_seconds, ca_file, token)
    if section.file is not None:
        return FileSource(loaded.resolve(section.file))
    return FolderSource(loaded.resolve(section.directory or ""))


def terms_of(loaded: Loaded) -> Terms:
    """What a configuration wants of a bundle."""
    policy = loaded.config.policy
    section = policy.bundle
    assert section is not None
    return Terms(
        keys={name: (key.algorithm, loaded.resolve(key.file)) for name, key in section.keys.items()},
        scope=section.scope,
        with_library=policy.library,
        test_seconds=section.test_seconds,
        canaries=loaded.resolve(section.canaries) if section.canaries else None,
        tenant=loaded.config.tenant,
        budget_seconds=policy.budget_ms / 1000,
    )


def _is_called(entry: Activation, name: str) -> bool:
    start = f"sha256:{name.removeprefix('sha256:')}"
    digests = [digest for digest in (entry.revision, entry.bundle) if digest is not None]
    is_digest = len(start) >= _DIGEST_START and any(digest.startswith(start) for digest in digests)
    return is_digest or name in (entry.name, str(entry.sequence))
