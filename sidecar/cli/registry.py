"""What the commands of the registries share: paths, files, versions, and how a thing is shown.

A change names the version it is about. The commands read it just before they write, so that a person need not; who
changed the thing in between is told of, and nothing is lost.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from sidecar.cli.admin import ask, document, socket_of
from sidecar.cli.show import Command, cell, data, table
from sidecar.config.document import DocumentError, parse
from sidecar.errors import Misconfigured

NOT_FOUND = 404


def file_option(command: Command) -> Command:
    """The option ``-f FILE``, as the parameter ``file``: the document as it would stand in ``sidecar.yaml``."""
    option = click.option(
        "-f",
        "--file",
        required=True,
        type=click.Path(dir_okay=False, allow_dash=True, path_type=Path),
        help="YAML or JSON, as the entry would stand in sidecar.yaml; - is standard input.",
    )
    return option(command)


def segment(name: str) -> str:
    """A name as one segment of a path, whatever is in it. Dots alone would be steps of the path."""
    if not name.strip("."):
        raise click.BadParameter(f"{name!r} is no name")
    return quote(name, safe="")


def read(file: Path) -> dict[str, Any]:
    """The document in ``file``. Raises ``Misconfigured``."""
    source = "standard input" if str(file) == "-" else str(file)
    try:
        text = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        value = parse(text).value
    except OSError as error:
        raise Misconfigured(f"{source} cannot be read: {error.strerror}") from None
    except DocumentError as error:
        sentence, place = error.places[0]
        raise Misconfigured(f"{source}:{place.line if place else 1}: {sentence}") from None
    if not isinstance(value, dict):
        raise Misconfigured(f"{source} holds no mapping; write it as it would stand in sidecar.yaml")
    return value


def put(config: str, path: str, body: dict[str, Any], query: str = "") -> Any:
    """Write a thing over the version it has now, or as a new one."""
    socket = socket_of(config)
    found = ask(socket, "GET", path)
    match = {"If-None-Match": "*"} if found.status == NOT_FOUND else _match(found.etag)
    return document(socket, "PUT", path + query, body, match)


def remove(config: str, path: str) -> Any:
    """Remove the version a thing has now."""
    socket = socket_of(config)
    return document(socket, "DELETE", path, headers=_match(ask(socket, "GET", path).etag))


def post(config: str, path: str, body: dict[str, Any] | None = None) -> Any:
    """One verb."""
    return document(socket_of(config), "POST", path, body)


def listed(config: str, path: str, name: str) -> list[dict[str, Any]]:
    """Every page of a list."""
    socket, after = socket_of(config), ""
    found: list[dict[str, Any]] = []
    while True:
        page = document(socket, "GET", f"{path}{'&' if '?' in path else '?'}limit=500{after}")
        found += page[name]
        if page["next"] is None:
            return found
        after = f"&after={quote(page['next'], safe='')}"


def show(found: dict[str, Any], output: str) -> None:
    """One thing: a row a field for people."""
    if output != "table":
        data(found, output)
        return
    table(("field", "value"), [(name, text(name, value)) for name, value in found.items() if value not in (None, [])])


def text(name: str, value: Any) -> str:
    """A field's value for people."""
    if name in ("at", "expires", "last_used", "last_error_at") and isinstance(value, int):
        return f"{datetime.fromtimestamp(value / 1e6, UTC):%Y-%m-%d %H:%M:%S} UTC"
    if isinstance(value, list):
        return ", ".join(map(str, value))
    if isinstance(value, dict):
        return ", ".join(f"{key}: {text(key, item)}" for key, item in value.items())
    return cell(value)


def where(found: dict[str, Any]) -> str:
    """Who says so: the file, or an admin."""
    return "sidecar.yaml" if found["declared"] else f"registry, by {found['by']}"


def _match(etag: str | None) -> dict[str, str]:
    return {"If-Match": etag or "*"}  # what sidecar.yaml declares has none, and the door says so
