"""Runs canaries through the whole product, and gathers everything that came out of it anywhere.

Two sidecars run in turn in one house: an ordinary one, and one that logs all it can and whose libraries fail on
secrets. What each wrote, answered and printed is gathered by place. A place also has a *beacon*, a text that is known
to be there: a place that was gathered empty would prove nothing.
"""

from __future__ import annotations

import http.client
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

from sidecar.adapters.evidence.keys import load_tenant_key
from sidecar.adapters.evidence.reader import Reader
from sidecar.adapters.evidence.records import context
from sidecar.errors import SidecarError
from sidecar.rules.sealing import unseal
from tests.e2e.house import ROOT, TENANT, Answer, House, living
from tests.leaks import service
from tests.leaks.furniture import MUTUAL, OPEN, STYLES, Furnished
from tests.leaks.scanner import Canary
from tests.leaks.upstreams import PLAIN, STREAMED

BEACON: Final = "beacon-4f1c"  # in every call's parameters
KEY_FILES: Final = frozenset({"master.key", "tenant.key", "checkpoint.key"})
FAULTY: Final = ROOT / "tests" / "leaks" / "faulty"
LOUD: Final = (
    *("env", f"PYTHONPATH={FAULTY}:{ROOT}", "PYTHONDEVMODE=1", "PYTHONASYNCIODEBUG=1"),
    *("PYTHONFAULTHANDLER=1", "PYTHONWARNINGS=default"),
)


class Place(NamedTuple):
    """Everything of one kind that came out, and what must be in it."""

    data: bytes
    beacon: str

    @property
    def is_lit(self) -> bool:
        """Whether what must be there is."""
        return self.beacon.encode() in self.data


def hunt(house: House, furnished: Furnished) -> dict[str, Place]:
    """Run it all; every place by name."""
    answers: list[Answer] = []
    with living(house):
        answers += _calls(house)
        told = service.tell(house, furnished)
        answers += [house.operation("do", {"what": "echo", "note": BEACON}, connector=name) for name in STYLES]
        records = _records(house, answers)
        printed = _commands(house, answers)
        served = _served(house)
        process = _process(house)
        memory = still_in_memory(house, furnished.canaries)
        assert house.stop() == 0
    first_log = (house.folder / "out.log").read_bytes()
    checked = _checks(house, furnished)
    loud = _loud(house, furnished)
    return {
        "answers": Place(_bytes(one for one in answers if one.code is None), BEACON),
        "problem+json": Place(_bytes(one for one in answers if one.code is not None), "credential_unavailable"),
        "log": Place(first_log, '"event":"call"'),
        "log of a failing sidecar, at level debug": Place(loud.log, '"event":"failure"'),
        "standard error and traceback": Place((house.folder / "err.log").read_bytes(), "Fatal Python error"),
        "answers of a failing sidecar": Place(loud.answers, "internal_error"),
        "metrics and probes": Place(served, "sidecar_calls_total"),
        "evidence over the door": Place(records, '"kind":"outcome"'),
        "evidence, files": Place(_files(house.folder / "evidence"), '"kind":"intent"'),
        "evidence, unsealed documents": Place(_documents(house.folder / "evidence"), BEACON),
        "credential service": Place(_bytes(told), service.BEACON),
        "administrators' door": Place(_admin(process), '"ready"'),
        "command line": Place(printed, "encrypted://api-key"),
        "errors of check": Place(checked, "raw_secret"),
        "arguments and environment": Place(process["proc"], "sidecar"),
        "credential store, files": Place(_files(house.folder / "credentials"), "policy-sidecar sealed credential"),
        "other files": Place(_others(house.folder), "base_url"),
        "memory after the calls": Place(json.dumps(memory).encode(), "["),
    }


class Loud(NamedTuple):
    log: bytes
    answers: bytes


