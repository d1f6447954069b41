"""Reads ``sidecar.yaml``: flags > environment > file > defaults, checked whole, every error at once.

The only module of this room that opens files. The steps: read, compose YAML, put variables and flags over it, check
against the schema, build the frozen ``Config``, check that its parts fit together, look at the files it names.
"""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import jsonschema_rs
import msgspec

from sidecar.config import cross
from sidecar.config.bundle import bundle_files
from sidecar.config.document import BYTES_LIMIT, DocumentError, JsonPath, parse
from sidecar.config.environment import overlay
from sidecar.config.faults import Fault, Faults, in_order, misconfigured
from sidecar.config.remainder import remainder
from sidecar.config.remote_source import remote_files
from sidecar.config.schemas import schema
from sidecar.config.sections import Config
from sidecar.config.shape import SHAPED_LIKE_ONE, issued


class Loaded(NamedTuple):
    """A configuration that may be served. ``print`` is what ``fingerprint(watched)`` was before it was read."""

    config: Config
    warnings: tuple[Fault, ...]
    path: Path
    directory: Path  # what relative paths in the file are relative to
    watched: tuple[Path, ...]  # the file and the files whose change needs a reload
    print: str

    def resolve(self, name: str) -> Path:
        """A path of the file as one that can be opened."""
        return self.directory / name


