"""The README is run as it is written: its files are made, its commands are typed, its output is compared.

Ports are the one thing that is changed, so that the README of one run does not meet another's.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from click.testing import CliRunner

from sidecar.cli import main
from sidecar.cli.schemas import schemas
from sidecar.config.load import examine
from tests import aws, postgres, vault
from tests.fixtures.programs import program

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
BLOCK = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
REFERENCE = re.compile(r"<!-- reference: begin [^>]*-->\n(.*?)<!-- reference: end -->", re.DOTALL)
PORTS = ("8000", "8080", "8081", "8181", "8182", "9464")
BOUND_SECONDS = 240  # ninety commands: a minute on a quiet machine


class Block(NamedTuple):
    language: str
    file: str | None
    needs: str | None
    text: str


def blocks() -> list[Block]:
    found = []
    for language, options, text in BLOCK.findall(README):
        named, needs = (re.search(rf"{option}=(\S+)", options) for option in ("file", "needs"))
        found.append(Block(language, named[1] if named else None, needs[1] if needs else None, text))
    return found


def commands(needs: str | None = None) -> list[tuple[str, list[str]]]:
    """Each command of the console blocks with the output it is shown with; of those that need ``needs``."""
    found: list[tuple[str, list[str]]] = []
    for block in blocks():
        if block.language != "console" or block.needs != needs:
            continue
        for line in block.text.splitlines():
            if line.startswith("$ "):
                found.append((line[2:], []))
            else:
                found[-1][1].append(line)
    return found


def pattern(lines: list[str]) -> re.Pattern[str]:
    """A line that is ``...`` stands for any lines, ``...`` within a line for any text."""
    shown = [".*" if line == "..." else ".*?".join(map(re.escape, line.split("..."))) for line in lines]
    return re.compile("\\s*" + "\\s*".join(shown) + "\\s*", re.DOTALL)


def free_ports(count: int) -> list[str]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [str(one.getsockname()[1]) for one in sockets]
    for one in sockets:
        one.close()
    return ports


def write_files(folder: Path, ports: dict[str, str]) -> None:
    for block in blocks():
        if block.file is not None:
            path = folder / block.file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(ported(block.text, ports))


def after(command: str, ports: dict[str, str]) -> str:
    """What is typed besides: no variable sets a field that may be null, such as the administrators' door."""
    door = f"doors: {{admin: '127.0.0.1:{ports.get('8081')}'}}"
    return f'sed -i "1i {door}" sidecar.yaml\n' if "sidecar init" in command else ""


def ported(text: str, ports: dict[str, str]) -> str:
    return re.sub("|".join(ports), lambda match: ports[match[0]], text)


@pytest.mark.needs_bash
@pytest.mark.timeout(BOUND_SECONDS * 2)
def test_every_command_of_the_readme_runs_and_prints_what_is_shown(tmp_path: Path) -> None:
    ports = dict(zip(PORTS, free_ports(len(PORTS)), strict=True))
    write_files(tmp_path, ports)
    typed = commands()
    assert len(typed) > 15
    typed_and_compared(typed, tmp_path, ports, {})


@pytest.mark.needs_bash
@pytest.mark.needs_moto
@pytest.mark.needs_postgres
@pytest.mark.needs_vault
@pytest.mark.timeout(BOUND_SECONDS * 2)
def test_every_command_of_the_readme_that_needs_a_store_of_secrets_runs(tmp_path: Path) -> None:
    server, cloud = vault.server(), aws.server()
    ports = {"8200": str(server.port), "4566": cloud.endpoint.rpartition(":")[2]}
    write_files(tmp_path, {**dict.fromkeys(PORTS, "1"), **ports})
    for token in ("first-12345678", "second-12345678"):
        cloud.put("acme/articles", {"token": token})
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "vault").symlink_to(program("vault"))
    host = postgres.server().owner.partition("host=")[2]
    more = {
        **aws.IDENTITY,
        "PATH": f"{tmp_path / 'bin'}:{Path(sys.executable).parent}:{os.environ['PATH']}",
        "VAULT_ADDR": server.address,
        "VAULT_TOKEN": server.root.token,
        "DATABASE_URL": f"postgresql://{{{{username}}}}:{{{{password}}}}@/postgres?host={host}",
        "DATABASE_PASSWORD": "anything",
        "HOME": str(tmp_path),
    }
    typed = commands("stores")
    assert len(typed) > 10
    typed_and_compared(typed, tmp_path, ports, more)


