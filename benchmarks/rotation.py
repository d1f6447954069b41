"""Credentials rotated under load: the upstream soon drops the old version, and no call fails.

The sealed store's new version is used from the next call on. A Vault's is learnt by the first call that the upstream
refuses: the credential is resolved once more, and the call is repeated with it.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks import gate
from benchmarks.background import Background
from benchmarks.compare import CONNECTIONS, Measured, row
from benchmarks.gate import Sent
from benchmarks.load import drive
from benchmarks.processes import Running
from benchmarks.rows import GOVERNED, Figure
from benchmarks.stage import GOVERNED as SEGMENT
from benchmarks.stage import Governed, Upstream, new_token
from sidecar.cli.stage import accepts, free_ports
from sidecar.cli.stage_vault import DemoVault, executable

_ATTEMPTED: Final = 2_000  # calls a second; the figure says nothing at fewer
_EVERY_SECONDS: Final = 1.5
_BOTH_SECONDS: Final = 0.3  # both versions are accepted


def run(folder: Path, seconds: int, tell: Callable[[str], None]) -> Measured:
    """Rotate in the sealed store, and in a Vault where ``make fixtures`` has built one."""
    folder.mkdir()
    found = [_measure(folder / "sealed", "the sealed store", None, seconds, tell)]
    program = executable()
    if program is None:
        name = "failed calls while a credential is rotated in a Vault"
        found.append(Measured([], [Figure(name, 0, None, "calls", "no vault: make fixtures")], []))
    else:
        (port,) = free_ports(1)
        vault = DemoVault(program, port)
        with Running("vault", vault.command, folder, vault.environment) as process:
            process.wait_until(lambda: accepts(port))
            found.append(_measure(folder / "in-vault", "a Vault", vault, seconds, tell))
    return Measured(
        [one for each in found for one in each.rows],
        [figure for each in found for figure in each.figures],
        [problem for each in found for problem in each.problems],
    )


def _measure(
    folder: Path, where: str, vault: DemoVault | None, seconds: int, tell: Callable[[str], None]
) -> Measured:
    folder.mkdir()
    tokens = folder / "tokens"
    tokens.touch()
    connections = CONNECTIONS[-1]
    with Upstream(folder / "upstream", tls=True, tokens=tokens) as upstream:
        sidecar = Governed(folder / "sidecar", upstream.port, tls=True, vault=vault)
        tokens.write_text(sidecar.token)
        shutil.copytree(folder / "upstream/tls", folder / "sidecar/tls")
        with sidecar.start() as process:
            tell(f"rotating a credential in {where} under load")
            before = process.cpu_seconds()
            with _Rotations(sidecar, tokens) as rotations:
                load = drive(sidecar.port, sidecar.stream("rotation", keyed=True), connections, seconds)
            used = process.cpu_seconds() - before
            rows = [row(f"rotation in {where}", GOVERNED, connections, load, used, process.rss_mb())]
        counted, ids = upstream.count(SEGMENT), upstream.ids()
    found = gate.audit(sidecar.evidence)
    problems = [*gate.agree(found, counted, [Sent(load.requests, connections)]), *gate.join(found, ids)]
    enough = rotations.done > 0 and load.per_second >= _ATTEMPTED
    note = f"{rotations.done} rotations, {load.per_second:,.0f} calls a second"
    failed = float(load.refused + load.broken)
    name = f"failed calls while a credential is rotated in {where}"
    return Measured(rows, [Figure(name, 0, failed if enough or failed else None, "calls", note)], problems)


class _Rotations(Background):
    """As a context: a new version, for a while both are accepted, then only the new one; and again."""

    def __init__(self, sidecar: Governed, tokens: Path) -> None:
        super().__init__()
        self.done = 0
        self._sidecar = sidecar
        self._tokens = tokens

    def run(self) -> None:
        """Rotate, again and again."""
        while not self.stop.wait(_EVERY_SECONDS - _BOTH_SECONDS):
            old, new = self._sidecar.token, new_token()
            self._accept(old, new)
            self._sidecar.store(new)
            self.stop.wait(_BOTH_SECONDS)
            self._accept(new)
            self.done += 1

    def _accept(self, *tokens: str) -> None:
        fresh = self._tokens.with_suffix(".new")
        fresh.write_text("\n".join(tokens))
        fresh.replace(self._tokens)
