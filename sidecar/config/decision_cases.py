"""Decision cases: what a policy must answer, written in YAML by somebody who writes no Rego.

::

    input: {tenant: acme}          # optional: what every case begins with
    cases:
      - name: the reporting agent reads orders
        input: {principal: {id: reporting}, connector: {id: orders}, effect: read}
        expect: allow
      - name: nobody removes orders
        input: {principal: {id: reporting}, connector: {id: orders}, effect: write}
        expect: deny
        reasons: [no_grant]        # optional: exactly these codes, in any order
        obligations: {}            # optional: exactly these

``input`` says what differs from a plain call (``BASE``); the rest is filled in, because a policy's input is total.
The parts of an input (``principal``, ``connector``, ``request`` ...) meet member by member; everything else, such as
``parameters``, ``roles`` and ``labels``, is replaced. A key that the input does not have is an error with its line.
The same format serves ``sidecar policy test`` and the canaries of a bundle's activation.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Annotated, Any, Final, Literal, NamedTuple

import jsonschema_rs
import msgspec
from msgspec import Meta, Struct

from sidecar.config.document import Document, DocumentError, parse
from sidecar.config.explain import explain
from sidecar.config.faults import Faults, misconfigured
from sidecar.config.schemas import schema
from sidecar.model.decision import (
    ConnectorFacts,
    Decision,
    DestinationFacts,
    Moment,
    Obligations,
    OperationFacts,
    PolicyInput,
    PrincipalFacts,
    RequestFacts,
    Usage,
)

CASES_LIMIT: Final = 10_000

# A plain call, and a destination for the cases that name a part of one.
BASE: Final = PolicyInput(
    tenant="acme",
    principal=PrincipalFacts(id="agent", kind="agent", roles=(), labels={}),
    session=None,
    surface="access",
    action="execute",
    effect="read",
    plane=None,
    connector=ConnectorFacts(id="connector", kind="http", labels={}),
    operation=OperationFacts(id="operation", labels={}),
    parameters={},
    request=RequestFacts(
        scheme="https", method="GET", host="connector.example", port=443, path="/", query="", headers={}
    ),
    destination=None,
    usage=Usage(),
    switches=(),
    findings=(),
    time=Moment(minute=0, hour=12, weekday=0, date="2030-01-07"),
)
_DESTINATION: Final = DestinationFacts(host="connector.example", port=443, addresses=("192.0.2.1",))
_PARTS: Final = ("principal", "connector", "operation", "request", "destination", "usage", "time")


class _Written(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One case as it stands in the file."""

    name: Annotated[str, Meta(min_length=1, max_length=200, title="text")]
    input: dict[str, Any] = {}
    expect: Literal["allow", "deny"]
    reasons: tuple[str, ...] | None = None
    obligations: Obligations | None = None


