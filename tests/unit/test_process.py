"""One process in this one: its doors, its files, and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sidecar import process as module
from sidecar.adapters.evidence.reader import Reader
from sidecar.adapters.evidence.verify import verify_log
from sidecar.adapters.observation.lines import LineWriter
from sidecar.cli.keys import make
from sidecar.config.load import Loaded, read
from sidecar.errors import Misconfigured
from sidecar.process import SWITCH_SECONDS, Process, run
from tests.fakes.upstream import Conversation, recorder, until, upstream
from tests.unit.config.builders import changed, written

KEY = make("reader", "reader")
NEVER = 3600.0  # seconds between two looks at the files
GRANTS = ["up/*", "self/*"]


class Home:
    """A folder with everything a process needs, and what it logs."""

    def __init__(self, folder: Path, port: int, requests: list[bytes]) -> None:
        self.folder = folder
        self.requests = requests
        self.document: dict[str, Any] = {
            "tenant": "acme",
            "principals": {"reader": {"keys": [{"id": KEY.id, "sha256": KEY.sha256}]}},
            "connectors": {
                "up": {
                    "kind": "http",
                    "base_url": f"http://127.0.0.1:{port}",
                    "operations": {"read": {"method": "GET", "path": "/read"}},
                }
            },
            "destinations": {"up": {"name": "127.0.0.1", "port": port, "networks": ["127.0.0.0/8"]}},
            "doors": {"access": "127.0.0.1:0", "metrics": "127.0.0.1:0", "admin": "127.0.0.1:0"},
            "evidence": {"reserve_bytes": 1 << 16},
        }
        (folder / "policy").mkdir()
        self.policy("data.json", json.dumps({"sidecar": {"grants": {"acme": {"principals": {"reader": GRANTS}}}}}))
        self.write(self.document)
        self._log = os.open(folder / "log", os.O_WRONLY | os.O_CREAT)
        self.lines = LineWriter(self._log)

    def write(self, document: dict[str, Any] | str) -> None:
        written(self.folder, document)

    def policy(self, name: str, text: str) -> None:
        (self.folder / "policy" / name).write_text(text)

    def read(self) -> Loaded:
        return read(self.folder / "sidecar.yaml", {}, {})

    def process(self) -> Process:
        return Process(self.read(), self.read, self.lines)

    async def started(self) -> Process:
        process = self.process()
        await process.start()
        return process

    def events(self, name: str) -> list[dict[str, Any]]:
        """What was logged under this name."""
        lines = [
            json.loads(line)
            for line in (self.folder / "log").read_text().splitlines(keepends=True)
            if line[-1:] == "\n"
        ]
        return [line for line in lines if line["event"] == name]

    def close(self) -> None:
        self.lines.close()
        os.close(self._log)


@pytest.fixture(autouse=True)
def switching(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = sys.getswitchinterval()
    monkeypatch.setattr(module, "WATCH_SECONDS", NEVER)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
async def home(tmp_path: Path) -> AsyncIterator[Home]:
    seen: list[bytes] = []
    async with upstream(recorder(seen)) as far:
        made = Home(tmp_path, far.port, seen)
        yield made
        made.close()


@pytest.fixture
async def process(home: Home) -> AsyncIterator[Process]:
    started = await home.started()
    yield started
    await started.drain()


@pytest.fixture
async def watching(home: Home, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Process]:
    """A process that looks at its files all the time."""
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.02)
    started = await home.started()
    yield started
    await started.drain()


def fails(*_: object) -> None:
    """A fault of our own that nobody foresaw."""
    raise ZeroDivisionError


async def call(process: Process, operation: str = "up/operations/read") -> tuple[int, str | None]:
    """One call of the agent: its status, and a refusal's code."""
    url = f"http://127.0.0.1:{process.ports['access']}/v1/connectors/{operation}"
    headers = {"Authorization": f"Bearer {KEY.key}"}
    async with aiohttp.ClientSession() as session, session.post(url, json={}, headers=headers) as answer:
        is_ours = answer.content_type == "application/problem+json"
        return answer.status, (await answer.json(content_type=None))["code"] if is_ours else None


async def looked_again(process: Process, home: Home) -> None:
    """Until a process that watches its files has looked at all of them once more."""
    revision = process.status()["policy_revision"]
    rules = len(list((home.folder / "policy").iterdir()))
    home.policy(f"more{rules}.rego", f"package more{rules}\n")
    await until(lambda: bool(process.status()["policy_revision"] != revision))


async def probe(process: Process) -> tuple[int, list[str]]:
    """What ``/readyz`` says is missing."""
    url = f"http://127.0.0.1:{process.ports['metrics']}/readyz"
    async with aiohttp.ClientSession() as session, session.get(url) as answer:
        return answer.status, (await answer.json())["not_ready"]


