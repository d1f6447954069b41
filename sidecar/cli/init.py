"""``sidecar init``: the smallest start that works, in a folder that has none."""

from __future__ import annotations

import json
import secrets
import tempfile
from pathlib import Path
from shlex import quote
from typing import Final

import click

from sidecar.cli import keys
from sidecar.cli.policy_new import require_absent, write_files
from sidecar.config.load import read
from sidecar.errors import Refused
from sidecar.model.hosts import BaseUrl, parse_base_url
from sidecar.rules.networks import GRANTABLE, judge

_CONFIGURATION: Final = """\
# What this sidecar serves; `sidecar check` says what is wrong with it, and the README lists every key.
tenant: {tenant}
{principals}
connectors:
  articles:
    kind: http
    base_url: {base_url}
    operations:
      lookup: # all that can be asked: {{"topic": "tin"}} becomes GET /anything/articles/tin
        method: GET
        path: /anything/articles/{{topic}}
        parameters:
          type: object
          required: [topic]
          properties: {{topic: {{type: string}}}}
          additionalProperties: false
sources:
  articles: {{connector: articles}}
planes: # what the agent names: POST /v1/access {{"plane_id": "articles", "action": "query", ...}}
  articles: {{source: articles, actions: {{query: [lookup]}}}}
"""

_DESTINATION: Final = """\
destinations: # without this grant only public addresses are dialled
  local: {{name: "{host}", port: {port}, networks: {networks}}}
"""

_CASES: Final = """\
# What must be decided, call by call; `sidecar policy test` says where it is not.
input:
  tenant: {tenant}
  principal: {{id: {agent}}}
  connector: {{id: articles}}
  operation: {{id: lookup}}
cases:
  - name: the agent looks something up
    expect: allow
  - name: nobody else does
    input: {{principal: {{id: somebody-else}}}}
    expect: deny
    reasons: [no_grant]
"""


@click.command(epilog="Exit codes: 0 done, 1 something is there already or does not fit, 2 wrong command line.")
@click.argument("folder", type=click.Path(file_okay=False, path_type=Path), default=".")
@click.option("--base-url", default="http://127.0.0.1:8000", show_default=True, help="The upstream of the connector.")
@click.option(
    "--tenant", default="acme", show_default=True, help="The sidecar's tenant; its evidence is bound to it."
)
@click.option("--agent", default="my-agent", show_default=True, help="The principal that gets a key and a grant.")
def init(folder: Path, base_url: str, tenant: str, agent: str) -> None:
    """Write a smallest start that works into FOLDER: a configuration, a policy and its first case.

    The agent's key goes to standard output, once; the configuration keeps its hash. A folder that already has one of
    these files is left as it is.

    \b
    Examples:
      sidecar init
      sidecar init reports --base-url https://api.example.com > key.txt
    """
    made = keys.make(agent, secrets.token_hex(5))
    files = _files(base_url, tenant, made)
    require_absent(folder, files)
    _check(files["sidecar.yaml"])
    click.echo(made.key)  # before the files: a key that could not be shown is in none of them
    click.echo("The key is not stored and not shown again. The caller sends it as Authorization: Bearer.", err=True)
    write_files(folder, files)
    click.echo("next:", err=True)
    for command in ("policy test {policy}", "check -c {file}", "run -c {file}"):
        words = command.format(policy=quote(str(folder / "policy")), file=quote(str(folder / "sidecar.yaml")))
        click.echo(f"  sidecar {words}", err=True)


def _files(base_url: str, tenant: str, key: keys.NewKey) -> dict[str, str]:
    """Name to text; what is given is quoted as JSON, which is YAML too."""
    grants = {"sidecar": {"grants": {tenant: {"principals": {key.principal: ["articles/lookup"]}}}}}
    quoted = {"tenant": json.dumps(tenant), "agent": json.dumps(key.principal), "base_url": json.dumps(base_url)}
    configuration = _CONFIGURATION.format(principals=keys.snippet(key), **quoted)
    return {  # what can be served comes last: it is there only where the rest is
        "policy/data.json": json.dumps(grants, indent=2) + "\n",
        "policy/cases.yaml": _CASES.format(**quoted),
        "sidecar.yaml": configuration + _destination(base_url),
    }


def _destination(base_url: str) -> str:
    """The grant that an upstream on this machine or a private address needs."""
    try:
        base = parse_base_url(base_url)
    except Refused:  # the check says what is wrong with it
        return ""
    networks = _networks(base)
    return _DESTINATION.format(host=base.host, port=base.port, networks=json.dumps(networks)) if networks else ""


def _networks(base: BaseUrl) -> list[str]:
    if base.host == "localhost":
        return ["127.0.0.0/8", "::1/128"]
    try:
        judged = judge(base.host)
    except ValueError:  # a name: where it leads is not known here
        return []
    return [f"{judged.address}/{128 if ':' in judged.address else 32}"] if judged.kind in GRANTABLE else []


def _check(configuration: str) -> None:
    """Raises ``Misconfigured`` where an option does not fit, before anything is written."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "policy").mkdir()
        file = Path(folder) / "sidecar.yaml"
        file.write_text(configuration)
        read(file, {}, {})
