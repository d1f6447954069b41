"""What may lie in the repository, and what may not stand in its files."""

from __future__ import annotations

import re
import subprocess
from functools import cache
from pathlib import Path

import pytest

from tests.house.tree import ROOT, name

pytestmark = pytest.mark.needs_git

TOP_LEVEL = {
    *(".ci", ".gitignore", ".importlinter", "pyproject.toml", "hatch_build.py", "requirements.lock", "Makefile"),
    *("README.md", "CHANGELOG.md", "LICENSE", "sidecar", "tests", "rego", "schemas", "helm", "benchmarks"),
}
GENERATED = {"requirements.lock", "go.sum"}  # nobody writes or reads these line by line
LINES = 500
_SUPPRESSION = re.compile(r"#\s*(?:noqa|type:\s*ignore|pragma:\s*no cover|nosec)\b(?P<rest>.*)")
_REASON = re.compile(r"#\s*\S+")
_UNFINISHED = re.compile(r"\b(?:TO" r"DO|FIX" r"ME|XX" r"X|HA" r"CK)\b")
# Installation takes packages from whatever registry the machine is set up for: no file names one.
_REGISTRY = re.compile(
    r"(?:--(?:extra-)?index-url|trusted-host|index_url|GOPROXY=http|_authToken|registry=http"
    r"|https?://[\w.-]*(?:artifactory|nexus|registry|proxy\.golang|pypi|npmjs|mirror)[\w.-]*[/:])",
    re.IGNORECASE,
)


@cache
def _tracked() -> tuple[Path, ...]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode != 0:
        pytest.skip("not a git checkout")
    return tuple(path for item in listed.stdout.split("\0") if item and (path := ROOT / item).is_file())


def _lines() -> list[tuple[str, str]]:
    found = []
    for path in _tracked():
        if path.name in GENERATED:
            continue
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [(f"{name(path)}:{at}", line) for at, line in enumerate(text.splitlines(), 1)]
    return found


def test_only_known_names_lie_at_the_top() -> None:
    assert not {path.relative_to(ROOT).parts[0] for path in _tracked()} - TOP_LEVEL


def test_no_file_is_longer_than_anyone_reads() -> None:
    code = {".py", ".go", ".rego", ".sh", ".c"}
    long = {name(path): len(path.read_text().splitlines()) for path in _tracked() if path.suffix in code}
    assert not {path: lines for path, lines in long.items() if lines > LINES}


def test_a_suppressed_check_says_why() -> None:
    silent = []
    for at, line in _lines():
        found = _SUPPRESSION.search(line) if at.split(":")[0].endswith(".py") else None
        if found and not _REASON.search(found["rest"]):
            silent.append(at)
    assert not silent


def test_the_changelog_tells_what_comes_next_in_plain_words() -> None:
    """Keep a Changelog 1.1.0: unreleased changes first, under its own headings; no numbers of a tracker."""
    text = (ROOT / "CHANGELOG.md").read_text()
    versions = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert versions[0] == "[Unreleased]"
    kinds = {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}
    assert not set(re.findall(r"^### (.*)$", text, re.MULTILINE)) - kinds
    assert not re.findall(r"(?<!#)#\d+", text)


def test_nothing_is_left_for_later() -> None:
    assert not [at for at, line in _lines() if _UNFINISHED.search(line)]


def test_no_registry_is_named() -> None:
    assert not [at for at, line in _lines() if _REGISTRY.search(line) and "tests/house/" not in at]


def test_no_binary_is_committed() -> None:
    """Executables and libraries are built, never stored."""
    magic = (b"\x7fELF", b"MZ", b"\xca\xfe\xba\xbe", b"\xcf\xfa\xed\xfe")
    assert not [name(path) for path in _tracked() if path.read_bytes()[:4].startswith(magic)]
