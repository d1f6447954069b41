"""OPA's Go code as a C shared library, through ctypes: bytes in, bytes out, policies by handle.

The library is opened on first use and never at import: the Go runtime has threads of its own, which a fork would not
copy, so a child of a process that has opened it may not use it (``Unavailable``). ctypes lets go of the interpreter
lock for the length of a call, so other Python threads go on while a policy is evaluated.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from enum import IntEnum
from functools import cache
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from sidecar.errors import Misconfigured, Reason, Unavailable

NATIVE: Final = Path(__file__).parents[2] / "_native"
ANSWER_ROOM: Final = 1 << 16  # bytes of an answer that need no second evaluation
LOAD_SECONDS: Final = 120.0  # 100,000 rules compile in ten; some few lines would never end


class Status(IntEnum):
    """How one evaluation ended."""

    ANSWERED = 0
    UNDEFINED = 1
    TIMEOUT = 2
    FAILED = 3
    TOO_SMALL = 4


class Fault(Struct, frozen=True):
    """One error of a policy; ``line`` is 0 where it has no place."""

    file: str
    line: int
    code: str
    message: str


class Facts(Struct, frozen=True):
    """What a decision cache must know of a policy, from OPA's own analysis.

    ``base`` are paths of input and data that the answer depends on, cut before the first part that is not a
    constant. ``detached`` policies use builtins that cannot be interrupted and run on a thread of Go's.
    """

    base: tuple[tuple[Any, ...], ...] = ()
    builtins: tuple[str, ...] = ()
    detached: bool = False


class Loaded(Struct, frozen=True):
    """What loading gave: a handle with facts, or faults."""

    handle: int = 0
    facts: Facts = Facts()
    faults: tuple[Fault, ...] = ()


class About(Struct, frozen=True):
    """What a bundle says of itself, once its bounds and its signature are good.

    ``revision`` and ``sequence`` are the manifest's (``revision`` and ``metadata.sequence``). ``bundle`` is
    ``sha256:<hex>`` over every file but the signature, ``digest`` over those and the rules beside them, ``key``
    the id of the key that signed it, empty for none.
    """

    revision: str = ""
    sequence: int | None = None
    bundle: str = ""
    digest: str = ""
    key: str = ""
    files: int = 0


class OpenedBundle(Struct, frozen=True):
    """What opening a bundle gave: a handle for ``load_bundle`` or ``close_bundle``, or faults."""

    handle: int = 0
    about: About = About()
    faults: tuple[Fault, ...] = ()


class AskedRules(Struct, frozen=True):
    """The rules of an open bundle that a sidecar asks for, as syntax trees."""

    modules: list[msgspec.Raw] | None = None
    faults: tuple[Fault, ...] = ()


class Tested(Struct, frozen=True):
    """How many of a bundle's own tests passed, and how many say that they are to be skipped."""

    passed: int = 0
    skipped: int = 0


class LoadedBundle(Loaded, frozen=True):
    """What loading a bundle gave."""

    tested: Tested = Tested()


class Room:
    """A buffer for answers. One evaluation at a time may use it."""

    def __init__(self, size: int = ANSWER_ROOM) -> None:
        buffer = ctypes.create_string_buffer(size)
        self.size = size
        self.address = ctypes.addressof(buffer)
        self.view = memoryview(buffer)  # keeps the buffer


