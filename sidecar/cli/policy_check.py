"""``sidecar policy check``: what a sidecar would refuse to load, and what it would misunderstand."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

import click

from sidecar.adapters.policy.files import DATA_NAMES, read_policy, source_of, with_schema
from sidecar.adapters.policy.library import library
from sidecar.cli import FAILED
from sidecar.cli.policy_opa import asked, directory_argument, files_of, input_schema, no_network, staged
from sidecar.cli.show import data, output_option, table
from sidecar.config.faults import Fault, misconfigured
from sidecar.config.policy_answers import answer_faults
from sidecar.config.policy_data import data_faults
from sidecar.errors import Misconfigured, Reason

_CASES: Final = re.compile(r"(?:^|\.)cases\.yaml$")
_READ: Final = "data is in files called data.yaml or data.json, decision cases in *.cases.yaml"
_PLACED: Final = re.compile(r"(?P<file>[^:]+):(?P<line>\d+): (?P<told>.*)", re.DOTALL)


@click.command()
@directory_argument
@output_option
def check(directory: Path, output: str) -> None:
    """Compile DIRECTORY with the shipped rules, as a sidecar would load it.

    Stricter than a sidecar: a field that the input, an obligation, a reason or a grant does not have is an error.
    Says nothing where all is good. A YAML or JSON file that no sidecar reads is a warning.

    \b
    Examples:
      sidecar policy check
      sidecar policy check /etc/sidecar/policy
      sidecar policy check policy -o json
    """
    faults, unread = faults_of(directory), warn_of_unread(directory)
    if output != "table":
        errors = [fault._asdict() for fault in faults]
        data({"ok": not faults, "errors": errors, "unread": [str(path) for path in unread]}, output)
    elif faults:
        table(("where", "path", "what", "code"), [(f.where, f.path, f.message, f.code) for f in faults])
    if faults:
        raise click.exceptions.Exit(FAILED)


def faults_of(directory: Path) -> list[Fault]:
    """Everything that is wrong with a policy directory; empty when a sidecar loads and understands it."""
    faults = _of_data(directory)
    try:
        with staged(directory, tests=True) as paths:
            faults += _of_opa(paths)
        if not any(fault.code == "rego_parse_error" for fault in faults):
            faults += _of_answers(directory)
        if not faults:
            # OPA's own check knows functions that no policy of a sidecar may call, takes another schema from a rule's
            # annotation, and compiles the tests as well.
            engine = library()
            engine.release(engine.load(with_schema(source_of(read_policy(directory)))).handle)
    except Misconfigured as error:
        told = {(fault.source, fault.line) for fault in faults}
        refused = [fault_of(reason, directory) for reason in error.reasons or [Reason(error.code, error.detail)]]
        faults += [fault for fault in refused if (fault.source, fault.line) not in told]
    return faults


def warn_of_unread(directory: Path) -> list[Path]:
    """Files that nobody looks at, such as grants of another name than OPA bundles have for them, or cases.yml."""
    found = files_of(directory, "*.json", "*.yaml", "*.yml")
    unread = [path for path in found if path.name not in DATA_NAMES and not _CASES.search(path.name)]
    for path in unread:
        click.echo(f"sidecar: warning: {path} is not read: {_READ}", err=True)
    return unread


def require_sound(directory: Path) -> None:
    """What every other command begins with. Raises ``Misconfigured`` with all that ``check`` would tell."""
    faults = faults_of(directory)
    if faults:
        raise misconfigured(str(directory), faults)


def _of_data(directory: Path) -> list[Fault]:
    faults: list[Fault] = []
    for path in files_of(directory, *DATA_NAMES):
        faults += data_faults(path.read_bytes(), str(path), path.relative_to(directory).parent.parts)
    return faults


def _of_opa(paths: list[str]) -> list[Fault]:
    with input_schema() as file, no_network() as capabilities:
        options = ("--strict", "--format", "json", "--schema", str(file), "--capabilities", str(capabilities))
        _, answer = asked("check", *options, *paths)
    found = []
    for error in (answer or {}).get("errors", ()):
        place = error.get("location") or {}
        source = str(place.get("file", "")).replace(paths[-1], "(shipped)") or "opa"
        found.append(Fault(error["code"], source, place.get("row"), place.get("col"), "", error["message"]))
    return found


def _of_answers(directory: Path) -> list[Fault]:
    modules = []
    for path in files_of(directory, "*.rego"):
        if not path.name.endswith("_test.rego"):
            modules.append(asked("parse", "--format", "json", "--json-include", "locations,-comments", str(path))[1])
    return list(answer_faults([tree for tree in modules if tree]))  # none comes where it is too deep to be read


def fault_of(reason: Reason, directory: Path) -> Fault:
    """A reason why ``directory`` is not loaded, with the file and the line that it names."""
    placed = _PLACED.fullmatch(reason.message)
    if placed is None:
        return Fault(reason.code, str(directory), None, None, "", reason.message)
    return Fault(reason.code, str(directory / placed["file"]), int(placed["line"]), None, "", placed["told"])