async def status(home: Home) -> dict[str, Any]:
    """What the administrators' door tells."""
    connector = aiohttp.UnixConnector(str(home.folder / "admin.sock"))
    async with (
        aiohttp.ClientSession("http://admin", connector=connector) as session,
        session.get("/v1/status") as answer,
    ):
        found = await answer.json()
        assert isinstance(found, dict)
        return found


def accepts(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), 1).close()
    except OSError:
        return False
    return True


async def test_a_started_process_is_ready_and_governs(process: Process, home: Home) -> None:
    assert process.readiness() == {"policy": True, "evidence": True, "registry": True, "accepting": True}
    assert await probe(process) == (200, [])
    assert await call(process) == (200, None)
    assert await call(process, "up/operations/write") == (404, "unknown_operation")
    assert len(home.requests) == 1
    assert sys.getswitchinterval() == pytest.approx(SWITCH_SECONDS)
    shown = await status(home)
    aging = {"registry": None}  # its age goes on between the two looks
    assert shown | aging == process.status() | aging
    assert shown["tenant"] == "acme" and shown["doors"] == process.ports
    assert shown["evidence"]["records"] == 3
    assert shown["policy_revision"].startswith("sha256:")
    assert 0 not in process.ports.values()


async def test_a_drain_closes_every_door_and_the_evidence_holds(home: Home) -> None:
    started = await home.started()
    assert await call(started) == (200, None)
    await started.drain()
    assert not [name for name, port in started.ports.items() if accepts(port)]
    with pytest.raises(aiohttp.ClientConnectorError):
        await status(home)
    assert not started.readiness()["accepting"] and not started.readiness()["evidence"]
    report = await asyncio.to_thread(verify_log, home.folder / "evidence")
    assert (report.ok, report.records, report.checkpoint_size, report.unknown) == (True, 2, 2, [])
    home.lines.close()
    assert home.events("stopped")[0]["clean"] is True


@pytest.mark.parametrize("stays", [True, False])
async def test_inv_7_a_drain_that_cuts_a_call_records_what_became_of_it(
    stays: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "DRAIN_SECONDS", 0.2)

    async def silent(conversation: Conversation) -> None:
        far.requests.append(await conversation.request())
        await conversation.rest()

    async with upstream(silent) as far:
        home = Home(tmp_path, far.port, [])
        started = await home.started()
        _, caller = await asyncio.open_connection("127.0.0.1", started.ports["access"])
        caller.write(
            b"POST /v1/connectors/up/operations/read HTTP/1.1\r\nHost: door\r\nAuthorization: Bearer %b\r\n"
            b"Content-Type: application/json\r\nContent-Length: 2\r\n\r\n{}" % KEY.key.encode()
        )
        await until(lambda: bool(far.requests))
        if not stays:
            caller.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            caller.transport.abort()
            await until(lambda: started._server.connections == 0)
        await started.drain()
        caller.transport.abort()
        home.close()
    report = await asyncio.to_thread(verify_log, tmp_path / "evidence")
    assert (report.ok, report.records, report.unknown) == (True, 2, [])
    assert [line["clean"] for line in home.events("stopped")] == [False]
    assert [line["code"] for line in home.events("call")] == ["cancelled"]