class Library:
    """The exports, typed. Thread-safe, given one ``Room`` a thread."""

    def __init__(self, path: Path) -> None:
        try:
            exports = ctypes.CDLL(str(path))
        except OSError:
            raise Unavailable(
                "policy_unavailable", f"The policy engine {path.name} cannot be loaded; install the package again."
            ) from None
        self._load = exports.sidecar_opa_load
        self._load.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64]
        self._load.restype = ctypes.c_void_p
        self._evaluate = exports.sidecar_opa_evaluate
        self._evaluate.argtypes = [
            *(ctypes.c_int64, ctypes.c_char_p, ctypes.c_int64, ctypes.c_int64, ctypes.c_void_p, ctypes.c_int64)
        ]
        self._evaluate.restype = ctypes.c_int64
        self._release = exports.sidecar_opa_release
        self._release.argtypes, self._release.restype = [ctypes.c_int64], None
        self._free = exports.sidecar_opa_free
        self._free.argtypes, self._free.restype = [ctypes.c_void_p], None
        self._version = exports.sidecar_opa_version
        self._version.argtypes, self._version.restype = [], ctypes.c_void_p
        self._bundle_open = exports.sidecar_opa_bundle_open
        self._bundle_open.argtypes = [ctypes.c_char_p, ctypes.c_int64, ctypes.c_char_p, ctypes.c_int64]
        self._bundle_open.restype = ctypes.c_void_p
        self._bundle_asked = exports.sidecar_opa_bundle_asked
        self._bundle_asked.argtypes, self._bundle_asked.restype = [ctypes.c_int64], ctypes.c_void_p
        self._bundle_load = exports.sidecar_opa_bundle_load
        self._bundle_load.argtypes = [ctypes.c_int64, ctypes.c_int64]
        self._bundle_load.restype = ctypes.c_void_p
        self._bundle_close = exports.sidecar_opa_bundle_close
        self._bundle_close.argtypes, self._bundle_close.restype = [ctypes.c_int64], None
        self._usable = True
        os.register_at_fork(after_in_child=self._abandon)

    def _abandon(self) -> None:
        self._usable = False

    def _text(self, address: int) -> bytes:
        try:
            return ctypes.string_at(address)
        finally:
            self._free(address)

    def version(self) -> str:
        """OPA's version."""
        return self._text(self._version()).decode()

    def load(self, source: bytes, seconds: float = LOAD_SECONDS) -> Loaded:
        """Compile a JSON object of ``modules`` (text by file name) and ``data`` within ``seconds``.

        Raises ``Misconfigured`` with a reason for every fault, ``file:line: message``, and ``Unavailable`` in a
        forked child.
        """
        self._check()
        loaded = msgspec.json.decode(self._text(self._load(source, len(source), int(seconds * 1000))), type=Loaded)
        if loaded.faults:
            raise _faulty("the policy does not compile", loaded.faults)
        return loaded

    def open_bundle(self, terms: bytes, archive: bytes) -> OpenedBundle:
        """Unpack and verify a bundle under ``terms`` (JSON, the shim's ``Terms``).

        Raises ``Misconfigured`` with a reason for every fault, and ``Unavailable`` in a forked child. Its handle
        lives until ``load_bundle`` or ``close_bundle`` takes it.
        """
        self._check()
        address = self._bundle_open(terms, len(terms), archive, len(archive))
        opened = msgspec.json.decode(self._text(address), type=OpenedBundle)
        if opened.faults:
            raise _faulty("the bundle is refused", opened.faults)
        return opened

    def asked_of_bundle(self, handle: int) -> list[dict[str, Any]]:
        """Syntax trees of those rules of an open bundle that a sidecar asks for, as ``opa parse`` gives them.

        A module comes in parts of a few rules; where there are more than 64 KiB of such modules, none come.
        Raises like ``open_bundle``.
        """
        self._check()
        asked = msgspec.json.decode(self._text(self._bundle_asked(handle)), type=AskedRules)
        if asked.faults:
            raise _faulty("the bundle is refused", asked.faults)
        return [msgspec.json.decode(tree) for tree in asked.modules or ()]

    def load_bundle(self, handle: int, seconds: float = LOAD_SECONDS) -> LoadedBundle:
        """Compile an opened bundle, check it against the input's schema, run its tests; the handle is used up.

        All of it within ``seconds``.

        Raises like ``open_bundle``.
        """
        self._check()
        loaded = msgspec.json.decode(self._text(self._bundle_load(handle, int(seconds * 1000))), type=LoadedBundle)
        if loaded.faults:
            raise _faulty("the bundle is refused", loaded.faults)
        return loaded

    def close_bundle(self, handle: int) -> None:
        """Forget an opened bundle."""
        if self._usable:
            self._bundle_close(handle)

    def evaluate(self, handle: int, document: bytes, microseconds: int, room: Room) -> tuple[int, int]:
        """A ``Status``, and how many bytes of ``room`` it is about (how many are needed, for ``TOO_SMALL``)."""
        if not self._usable:
            self._check()
        returned: int = self._evaluate(handle, document, len(document), microseconds, room.address, room.size)
        return returned & 7, returned >> 3

    def release(self, handle: int) -> None:
        """Forget a policy. Evaluations under way keep it alive until they end."""
        if self._usable:
            self._release(handle)

    def _check(self) -> None:
        if not self._usable:
            raise Unavailable("policy_unavailable", "The policy engine does not survive a fork of its process.")


def _faulty(what: str, faults: Sequence[Fault]) -> Misconfigured:
    reasons = [Reason(fault.code, _sentence(fault)) for fault in faults]
    return Misconfigured(f"{what}: {reasons[0].message}", reasons)


def _sentence(fault: Fault) -> str:
    place = f"{fault.file}:{fault.line}: " if fault.line else f"{fault.file}: " if fault.file else ""
    return place + fault.message


@cache
def library() -> Library:
    """The one library of this process, opened on first use. Raises ``Unavailable("policy_unavailable")``."""
    return Library(NATIVE / "libsidecar_opa.so")


def opa_executable() -> Path:
    """OPA's own command line, for `opa test`, `check` and `fmt`. Raises ``Misconfigured`` where it was not built."""
    path = NATIVE / "opa"
    if not os.access(path, os.X_OK):
        raise Misconfigured("the opa executable is missing; install the package again (make setup)")
    return path
