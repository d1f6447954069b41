"""The demo's Vault, where one is at hand: a server in memory, an AppRole for the sidecar, and the secret."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from pathlib import Path
from typing import Final

from sidecar.errors import Unavailable

PATH: Final = "secret/acme/httpbin"
_ROLE: Final = "sidecar-acme"
_SECONDS: Final = 30.0
_POLICY: Final = f'path "{PATH.replace("/", "/data/", 1)}" {{ capabilities = ["read"] }}\n'


def executable() -> Path | None:
    """``vault`` on the PATH, or the newest that ``make fixtures`` built; None where there is none."""
    named = shutil.which("vault")
    if named is not None:
        return Path(named)
    home = os.environ.get("XDG_CACHE_HOME") or Path("~/.cache").expanduser()
    built = sorted(Path(home, "policy-sidecar", "fixtures").glob("vault-[0-9]*"))
    return built[-1] if built and os.access(built[-1], os.X_OK) else None


class DemoVault:
    """``command`` and ``environment`` start the server on ``port``; ``provide`` then stores the secret."""

    def __init__(self, program: Path, port: int) -> None:
        self.port = port
        self._program = program
        self.command = [
            str(program),
            "server",
            "-dev",
            f"-dev-listen-address=127.0.0.1:{port}",
            "-dev-no-store-token",
        ]
        token = secrets.token_hex(16)
        self.environment = {
            **os.environ,
            "VAULT_ADDR": f"http://127.0.0.1:{port}",
            "VAULT_TOKEN": token,
            "VAULT_DEV_ROOT_TOKEN_ID": token,
        }

    def provide(self, secret: str, folder: Path) -> None:
        """Store the secret, and in ``folder`` a secret id that lets the sidecar read it. Raises ``Unavailable``."""
        self._run("policy", "write", _ROLE, "-", given=_POLICY)
        self.store(secret)
        self._run("auth", "enable", "approle")
        role = f"auth/approle/role/{_ROLE}"
        self._run("write", role, f"token_policies={_ROLE}", "token_ttl=1h")
        self._run("write", f"{role}/role-id", f"role_id={_ROLE}")
        file = folder / "secret-id"
        file.touch(mode=0o600)
        file.write_text(self._run("write", "-force", "-field=secret_id", f"{role}/secret-id"))

    def store(self, secret: str) -> None:
        """Make ``secret`` the newest version. Raises ``Unavailable``."""
        self._run("kv", "put", PATH, "token=-", given=secret)

    def section(self) -> str:
        """The configuration's section ``vault``, in YAML."""
        login = f"{{method: approle, role_id: {_ROLE}, file: secret-id}}"
        return f'vault:\n  address: "http://127.0.0.1:{self.port}"\n  login: {login}\n'

    def _run(self, *arguments: str, given: str = "") -> str:
        done = subprocess.run(  # noqa: S603  # the program that was found, no shell
            [str(self._program), *arguments],
            env=self.environment,
            input=given,
            capture_output=True,
            text=True,
            check=False,
            timeout=_SECONDS,
        )
        if done.returncode != 0:
            raise Unavailable("internal_error", f"The demo's vault refused {arguments[:2]}:\n{done.stderr[-500:]}")
        return done.stdout
