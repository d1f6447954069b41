"""A real Vault for tests: one a process, started when the first test needs it, with everything mounted.

It is a server, not ``-dev``, so that it can be sealed and listens with TLS as well. What it was asked is counted
from its own audit log. Tests share it, so each takes a tenant of its own.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import os
import shutil
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, Final

import hvac
import requests

from sidecar.config.remotes import VaultLogin, VaultSection
from tests.e2e.house import WAIT, comes_true, free_port
from tests.fakes.certificates import Authority
from tests.fixtures.programs import program

_POLICY: Final = """
path "secret/data/{tenant}/*" {{ capabilities = ["create", "read", "update"] }}
path "secret/subkeys/{tenant}/*" {{ capabilities = ["read"] }}
path "secret/metadata/{tenant}/*" {{ capabilities = ["create", "read", "update", "patch", "list"] }}
path "secret/delete/{tenant}/*" {{ capabilities = ["update"] }}
path "kv/{tenant}/*" {{ capabilities = ["read", "list"] }}
path "database/creds/{tenant}-*" {{ capabilities = ["read"] }}
path "database/static-creds/{tenant}-*" {{ capabilities = ["read"] }}
path "sys/leases/revoke" {{ capabilities = ["update"] }}
"""


class Vault:
    """``address`` is plain http on loopback, ``secure`` the same server over TLS by ``authority``."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="vault-"))
        atexit.register(shutil.rmtree, self.folder, ignore_errors=True)
        self.port, self.secure_port, cluster = free_port(), free_port(), free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        self.secure = f"https://127.0.0.1:{self.secure_port}"
        self.authority = Authority(self.folder)
        pem = self.authority.pem("127.0.0.1")
        config = {
            "storage": {"inmem": {}},
            "listener": [
                {"tcp": {"address": f"127.0.0.1:{self.port}", "tls_disable": True}},
                {
                    "tcp": {
                        "address": f"127.0.0.1:{self.secure_port}",
                        "cluster_address": f"127.0.0.1:{cluster}",
                        "tls_cert_file": str(pem),
                        "tls_key_file": str(pem),
                    }
                },
            ],
            "api_addr": self.address,
            "disable_mlock": True,
            "plugin_directory": str(program("vault").parent),
        }
        (self.folder / "vault.json").write_text(json.dumps(config))
        with (self.folder / "vault.log").open("wb") as log:
            self.process = subprocess.Popen(
                [program("vault"), "server", "-config", self.folder / "vault.json"],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={"PATH": os.environ["PATH"], "HOME": str(self.folder)},
            )
        atexit.register(self.stop)
        self.root = hvac.Client(url=self.address, token="")
        self._initialize()
        self._mount()

    def _initialize(self) -> None:
        def is_up() -> bool:
            try:
                return requests.get(f"{self.address}/v1/sys/init", timeout=WAIT).status_code == 200
            except requests.ConnectionError:
                return False

        assert comes_true(is_up), (self.folder / "vault.log").read_text()[-2000:]
        made = self.root.sys.initialize(1, 1)
        self._key = made["keys"][0]
        self.root.token = made["root_token"]
        self.unseal()

    def _mount(self) -> None:
        sys: Any = self.root.sys
        self._audit = self.folder / "audit.log"
        sys.enable_audit_device("file", options={"file_path": str(self._audit)})
        self.root.write_data("sys/config/auditing/request-headers/X-Vault-Namespace", data={"hmac": False})
        sys.enable_secrets_engine("kv", path="secret", options={"version": "2"})
        sys.enable_secrets_engine("kv", path="kv", options={"version": "1"})
        self._plugin("database", "postgresql-database-plugin", "vault-plugin-database-postgresql")
        self._plugin("auth", "kubernetes", "vault-plugin-auth-kubernetes")
        sys.enable_secrets_engine("database")
        for method in ("approle", "jwt", "kubernetes"):
            sys.enable_auth_method(method)
        assert comes_true(lambda: self._is_kv2_ready())

    def _is_kv2_ready(self) -> bool:
        try:
            self.root.secrets.kv.v2.create_or_update_secret(
                path="ready", secret={"is": "ready"}, mount_point="secret"
            )
        except hvac.exceptions.InvalidRequest:  # it is still made from kv version 1
            return False
        return True

    def _plugin(self, kind: str, name: str, built: str) -> None:
        file = program(built)
        data = {"sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "command": file.name}
        self.root.write_data(f"sys/plugins/catalog/{kind}/{name}", data=data)

    def seal(self) -> None:
        self.root.sys.seal()
        assert comes_true(lambda: bool(self.root.sys.is_sealed()))

    def unseal(self) -> None:
        self.root.sys.submit_unseal_key(self._key)
        assert comes_true(lambda: requests.get(f"{self.address}/v1/sys/health", timeout=WAIT).status_code == 200)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(WAIT)

    # what an operator does

    def put(self, tenant: str, name: str, **fields: Any) -> int:
        """Write a kv2 secret of a tenant; its new version."""
        written = self.root.secrets.kv.v2.create_or_update_secret(
            path=f"{tenant}/{name}", secret=fields, mount_point="secret"
        )
        return int(written["data"]["version"])

    def put_v1(self, tenant: str, name: str, **fields: Any) -> None:
        self.root.secrets.kv.v1.create_or_update_secret(path=f"{tenant}/{name}", secret=fields, mount_point="kv")

    def delete(self, tenant: str, name: str) -> None:
        self.root.secrets.kv.v2.delete_latest_version_of_secret(path=f"{tenant}/{name}", mount_point="secret")

    def policy(self, tenant: str) -> str:
        """What the tenant's sidecar may do."""
        self.root.sys.create_or_update_policy(tenant, _POLICY.format(tenant=tenant))
        return tenant

    def approle(self, tenant: str, folder: Path, **more: Any) -> VaultLogin:
        """A role of the tenant's with its secret id in a file."""
        self.policy(tenant)
        role: Any = self.root.auth.approle
        role.create_or_update_approle(tenant, **({"token_policies": [tenant], "token_ttl": "1h"} | more))
        file = folder / "secret-id"
        file.touch(mode=0o600)
        file.write_text(role.generate_secret_id(tenant)["data"]["secret_id"])
        return VaultLogin(method="approle", role_id=role.read_role_id(tenant)["data"]["role_id"], file=str(file))

    def token(self, tenant: str, folder: Path, **more: Any) -> VaultLogin:
        """A token of the tenant's in a file."""
        self.policy(tenant)
        made = self.root.auth.token.create(policies=[tenant], **({"ttl": "1h"} | more))
        file = folder / "token"
        file.touch(mode=0o600)
        file.write_text(f"{made['auth']['client_token']}\n")
        return VaultLogin(method="token", file=str(file))

    def section(self, login: VaultLogin, **more: Any) -> VaultSection:
        """Settings of a sidecar that logs in so."""
        settings: dict[str, Any] = {
            "address": self.address,
            "login": login,
            "mounts": {"secret": "kv2", "kv": "kv1", "database": "database"},
            "paths": ("secret/{tenant}", "kv/{tenant}"),
        }
        return VaultSection(**(settings | more))

    def asked(self, path: str, operation: str = "update") -> int:
        """How many requests for this path the server has had, by its own audit log."""
        return len(self._requests(path, operation))

    def namespaces(self, path: str, operation: str = "update") -> list[str]:
        """The namespaces that requests for this path named, by the same log."""
        asked = [one.get("headers", {}).get("x-vault-namespace", []) for one in self._requests(path, operation)]
        return [name for names in asked for name in names]

    def _requests(self, path: str, operation: str) -> list[Any]:
        lines = [json.loads(line) for line in self._audit.read_text().splitlines()]
        asked = [line["request"] for line in lines if line["type"] == "request"]
        return [one for one in asked if one.get("path") == path and one["operation"] == operation]


@cache
def server() -> Vault:
    """The server of this process."""
    return Vault()


def fresh_tenant() -> str:
    """A tenant that no other test has."""
    return f"t-{os.urandom(6).hex()}"