class Examined(NamedTuple):
    """Everything found about a file: ``loaded`` is None exactly when there are errors."""

    loaded: Loaded | None
    errors: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def load(path: Path, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Config:
    """The checked configuration. Raises ``Misconfigured`` with every error as a reason."""
    return read(path, environ, overrides).config


def read(path: Path, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Loaded:
    """Like ``load``, with warnings and what a reload needs. ``overrides`` maps ``section.field`` to its text."""
    loaded, errors, _ = examine(path, environ, overrides)
    if loaded is None:
        raise misconfigured(path.name, errors)
    return loaded


def examine(path: Path, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Examined:
    """Every error and warning about ``path``; raises nothing for a bad file.

    May run in a thread beside the event loop: the cycle collector is held off meanwhile, because going through the
    nodes of a thousand operations would stop the loop for 50 ms.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        return _examine(path, environ, overrides)
    finally:
        if collects:
            gc.enable()


def _examine(path: Path, environ: Mapping[str, str], overrides: Mapping[str, str]) -> Examined:
    faults = Faults(path.name)
    before = fingerprint([path])
    try:
        faults.document = parse(_bytes(path))
    except DocumentError as error:
        for sentence, place in error.places:
            faults.text(sentence, place)
    except OSError as error:
        hint = "; -c names another, `sidecar init` writes one" if isinstance(error, FileNotFoundError) else ""
        faults.text(f"the file cannot be read: {error.strerror}{hint}", None)
    if faults.document is None:
        return Examined(None, in_order(faults.errors), ())
    files: list[Path] = []

    def text(name: str) -> str:
        files.append(Path(name))
        return _bytes(files[-1]).decode()

    value = overlay(faults.document.value, _schema(), environ, overrides, text, faults)
    config = _config(value, faults)
    if config is not None:
        cross.check(config, faults)
    directory = path.absolute().parent
    named = _named_files(config, directory, faults) if config is not None else ()
    watched = (path, *files, *named)
    faults.document = None  # the nodes are many; only lines needed them
    if config is None or faults.errors:
        return Examined(None, in_order(faults.errors), in_order(faults.warnings))
    seen = before if len(watched) == 1 else fingerprint(watched)
    if fingerprint([path]) != before:
        seen = ""  # it changed while it was read: the next look must find a difference
    warnings = in_order(faults.warnings)
    return Examined(Loaded(config, warnings, path, directory, watched, seen), (), warnings)


def entry(section: str, name: str, document: Any, faults: Faults) -> Config | None:
    """One entry of a map of the file, such as a connector, read by itself: what it says is checked as the file is,
    but not whether it fits together with the rest (``cross.check``). None exactly when an error was added.
    """
    value = {"tenant": "entry", section: {name: document}}
    before = len(faults.errors)
    fits = _validator().is_valid(value)
    if not fits:
        from sidecar.config.explain import explain  # noqa: PLC0415  # as in _config

        explain(value, _schema(), faults)
    _refuse_raw_secrets(value, faults)
    if not fits or len(faults.errors) != before:
        return None
    try:
        return msgspec.convert(value, Config)
    except msgspec.ValidationError:
        faults.error("wrong_value", (section, name), "it fits the schema and still cannot be read")
        return None


def fingerprint(paths: Iterable[Path]) -> str:
    """A short text that changes when a file's bytes do, behind a swapped symbolic link too, or when it comes or goes.

    A directory counts by the names, sizes, inodes and times of what is in it. Raises nothing.
    """
    digest = hashlib.sha256()
    for path in paths:
        for part in _parts(path):
            digest.update(part + b"\0")
    return digest.hexdigest()


def _parts(path: Path) -> Iterator[bytes]:
    yield os.fsencode(path)
    try:
        if path.is_dir():
            for entry in sorted(path.rglob("*")):
                status = entry.stat()
                at = f"{status.st_size} {status.st_ino} {status.st_mtime_ns} {status.st_ctime_ns}"
                yield os.fsencode(entry) + b" " + at.encode()
        else:
            yield hashlib.sha256(path.read_bytes()).digest()
    except OSError as error:
        yield f"unreadable {error.errno}".encode()


def _bytes(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(BYTES_LIMIT + 1)


@cache
def _schema() -> dict[str, Any]:
    return schema("config")


@cache
def _validator() -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(_schema())


def _config(value: Any, faults: Faults) -> Config | None:
    fits = _validator().is_valid(value)
    if not fits:
        # Only a wrong file pays for the import of the library that explains it (50 ms).
        from sidecar.config.explain import explain  # noqa: PLC0415  # the reason above

        explain(value, _schema(), faults)
        _check_rest(value, faults)
    _refuse_raw_secrets(value, faults)
    if not fits:
        return None
    try:
        return msgspec.convert(value, Config)
    except msgspec.ValidationError:
        faults.error("wrong_value", (), "the file fits the schema and still cannot be read; is a number too large?")
        return None


def _refuse_raw_secrets(value: object, faults: Faults) -> None:
    for path, is_key in _raw_secrets(value, ()):
        faults.error("raw_secret", path, SHAPED_LIKE_ONE, key=is_key)


def _check_rest(value: Any, faults: Faults) -> None:
    """Also find what does not fit together in the parts that are right by themselves."""
    rest, faults.set_aside = remainder(value, faults.paths)
    warnings = list(faults.warnings)
    try:
        cross.check(msgspec.convert(rest, Config), faults)
    except msgspec.ValidationError:  # too little is left
        return
    faults.warnings = warnings  # what is unused may be used by a part that was set aside


def _raw_secrets(value: object, path: JsonPath) -> Iterator[tuple[JsonPath, bool]]:
    """Where an issued key is written, and whether as a key of a mapping."""
    match value:
        case str():
            if issued(value):
                yield path, False
        case dict():
            for key, item in value.items():
                if issued(key):
                    yield (*path, key), True
                yield from _raw_secrets(item, (*path, key))
        case list():
            for at, item in enumerate(value):
                yield from _raw_secrets(item, (*path, at))


def _named_files(config: Config, directory: Path, faults: Faults) -> Iterator[Path]:
    for name, connector in config.connectors.items():
        if connector.ca_file is not None:
            file = directory / connector.ca_file
            yield file
            if not file.is_file():
                faults.error("no_file", ("connectors", name, "ca_file"), "there is no such file")
    yield from remote_files(config, directory, faults)
    if config.policy.bundle is not None:
        yield from bundle_files(config.policy.bundle, directory, faults)
        return
    policy = directory / config.policy.directory
    if not policy.is_dir():
        message = (
            "there is no such folder, and without a policy every call is refused; `sidecar policy new` writes one"
        )
        faults.warn("no_folder", ("policy", "directory"), message)
