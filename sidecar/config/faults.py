"""What is wrong with a configuration, and where: collected all together, never the first only.

A message never repeats a value, because a value in the wrong place may be a secret. It names the place, the rule, and
the nearest thing that is known. Keys are names and are shown, except those that look like a secret.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

from sidecar.config.document import Document, JsonPath, Place
from sidecar.config.shape import looks_secret
from sidecar.errors import Misconfigured, Reason

_MASK: Final = "********"
_WORD_LIMIT: Final = 128  # characters; comparing longer ones takes long and helps nobody
_PLAIN_KEY: Final = re.compile(r"[A-Za-z0-9_-]+")


class Fault(NamedTuple):
    """One error or warning: ``source`` is the file, or the flag or variable that said it; lines count from one."""

    code: str
    source: str
    line: int | None
    column: int | None
    path: str
    message: str

    @property
    def where(self) -> str:
        """``file:line``, or the flag or variable."""
        return self.source if self.line is None else f"{self.source}:{self.line}"

    def reason(self) -> Reason:
        """As a reason of ``Misconfigured``: ``file:line: path: message``."""
        return Reason(self.code, ": ".join(part for part in (self.where, self.path, self.message) if part))


class Faults:
    """Errors and warnings of one file, each placed by the document it came from.

    ``origins`` names the flag or environment variable that set a path, where it was not the file.
    """

    def __init__(self, source: str, document: Document | None = None) -> None:
        self.source = source
        self.document = document
        self.origins: dict[JsonPath, str] = {}
        self.errors: list[Fault] = []
        self.warnings: list[Fault] = []
        self.paths: list[JsonPath] = []  # of the errors
        self.set_aside: frozenset[str] = frozenset()  # ids that exist and are wrong: nothing is said about them twice
        self._seen: set[Fault] = set()

    def error(self, code: str, path: JsonPath, message: str, *, key: bool = False) -> None:
        """``path`` is wrong; ``key``: its key is, rather than its value."""
        fault = self._fault(code, path, message, key)
        if fault not in self._seen:
            self._seen.add(fault)
            self.errors.append(fault)
            self.paths.append(path)

    def warn(self, code: str, path: JsonPath, message: str, *, key: bool = False) -> None:
        """``path`` is allowed, and probably not what was meant."""
        self.warnings.append(self._fault(code, path, message, key))

    def outside(self, code: str, origin: str, message: str) -> None:
        """A flag or variable is wrong by itself."""
        self.errors.append(Fault(code, origin, None, None, "", message))

    def text(self, message: str, place: Place | None) -> None:
        """The file is no document."""
        line, column = place or (None, None)
        self.errors.append(Fault("not_a_document", self.source, line, column, "", message))

    def _fault(self, code: str, path: JsonPath, message: str, key: bool) -> Fault:
        origin = self.origins.get(path)
        if origin is not None or self.document is None:
            return Fault(code, origin or self.source, None, None, show(path), message)
        place = self.document.place(path, key=key)
        return Fault(code, self.source, place.line, place.column, show(path), message)


def in_order(found: Iterable[Fault]) -> tuple[Fault, ...]:
    """As the file's lines go; what flags and variables say comes first."""
    return tuple(sorted(found, key=lambda fault: (fault.line or 0, fault.column or 0)))


def misconfigured(source: str, errors: Iterable[Fault]) -> Misconfigured:
    """Every error as one exception, in the order of the file's lines."""
    ordered = in_order(errors)
    number = f"{len(ordered)} errors" if len(ordered) != 1 else "1 error"
    return Misconfigured(f"{source} has {number}", [fault.reason() for fault in ordered])


def show(path: JsonPath) -> str:
    """``connectors.crm.operations.find.query``; list positions in brackets, odd keys in quotes."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        else:
            text += ("." if text else "") + _key(step)
    return text


def _key(key: str) -> str:
    if looks_secret(key):
        return _MASK
    return key if _PLAIN_KEY.fullmatch(key) else json.dumps(key[:64])


def nearest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'x'?`` or nothing."""
    close = difflib.get_close_matches(word, list(known), n=1) if len(word) <= _WORD_LIMIT else []
    return f"; did you mean '{close[0]}'?" if close else ""


def among(known: Mapping[str, object]) -> str:
    """The known ids, for a message; a few of them."""
    names = sorted(known)
    if not names:
        return "none is configured"
    return "known: " + ", ".join(names[:8]) + (", ..." if len(names) > 8 else "")
