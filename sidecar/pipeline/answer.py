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
from sidecar.rules.masking import mask
from sidecar.rules.scrub import is_scrubbable

Headers = list[tuple[bytes, bytes]]

# What an agent may see of the upstream's answer besides its body. A list of what is let through, so that a cookie,
# a challenge or a hop-by-hop field can never be forgotten.
_PASSED: Final = frozenset(
    {
        b"cache-control",
        b"content-disposition",
        b"content-encoding",  # only where no credential went out: check_answer
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


def check_answer(inbound: Inbound, operation: Operation, *, secret: bool) -> None:
    """Raises ``Unavailable`` when the answer's type is not accepted, or it is encoded so that no scrub can see it."""
    kinds = [value for name, value in inbound.headers if name == b"content-type"]
    if operation.content_types and inbound.body:
        kind = kinds[0].partition(b";")[0].strip().lower().decode("latin-1") if len(kinds) == 1 else ""
        if kind not in operation.content_types:
            raise Unavailable(
                "answer_unexpected",
                f"The upstream answered {kind or 'no single type'!r}, which is not accepted here.",
            )
    if secret and not is_scrubbable(inbound.headers):
        raise Unavailable(
            "answer_withheld",
            "The upstream encoded its answer although asked not to; it cannot be searched for secrets.",
        )


def passed_headers(headers: Headers) -> Headers:
    """The headers an agent may see."""
    return [pair for pair in headers if pair[0] in _PASSED or pair[0].startswith(_PASSED_PREFIXES)]


def interpret(body: bytes, operation: Operation, obligations: Obligations) -> bytes:
    """The scrubbed body as the operation's interpreter reads it, masked as the policy obliges.

    Raises ``Unavailable("answer_withheld")`` when the body is not the JSON that interpreting or masking needs.
    """
    if operation.interpreter == "passthrough" and not obligations.mask:
        return body
    if not body:
        return body
    try:
        document: Any = orjson.loads(body)
        return orjson.dumps(mask(document, obligations.mask))
    except (ValueError, TypeError):  # not JSON; or nested so deeply that it cannot be written again
        raise Unavailable(
            "answer_withheld", "The answer is not JSON that can be read, so it cannot be interpreted or masked."
        ) from None