def typed_and_compared(
    typed: list[tuple[str, list[str]]], folder: Path, ports: dict[str, str], more: dict[str, str]
) -> None:
    """Type the commands into one shell, and compare what each prints."""
    script = "".join(
        f"printf '\\n@@%d\\n' {at}\n{ported(command, ports)}\n{after(command, ports)}"
        for at, (command, _) in enumerate(typed)
    )
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "SIDECAR_DOORS_ACCESS": f"127.0.0.1:{ports.get('8080', 0)}",
        "SIDECAR_DOORS_METRICS": f"127.0.0.1:{ports.get('9464', 0)}",
        **more,
    }
    shell = subprocess.Popen(
        ["bash", "-c", script],
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )
    try:
        output = shell.communicate(timeout=BOUND_SECONDS)[0].decode()
    finally:
        if shell.poll() is None:  # whatever the script started ends with it
            os.killpg(shell.pid, signal.SIGKILL)
            shell.communicate()
    printed = re.split(r"^@@\d+\n", output, flags=re.MULTILINE)[1:]
    assert len(printed) == len(typed), output
    for (command, lines), text in zip(typed, printed, strict=True):
        expected = pattern([ported(line, ports) for line in lines])
        assert expected.fullmatch(text), f"$ {command}\nprinted:\n{text}\nshown:\n{lines}"


def test_the_readmes_sh_lines_are_what_ci_runs() -> None:
    lines = [
        line.split("#")[0].split() for block in blocks() if block.language == "sh" for line in block.text.splitlines()
    ]
    ci = (ROOT / ".ci" / "run").read_text()
    targets = [words[1] for words in lines if words[:1] == ["make"]]
    assert targets == ["run", "test"]
    for target in targets:
        assert re.search(rf"^make {target}\b", ci, re.MULTILINE)


def test_the_readmes_credential_fits_its_connector(tmp_path: Path) -> None:
    documents = [yaml.safe_load(block.text) for block in blocks() if block.language == "yaml"]
    assert CliRunner().invoke(main, ["init", str(tmp_path)]).exit_code == 0
    whole = yaml.safe_load((tmp_path / "sidecar.yaml").read_text())
    more = next(document for document in documents if "credentials" in document)
    operations = whole["connectors"]["articles"]["operations"]
    whole["credentials"] = more["credentials"]
    whole["connectors"]["articles"] = {**more["connectors"]["articles"], "operations": operations}
    (tmp_path / "sidecar.yaml").write_text(yaml.safe_dump(whole))
    assert examine(tmp_path / "sidecar.yaml", {}, {}).errors == ()


def test_every_section_is_in_the_contents_once_and_every_link_leads_somewhere() -> None:
    plain = BLOCK.sub("", README)
    titles = re.findall(r"^## (.*)$", plain, re.MULTILINE)
    anchors = [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles]  # as GitHub makes them
    assert len(set(anchors)) == len(anchors)
    _, _, contents = plain.partition("## Contents\n")
    listed = re.findall(r"\]\(#([^)]+)\)", contents.partition("\n## ")[0])
    assert sorted([*listed, "contents"]) == sorted(anchors)
    assert set(re.findall(r"\]\(#([^)]+)\)", plain)) <= set(anchors)
    assert anchors[-1] == "configuration-reference"


def test_the_readmes_problem_document_is_one() -> None:
    shown = [json.loads(block.text) for block in blocks() if block.language == "json"]
    assert [document["code"] for document in shown] == ["denied"]


def test_the_reference_in_the_readme_is_the_generated_one() -> None:
    generated = CliRunner().invoke(schemas, ["--markdown"]).output
    written = REFERENCE.search(README)
    assert written is not None
    assert written[1].strip() == generated.strip(), "write the output of `sidecar schemas --markdown` into the README"
