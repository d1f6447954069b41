"""``sidecar evidence``: look at the records and check them, with no running sidecar and no lock.

Exit codes: 0 all is well, 1 the evidence does not hold or is not there, 2 the command line is wrong.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from functools import wraps
from pathlib import Path
from typing import Any

import click
import msgspec
from click.core import ParameterSource
from rich.console import Console
from rich.highlighter import JSONHighlighter
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from sidecar.adapters.evidence.keys import load_tenant_key
from sidecar.adapters.evidence.reader import Reader
from sidecar.adapters.evidence.records import context
from sidecar.adapters.evidence.verify import Problem, Report, verify_log
from sidecar.cli.groups import Group
from sidecar.cli.show import config_option, data, output_option, plain_json
from sidecar.config.load import read
from sidecar.config.sections import EvidenceSection
from sidecar.errors import SidecarError
from sidecar.model.evidence import Leaf
from sidecar.rules.notes import NoteBrokenError, Verifier
from sidecar.rules.sealing import SealBrokenError, unseal

_ELSEWHERE = "Name the sidecar's configuration with -c, or the folder with --directory."
_POLL_SECONDS = 0.25
_LINE = "{:>8}  {:<19}  {:<7}  {:<16}  {:<32}  {}"
_SHOWN = 20  # indices listed for people; JSON has them all


def _directory(command: Callable[..., None]) -> Callable[..., None]:
    """The options that say where the evidence is; the command gets the folder as ``directory``."""

    @wraps(command)
    def found(config: str, directory: Path | None, **rest: Any) -> None:
        command(directory=directory or _configured(Path(config)), **rest)

    flag = click.option(
        "--directory", type=click.Path(path_type=Path, file_okay=False), help="The evidence; over -c."
    )
    return config_option(flag(found))


def _configured(config: Path) -> Path:
    """Where the configuration has its evidence; without a ``sidecar.yaml`` here it is where the defaults say.

    Raises ``Misconfigured``.
    """
    if config.exists() or click.get_current_context().get_parameter_source("config") is not ParameterSource.DEFAULT:
        loaded = read(config, os.environ, {})
        return loaded.resolve(loaded.config.evidence.directory)
    return Path(EvidenceSection().directory)


@click.group(
    cls=Group, epilog="Exit codes: 0 all is well, 1 the evidence does not hold or is not there, 2 wrong command line."
)
def evidence() -> None:
    """Look at the evidence, and verify it.

    \b
    Examples:
      sidecar evidence tail -f
      sidecar evidence show acme-1f2e3d4c/17 --input
      sidecar evidence verify --directory /var/lib/sidecar/evidence
    """


@evidence.command()
@_directory
@output_option
@click.option("-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="How many records.")
@click.option("-f", "--follow", is_flag=True, help="Go on as records are added.")
def tail(directory: Path, output: str, lines: int, follow: bool) -> None:
    """Show the newest records, oldest of them first.

    \b
    Examples:
      sidecar evidence tail
      sidecar evidence tail -c /etc/sidecar/sidecar.yaml -n 100 -o json
      sidecar evidence tail --follow
    """
    reader = _reader(directory)
    try:
        size = reader.size()
        position = max(0, size - lines)
        _print_leaves(list(reader.range(position, size)), output, header=True)
        while follow:
            position, size = size, reader.size()
            if size > position:
                _print_leaves(list(reader.range(position, size)), output, header=False)
            elif _reader_is_gone():
                sys.exit(0)
    except SidecarError as error:
        raise click.ClickException(error.detail) from None
    except (KeyboardInterrupt, BrokenPipeError):
        sys.exit(0)


@evidence.command()
@click.argument("evidence_id", metavar="ORIGIN/INDEX")
@_directory
@output_option
@click.option("--input", "with_input", is_flag=True, help="Unseal the document beside it with the tenant's key.")
def show(evidence_id: str, directory: Path, output: str, with_input: bool) -> None:
    """Show one record by its evidence id.

    \b
    Examples:
      sidecar evidence show acme-1f2e3d4c/17
      sidecar evidence show acme-1f2e3d4c/17 --input -o json
    """
    reader = _reader(directory)
    origin, _, number = evidence_id.rpartition("/")
    if not number.isascii() or not number.isdigit() or not origin:
        raise click.UsageError("An evidence id is ORIGIN/INDEX, as in a refusal or a Sidecar-Evidence-Id header.")
    if origin != reader.origin:
        raise click.ClickException(f"This directory holds the log {reader.origin}, not {origin}.")
    try:
        leaf = reader.read(int(number))
        document = _document(reader, directory, leaf) if leaf and with_input else None
    except SidecarError as error:
        raise click.ClickException(error.detail) from None
    if leaf is None:
        raise click.ClickException(f"{evidence_id}: there is no such record.")
    if output != "table":
        _print({"leaf": leaf, "document": document} if with_input else leaf, output)
        return
    _print_json(leaf)
    if with_input:
        _print_json(document)


@evidence.command()
@_directory
@output_option
@click.option("--key", "vkey", help="The log's public key (NAME+HASH+KEY); its own checkpoint.pub otherwise.")
def verify(directory: Path, output: str, vkey: str | None) -> None:
    """Check every record, the tree and the signed checkpoint; exit with 1 when something does not hold.

    A checkpoint is checked with the key beside it unless --key gives one that was kept elsewhere.

    \b
    Examples:
      sidecar evidence verify
      sidecar evidence verify -o json --key "$(cat /safe/checkpoint.pub)"
    """
    if vkey is not None:
        try:
            Verifier.from_text(vkey)
        except (NoteBrokenError, ValueError) as error:
            raise click.BadParameter(f"{error}, as it is in checkpoint.pub", param_hint="--key") from None
    _require_log(directory)
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    console = Console(stderr=True)
    try:
        with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
            task = bar.add_task("verifying")
            report = verify_log(directory, lambda done, total: bar.update(task, completed=done, total=total), vkey)
    except SidecarError as error:
        raise click.ClickException(error.detail) from None
    if output == "table":
        _print_report(directory, report)
    else:
        _print(report, output)
    sys.exit(0 if report.ok else 1)


def _require_log(directory: Path) -> None:
    """A folder that is no log at all is the wrong folder. Where a key is missing from a log, the log says so."""
    if not directory.exists():
        raise click.ClickException(f"{directory}: there is no such directory. {_ELSEWHERE}")
    if not any(any(directory.glob(name)) for name in ("origin", "checkpoint*", "*.seg")):
        raise click.ClickException(f"{directory} holds no evidence log. {_ELSEWHERE}")


def _reader(directory: Path) -> Reader:
    _require_log(directory)
    try:
        return Reader.open(directory)
    except SidecarError as error:
        raise click.ClickException(f"There is no evidence to read: {error.detail}") from None


def _document(reader: Reader, directory: Path, leaf: Leaf) -> object:
    """The record's document: its JSON value, or its text where it is none; None where there is none."""
    record = reader.record(leaf.index)
    if leaf.attachment is None or record is None or record.sealed is None:
        return None
    key = load_tenant_key(directory, leaf.origin.rpartition("-")[0])
    if key is None or key.id != leaf.attachment.key:
        raise click.ClickException(f"The document is sealed under the key {leaf.attachment.key}, which is not here.")
    try:
        plain = unseal(key.sealing, record.sealed, context(leaf.origin, leaf.index))
    except SealBrokenError as error:
        raise click.ClickException(f"The document cannot be unsealed: {error}.") from None
    try:
        return msgspec.json.decode(plain)
    except msgspec.DecodeError:
        return plain.decode("utf-8", "replace")


