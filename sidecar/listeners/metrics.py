"""The door of probes and metrics. It shows numbers and names of the configuration, so it needs no caller's proof.

``/livez`` answers while the event loop runs and asks nobody; ``/readyz`` (and ``/healthz``) answers 200 only when
every check holds; ``/metrics`` speaks the Prometheus text format or OpenMetrics, as asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple

import orjson
from aiohttp import hdrs, web
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from sidecar.listeners.listening import cannot_listen

PUBLIC: Final = "public"  # reached by whoever reaches the address, which is a loopback one unless configured
_CLOSE_SECONDS: Final = 1.0
_NEW_EACH_TIME: Final = {hdrs.CACHE_CONTROL: "no-store", hdrs.SERVER: "sidecar", "X-Content-Type-Options": "nosniff"}

Readiness = Callable[[], dict[str, bool]]
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Route(NamedTuple):
    """One path, who may ask for it, and what answers."""

    path: str
    guard: str
    handler: Handler


class _Answers:
    def __init__(self, registry: CollectorRegistry, readiness: Readiness) -> None:
        self._registry = registry
        self._readiness = readiness
        self._scraping = asyncio.Lock()

    def routes(self) -> tuple[Route, ...]:
        return (
            Route("/livez", PUBLIC, self.livez),
            Route("/readyz", PUBLIC, self.readyz),
            Route("/healthz", PUBLIC, self.readyz),
            Route("/metrics", PUBLIC, self.metrics),
        )

    async def livez(self, _: web.Request) -> web.Response:
        return web.Response(text="ok\n", headers=_NEW_EACH_TIME)

    async def readyz(self, _: web.Request) -> web.Response:
        try:
            checks = self._readiness()
        except Exception:  # what cannot be checked is not ready
            checks = {"readiness": False}
        missing = [name for name, holds in checks.items() if holds is not True]
        body = orjson.dumps({"ready": not missing, "not_ready": missing, "checks": checks})
        status = 503 if missing else 200
        return web.Response(status=status, body=body, content_type="application/json", headers=_NEW_EACH_TIME)

    async def metrics(self, request: web.Request) -> web.Response:
        encode, content_type = choose_encoder(request.headers.get(hdrs.ACCEPT, ""))
        async with self._scraping:  # one scrape at a time, and in a thread: thousands of series take a while
            body = await asyncio.to_thread(encode, self._registry)
        return web.Response(body=body, headers={**_NEW_EACH_TIME, hdrs.CONTENT_TYPE: content_type})


class MetricsDoor:
    """The open door; ``port`` is the one it listens on, also where 0 was asked for."""

    def __init__(self, runner: web.AppRunner, port: int) -> None:
        self._runner = runner
        self.port = port

    async def close(self) -> None:
        """Stop listening, and wait a second at most for answers on their way."""
        await self._runner.cleanup()


async def serve_metrics(host: str, port: int, registry: CollectorRegistry, readiness: Readiness) -> MetricsDoor:
    """Listen on ``host:port``. ``readiness`` gives every check by name; it is called on the event loop, often.

    Raises ``Misconfigured`` when the address cannot be listened on.
    """
    app = web.Application()
    for route in _Answers(registry, readiness).routes():
        app.router.add_get(route.path, route.handler)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=_CLOSE_SECONDS)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
    except OSError as error:
        await runner.cleanup()
        raise cannot_listen("doors.metrics", host, port, error) from None
    return MetricsDoor(runner, runner.addresses[0][1])
