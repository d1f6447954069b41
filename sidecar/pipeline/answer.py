"""Steps 11 to 13: make the upstream's answer safe, then interpret and mask it.

What cannot be made safe is withheld, with a code of its own: never a partial or silent pass.
"""

from __future__ import annotations

from typing import Any, Final

import orjson

from sidecar.errors import Unavailable
from sidecar.model.decision import Obligations
from sidecar.model.exchange import Inbound
from sidecar.rules.catalogue import Operation
from sidecar.rules.decoding import Decoder, Undecodable, codings
from sidecar.rules.masking import mask
from sidecar.rules.scrub import is_scrubbable

Headers = list[tuple[bytes, bytes]]

# What an agent may see of the upstream's answer besides its body. A list of what is let through, so that a cookie,
# a challenge or a hop-by-hop field can never be forgotten.
_PASSED: Final = frozenset(
    {
        b"cache-control",
        b"content-disposition",
        b"content-encoding",  # not where it was taken off: check_answer
        b"content-language",
        b"content-range",
        b"content-type",
        b"etag",
        b"expires",
        b"last-modified",
        b"link",
        b"location",
        b"retry-after",
    }
)
_PASSED_PREFIXES: Final = (b"ratelimit", b"x-ratelimit-")
# Types that a refusal names. Any other text of an upstream's header may be the secret that it was sent (INV-5).
_NAMED: Final = frozenset(
    {
        "application/json",
        "application/octet-stream",
        "application/problem+json",
        "application/x-ndjson",
        "application/xml",
        "text/csv",
        "text/event-stream",
        "text/html",
        "text/plain",
        "text/xml",
    }
)


def check_answer(inbound: Inbound, operation: Operation, limit: int, *, read: bool) -> Decoder | None:
    """What takes the codings off an answer of at most ``limit`` bytes; None where it has none, or nobody reads it.

    ``read`` is whether it is searched for secrets, interpreted or masked. Raises ``Unavailable`` when the answer's
    type is not accepted, or it is written so that nobody could read it.
    """
    kinds = [value for name, value in inbound.headers if name == b"content-type"]
    if operation.content_types and inbound.body:
        kind = kinds[0].partition(b";")[0].strip().lower().decode("latin-1") if len(kinds) == 1 else ""
        if kind not in operation.content_types:
            told = kind if kind in _NAMED else "another type" if kind else "no single type"
            raise Unavailable(
                "answer_unexpected",
                f"The upstream answered {told}; accepted here: {', '.join(sorted(operation.content_types))}.",
            )
    if not read:
        return None
    if not is_scrubbable(inbound.headers):
        raise Unavailable("answer_withheld", "The answer is in a charset that cannot be searched for secrets.")
    try:
        found = codings(inbound.headers)
    except Undecodable as error:
        raise withheld(error) from None
    return Decoder(found, limit) if found else None


def withheld(error: Undecodable) -> Unavailable:
    """An answer that cannot be decoded, as a refusal."""
    code = "answer_too_large" if error.too_large else "answer_withheld"
    return Unavailable(code, f"The upstream encoded its answer although asked not to, and {error}.")


def passed_headers(headers: Headers, *, decoded: bool = False) -> Headers:
    """The headers an agent may see; of a ``decoded`` answer none that speaks of its codings."""
    passed = [pair for pair in headers if pair[0] in _PASSED or pair[0].startswith(_PASSED_PREFIXES)]
    return [pair for pair in passed if pair[0] != b"content-encoding"] if decoded else passed


def is_read(operation: Operation, obligations: Obligations) -> bool:
    """Whether an answer is interpreted or masked, so that it must not be encoded."""
    return operation.interpreter != "passthrough" or bool(obligations.mask)


def interpret(body: bytes, operation: Operation, obligations: Obligations) -> bytes:
    """The scrubbed body as the operation's interpreter reads it, masked as the policy obliges.

    Raises ``Unavailable("answer_withheld")`` when the body is not the JSON that interpreting or masking needs.
    """
    if not is_read(operation, obligations) or not body:
        return body
    try:
        document: Any = orjson.loads(body)
        return orjson.dumps(mask(document, obligations.mask))
    except (ValueError, TypeError):  # not JSON; or nested so deeply that it cannot be written again
        raise Unavailable(
            "answer_withheld", "The answer is not JSON that can be read, so it cannot be interpreted or masked."
        ) from None
