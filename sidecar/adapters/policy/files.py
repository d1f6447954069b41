"""A policy directory as values: Rego modules and the base document.

As in an OPA bundle, every ``*.rego`` below the directory is a module (``*_test.rego`` is not), and every
``data.json``, ``data.yaml`` or ``data.yml`` is put under ``data`` at its folder's path: ``sidecar/grants/data.yaml``
is ``data.sidecar.grants``. Files meet member by member; two values for one place are an error, and so are duplicate
keys. YAML follows the 1.2 core schema. Names that begin with a dot are skipped (a ConfigMap hides its versions behind
them); symbolic links are followed.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NoReturn

import orjson
from msgspec import Struct

from sidecar.config.document import DocumentError, parse
from sidecar.config.schemas import schema
from sidecar.errors import Misconfigured, Reason

FILES_LIMIT: Final = 1000
FILE_BYTES_LIMIT: Final = 16 << 20
TOTAL_BYTES_LIMIT: Final = 32 << 20
FOLDER_DEPTH_LIMIT: Final = 16
DATA_NAMES: Final = frozenset({"data.json", "data.yaml", "data.yml"})
_DATA_DEPTH_LIMIT: Final = 64
_READ_ATTEMPTS: Final = 5
_INPUT: Final = orjson.dumps(schema("decision-input"))


class PolicyFiles(Struct, frozen=True):
    """Rego text by file name, and the base document; ``documents`` are JSON files of it that the engine reads."""

    modules: dict[str, str]
    data: dict[str, Any] = {}
    documents: dict[str, str] = {}


def library_directory() -> Path:
    """The shipped rules: inside the package when installed, ``rego/`` in a checkout."""
    package = Path(__file__).parents[2]
    installed = package / "_rego"
    return installed if installed.is_dir() else package.parent / "rego"


def read_policy(directory: Path, *, with_library: bool = True, read_bytes: int = TOTAL_BYTES_LIMIT) -> PolicyFiles:
    """Read a directory, and the shipped rules unless told not to.

    JSON beyond ``read_bytes`` in all is left to the engine as ``documents``, by the same rules: reading it here would
    keep every other thread waiting, because Python's parser does not let go of the interpreter.

    Raises ``Misconfigured`` with a reason for every file that cannot be used. The directory is read again when it
    changed meanwhile, so that the result is one version of it.
    """
    for _ in range(_READ_ATTEMPTS):
        before = fingerprint(directory)
        try:
            files = _read(directory, with_library, read_bytes)
        except Misconfigured:
            if fingerprint(directory) == before:
                raise
            continue
        if fingerprint(directory) == before:
            return files
    raise Misconfigured(f"the policy directory {directory} keeps changing while it is read")


def fingerprint(directory: Path) -> str:
    """A value that changes when a file of the directory does: names, sizes, times and inodes, never contents."""
    digest = hashlib.sha256()
    try:
        for path, name in _walk(directory):
            status = path.stat()
            digest.update(repr((name, status.st_ino, status.st_dev, status.st_size, status.st_mtime_ns)).encode())
    except OSError as error:  # gone between listing and looking: a state of its own
        digest.update(repr((error.errno, str(error.filename))).encode())
    return digest.hexdigest()


def source_of(files: PolicyFiles) -> bytes:
    """The canonical JSON of files and data: what the engine loads and what the revision is about."""
    document = {"modules": files.modules, "data": files.data}
    try:
        source = json.dumps(
            document, ensure_ascii=False, allow_nan=False, sort_keys=True, separators=(",", ":")
        ).encode()
    except (ValueError, RecursionError):
        raise Misconfigured(
            "the policy's data holds what JSON cannot: text that is not Unicode, NaN or endless depth"
        ) from None
    if not files.documents:
        return source
    large = orjson.dumps(files.documents, option=orjson.OPT_SORT_KEYS)  # a hundred times as fast with long texts
    return b'%s,"documents":%s}' % (source[:-1], large)


def with_schema(source: bytes) -> bytes:
    """What ``source_of`` gave, with the schema of every input: the engine then refuses what does not fit it."""
    return b'%s,"schema":%s}' % (source[:-1], _INPUT)


def revision_of(files: PolicyFiles) -> str:
    """``sha256:<hex>`` over the canonical content; the same files give the same revision everywhere."""
    return digest_of(source_of(files))


def digest_of(source: bytes) -> str:
    """``sha256:<hex>`` of what ``source_of`` gave."""
    return "sha256:" + hashlib.sha256(source).hexdigest()


def _read(directory: Path, with_library: bool, read_bytes: int) -> PolicyFiles:
    modules: dict[str, str] = {}
    data: dict[str, Any] = {}
    documents: dict[str, str] = {}
    reasons: list[Reason] = []
    roots = [(directory, "")] + ([(library_directory(), "library/")] if with_library else [])
    total = count = 0
    for root, prefix in roots:
        if not root.is_dir():
            raise Misconfigured(f"the policy directory {root} does not exist or is not a directory")
        for path, name in _listed(root):
            try:
                content = _content(path)
                total, count = total + len(content), count + 1
                if total > TOTAL_BYTES_LIMIT or count > FILES_LIMIT:
                    raise Misconfigured(
                        f"the policy is larger than {FILES_LIMIT} files or {TOTAL_BYTES_LIMIT >> 20} MiB"
                    )
                if path.suffix == ".rego":
                    if prefix + name in modules:
                        raise ValueError("the shipped rules have a file of this name; call it otherwise")
                    modules[prefix + name] = content.decode()
                elif path.suffix == ".json" and not prefix and len(content) > read_bytes:
                    documents[name] = content.decode()
                else:
                    read_bytes -= len(content) if path.suffix == ".json" else 0
                    value = _json(content) if path.suffix == ".json" else _yaml(content)
                    _merge(data, _nested(name, value), ())
            except OSError as error:
                reasons.append(Reason("unreadable", f"{prefix}{name}: {error.strerror}"))
            except (ValueError, RecursionError, DocumentError) as error:
                reasons.append(Reason("invalid_file", f"{prefix}{name}{_where(error)}"))
    if reasons:
        raise Misconfigured(f"the policy directory {directory} cannot be used: {reasons[0].message}", reasons)
    return PolicyFiles(modules, data, documents)


def _listed(directory: Path) -> list[tuple[Path, str]]:
    try:
        return list(_walk(directory))
    except OSError as error:
        told = f"{error.filename}: {error.strerror}"
        raise Misconfigured(
            f"the policy directory {directory} cannot be used: {told}", [Reason("unreadable", told)]
        ) from None


def _walk(directory: Path) -> Iterator[tuple[Path, str]]:
    """Every file that counts, with its name relative to the directory, in order of name."""
    for folder, folders, names in os.walk(directory, followlinks=True, onerror=_raise):
        relative = Path(folder).relative_to(directory)
        if len(relative.parts) >= FOLDER_DEPTH_LIMIT:  # a link that leads back up
            folders.clear()
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if name in DATA_NAMES or (name.endswith(".rego") and not name.endswith("_test.rego") and name[0] != "."):
                yield Path(folder, name), (relative / name).as_posix()


def _raise(error: OSError) -> NoReturn:
    raise error


def _content(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(FILE_BYTES_LIMIT + 1)
    if len(content) > FILE_BYTES_LIMIT:
        raise ValueError(f"larger than {FILE_BYTES_LIMIT >> 20} MiB")
    return content


def _nested(name: str, value: Any) -> dict[str, Any]:
    for part in reversed(Path(name).parent.parts):
        value = {part: value}
    if not isinstance(value, dict):
        raise ValueError("data at the root must be an object")
    return value


def _merge(into: dict[str, Any], more: dict[str, Any], path: tuple[str, ...]) -> None:
    for key, value in more.items():
        there = into.setdefault(key, value)
        if there is value:
            continue
        if not (isinstance(there, dict) and isinstance(value, dict)):
            raise ValueError(f"data.{'.'.join((*path, key))} already has a value from another file")
        _merge(there, value, (*path, key))


def _json(content: bytes) -> Any:
    text = content.decode()
    orjson.loads(content)  # the stricter one: no lone surrogates, no number beyond a float's range, a bounded depth
    value = json.loads(text, object_pairs_hook=unique)  # the one that knows duplicates and keeps every digit
    _bound(value, 0)
    return value


def _yaml(content: bytes) -> Any:
    return parse(content).value


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """The object that members make. Raises ``ValueError`` for a name that comes twice: readers differ on it."""
    value = dict(pairs)
    if len(value) != len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"duplicate key {next(key for key in names if names.count(key) > 1)!r}")
    return value


def _bound(value: Any, depth: int) -> None:
    if depth > _DATA_DEPTH_LIMIT:
        raise ValueError(f"nested more than {_DATA_DEPTH_LIMIT} deep")
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            _bound(item, depth + 1)


def _where(error: Exception) -> str:
    if isinstance(error, DocumentError):
        sentence, place = error.places[0]
        return f":{place.line}: {sentence}" if place else f": {sentence}"
    if isinstance(error, json.JSONDecodeError):
        return f":{error.lineno}: {error.msg}"
    if isinstance(error, UnicodeDecodeError):
        return ": not UTF-8 text"
    return f": {error}"
