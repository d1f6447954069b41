"""The embedded engine beside a real OPA server: the same policies, the same inputs, the same answers."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any, Final, NamedTuple

from sidecar.errors import Misconfigured
from sidecar.model.decision import Verdict
from tests.conformance.server import OpaServer, Reply
from tests.conformance.values import parse, plain
from tests.rego import generated
from tests.rego.embedded import Asked
from tests.rego.inputs import inputs
from tests.rego.policies import DATA, NARROW, WHOLE, modules, source

INPUTS: Final = 210  # for each policy: over ten thousand in all
_KNOWN: Final = 100
_GENERATED: Final = 200
_GENERATED_INPUTS: Final = 20

_WRITTEN: Final = NARROW | WHOLE

UNDEFINED: Final = ("undefined",)
FAILED: Final = ("failed",)

# JSON that readers may read apart
ODD: Final = (
    *(b'{"a":1e2}', b'{"a":1E+2,"b":100}', b'{"a":0.10,"b":0.1}', b'{"a":-0,"b":0}', b'{"a":-0.0,"b":-0}'),
    *(b'{"a":12345678901234567890,"b":12345678901234567891}', b'{"a":1.0,"b":1}', b'{"a":1e-7,"b":0.0000001}'),
    *(b'{"a":"\\u00e9","b":"\xc3\xa9"}', b'{"a":"\\ud83d\\ude00","b":"\xf0\x9f\x98\x80"}', b'{"a":"\\u0000"}'),
    *(b'{"a":1,"a":"x"}', b'{"a":null,"b":false,"c":""}', b" {} ", b'{"\\u0061":"x"}', b'{"":{"":[]}}'),
    *(b"{" + b",".join(b'"m%d":%d' % (number % 40, number) for number in range(80)) + b"}", b'{"a":1,"A":2}'),
    *(b'{"a":"\\/","b":"/"}', b'{"o":{"b":{"b":{"b":{}}}}}', b'{"l":[[[]]]}', b'{"a":99999999999999999999.5}'),
)


class Found(NamedTuple):
    """What was compared, and each input that was answered differently."""

    compared: int
    undefined: int
    failed: int
    differences: list[str]


def compare(count: int = INPUTS, tell: Callable[[str], None] = lambda _: None) -> Found:
    """Ask both about every pure policy with ``count`` random inputs, and about some generated policies with a few.

    Raises ``OSError`` and ``RuntimeError`` where the server does not answer.
    """
    compared = undefined = failed = 0
    differences: list[str] = []
    with OpaServer() as server:
        for name, rules in (_WRITTEN | _generated()).items():
            tell(name)
            documents = (
                _documents(name, count) if name in _WRITTEN else inputs(random.Random(name), 20, _GENERATED_INPUTS)
            )
            for document, one, other in ask(server, rules, documents):
                compared += 1
                undefined += other == UNDEFINED
                failed += other == FAILED
                if one != other:
                    differences.append(f"{name}: {document.decode()}: embedded {one}, server {other}")
    return Found(compared, undefined, failed, differences)


def ask(server: OpaServer, rules: str, documents: Iterable[bytes]) -> Iterator[tuple[bytes, Any, Any]]:
    """Each input with the answer of the embedded engine and of the server, comparable."""
    embedded = Asked(source(rules))
    server.load(modules(rules), DATA)
    try:
        for document in documents:
            yield document, _of_embedded(embedded.evaluate(document)), _of_server(server.decide(document))
    finally:
        embedded.release()


def _generated() -> dict[str, str]:
    """Those generated policies that compile."""
    compiled = {}
    for name, rules in generated.modules(_GENERATED).items():
        with suppress(Misconfigured):
            Asked(source(rules)).release()
            compiled[name] = rules
    return compiled


def _documents(name: str, count: int) -> Iterator[bytes]:
    yield from ODD
    yield from inputs(random.Random(name), _KNOWN, count)


def _of_embedded(verdict: Verdict | None) -> Any:
    if verdict is None:
        return FAILED
    return UNDEFINED if verdict.answer is None else plain(parse(verdict.answer))


def _of_server(reply: Reply) -> Any:
    if reply.status != 200:
        return FAILED
    answer = parse(reply.body)
    return plain(answer["result"]) if "result" in answer else UNDEFINED