def _print_leaves(leaves: list[Leaf], output: str, *, header: bool) -> None:
    if output != "table":
        for leaf in leaves:
            _print(leaf if output == "json" else [leaf], output)  # lists of one make one list, however long it gets
        return
    if header:
        click.echo(_LINE.format("index", "time (UTC)", "kind", "principal", "what", "result"))
    for leaf in leaves:
        moment = datetime.fromtimestamp(leaf.time / 1e6, UTC)
        changed = (leaf.change.verb, leaf.change.kind, leaf.change.id) if leaf.change else ()
        what = "/".join(each for each in (leaf.plane, leaf.connector, leaf.operation, *changed) if each)
        cells = (leaf.index, f"{moment:%Y-%m-%d %H:%M:%S}", leaf.kind, leaf.principal or "-", what, _result(leaf))
        click.echo(_LINE.format(*(_printable(str(each)) for each in cells)).rstrip())


def _printable(text: str) -> str:
    """Names of refused calls are what an agent sent: nothing in them may steer a terminal."""
    return "".join(each if each.isprintable() else f"\\x{ord(each):02x}" for each in text)


def _result(leaf: Leaf) -> str:
    if leaf.code:
        return leaf.code
    status = "" if leaf.result is None or leaf.result.status is None else str(leaf.result.status)
    first = leaf.change.of if leaf.change else leaf.intent
    follows = "" if first is None else f"of {first}"
    return " ".join(each for each in (status, follows) if each)