def _calls(house: House) -> list[Answer]:
    answers = []
    for name in (*STYLES, OPEN):
        for what in PLAIN:
            answers.append(house.operation("do", {"what": what, "note": BEACON}, connector=name))
        answers.append(house.operation("typed", {"what": "typed", "note": BEACON}, connector=name))
        for what in (*STREAMED, "names", "typed", "early", "trailers"):
            answers.append(_streamed(house, name, what))
        answers.append(house.operation("none", {"what": "echo"}, connector=name))
        answers.append(house.operation("do", {"what": 1}, connector=name))
        answers.append(house.operation("do", {"what": "echo"}, connector=name, key="colleague"))
    sealed, away = house.folder / "credentials" / "database.sealed", house.folder / "away"
    sealed.rename(away)
    answers.append(house.operation("do", {"what": "echo", "note": BEACON}, connector="database"))
    away.rename(sealed)
    return answers


def _streamed(house: House, name: str, what: str) -> Answer:
    try:
        return house.operation("watch", {"what": what, "note": BEACON}, connector=name)
    except (http.client.HTTPException, OSError) as error:  # a stream that breaks off has no end
        partial = error.partial if isinstance(error, http.client.IncompleteRead) else b""
        return Answer(0, http.client.HTTPMessage(), partial)


def _records(house: House, answers: list[Answer]) -> bytes:
    ids = [one.evidence_id for one in answers if one.evidence_id is not None]
    return _bytes([house.request("GET", "/v1/evidence"), *(house.evidence(one) for one in ids[::7])])


def _served(house: House) -> bytes:
    return _bytes([house.probe(path) for path in ("/metrics", "/readyz", "/livez", "/healthz")])


def _process(house: House) -> dict[str, bytes]:
    assert house.process is not None
    about = Path("/proc") / str(house.process.pid)
    admin = [house.admin("GET", "/v1/status"), house.admin("POST", "/v1/reload")]
    admin += [house.admin("GET", "/v1/connectors"), *(house.admin("GET", f"/v1/connectors/{one}") for one in STYLES)]
    return {
        "proc": b"\n".join((about / name).read_bytes() for name in ("cmdline", "environ", "status", "limits")),
        "admin": _bytes(admin),
    }


def _admin(process: dict[str, bytes]) -> bytes:
    return process["admin"]


def _commands(house: House, answers: list[Answer]) -> bytes:
    """What people and scripts see on the command line."""
    known = next(one.evidence_id for one in answers if one.evidence_id is not None and one.code is None)
    shown = [
        ("check",),
        ("check", "-o", "json"),
        ("credentials", "list"),
        ("credentials", "list", "-o", "json"),
        *(("credentials", name, "-o", form) for name in ("expiring", "rotatable") for form in ("table", "json")),
        *(("credentials", name, "-o", form) for name in ("log", "served") for form in ("table", "json")),
        ("evidence", "tail", "-n", "1000", "-o", "json"),
        ("evidence", "show", known, "--input", "-o", "json"),
        ("evidence", "verify", "-o", "json"),
        ("connectors", "list", "-o", "json"),
        *(("connectors", "show", name) for name in ("api-key", MUTUAL)),
    ]
    out = []
    for arguments in shown:
        done = house.sidecar(*arguments)
        out.append(f"{done.stdout}\n{done.stderr}")
    done = house.sidecar("credentials", "put", "spare", given="spare-value-1234")
    out.append(done.stdout + done.stderr)
    done = house.sidecar("credentials", "delete", "spare", "--yes")
    return "\n".join([*out, done.stdout, done.stderr, (house.folder / "sidecar.yaml").read_text()]).encode()