class _File(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A file of cases."""

    input: dict[str, Any] = {}
    cases: Annotated[tuple[_Written, ...], Meta(min_length=1, max_length=CASES_LIMIT)]


class Case(Struct, frozen=True, kw_only=True):
    """One case: a total input, and what the decision must be. None means that anything will do."""

    name: str
    source: str  # file:line
    input: PolicyInput
    allow: bool
    reasons: tuple[str, ...] | None = None  # codes, sorted
    obligations: Obligations | None = None

    def document(self) -> bytes:
        """The input as an engine gets it."""
        return msgspec.json.encode(self.input, order="deterministic")


class Difference(NamedTuple):
    """What a decision and its case disagree about: ``allow``, ``reasons``, ``obligations`` or ``decision``."""

    field: str
    expected: Any
    got: Any


def read_cases(text: bytes, source: str, tenant: str = BASE.tenant) -> tuple[Case, ...]:
    """The cases of one YAML text; ``source`` is its name in messages, ``tenant`` whose calls they are by default.

    Raises ``Misconfigured`` with every error as a reason, ``file:line: path: message``.
    """
    faults = Faults(source)
    document = _document(text, faults, "_File")
    try:
        file = msgspec.convert(document.value, _File)
        common = {"tenant": tenant, **file.input}
        found = [
            Case(
                name=written.name,
                source=f"{source}:{document.place(('cases', at)).line}",
                input=complete(common, written.input),
                allow=written.expect == "allow",
                reasons=None if written.reasons is None else tuple(sorted(set(written.reasons))),
                obligations=written.obligations,
            )
            for at, written in enumerate(file.cases)
        ]
    except msgspec.ValidationError as error:  # what the schema cannot tell apart, such as 1 and 1.0
        faults.error("wrong_value", (), str(error))
        raise misconfigured(source, faults.errors) from None
    seen: set[str] = set()
    for at, case in enumerate(found):
        if case.name in seen:
            faults.error("duplicate_name", ("cases", at, "name"), "another case has the same name")
        seen.add(case.name)
    if faults.errors:
        raise misconfigured(source, faults.errors)
    return tuple(found)


def read_input(text: bytes, source: str, tenant: str = BASE.tenant) -> PolicyInput:
    """One input (YAML or JSON), as in a case's ``input``: what differs from a plain call, made total.

    Raises ``Misconfigured`` with every error as a reason, ``file:line: path: message``.
    """
    faults = Faults(source)
    document = _document(text, faults, "PolicyInput")
    try:
        return complete({"tenant": tenant}, document.value)
    except msgspec.ValidationError as error:
        faults.error("wrong_value", (), str(error))
        raise misconfigured(source, faults.errors) from None


def complete(*overrides: Mapping[str, Any]) -> PolicyInput:
    """``BASE`` with each of ``overrides`` over it, in order: a total input.

    Raises ``msgspec.ValidationError`` where a value has the wrong type; unknown keys are for the caller to refuse.
    """
    value: dict[str, Any] = msgspec.to_builtins(BASE)
    defaults = {name: value[name] for name in _PARTS} | {"destination": msgspec.to_builtins(_DESTINATION)}
    for override in overrides:
        for key, more in override.items():
            if key in defaults and isinstance(more, Mapping):
                value[key] = (value[key] or defaults[key]) | more
            else:
                value[key] = more
    return msgspec.convert(value, PolicyInput)


def differences(case: Case, answer: bytes | None) -> tuple[Difference, ...]:
    """Where an engine's answer (None: undefined) is not what ``case`` expects; empty when it is.

    An answer that is no decision differs from every case: a sidecar denies it, but no policy should give it.
    """
    expected = "allow" if case.allow else "deny"
    if answer is None:
        return (Difference("decision", expected, "undefined"),)
    try:
        decision = msgspec.json.decode(answer, type=Decision, strict=True)
    except msgspec.DecodeError as error:
        return (Difference("decision", expected, f"not a decision: {error}"),)
    found = []
    if decision.allow is not case.allow:
        found.append(Difference("allow", case.allow, decision.allow))
    codes = tuple(sorted({reason.code for reason in decision.reasons}))
    if case.reasons is not None and codes != case.reasons:
        found.append(Difference("reasons", list(case.reasons), list(codes)))
    if case.obligations is not None and decision.obligations != case.obligations:
        found.append(Difference("obligations", _shown(case.obligations), _shown(decision.obligations)))
    return tuple(found)


def _shown(obligations: Obligations) -> dict[str, Any]:
    """Only what differs from none."""
    there, none = msgspec.to_builtins(obligations), msgspec.to_builtins(Obligations())
    return {name: value for name, value in there.items() if value != none[name]}


def _document(text: bytes, faults: Faults, kind: str) -> Document:
    """The text as a document of that kind. Raises ``Misconfigured``."""
    try:
        faults.document = document = parse(text)
    except DocumentError as error:
        for sentence, place in error.places:
            faults.text(sentence, place)
        raise misconfigured(faults.source, faults.errors) from None
    if not _validator(kind).is_valid(document.value):
        explain(document.value, _schema(kind), faults)
        raise misconfigured(faults.source, faults.errors)
    return document


@cache
def _schema(kind: str) -> dict[str, Any]:
    """The schema of a file or an input: that of the classes, with every ``input`` a part of the policy's input."""
    file: dict[str, Any] = msgspec.json.schema(_File)
    parts = schema("decision-input")
    for definition in parts["$defs"].values():
        definition.pop("required", None)
    definitions = parts["$defs"] | file["$defs"]
    for holder in ("_File", "_Written"):
        definitions[holder]["properties"]["input"] = {"$ref": parts["$ref"]}
    return {"$ref": f"#/$defs/{kind}", "$defs": definitions}


@cache
def _validator(kind: str) -> jsonschema_rs.Draft202012Validator:
    return jsonschema_rs.Draft202012Validator(_schema(kind))
