"""Takes this call's secrets out of an upstream's answer, in every form in which an upstream echoes them.

Found: the plain bytes; percent- and form-encoding; JSON's and other backslash escapes; HTML character references;
hex; base64 and base64url at each of their three alignments, folded into lines or not (the Basic pair
``user:secret`` is one of these); and up to three of these wrapped in each other, with any part of a secret's bytes
escaped and in either case of hex. A non-ASCII secret is also found where it was read as Latin-1 and written as UTF-8,
and in Latin-1, Windows-1252 and UTF-16. White space around a secret does not count: HTTP and most readers take it
off. Of a URL the password is found alone; of a document or a key with lines each long word, however its lines break.

How: the answer is read as it stands and with each kind of escape taken away (:mod:`sidecar.rules.escapes`), and each
reading is searched for a handful of needles. Building them costs microseconds, so they are built for a call and
dropped with it; no pattern is ever compiled from a secret, because ``re`` would keep it.

In base64 the characters at either end share their bits with the neighbouring bytes and stay: at most four bits of
the secret's first and last byte. Not found: a secret that was cut, broken up by other text, put into other case,
reversed, hashed, encrypted or compressed, or written in a code that is not named above.

A secret shorter than ``SHORTEST`` bytes cannot be told from ordinary text and is refused: the call must not be made.
Between that and eight bytes ordinary text may be masked by chance, which is the safe side.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import Final, NoReturn

from sidecar.errors import Unavailable
from sidecar.model.secret import SHORTEST, Secret
from sidecar.rules.escapes import BACKSLASH, FOLD, FOLDING, PERCENT, REFERENCE, WIDE, Escape, Reading, decoded
from sidecar.rules.needles import beginning, cores, passwords, places, texts, words

REDACTED: Final = b"[REDACTED]"
REDACTED_NAME: Final = b"redacted"  # a header's name must stay a token (RFC 9110 section 5.1)
NESTED: Final = 3  # escapes wrapped in each other that are taken away
PIECE: Final = 1 << 12  # bytes of a long body read at once: about 5 ms for the worst text an upstream can write

_KINDS: Final = (PERCENT, BACKSLASH, REFERENCE)
_SPACED: Final = bytes.maketrans(b"+", b" ")
_PACKED_WORDS: Final = 64  # of a document, looked for in hex and base64 too; a large key has fewer lines
_HOLD_BYTES: Final = 1 << 16
_HOLD_RATIO: Final = 36  # a byte as \uXXXX of \uXXXX: the longest honest form of a byte
_LONG_HOLD: Final = 1 << 12  # bytes; what is held beyond is read anew when it has grown by this share, not by a byte
_GROWTH: Final = 16
# What a secret beyond ASCII is searched for in; in others it is written with other bytes.
_SEARCHED_CHARSETS: Final = frozenset(
    {"utf-8", "utf8", "us-ascii", "ascii", "iso-8859-1", "latin1", "latin-1", "windows-1252", "cp1252"}
)
_ASCII_CHARSETS: Final = (
    *("utf-8", "utf8", "us-ascii", "ascii", "iso-8859-", "latin", "windows-125", "cp125"),
    *("gb2312", "gbk", "gb18030", "big5", "euc-", "shift_jis", "koi8-"),
)

Header = tuple[bytes, bytes]
Span = tuple[int, int]


def is_scrubbable(headers: Iterable[Header]) -> bool:
    """Whether an answer with these headers can be read at all once it is decoded: text of an ASCII-based charset.

    Header names are lower-case. Anything else is to be withheld (A108).
    """
    return all(charset.startswith(_ASCII_CHARSETS) for charset in _charsets(headers))


def _charsets(headers: Iterable[Header]) -> Iterator[str]:
    for name, value in headers:
        if name == b"content-type" and b"charset" in value.lower():
            for said in value.lower().split(b"charset")[1:]:
                yield said.lstrip(b" =\t\"'").partition(b";")[0].rstrip(b" \t\"'").decode("latin-1")


class Scrubber:
    """Knows one call's secrets, and nothing of any other call's (A110).

    Give it the secret and, where they differ by more than text around it, the forms in which it was injected.
    Raises ``Unavailable("credential_unavailable")`` for a secret that is too short to be found.
    """

    __slots__ = ("_base64", "_hex", "_is_ascii", "_lower", "_plain", "_quoted", "_spaced", "longest")

    def __init__(self, secrets: Sequence[Secret]) -> None:
        plain: list[bytes] = []
        parts: list[bytes] = []
        for secret in secrets:
            text = secret.reveal().strip()
            if len(text) < SHORTEST:
                raise Unavailable(
                    "credential_unavailable", "the credential is too short to be kept out of the answer"
                )
            plain += texts(text)
            for password in passwords(text):
                plain += texts(password)
            parts += words(text)
        self._plain = tuple(dict.fromkeys(plain))
        self._is_ascii = all(map(bytes.isascii, self._plain))
        self._lower = tuple(text.lower() for text in self._plain)
        self._spaced = tuple(text.translate(_SPACED) for text in self._plain if b" " in text)
        folded = tuple(dict.fromkeys(parts))
        packed = (*self._plain, *folded[:_PACKED_WORDS])
        self._base64 = (*(core for text in packed for core in cores(text)), *folded)
        self._hex = tuple(text.hex().encode() for text in packed)
        self._quoted = any(b'"' in text for text in self._plain)
        self.longest = max(map(len, self._plain), default=0)

    def __repr__(self) -> str:
        return f"Scrubber({len(self._plain)} texts)"

    def __reduce_ex__(self, protocol: object) -> NoReturn:
        raise TypeError("a scrubber holds secrets and cannot be pickled or copied out")

    def can_read(self, headers: Iterable[Header]) -> bool:
        """Whether these secrets would be found in an answer of the charset that these headers name."""
        return is_scrubbable(headers) and (self._is_ascii or _SEARCHED_CHARSETS.issuperset(_charsets(headers)))

    def scrub_body(self, body: bytes) -> tuple[bytes, int]:
        """The body with each form of a secret replaced by ``REDACTED``, and how many there were."""
        if not self._plain or not self._present(body):
            return body, 0
        stream = self.stream()
        return stream.finish(body), stream.count

    def scrub_headers(self, headers: list[Header]) -> tuple[list[Header], int]:
        """The headers likewise; a name that gives a secret away, in whatever case, becomes ``redacted``."""
        if not self._plain:
            return headers, 0
        text = b"\n".join(chain.from_iterable(headers))
        lower = text.lower()
        if not any(needle in lower for needle in self._lower) and not self._present(text):
            return headers, 0
        scrubbed, total = [], 0
        for name, value in headers:
            clean, count = self.scrub_body(value)
            if any(needle in name.lower() for needle in self._lower) or self._present(name):
                scrubbed.append((REDACTED_NAME, clean))
                count += 1
            else:
                scrubbed.append((name, clean))
            total += count
        return scrubbed, total

    def stream(self, *, by_line: bool = False) -> Stream:
        """For an answer that arrives in pieces; ``by_line`` where its lines stand for themselves."""
        return Stream(self, by_line=by_line)

    def pieces(self, body: bytes) -> Iterator[bytes]:
        """A long body scrubbed in steps of bounded work, for a caller that lets others run between them."""
        stream = self.stream()
        for at in range(0, len(body), PIECE):
            yield stream.feed(body[at : at + PIECE])
        yield stream.finish()

    def _present(self, text: bytes) -> bool:
        """Whether any reading of the text has any needle; the quick question that most answers end with."""
        if self._has(text):
            return True
        seen = {text}
        layer = [text]
        for depth in range(NESTED):
            following = []
            for parent in layer:
                for escape in self._kinds(parent, depth):
                    reading = decoded(parent, escape)
                    if reading is not None and reading not in seen:
                        if self._has(reading):
                            return True
                        seen.add(reading)
                        following.append(reading)
            layer = following
        return False

    def _has(self, text: bytes) -> bool:
        for needle in self._plain:
            if needle in text:
                return True
        if self._spaced:
            spaced = text.translate(_SPACED)
            if any(needle in spaced for needle in self._spaced):
                return True
        folded = text.translate(None, FOLDING)
        for needle in self._base64:
            if needle in folded:
                return True
        lower = folded.lower()
        for needle in self._hex:  # noqa: SIM110  # a generator costs as much as the searches
            if needle in lower:
                return True
        return False

    def _kinds(self, text: bytes, depth: int) -> Iterator[Escape]:
        """The escapes that could hide a needle in this text."""
        for escape in _KINDS:
            if escape.marker in text and not (escape is BACKSLASH and self._only_quotes(text)):
                yield escape
        if depth == 0 and WIDE.marker in text:
            yield WIDE

    def _only_quotes(self, text: bytes) -> bool:
        """Whether no backslash does more than escape a quotation mark, and no secret has one: JSON held in JSON."""
        return not self._quoted and text.count(b"\\") == text.count(b'\\"')

    def _readings(self, text: bytes, *, final: bool) -> list[Reading]:
        layer = [Reading(text)]
        readings = list(layer)
        for depth in range(NESTED):
            layer = [
                reading
                for parent in layer
                for escape in self._kinds(parent.text, depth)
                if (reading := parent.taken(escape, final=final)) is not None
            ]
            readings += layer
        return readings

    def scan(self, text: bytes, *, final: bool) -> tuple[list[Span], int]:
        """Where the secrets are, in order and not overlapping, and from where on more text could still make one."""
        readings = self._readings(text, final=final)
        found = _Found(len(text))
        for reading in readings:
            found.hold_from(reading.cut)
            found.search(reading, reading.text, self._plain, final=final)
            if self._spaced:
                found.search(reading, reading.text.translate(_SPACED), self._spaced, final=final)
            folded = reading.text.translate(None, FOLDING)
            if self._may_be_packed(folded, final=final):
                source = reading.taken(FOLD, final=True) or reading
                found.search(source, source.text, self._base64, final=final)
                found.search(source, source.text.lower(), self._hex, final=final)
        hold = found.hold if found.hold == len(text) else _between(readings, found.hold)
        return _merged(found.spans), hold

    def _may_be_packed(self, folded: bytes, *, final: bool) -> bool:
        """Whether base64 or hex of a secret is in the text, or could begin at its end."""
        lower = folded.lower()
        return (
            any(needle in folded for needle in self._base64)
            or any(needle in lower for needle in self._hex)
            or not (
                final
                or (
                    all(beginning(folded, needle) is None for needle in self._base64)
                    and all(beginning(lower, needle) is None for needle in self._hex)
                )
            )
        )


class _Found:
    """What one scan has come upon, in offsets of the text that was scanned."""

    __slots__ = ("hold", "spans")

    def __init__(self, size: int) -> None:
        self.spans: list[Span] = []
        self.hold = size

    def hold_from(self, at: int | None) -> None:
        """Hold the text back from there on, if not from before."""
        if at is not None and at < self.hold:
            self.hold = at

    def search(self, source: Reading, text: bytes, needles: tuple[bytes, ...], *, final: bool) -> None:
        """Look for the needles in ``text``, whose offsets are those of ``source``."""
        for needle in needles:
            self.spans += ((source.start(at), source.end(at + len(needle))) for at in places(text, needle))
            begun = None if final else beginning(text, needle)
            if begun is not None:
                self.hold_from(source.start(begun))


class Stream:
    """Scrubs an answer that arrives in pieces, cut anywhere; what comes out in all is what ``scrub_body`` gives.

    Only a tail that could still become a secret is held back. That can be seen: who chooses the text would learn, a
    character at a time, how the secret begins. So of a text whose lines stand for themselves (``by_line``: events, or
    JSON documents in lines) whole lines go out, each searched by itself, and a line that has not ended is held
    whatever is in it, up to ``PIECE`` bytes. ``count`` is how many were found so far.
    """

    __slots__ = ("_by_line", "_done", "_due", "_held", "_scrubber", "count")

    def __init__(self, scrubber: Scrubber, *, by_line: bool = False) -> None:
        self._scrubber = scrubber
        self._by_line = by_line and scrubber.longest > 0
        self._held = b""
        self._done = 0  # how much of what is held already went out, as part of a mask
        self._due = 0  # how much is to be held before it is read again
        self.count = 0

    def feed(self, piece: bytes) -> bytes:
        """What may go out now. Raises ``Unavailable("answer_withheld")`` for a tail that never ends."""
        text = self._held + piece
        if self._by_line:
            end = max(text.rfind(b"\n"), text.rfind(b"\r")) + 1
            if len(text) - end <= PIECE:
                released = self._release(text[:end], final=True) if end else b""
                self._held = text[end:]
                return released
        if len(text) < self._due:
            self._held = text
            return b""
        released = self._release(text, final=False)
        held = len(self._held)
        if held > _HOLD_BYTES + _HOLD_RATIO * self._scrubber.longest:
            raise Unavailable("answer_withheld", "the answer could not be told from an echoed credential")
        self._due = held + held // _GROWTH if held > _LONG_HOLD else 0
        return released

    def finish(self, last: bytes = b"") -> bytes:
        """The rest, once the answer has ended with its ``last`` piece."""
        return self._release(self._held + last, final=True)

    def _release(self, text: bytes, *, final: bool) -> bytes:
        if not self._scrubber.longest:
            return text
        spans, hold = self._scrubber.scan(text, final=final)
        out: list[bytes] = []
        at = self._done
        for start, end in spans:
            if start >= hold:
                break
            if end <= at:
                continue
            if start >= at:
                out += (text[at:start], REDACTED)
                self.count += 1
            at = end
        if at < hold:
            out.append(text[at:hold])
            at = hold
        self._held = text[hold:]
        self._done = at - hold
        return b"".join(out)


def _merged(spans: list[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in sorted(spans):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return merged


def _between(readings: list[Reading], at: int) -> int:
    """``at``, moved back until it lies inside no escape of any reading: reading on from there stays in step."""
    moved = at
    for reading in readings:
        moved = min(moved, reading.between(moved))
    return moved if moved == at else _between(readings, moved)