async def test_a_part_that_does_not_end_well_leaves_the_evidence_closed(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    started = await home.started()
    assert await call(started) == (200, None)
    monkeypatch.setattr(started._built.registry, "close", fails)
    await started.drain()
    report = await asyncio.to_thread(verify_log, home.folder / "evidence")
    assert (report.ok, report.records, report.checkpoint_size) == (True, 2, 2)
    home.lines.close()
    assert [event["task"] for event in home.events("failure")] == ["close registry"]
    assert home.events("stopped")


async def test_the_circuit_of_a_connector_that_was_taken_out_is_told_no_more(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COUNT_SECONDS", 0.01)
    started = await home.started()
    assert await call(started) == (200, None)
    circuit = {"connector": "up", "state": "closed"}
    metrics = started._built.metrics.registry
    await until(lambda: metrics.get_sample_value("sidecar_breaker_state", circuit) == 1.0)
    home.write(changed("connectors", {}, home.document))
    await started.reload()
    await until(lambda: metrics.get_sample_value("sidecar_breaker_state", circuit) is None)
    assert started._built.parts.traffic == {}
    await started.drain()


async def test_refusals_that_were_only_counted_are_recorded_at_the_end_whichever_door_counted_them(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "COUNT_SECONDS", NEVER)
    started = await home.started()
    built, door = started._built, started._admin.door
    origin, closed = built.evidence.origin, door.close
    built.parts.flood.counted["10.0.0.1", "unauthenticated"] += 3

    async def closes() -> None:
        await closed()
        built.parts.flood.counted["10.0.0.2", "malformed"] += 2  # by what was still asked while it closed

    monkeypatch.setattr(door, "close", closes)
    await started.drain()
    reader = Reader(home.folder / "evidence", origin)
    leaves = [reader.read(index) for index in range(2)]
    assert [(leaf.peer, leaf.count) for leaf in leaves if leaf] == [("10.0.0.1", 3), ("10.0.0.2", 2)]


async def test_a_folder_is_served_again_after_the_end(home: Home) -> None:
    for expected in (2, 4):
        started = await home.started()
        assert await call(started) == (200, None)
        assert started.status()["evidence"]["records"] == expected
        await started.drain()


@pytest.mark.parametrize("door", ["access", "metrics"])
async def test_a_start_that_fails_closes_what_it_had_opened(home: Home, door: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        home.write(changed(f"doors.{door}", f"127.0.0.1:{taken.getsockname()[1]}", home.document))
        failed = home.process()
        with pytest.raises(Misconfigured, match=f"doors.{door}: cannot listen"):
            await failed.start()
    home.write(home.document)
    again = home.process()  # the log is free
    await again.start()
    assert await call(again) == (200, None)
    await again.drain()


async def test_no_connector_dials_our_own_doors(process: Process, home: Home) -> None:
    port = process.ports["metrics"]
    loop = {
        "kind": "http",
        "base_url": f"http://127.0.0.1:{port}",
        "operations": {"read": {"method": "GET", "path": "/metrics"}},
    }
    document = changed("connectors.self", loop, home.document)
    home.write(
        changed("destinations.self", {"name": "127.0.0.1", "port": port, "networks": ["127.0.0.0/8"]}, document)
    )
    await process.reload()
    assert await call(process, "self/operations/read") == (403, "destination_forbidden")


async def test_a_bad_policy_starts_and_denies_all_until_it_is_right(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "WATCH_SECONDS", 0.02)
    home.policy("custom.rego", "no rego")
    started = await home.started()
    assert await probe(started) == (503, ["policy"])
    assert await call(started) == (403, "policy_unavailable")
    assert not home.requests
    home.policy("custom.rego", "package sidecar.custom\n")
    await until(lambda: started.readiness()["policy"])
    assert await call(started) == (200, None)
    await started.drain()
    home.lines.close()
    assert home.events("policy_rejected")[0]["errors"]


async def test_a_policy_that_becomes_bad_leaves_the_last_good_one(watching: Process, home: Home) -> None:
    revision = watching.status()["policy_revision"]
    home.policy("custom.rego", "no rego")
    await until(lambda: bool(home.events("policy_rejected")))
    assert watching.status()["policy_revision"] == revision
    assert watching.readiness()["policy"]
    assert await call(watching) == (200, None)


async def test_a_changed_policy_is_noticed(watching: Process, home: Home) -> None:
    home.policy("custom.rego", 'package sidecar.custom\n\ndeny contains {"code": "shut", "message": "Shut."}\n')
    revision = watching.status()["policy_revision"]
    await until(lambda: watching.status()["policy_revision"] != revision)
    assert await call(watching) == (403, "denied")


async def test_a_changed_file_is_noticed_once(watching: Process, home: Home) -> None:
    write = {"method": "POST", "path": "/write"}
    home.write(changed("connectors.up.operations.write", write, home.document))
    await until(lambda: bool(home.events("reload")))
    assert await call(watching, "up/operations/write") == (403, "denied")  # it is there, and reads are granted
    assert await call(watching) == (200, None)
    await looked_again(watching, home)
    assert [event["outcome"] for event in home.events("reload")] == ["loaded"]


async def test_a_file_that_was_reloaded_by_hand_is_not_reloaded_again(watching: Process, home: Home) -> None:
    home.write(changed("connectors.up.labels", {"class": "public"}, home.document))
    await watching.reload()
    await looked_again(watching, home)
    assert len(home.events("reload")) <= 2  # a look that had begun before the reload may count
    before = len(home.events("reload"))
    await looked_again(watching, home)
    assert len(home.events("reload")) == before


async def test_a_bad_file_is_told_once_and_a_good_one_taken_after_it(watching: Process, home: Home) -> None:
    home.write("tenant: [")
    await until(lambda: bool(home.events("reload")))
    assert await call(watching) == (200, None)
    await looked_again(watching, home)
    home.write(changed("connectors.up.labels", {"class": "public"}, home.document))
    await until(lambda: len(home.events("reload")) > 1)
    assert [event["outcome"] for event in home.events("reload")] == ["failed", "loaded"]


async def test_a_bad_file_that_is_undone_has_not_the_last_word(watching: Process, home: Home) -> None:
    home.write("tenant: [")
    await until(lambda: bool(home.events("reload")))
    home.write(home.document)
    await until(lambda: len(home.events("reload")) > 1)
    await looked_again(watching, home)
    assert [event["outcome"] for event in home.events("reload")] == ["failed", "loaded"]


async def test_a_reload_serves_the_new_file_from_the_next_call_on(process: Process, home: Home) -> None:
    assert await call(process, "up/operations/again") == (404, "unknown_operation")
    home.write(changed("connectors.up.operations.again", {"method": "GET", "path": "/again"}, home.document))
    told, now = await process.reload(), process.status()
    assert {**told, "registry": None} == {**now, "registry": None}  # its age goes on
    assert await call(process, "up/operations/again") == (200, None)
    assert home.requests[-1].startswith(b"GET /again ")


async def test_a_reload_brings_the_bounds_of_the_door(process: Process, home: Home) -> None:
    home.write(changed("limits.body_bytes", 1, home.document))
    await process.reload()
    assert await call(process) == (413, "body_too_large")
    home.write(changed("limits.headers", 1, home.document))
    await process.reload()
    assert await call(process) == (431, "headers_too_large")  # the server's own bound


@pytest.mark.parametrize(
    "broken", ["tenant: [", {"tenant": "acme", "planez": {}}, {"tenant": "acme", "planes": {"p": {"source": "x"}}}]
)
async def test_a_bad_file_leaves_the_last_good_one(process: Process, home: Home, broken: Any) -> None:
    home.write(broken)
    with pytest.raises(Misconfigured) as caught:
        await process.reload()
    assert caught.value.reasons
    assert await call(process) == (200, None)
    assert process.readiness()["policy"]
    await until(lambda: bool(home.events("reload")))
    told = home.events("reload")[0]
    assert told["outcome"] == "failed" and told["errors"]


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("tenant", "globex"),
        ("doors.access", "127.0.0.1:1"),
        ("evidence.segment_bytes", 1 << 20),
        ("registry.sqlite", "other.db"),
    ],
)
async def test_what_a_running_process_cannot_change_is_refused(
    process: Process, home: Home, path: str, value: object
) -> None:
    home.write(changed("connectors", {}, changed(path, value, changed("destinations", {}, home.document))))
    with pytest.raises(Misconfigured, match=f"{path.partition('.')[0]} changed: restart"):
        await process.reload()
    assert await call(process) == (200, None)


async def test_run_serves_until_it_is_told_to_end(home: Home) -> None:
    ready = home.folder / "ready"
    running = asyncio.create_task(run(home.read(), home.read, home.lines, ready))
    await until(lambda: running.done() or ready.exists())
    assert not running.done()
    ports = json.loads(ready.read_text())  # whole as soon as it is there
    assert sorted(ports) == ["access", "admin", "metrics"] and all(accepts(port) for port in ports.values())
    assert not list(home.folder.glob("ready.*"))
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: bool(home.events("reload")))
    home.write("tenant: [")
    os.kill(os.getpid(), signal.SIGHUP)
    await until(lambda: len(home.events("reload")) > 1)
    os.kill(os.getpid(), signal.SIGTERM)
    await running
    assert (await asyncio.to_thread(verify_log, home.folder / "evidence")).ok
    assert [event["outcome"] for event in home.events("reload")] == ["loaded", "failed"]


async def test_looking_at_the_files_goes_on_after_a_failure(
    watching: Process, home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(module, "fingerprint", fails)
        await until(lambda: len(home.events("failure")) > 1)
    told = home.events("failure")[0]
    assert (told["task"], told["error"], told["level"]) == ("watch", "ZeroDivisionError", "error")
    await looked_again(watching, home)
    assert await call(watching) == (200, None)


async def test_counting_goes_on_after_a_failure(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COUNT_SECONDS", 0.02)
    counted: list[object] = []

    async def counts(*arguments: object) -> None:
        counted.append(arguments)
        if len(counted) < 3:
            fails()

    monkeypatch.setattr(module, "record_counted", counts)
    started = await home.started()
    await until(lambda: len(counted) > 3)
    await started.drain()
    home.lines.close()
    assert [event["task"] for event in home.events("failure")] == ["count", "count"]


async def test_a_ready_file_that_cannot_be_written_ends_the_run_in_order(home: Home) -> None:
    with pytest.raises(Misconfigured, match="--ready-file"):
        await run(home.read(), home.read, home.lines, home.folder / "nothing" / "ready")
    again = await home.started()
    await again.drain()
