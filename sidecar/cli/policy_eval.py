"""``sidecar policy eval``: what a policy decides for one call, and why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import msgspec
import orjson

from sidecar.adapters.policy.files import read_policy
from sidecar.adapters.policy.trial import Trial
from sidecar.cli import FAILED
from sidecar.cli.policy_check import require_sound
from sidecar.cli.policy_opa import asked, content_of, directory_argument, staged
from sidecar.cli.show import data, output_option, table
from sidecar.config.decision_cases import BASE, read_input
from sidecar.errors import Unavailable
from sidecar.model.decision import Decision

_ENTRY = "data.sidecar.authz.decision"


@click.command("eval")
@directory_argument
@click.option(
    "-i", "--input", "source", type=click.File("rb"), required=True, help="The call: YAML or JSON, - for stdin."
)
@click.option("--tenant", default=BASE.tenant, show_default=True, help="Whose call, unless the input says.")
@click.option("--explain", is_flag=True, help="Name the rules that held, and where they are.")
@output_option
def evaluate(directory: Path, source: Any, tenant: str, explain: bool, output: str) -> None:
    """Decide one call by DIRECTORY and the shipped rules.

    The input says only what differs from a plain read of a connector; the rest is filled in. An answer that a
    sidecar would take for no decision, and deny, is an error here: exit code 1. A deny is an answer like an allow.

    \b
    Examples:
      echo '{principal: {id: my-agent}, connector: {id: orders}}' | sidecar policy eval -i -
      sidecar policy eval policy -i call.yaml --explain
      sidecar policy eval policy -i call.yaml -o json
    """
    require_sound(directory)
    asked_for = read_input(*content_of(source), tenant)
    document = msgspec.json.encode(asked_for, order="deterministic")
    with Trial(read_policy(directory)) as trial:
        answer = trial.answer(document)
        revision = trial.revision
    decision = decided(answer)
    held = _held(directory, document) if explain else []
    if output == "table":
        _show(decision, held)
        return
    shown = {"decision": orjson.loads(answer or b"null"), "revision": revision, "input": orjson.loads(document)}
    data(shown | ({"held": held} if explain else {}), output)


def decided(answer: bytes | None) -> Decision:
    """The decision in an answer. Raises ``Unavailable("policy_unavailable")`` unless it is exactly one."""
    if answer is None:
        raise Unavailable("policy_unavailable", f"{_ENTRY} is undefined for this input: a sidecar denies.")
    try:
        return msgspec.json.decode(answer, type=Decision, strict=True)
    except msgspec.DecodeError as error:
        said = answer[:200].decode(errors="replace")
        raise Unavailable(
            "policy_unavailable", f"The answer is no decision, so a sidecar denies: {error}. It is: {said}"
        ) from None


def _show(decision: Decision, held: list[dict[str, Any]]) -> None:
    rows = [("decision", "allow" if decision.allow else "deny")]
    rows += [("reason", f"{reason.code}: {reason.message}") for reason in decision.reasons]
    obligations = msgspec.to_builtins(decision.obligations)
    none = msgspec.to_builtins(type(decision.obligations)())
    rows += [("obligation", f"{name}: {value}") for name, value in obligations.items() if value != none[name]]
    table(("", ""), rows)
    if held:
        click.echo()
        table(("rule that held", "where"), [(rule["rule"], rule["where"]) for rule in held])


def _held(directory: Path, document: bytes) -> list[dict[str, Any]]:
    """The rules that held, in the order in which the engine found so."""
    with staged(directory) as paths:
        file = Path(paths[-1]).parent / "input.json"
        file.write_bytes(document)
        loads = [part for path in paths for part in ("--data", path)]
        code, answer = asked("eval", "--format", "json", "--explain", "full", "--input", str(file), *loads, _ENTRY)
        library = paths[-1]
    if code:
        raise click.exceptions.Exit(FAILED)
    found: dict[tuple[str, str], None] = {}
    for event in answer["explanation"]:
        if event["Op"] == "Exit" and isinstance(event["Node"], dict) and "head" in event["Node"]:
            place = event["Location"]
            where = place["file"].replace(library, "(shipped)") + f":{place['row']}"
            found[_name(event["Node"]["head"]), where] = None
    return [{"rule": rule, "where": where} for rule, where in found]


def _name(head: dict[str, Any]) -> str:
    return str(head.get("name") or head["ref"][0]["value"])
