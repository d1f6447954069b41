"""One sidecar process: open the doors, watch the files, reload, drain.

A start follows what calls need: policy and evidence before the first door, the agent's door last. An end goes the
other way; evidence is closed last, so that what is in flight can still be recorded.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import signal
import sys
from collections.abc import Awaitable, Callable
from math import isfinite
from pathlib import Path
from typing import Any, Final

from sidecar.adapters.observation.lag import LoopLag
from sidecar.adapters.observation.lines import LineWriter
from sidecar.adapters.policy.activation import Activations
from sidecar.administration import Administration, Around
from sidecar.config.load import Loaded, fingerprint
from sidecar.errors import Misconfigured, SidecarError
from sidecar.listeners.access import AccessDoor
from sidecar.listeners.listening import cannot_listen, check_parser
from sidecar.listeners.metrics import MetricsDoor, serve_metrics
from sidecar.pipeline.reception import record_counted
from sidecar.rules.addresses import own_addresses
from sidecar.rules.catalogue import Catalogue, compile_catalogue
from sidecar.rules.registered import Combined
from sidecar.wire.open_connections import ServerLimits
from sidecar.wire.server import Server
from sidecar.wiring import build, server_addresses, split, swap

WATCH_SECONDS: Final = 0.5
COUNT_SECONDS: Final = 1.0
FOLLOW_SECONDS: Final = 0.25  # what another sidecar changed in a shared registry holds here after at most this
DRAIN_SECONDS: Final = 25.0  # under the 30 a pod is usually given
# With Python's default of 5 ms a busy loop lets the evidence writer run some hundred times a second (measured).
SWITCH_SECONDS: Final = 5e-5
# Young objects between two looks of the cycle collector. A call makes some hundred that live until it ends, and none
# of them in cycles; at Python's 700 the collector doubled the time of the slowest calls (measured).
YOUNG_OBJECTS: Final = 20_000
# What a running process cannot change: where it listens, what its evidence is and where its registry is.
_FIXED: Final = ("tenant", "doors", "evidence", "registry")


class Process:
    """``read`` reads the configuration again; it raises ``Misconfigured``."""

    def __init__(self, loaded: Loaded, read: Callable[[], Loaded], lines: LineWriter) -> None:
        self._loaded = loaded
        self._read = read
        self._built = build(loaded, lines)
        self._door = AccessDoor(self._built.parts)
        self._server = Server(self._door.answer, self._door.malformed, _limits(self._built.parts.catalogue))
        self._admin = Administration(self._built.parts, self._built.registry, self._around())
        self._metrics: MetricsDoor | None = None
        self._lag = LoopLag(self._built.parts.observer)
        self._seen = loaded.print
        self._refused = False  # the last reload
        self._tasks: list[asyncio.Task[None]] = []
        self._following: asyncio.Task[None] | None = None  # a kill switch cuts what is being drained, too
        self._changing = asyncio.Lock()
        self._draining = False
        self._last_told: dict[str, dict[str, str]] = {}
        self.ports: dict[str, int] = {}

    async def start(self) -> None:
        """Open everything, or close it again and raise ``Misconfigured`` or ``Unavailable``.

        A bad policy starts, and denies all.
        """
        sys.setswitchinterval(SWITCH_SECONDS)
        try:
            await self._open()
        except BaseException:
            await self.drain()
            raise

    async def _open(self) -> None:
        check_parser()
        config = self._loaded.config
        await self._built.evidence.start()
        await self._built.policy.load()
        self._lag.start()
        host, port = split(config.doors.metrics)
        self._metrics = await serve_metrics(host, port, self._built.metrics.registry, self.readiness)
        await self._follow()
        await self._serve_noticed()
        admin = await self._admin.open(self._loaded)
        host, port = split(config.doors.access)
        try:
            bound = await self._server.start(host, port)
        except OSError as error:
            raise cannot_listen("doors.access", host, port, error) from None
        self.ports = {"access": bound, "metrics": self._metrics.port}
        # Where 0 was asked for, the ports are known only now; no connector may dial them.
        doors = [(host, bound), (split(config.doors.metrics)[0], self._metrics.port)]
        if admin is not None and config.doors.admin is not None:
            self.ports["admin"] = admin
            doors.append((split(config.doors.admin)[0], admin))
        self._built.parts.own_ports = own_addresses([*doors, *server_addresses(config)])
        self._tasks = [
            asyncio.create_task(self._repeat("watch", WATCH_SECONDS, self._watch)),
            asyncio.create_task(self._repeat("policy", WATCH_SECONDS, self._built.policy.look)),
            asyncio.create_task(self._repeat("registered", FOLLOW_SECONDS, self._serve_noticed)),
            asyncio.create_task(self._repeat("count", COUNT_SECONDS, self._count)),
        ]
        self._following = asyncio.create_task(self._repeat("registry", FOLLOW_SECONDS, self._follow))
        self._built.parts.observer.observe(
            "started",
            {
                "tenant": config.tenant,
                "access": f"{host}:{bound}",
                "origin": self._built.evidence.origin,
                "unknown_outcomes": len(self._built.evidence.open_intents),
            },
        )

    async def drain(self) -> None:
        """Stop accepting, finish what is in flight, flush the evidence, close."""
        self._draining = True
        for task in self._tasks:
            task.cancel()
        clean = await self._server.drain(DRAIN_SECONDS)
        if self._following is not None:
            self._following.cancel()
        built = self._built
        await self._ended("admin", self._admin.door.close)
        await self._ended("count", self._record_counted)  # the last door is closed: nothing is counted any more
        await self._ended("caller", built.caller.close)
        await self._ended("registry", built.registry.close)
        await self._ended("remote", built.remote.close)
        await self._ended("evidence", built.evidence.close)
        self._lag.stop()
        await self._ended("policy", built.policy.close)
        if self._metrics is not None:
            await self._ended("metrics", self._metrics.close)
        built.parts.observer.observe("stopped", {"clean": clean})

    async def _ended(self, part: str, close: Callable[[], Awaitable[None]]) -> None:
        """End one part. What fails is told, and keeps none of those behind it open: evidence is one of the last."""
        try:
            await close()
        except Exception as error:
            self._built.parts.observer.observe("failure", {"task": f"close {part}", "error": type(error).__name__})

    def readiness(self) -> dict[str, bool]:
        """What must hold for a call to be allowed at all."""
        return {
            "policy": self._built.engine.revision is not None,
            "evidence": self._built.evidence.writable(),
            "registry": not self._built.parts.switches.is_stale(self._built.parts.clock.monotonic()),
            "accepting": not self._draining,
        }

    def status(self) -> dict[str, Any]:
        """For the administrators' door."""
        return {
            "tenant": self._loaded.config.tenant,
            "ready": self.readiness(),
            "policy_revision": self._built.engine.revision,
            "policy_problem": self._built.policy.problem,
            "decisions_not_cached": self._built.parts.decisions.why_not(),
            "credentials": self._built.remote.held(),
            "evidence": {"origin": self._built.evidence.origin, "records": self._built.evidence.size},
            "registry": {"age_seconds": self._registry_age(), "kill_switches": len(self._built.parts.switches.names)},
            "configuration": str(self._loaded.path),
            "doors": self.ports,
        }

    async def reload(self) -> dict[str, Any]:
        """Read configuration and policy again. Raises ``Misconfigured``; what was served goes on being served."""
        async with self._changing:
            observer = self._built.parts.observer
            try:
                fresh = await asyncio.to_thread(self._read)
                _check_fixed(self._loaded, fresh)
                await self._serve(fresh)
            except SidecarError as error:
                self._refused = True
                observer.observe("reload", {"outcome": "failed", **_told(error)})
                raise
            self._loaded, self._refused = fresh, False
            observer.observe("reload", {"outcome": "loaded"})
        await self._built.policy.load()
        return self.status()

    async def _serve(self, loaded: Loaded) -> Combined:
        """Serve a file's configuration together with what is registered, from the next call on."""
        combined = await self._admin.registered.combine(loaded.config)
        catalogue = await asyncio.to_thread(compile_catalogue, combined.config, combined.standing)
        swap(self._built, loaded._replace(config=combined.config), catalogue)
        self._admin.registered.combined = combined
        self._server.swap_limits(_limits(catalogue))
        return combined

    async def _serve_registered(self) -> Combined:
        async with self._changing:
            return await self._serve(self._loaded)

    async def _follow(self) -> None:
        """Take what changed in the registry. Where it does not answer, what was known goes on being served."""
        await self._told_once("registry", self._admin.follow)

    async def _serve_noticed(self) -> None:
        """Serve what was registered since. It may take its time, which no kill switch waits for."""
        await self._told_once("registered", self._admin.refresh)

    async def _told_once(self, event: str, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work``; what comes of it is told when it changes, not four times a second."""
        told = {"outcome": "done"}
        try:
            await work()
        except SidecarError as error:
            told = {"outcome": error.code, "message": error.detail}
        if told != self._last_told.get(event, {"outcome": "done"}):
            self._built.parts.observer.observe(event, told)
        self._last_told[event] = told

    def _registry_age(self) -> float | None:
        age = self._built.parts.switches.age(self._built.parts.clock.monotonic())
        return round(age, 3) if isfinite(age) else None

    async def _repeat(self, task: str, seconds: float, work: Callable[[], Awaitable[None]]) -> None:
        """Do ``work`` for as long as the process serves; what fails is told and tried again at the next turn."""
        while True:
            await asyncio.sleep(seconds)
            try:
                await work()
            except Exception as error:
                self._built.parts.observer.observe("failure", {"task": task, "error": type(error).__name__})

    async def _watch(self) -> None:
        """Reload what changed on disk; polling, because a mounted ConfigMap changes by swapping links."""
        now = await asyncio.to_thread(fingerprint, self._loaded.watched)
        # What is served already was reloaded by somebody meanwhile, unless it is what a refused file is undone with.
        if now != self._seen and (now != self._loaded.print or self._refused):
            with contextlib.suppress(SidecarError):  # told by reload itself
                await self.reload()
        self._seen = now

    async def _count(self) -> None:
        """Tell what is measured now, and record the refusals that were only counted."""
        parts = self._built.parts
        evidence = {"size": self._built.evidence.size, "writable": self._built.evidence.writable()}
        parts.observer.observe("evidence", evidence)
        parts.observer.observe("decisions", parts.decisions.tell())
        parts.observer.observe("connections", {"door": "access", "open": self._server.connections})
        parts.observer.observe("registry_state", {"age": self._registry_age(), "switches": len(parts.switches.names)})
        for name, traffic in tuple(parts.traffic.items()):
            gone = name not in parts.catalogue.connectors and not traffic.in_flight
            if gone:
                del parts.traffic[name]
            parts.observer.observe("breaker", {"connector": name, "state": None if gone else traffic.breaker.state})
        await self._record_counted()

    async def _record_counted(self) -> None:
        with contextlib.suppress(SidecarError):  # evidence is not writable now; the counts stay for the next time
            await record_counted(self._built.parts, self._door.new_id)

    def _around(self) -> Around:
        return Around(
            declared=lambda: self._loaded.config,
            serve=self._serve_registered,
            status=self.status,
            reload=self.reload,
            bundles=self._built.policy if isinstance(self._built.policy, Activations) else None,
            connections=self._built.caller.connections,
            new_id=self._door.new_id,
            stores=self._built.stores,
            held=self._built.remote.held,
            unknown=lambda: self._built.evidence.open_intents,
        )


def _limits(catalogue: Catalogue) -> ServerLimits:
    limits = catalogue.limits
    return ServerLimits(
        connections=limits.connections,
        head_bytes=limits.head_bytes,
        headers=limits.headers,
        body_bytes=limits.body_bytes,
        head_seconds=limits.head_seconds,
        body_seconds=limits.body_seconds,
        idle_seconds=limits.idle_seconds,
    )


def _check_fixed(old: Loaded, new: Loaded) -> None:
    changed = [name for name in _FIXED if getattr(old.config, name) != getattr(new.config, name)]
    before, now = old.config.policy, new.config.policy
    if before.server != now.server:
        changed.append("policy.server")
    if before.state != now.state:
        changed.append("policy.state")
    if (before.bundle is None) != (now.bundle is None):
        changed.append("policy.bundle")
    if changed:
        raise Misconfigured(f"{', '.join(changed)} changed: restart the sidecar to serve this file.")


def _told(error: SidecarError) -> dict[str, Any]:
    return {"message": error.detail, "errors": [reason.message for reason in error.reasons]}


async def run(loaded: Loaded, read: Callable[[], Loaded], lines: LineWriter, ready: Path | None = None) -> None:
    """Serve until SIGTERM or SIGINT; SIGHUP reloads. ``ready`` is a file written once every door is open:
    the ports as JSON, ``{"access": 8080, "metrics": 9464}``, complete from the moment it is there.

    Raises what ``Process.start`` does, and ``Misconfigured`` where ``ready`` cannot be written.
    """
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    reloads: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        with contextlib.suppress(SidecarError):  # told by reload itself
            await process.reload()

    def on_hangup() -> None:
        task = loop.create_task(reload())
        reloads.add(task)
        task.add_done_callback(reloads.discard)

    loop.add_signal_handler(signal.SIGTERM, stop.set)
    loop.add_signal_handler(signal.SIGINT, stop.set)
    loop.add_signal_handler(signal.SIGHUP, on_hangup)
    process = Process(loaded, read, lines)  # signals are taken before it opens anything
    await process.start()
    gc.freeze()  # what is there now stays until the end: nothing to look at again and again
    gc.set_threshold(YOUNG_OBJECTS)
    try:
        if ready is not None:
            await asyncio.to_thread(_tell, ready, process.ports)
        await stop.wait()
    finally:
        await process.drain()


def _tell(ready: Path, ports: dict[str, int]) -> None:
    fresh = ready.with_name(f"{ready.name}.new")
    try:
        fresh.write_text(json.dumps(ports) + "\n")
        fresh.replace(ready)  # whoever waits for the file must not read half of it
    except OSError as error:
        with contextlib.suppress(OSError):
            fresh.unlink()
        raise Misconfigured(f"--ready-file: {ready} cannot be written ({error.strerror})") from None
