"""What an OPA server's answers say, read strictly: a decision with its revision, and whether the server may decide.

Shapes are those of OPA's REST API: ``POST /v1/data/<path>?provenance=true`` gives ``{"result"?, "provenance"}``, and
``GET /v1/status`` gives ``{"result": {"bundles": {<name>: {...}}}}``. Whatever else comes is ``Unusable``; nothing
is guessed, and no sentence here repeats what the server sent.

A revision is what the manifest of a bundle says (``opa build --revision``). One bundle: its revision as it is;
several: ``name=revision`` of each, by name, with commas between. A bundle without one makes every decision
indeterminate, because nobody could say later which policy it was.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from sidecar.adapters.policy.files import unique

LONGEST_REVISION: Final = 256  # characters; it stands in every record
_PLAIN: Final = re.compile(r"[!-~]+")  # visible ASCII
_Moment = Annotated[datetime, Meta(tz=True)]
_NEVER: Final = datetime(1, 1, 2, tzinfo=UTC)  # OPA writes 0001-01-01T00:00:00Z for what never happened


class Unusable(Exception):
    """The server did not say what was asked. The text is for people and free of what the server sent."""


class _Bundle(Struct, frozen=True):
    revision: str = ""


class _Provenance(Struct, frozen=True):
    bundles: dict[str, _Bundle] = {}


class _Decided(Struct, frozen=True):
    result: msgspec.Raw | UnsetType = UNSET
    provenance: _Provenance = _Provenance()


class _BundleStatus(Struct, frozen=True):
    last_successful_activation: _Moment
    last_successful_request: _Moment = _NEVER
    code: str = ""
    message: str = ""


class _Discovery(Struct, frozen=True):
    code: str = ""


class _Status(Struct, frozen=True):
    bundles: dict[str, _BundleStatus] = {}
    discovery: _Discovery | None = None


class _StatusAnswer(Struct, frozen=True):
    result: _Status


class _Module(Struct, frozen=True):
    id: str
    raw: str


class _Modules(Struct, frozen=True):
    result: list[_Module]


class _Failure(Struct, frozen=True):
    code: str = ""
    message: str = ""
    errors: list[_Failure] = []


# The second comes for a member's name that is not UTF-8.
_UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_read_decided = msgspec.json.Decoder(_Decided).decode
_read_status = msgspec.json.Decoder(_StatusAnswer).decode
_read_modules = msgspec.json.Decoder(_Modules).decode
_read_failure = msgspec.json.Decoder(_Failure).decode


def decided(body: bytes) -> tuple[str, bytes | None]:
    """The revision, and the bytes of the result (None: undefined). Raises ``Unusable``."""
    try:
        answer = _read_decided(body)
        json.loads(body, object_pairs_hook=unique)
    except (*_UNREADABLE, ValueError):
        raise Unusable("its answer is not of the shape that OPA's is") from None
    revision = revision_of(answer.provenance)
    return revision, None if answer.result is UNSET else bytes(answer.result)


def revision_of(provenance: _Provenance) -> str:
    """The one text that names the policy and data of a decision. Raises ``Unusable`` where a part has no name."""
    bundles = {name: bundle.revision for name, bundle in provenance.bundles.items()}
    if not bundles:
        raise Unusable("it names no revision: serve the policy as bundles, or use `sidecar policy push`")
    if not all(bundles.values()):
        raise Unusable("a bundle has no revision (opa build --revision), or a policy is being pushed just now")
    named = next(iter(bundles.values())) if len(bundles) == 1 else _joined(bundles)
    if len(named) <= LONGEST_REVISION and _PLAIN.fullmatch(named):
        return named
    return "sha256:" + hashlib.sha256(msgspec.json.encode(sorted(bundles.items()))).hexdigest()


def _joined(bundles: Mapping[str, str]) -> str:
    return ",".join(f"{name}={revision}" for name, revision in sorted(bundles.items()))


def check_status(body: bytes, date: str | None, maximum_age: float) -> None:
    """Raises ``Unusable`` when a bundle failed, was never activated or is older than ``maximum_age`` seconds.

    A bundle is as old as the last time that OPA activated it, or asked for it and was told that it is still the one:
    a policy that nobody changes does not age. ``date`` is the answer's own (RFC 9110 section 6.6.1), so both times
    are of OPA's clock.
    """
    try:
        status = _read_status(body).result
    except _UNREADABLE:
        raise Unusable("its status is not of the shape that OPA's is") from None
    now = _now(date)
    if status.discovery is not None and status.discovery.code:
        raise Unusable("its discovery bundle failed")
    for name, bundle in sorted(status.bundles.items()):
        shown = name if _PLAIN.fullmatch(name) and len(name) <= 64 else "with an odd name"
        if bundle.code:
            raise Unusable(f"its bundle {shown} failed to download, verify or activate; see the server's /v1/status")
        if bundle.last_successful_activation < _NEVER:
            raise Unusable(f"its bundle {shown} was never activated")
        seen = max(bundle.last_successful_activation, bundle.last_successful_request)
        if now - seen > timedelta(seconds=maximum_age):
            raise Unusable(f"its bundle {shown} is older than {maximum_age:g} seconds (policy.server)")


def _now(date: str | None) -> datetime:
    try:
        now = parsedate_to_datetime(date or "")
    except ValueError:
        return datetime.now(UTC)
    return now if now.tzinfo is not None else now.replace(tzinfo=UTC)


def modules(body: bytes) -> dict[str, str]:
    """Rego text by id, from ``GET /v1/policies``. Raises ``Unusable``."""
    try:
        return {module.id: module.raw for module in _read_modules(body).result}
    except _UNREADABLE:
        raise Unusable("its list of policies is not of the shape that OPA's is") from None


def failure(body: bytes) -> str:
    """What the server says of its own error, for the operator: codes and sentences, 500 characters at most."""
    try:
        said = _read_failure(body)
    except _UNREADABLE:
        return "no explanation"
    parts = [f"{one.code}: {one.message}" for one in (said, *said.errors)]
    return "; ".join(parts)[:500]
