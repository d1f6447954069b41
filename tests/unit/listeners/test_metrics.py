from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Iterator

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Counter
from prometheus_client.metrics_core import GaugeMetricFamily
from prometheus_client.registry import Collector

from sidecar.errors import Misconfigured
from sidecar.listeners.metrics import PUBLIC, MetricsDoor, _Answers, serve_metrics

HOST = "127.0.0.1"


class State:
    def __init__(self) -> None:
        self.checks = {"policy": True, "evidence": True}
        self.broken = False

    def __call__(self) -> dict[str, bool]:
        if self.broken:
            raise RuntimeError("no answer")
        return self.checks


@pytest.fixture
def state() -> State:
    return State()


@pytest.fixture
def registry() -> CollectorRegistry:
    made = CollectorRegistry()
    Counter("sidecar_test", "A test's own.", registry=made).inc(3)
    return made


@pytest.fixture
async def door(registry: CollectorRegistry, state: State) -> AsyncIterator[MetricsDoor]:
    opened = await serve_metrics(HOST, 0, registry, state)
    yield opened
    await opened.close()


@pytest.fixture
async def http(door: MetricsDoor) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(f"http://{HOST}:{door.port}") as session:
        yield session


async def test_livez_asks_nobody(http: aiohttp.ClientSession, state: State) -> None:
    state.broken = True
    async with http.get("/livez") as answer:
        assert answer.status == 200


@pytest.mark.parametrize("path", ["/readyz", "/healthz"])
async def test_ready_when_every_check_holds(http: aiohttp.ClientSession, state: State, path: str) -> None:
    async with http.get(path) as answer:
        assert answer.status == 200
        assert await answer.json() == {"ready": True, "not_ready": [], "checks": {"policy": True, "evidence": True}}
    state.checks = {"policy": True, "evidence": False}
    async with http.get(path) as answer:
        assert answer.status == 503
        assert (await answer.json())["not_ready"] == ["evidence"]


async def test_what_cannot_be_checked_is_not_ready(http: aiohttp.ClientSession, state: State) -> None:
    state.broken = True
    async with http.get("/readyz") as answer:
        assert answer.status == 503
        assert "no answer" not in await answer.text()


async def test_metrics_speak_the_format_that_is_asked_for(http: aiohttp.ClientSession) -> None:
    async with http.get("/metrics") as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        assert "sidecar_test_total 3.0" in await answer.text()
    async with http.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"}) as answer:
        assert answer.headers["Content-Type"].startswith("application/openmetrics-text")
        assert (await answer.text()).endswith("# EOF\n")


@pytest.mark.parametrize(
    ("method", "path", "status"), [("GET", "/", 404), ("POST", "/metrics", 405), ("HEAD", "/livez", 200)]
)
async def test_there_is_nothing_else(http: aiohttp.ClientSession, method: str, path: str, status: int) -> None:
    async with http.request(method, path) as answer:
        assert answer.status == status


async def test_answers_do_not_name_the_server_software(http: aiohttp.ClientSession) -> None:
    async with http.get("/livez") as answer:
        assert answer.headers["Server"] == "sidecar"
        assert answer.headers["Cache-Control"] == "no-store"


def test_every_route_declares_its_guard(registry: CollectorRegistry, state: State) -> None:
    routes = _Answers(registry, state).routes()
    assert {route.path: route.guard for route in routes} == {
        "/livez": PUBLIC,
        "/readyz": PUBLIC,
        "/healthz": PUBLIC,
        "/metrics": PUBLIC,
    }


class Slow(Collector):
    """A collector that takes as long as it is held."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def collect(self) -> Iterator[GaugeMetricFamily]:
        assert self.go.wait(30)
        yield GaugeMetricFamily("slow", "Slow.", 1)


async def test_a_slow_scrape_leaves_the_probes_alone(
    http: aiohttp.ClientSession, registry: CollectorRegistry
) -> None:
    slow = Slow()
    registry._collector_to_names[slow] = []  # as if registered: registering collects once
    scrape = asyncio.ensure_future(http.get("/metrics"))
    try:
        async with asyncio.timeout(10), http.get("/livez") as answer:
            assert answer.status == 200
        assert not scrape.done()
    finally:
        slow.go.set()
    async with await scrape as answer:
        assert "slow 1.0" in await answer.text()


async def test_a_port_that_is_taken_is_said_so(door: MetricsDoor, registry: CollectorRegistry, state: State) -> None:
    with pytest.raises(Misconfigured, match=rf"doors\.metrics: cannot listen on 127\.0\.0\.1:{door.port}"):
        await serve_metrics(HOST, door.port, registry, state)


async def test_a_closed_door_is_closed(registry: CollectorRegistry, state: State) -> None:
    opened = await serve_metrics(HOST, 0, registry, state)
    await opened.close()
    with pytest.raises(OSError, match=r".*"):
        await asyncio.open_connection(HOST, opened.port)