def _print_report(directory: Path, report: Report) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    signed = "none that holds" if report.checkpoint_size is None else f"{report.checkpoint_size} records signed"
    rows = [
        ("log", f"{report.origin} in {directory}"),
        ("records", f"{report.records} ({report.attachments} with a sealed document)"),
        ("segments", f"{report.segments}, {report.bytes} bytes"),
        ("checkpoint", signed),
        ("root", report.root or "-"),
        ("unknown", _indices(report.unknown, "every intent has its outcome", "intents without an outcome")),
    ]
    if report.unsettled:
        rows.append(("unsettled", _indices(report.unsettled, "", "changes with no record of what came of them")))
    if report.repeated:
        rows.append(("repeated", _indices(report.repeated, "", "records close an intent that was closed before")))
    if report.unfinished_bytes:
        rows.append(("unfinished", f"{report.unfinished_bytes} bytes of a write under way, or torn by a crash"))
    for name, value in rows:
        table.add_row(name, Text(value))
    out = _out()
    out.print(table)
    for problem in report.problems:
        out.print(Text(f"PROBLEM  {_place(problem)}{problem.what}", style="bold red"), soft_wrap=True)
    verdict = Text("verified", style="bold green") if report.ok else Text("NOT verified", style="bold red")
    out.print(verdict)


def _indices(found: list[int], none: str, some: str) -> str:
    if not found:
        return none
    listed = ", ".join(map(str, found[:_SHOWN]))
    return f"{len(found)} {some}: {listed}{', ...' if len(found) > _SHOWN else ''}"


def _place(problem: Problem) -> str:
    parts = []
    if problem.index is not None:
        parts.append(f"record {problem.index}")
    if problem.file is not None:
        parts.append(f"{problem.file}, byte {problem.offset}")
    return f"{' in '.join(parts)}: " if parts else ""


def _print(value: object, output: str) -> None:
    """JSON on a line of its own, so that a log can be followed by line; or YAML."""
    if output == "json":
        click.echo(plain_json(msgspec.json.encode(value)))
    else:
        data(msgspec.to_builtins(value), output)


def _print_json(value: object) -> None:
    text = plain_json(msgspec.json.format(msgspec.json.encode(value)))
    _out().print(JSONHighlighter()(text), soft_wrap=True)


def _reader_is_gone() -> bool:
    """Wait for a moment, or until nobody reads our output: writing would tell no sooner than the next record."""
    poll = select.poll()
    try:
        poll.register(sys.stdout.fileno(), 0)  # errors and hang-ups are told without being asked for
    except (OSError, ValueError):  # no file behind it
        time.sleep(_POLL_SECONDS)
        return False
    return bool(poll.poll(_POLL_SECONDS * 1000))


def _out() -> Console:
    return Console(highlight=False)
