"""INV-8 and INV-3, what import-linter cannot see: no I/O and no awaiting where only rules and values live."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from tests.house.tree import SOURCE, calls, imports, modules, name, parsed

QUIET_ROOMS = ("rules", "model", "config")
READS_FILES = {"sidecar/config/load.py"}  # the one reader of configuration files
OPENERS = {"open", "read_bytes", "read_text", "write_bytes", "write_text", "mkdir", "unlink", "rename", "touch"}
LOADERS = {"import_module", "__import__", "exec", "eval"}
OUTSIDE = {
    *("asyncio", "socket", "ssl", "subprocess", "threading", "multiprocessing", "selectors", "signal", "ctypes"),
    *("aiohttp", "uvloop", "httptools", "urllib.request", "http.client", "importlib", "shutil", "tempfile"),
}
CLOCKS = {"time.time", "time.monotonic", "time.time_ns", "datetime.datetime.now"}
AWAITS = {
    "sidecar/pipeline/handle.py",  # the path of every call
    "sidecar/pipeline/reception.py",  # what is answered without a call: nothing leaves the sidecar
    "sidecar/pipeline/relay.py",  # awaits what it is handed
}
# Libraries that block: each in the adapter that calls it in threads of its own, and nowhere else.
BLOCKING = {"hvac": "sidecar/adapters/credentials/vault", "botocore": "sidecar/adapters/credentials/aws"}

# Who may turn a secret back into bytes: where it is put on the wire, sealed, compared or looked for.
REVEALS = {
    "sidecar/adapters/callers/identity.py",
    "sidecar/adapters/callers/oauth.py",
    "sidecar/adapters/credentials/aws/secret.py",  # writes a new version
    "sidecar/adapters/credentials/remote/held.py",  # seals what is kept
    "sidecar/adapters/credentials/sealed/master_key.py",
    "sidecar/adapters/credentials/remote/administration.py",  # looks whether it is text
    "sidecar/adapters/credentials/vault/kv2.py",  # writes a new version
    "sidecar/adapters/credentials/vault/login.py",  # shows the proof
    "sidecar/adapters/credentials/vault/session.py",  # shows the token
    "sidecar/adapters/credentials/sealed/file.py",
    "sidecar/adapters/policy/remote_client.py",
    "sidecar/adapters/policy/server_connection.py",
    "sidecar/adapters/registry/postgres.py",
    "sidecar/model/secret.py",
    "sidecar/pipeline/identify.py",
    "sidecar/pipeline/inject.py",
    "sidecar/rules/credential_terms.py",  # looks at its form before it is stored
    "sidecar/rules/placeholders.py",
    "sidecar/rules/scrub.py",
}


def _quiet() -> list[Path]:
    return [path for room in QUIET_ROOMS for path in modules(SOURCE / room)]


def _awaits(path: Path) -> list[str]:
    kinds = (ast.Await, ast.AsyncFor, ast.AsyncWith, ast.AsyncFunctionDef)
    return [f"{name(path)}:{node.lineno}" for node in ast.walk(parsed(path)) if isinstance(node, kinds)]


def _found(path: Path, called: set[str]) -> list[str]:
    return [f"{name(path)}:{node.lineno} {word}" for node, word in calls(path) if word in called]


@pytest.mark.parametrize("path", _quiet(), ids=name)
def test_inv_8_rules_values_and_configuration_do_no_io(path: Path) -> None:
    allowed = OPENERS if name(path) in READS_FILES else set()
    assert not _found(path, (OPENERS | LOADERS) - allowed)
    assert not _awaits(path)
    assert not [f"{name(path)}:{line} {module}" for line, module in imports(path) if module in OUTSIDE]


@pytest.mark.parametrize("path", modules(SOURCE / "rules"), ids=name)
def test_inv_8_rules_have_no_clock(path: Path) -> None:
    imported = {module for _, module in imports(path)}
    assert "time" not in imported
    assert not imported & CLOCKS
    assert not _found(path, {"now", "utcnow", "today"})


def test_inv_8_no_step_of_the_path_awaits() -> None:
    awaiting = [at for path in modules(SOURCE / "pipeline") if name(path) not in AWAITS for at in _awaits(path)]
    assert not awaiting


def test_inv_8_records_are_frozen() -> None:
    """Every class of ``model`` that is a Struct says ``frozen=True``."""
    for path in modules(SOURCE / "model"):
        for node in ast.walk(parsed(path)):
            if isinstance(node, ast.ClassDef) and any(
                isinstance(b, ast.Name) and b.id == "Struct" for b in node.bases
            ):
                frozen = [k.value for k in node.keywords if k.arg == "frozen"]
                assert frozen and ast.unparse(frozen[0]) == "True", f"{name(path)}:{node.lineno} {node.name}"


def test_inv_3_a_permit_is_built_in_one_place() -> None:
    """Execution takes a ``Permit``; only ``decide`` builds one, so nothing runs without a decision."""
    built = {name(path) for path in modules() if _found(path, {"Permit"})}
    assert built <= {"sidecar/pipeline/decide.py"}
    handed_on = [
        f"{name(path)}:{node.lineno}"
        for path in modules()
        for node, _ in calls(path)
        for value in (*node.args, *(keyword.value for keyword in node.keywords))
        if isinstance(value, ast.Name) and value.id == "Permit"
    ]
    assert not handed_on, "a decoder or replace() given the class would build one too"


def test_inv_5_secrets_are_revealed_in_known_places_only() -> None:
    revealing = {name(path) for path in modules() if _found(path, {"reveal"})}
    revealing |= {name(path) for path in modules() if _attribute(path, "_plain")}
    assert revealing <= REVEALS, "add the file here only if it puts the bytes on the wire, seals or compares them"


def test_the_list_of_revealing_files_has_no_leftovers() -> None:
    gone = {path for path in REVEALS if not _uses(path)}
    assert not gone


def _uses(path: str) -> bool:
    file = SOURCE.parent / path
    return file.exists() and ("reveal" in file.read_text())


def _attribute(path: Path, word: str) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == word for node in ast.walk(parsed(path)))


def test_libraries_that_block_stay_in_their_own_adapter() -> None:
    for library, home in BLOCKING.items():
        users = {name(path) for path in modules() for _, module in imports(path) if module.split(".")[0] == library}
        assert users
        assert not [user for user in users if not user.startswith(home)]
