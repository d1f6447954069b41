"""INV-5 on the path: an injected secret is in no leaf, document, event, problem, header or body, in any style.

The upstream echoes all that it was sent, in every form; what comes out anywhere is searched for the secret.
"""

from __future__ import annotations

import base64
import json
from typing import Any, Final
from urllib.parse import quote, quote_plus

import msgspec
import pytest

from sidecar.errors import UpstreamFailure
from sidecar.model.call import Outcome
from sidecar.model.exchange import Inbound, Outbound
from tests.fakes.answers import Pieces
from tests.fakes.parts import SECRET, Stage, allowing, changed, key_of, set_stage
from tests.invariants.test_requests import STYLES

PLAIN: Final = SECRET.encode()
FORMS: Final = {
    "plain": PLAIN,
    "quoted": quote(SECRET, safe="").encode(),
    "form": quote_plus(SECRET).encode(),
    "json": json.dumps(SECRET).encode()[1:-1],
    "json slashes": json.dumps(SECRET).replace("/", "\\/").encode()[1:-1],
    "unicode escapes": "".join(f"\\u{ord(each):04x}" for each in SECRET).encode(),
    "hex": PLAIN.hex().encode(),
    **{f"base64 at {at}": base64.b64encode(b"x" * at + PLAIN + b"yz") for at in range(3)},
    **{f"base64url at {at}": base64.urlsafe_b64encode(b"x" * at + PLAIN + b"yz") for at in range(3)},
    "basic pair": base64.b64encode(b"u:" + PLAIN),
}


def echo(request: Outbound) -> Inbound:
    """What the upstream was sent, in its answer's header and body, each form of the secret beside it."""
    shown = b"\n".join(name + b": " + value for name, value in request.headers) + request.target.encode()
    lines = b"\n".join(FORMS.values())
    fields = [(b"etag", value) for value in FORMS.values()] + [(b"location", b"/?k=" + FORMS["quoted"])]
    return Inbound(200, [(b"content-type", b"text/plain"), *fields], shown + b"\n" + lines, "93.184.216.34")


def everything(stage: Stage, *outcomes: Outcome, body: bytes = b"") -> bytes:
    """All that came out of the path anywhere."""
    return b"\n".join(
        [
            *(msgspec.json.encode(leaf) for leaf in stage.evidence.leaves),
            *stage.evidence.documents.values(),
            *(base64.b64decode(part) for part in _kept(stage)),
            repr(stage.observer.events).encode(),
            *(repr((outcome.problem, outcome.headers)).encode() for outcome in outcomes),
            *(outcome.body for outcome in outcomes if isinstance(outcome.body, bytes)),
            body,
        ]
    )


def _kept(stage: Stage) -> list[str]:
    kept = [json.loads(document) for document in stage.evidence.documents.values()]
    return [one[part] for one in kept for part in ("request", "answer") if isinstance(one.get(part), str)]


def assert_no_secret(text: bytes) -> None:
    found = [name for name, form in FORMS.items() if _core(form) in text]
    assert found == []
    assert key_of("alice").encode() not in text


def _core(form: bytes) -> bytes:
    """What of a form the secret alone determines; its ends share bits with what stands beside it."""
    return form[4:-5] if form != PLAIN else form


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("operation", ["get", "add"])
async def test_inv_5_an_echoed_secret_comes_out_nowhere(style: str, operation: str) -> None:
    stage = set_stage(changed("connectors.crm.auth", STYLES[style]), echo, rule=allowing(record_bodies=True))
    outcome = await stage.handle(connector="crm", operation=operation, parameters={"id": "7"} | {})
    assert outcome.status == 200
    assert isinstance(outcome.body, bytes)
    assert b"[REDACTED]" in outcome.body
    assert_no_secret(everything(stage, outcome))


@pytest.mark.parametrize("style", STYLES)
async def test_inv_5_an_echoed_secret_does_not_pass_in_a_stream(style: str) -> None:
    def streamed(request: Outbound) -> Inbound:
        answer = echo(request)
        assert isinstance(answer.body, bytes)
        pieces = [answer.body[at : at + 7] for at in range(0, len(answer.body), 7)]
        return answer._replace(body=Pieces(*pieces))

    stage = set_stage(changed("connectors.crm.auth", STYLES[style]), streamed)
    outcome = await stage.handle(connector="crm", operation="watch", parameters=None)
    assert not isinstance(outcome.body, bytes)
    body = b"".join([piece async for piece in outcome.body])
    assert b"[REDACTED]" in body
    assert_no_secret(everything(stage, outcome, body=body))


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize(
    "failure",
    [
        UpstreamFailure("upstream_invalid", "The upstream's answer is not HTTP.", sent=True),
        RuntimeError(SECRET),
        ValueError(f"Bearer {SECRET}"),
    ],
)
async def test_inv_5_a_failure_after_the_injection_gives_nothing_away(style: str, failure: Exception) -> None:
    def fail(request: Outbound) -> Inbound:
        raise failure

    stage = set_stage(changed("connectors.crm.auth", STYLES[style]), fail, fail)
    outcome = await stage.handle()
    assert outcome.problem is not None
    assert_no_secret(everything(stage, outcome))


async def test_inv_5_only_this_calls_secret_is_scrubbed() -> None:
    """A110: a connector without a credential passes on what only looks like another's secret."""
    stage = set_stage(None, Inbound(200, [], PLAIN, "93.184.216.34"))
    outcome = await stage.handle(connector="open", operation="get", parameters={"id": 1})
    assert outcome.body == PLAIN


async def test_inv_5_evidence_names_the_credential_and_its_version_only() -> None:
    stage = set_stage()
    await stage.handle()
    used: Any = [leaf.credential for leaf in stage.evidence.leaves]
    assert [(one.ref, one.version) for one in used] == [("encrypted://crm", None), ("encrypted://crm", "1")]