def _checks(house: House, furnished: Furnished) -> bytes:
    """A canary in every place of a configuration where somebody might write one, and as an argument."""
    out = []
    good = json.dumps(house.config)
    for name in STYLES:
        canary = furnished.used[name]
        text = canary.value.decode()
        bad = json.loads(good)
        connector = bad["connectors"][name]
        bad["credentials"][name]["reference"] = text
        connector["auth"] = {"style": "basic", "credential": text, "username": text}
        connector["base_url"] = f"https://user:{text}@api.example/{text}"
        connector["operations"]["do"]["headers"] = {"X-Key": text, "Authorization": f"Bearer {text}"}
        connector["operations"]["do"]["body"] = {"key": text}
        connector["pasword"] = text
        connector["rate"] = {"requests": text}
        connector["retry"] = text
        connector["kind"] = text
        bad["principals"]["agent"]["keys"] = [{"id": "x", "sha256": text}]
        bad["sources"]["open"]["connector"] = text
        bad["doors"] = {"access": text}
        for document in (json.dumps(bad), json.dumps(bad | {"tenant": text}), f"{good[:-2]}, {text}: ["):
            house.write_config(document)
            for form in ("table", "json"):
                done = house.sidecar("check", "-o", form)
                out += [done.stdout, done.stderr]
        done = house.sidecar("run")
        out += [done.stdout, done.stderr]
    for canary in furnished.used.values():
        done = house.sidecar("credentials", "put", "x", "--kind", "SSH_KEY", given=canary.value.decode() + "\0")
        out += [done.stdout, done.stderr]
    house.write_config(good)
    return "\n".join(out).encode()


def _loud(house: House, furnished: Furnished) -> Loud:
    """A sidecar that says all it can and fails on secrets, and ends by a crash."""
    before = (house.folder / "out.log").stat().st_size
    answers = []
    with living(house, LOUD):
        for name in STYLES:
            answers.append(house.operation("do", {"what": "echo", "note": BEACON}, connector=name))
        (house.folder / "fault").touch()
        for name in STYLES:
            answers.append(house.operation("do", {"what": "echo", "note": BEACON}, connector=name))
        answers += service.tell(house, furnished, stores=500)
        house.reload()
        house.signal(signal.SIGABRT)
        assert house.ended() == -signal.SIGABRT
    (house.folder / "fault").unlink()
    return Loud((house.folder / "out.log").read_bytes()[before:], _bytes(answers))


def _bytes(answers: Iterator[Answer] | list[Answer]) -> bytes:
    return b"\n\n".join(str(one.headers).encode() + one.body for one in answers)


def _files(folder: Path) -> bytes:
    files = sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in KEY_FILES)
    return b"\n".join(str(path).encode() + b"\n" + path.read_bytes() for path in files)


def _others(folder: Path) -> bytes:
    left = [path for path in folder.iterdir() if path.name not in ("evidence", "credentials", "out.log", "err.log")]
    assert not [path for path in left if path.name.startswith("core")], "a core was dumped"
    return b"\n".join(path.read_bytes() if path.is_file() else _files(path) for path in left if not path.is_socket())


def _documents(folder: Path) -> bytes:
    """Every sealed document of the log, unsealed, as its text and with the bodies in it decoded."""
    reader = Reader.open(folder)
    key = load_tenant_key(folder, TENANT)
    assert key is not None
    out = []
    for index in range(reader.size()):
        record = reader.record(index)
        if record is not None and record.sealed is not None:
            out.append(unseal(key.sealing, record.sealed, context(reader.origin, index)))
    return b"\n".join(out)


def still_in_memory(house: House, canaries: list[Canary]) -> list[str]:
    """Kinds whose value stands in the process's memory now, which Python does not clear; none where it is unreadable.

    Told apart from the hits: it needs root, or the right to trace, and says what a dump would have shown.
    """
    assert house.process is not None
    about = Path("/proc") / str(house.process.pid)
    found: set[str] = set()
    try:
        regions = [line.split()[:2] for line in (about / "maps").read_text().splitlines()]
        with (about / "mem").open("rb", buffering=0) as memory:
            for region, rights in regions:
                start, end = (int(at, 16) for at in region.split("-"))
                if not rights.startswith("rw") or end - start > 1 << 30:
                    continue
                memory.seek(start)
                try:
                    data = memory.read(end - start)
                except OSError:
                    continue
                found |= {canary.kind for canary in canaries if canary.value in data}
    except (OSError, SidecarError):
        return []
    return sorted(found)
