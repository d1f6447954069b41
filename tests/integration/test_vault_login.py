"""The ways to be somebody for a real Vault: logging in, staying logged in, and logging in again."""

from __future__ import annotations

import base64
import http.server
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from sidecar.config.remotes import VaultLogin
from tests.integration.vault_sources import VALUE, Tenant

pytestmark = pytest.mark.needs_vault
KEY = rsa.generate_private_key(65537, 2048)


def signed(claims: dict[str, Any]) -> str:
    """A JSON Web Token by ``KEY`` (RFC 7519, RS256), from now on for ten minutes unless it says otherwise."""
    now = int(time.time())
    claims = {"iat": now, "nbf": now, "exp": now + 600} | claims
    head, body = (_encoded(json.dumps(part).encode()) for part in ({"alg": "RS256", "typ": "JWT"}, claims))
    signature = KEY.sign(f"{head}.{body}".encode(), padding.PKCS1v15(), hashes.SHA256())
    return f"{head}.{body}.{_encoded(signature)}"


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def _public() -> str:
    return KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


async def test_a_token_in_a_file_is_used_and_never_revoked(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path, "token")
    assert await tenant.value() == VALUE
    await tenant.source.close()
    tenant.open(tenant.section.login)
    assert await tenant.value() == VALUE
    await tenant.source.close()


async def test_a_token_that_another_program_replaced_is_found_in_its_file(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path, "token", max_age_seconds=1.0)
    assert await tenant.value() == VALUE
    tenant.server.root.auth.token.revoke((tmp_path / "token").read_text().strip())
    tenant.server.token(tenant.name, tmp_path)
    tenant.clock.advance(2)
    assert await tenant.value() == VALUE
    await tenant.source.close()


@pytest.mark.parametrize("mode", [0o604, 0o644, 0o666])
async def test_a_login_file_that_everybody_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    tenant = Tenant(tmp_path)
    (tmp_path / "secret-id").chmod(mode)
    assert await tenant.reason() == "store_login_refused"
    await tenant.source.close()


async def test_an_approle_logs_out_at_the_end(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path)
    assert await tenant.value() == VALUE
    before = tenant.server.asked("auth/token/revoke-self")
    await tenant.source.close()
    assert tenant.server.asked("auth/token/revoke-self") == before + 1


async def test_a_login_is_renewed_at_two_thirds_of_its_lease(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path, max_age_seconds=5.0)
    await tenant.value()
    for seconds, renewed in ((2390, 0), (20, 1)):  # of an hour
        before = tenant.server.asked("auth/token/renew-self")
        tenant.clock.advance(seconds)
        assert await tenant.value() == VALUE
        assert tenant.server.asked("auth/token/renew-self") - before == renewed
    assert tenant.server.asked("auth/approle/login") >= 1
    await tenant.source.close()


async def test_a_login_that_ended_is_made_anew(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path)
    await tenant.value()
    before = tenant.server.asked("auth/approle/login")
    tenant.clock.advance(3601)
    assert await tenant.value() == VALUE
    assert tenant.server.asked("auth/approle/login") == before + 1
    await tenant.source.close()


async def test_a_token_that_was_revoked_is_replaced_within_the_call(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path, max_age_seconds=1.0)
    await tenant.value()
    accessors = tenant.server.root.list("auth/token/accessors")["data"]["keys"]
    for accessor in accessors:
        found = tenant.server.root.auth.token.lookup_accessor(accessor)["data"]
        if found["meta"] == {"role_name": tenant.name}:
            tenant.server.root.auth.token.revoke_accessor(accessor)
    tenant.clock.advance(2)
    assert await tenant.value() == VALUE
    await tenant.source.close()


async def test_a_refused_proof_is_tried_again_at_growing_distances_or_when_it_changes(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path)
    good = (tmp_path / "secret-id").read_text()
    (tmp_path / "secret-id").write_text("0f4b7a52-not-it")
    before = tenant.server.asked("auth/approle/login")
    for _ in range(90):  # 15 minutes of calls, ten seconds apart
        assert await tenant.reason() == "store_login_refused"
        tenant.clock.advance(10)
    assert tenant.server.asked("auth/approle/login") - before <= 4  # five lock the role out
    (tmp_path / "secret-id").write_text(good)
    assert await tenant.value() == VALUE
    await tenant.source.close()


async def test_a_jwt_logs_in(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path)
    root = tenant.server.root
    root.auth.jwt.configure(jwt_validation_pubkeys=[_public()])
    root.auth.jwt.create_role(
        tenant.name, user_claim="sub", allowed_redirect_uris=[], role_type="jwt", bound_audiences=["vault"],
        token_policies=[tenant.name],
    )  # fmt: skip
    file = tmp_path / "jwt"
    file.write_text(signed({"sub": "sidecar", "aud": "vault"}))
    tenant.open(VaultLogin(method="jwt", role=tenant.name, file=str(file)))
    assert await tenant.value() == VALUE
    await tenant.source.close()
    tenant.open(VaultLogin(method="jwt", role=tenant.name, file=str(file)))
    file.write_text(signed({"sub": "sidecar", "aud": "another"}))
    assert await tenant.reason() == "store_login_refused"
    await tenant.source.close()


@pytest.fixture
def reviewer(tmp_path: Path) -> Iterator[tuple[str, Path]]:
    """What Kubernetes answers a TokenReview (authentication.k8s.io/v1); its URL and authority."""
    from tests.fakes.certificates import Authority

    class Review(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            claims = json.loads(base64.urlsafe_b64decode(body["spec"]["token"].split(".")[1] + "=="))
            user = {"username": claims["sub"], "uid": "u-1", "groups": ["system:serviceaccounts"]}
            body["status"] = {"authenticated": claims["exp"] > time.time(), "user": user}
            data = json.dumps(body).encode()
            self.send_response(201)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: object) -> None:
            pass

    authority = Authority(tmp_path, "cluster")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Review)
    server.socket = authority.server("127.0.0.1").wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield f"https://127.0.0.1:{server.server_address[1]}", authority.file
    server.shutdown()
    thread.join(10)
    server.server_close()


async def test_the_pods_service_account_logs_in(tmp_path: Path, reviewer: tuple[str, Path]) -> None:
    tenant = Tenant(tmp_path)
    url, authority = reviewer
    kubernetes: Any = tenant.server.root.auth.kubernetes
    kubernetes.configure(
        kubernetes_host=url, kubernetes_ca_cert=authority.read_text(), disable_local_ca_jwt=True,
        token_reviewer_jwt=signed({"sub": "reviewer"}),
    )  # fmt: skip
    kubernetes.create_role(tenant.name, ["sidecar"], ["agents"], policies=[tenant.name])
    account = {"namespace": "agents", "serviceaccount": {"name": "sidecar", "uid": "u-1"}}
    claims = {
        "sub": "system:serviceaccount:agents:sidecar", "kubernetes.io": account,
    }  # fmt: skip
    file = tmp_path / "service-account"
    file.write_text(signed(claims))
    file.chmod(0o644)  # as the kubelet projects it
    login = VaultLogin(method="kubernetes", role=tenant.name, file=str(file))
    tenant.open(login)
    assert await tenant.value() == VALUE
    await tenant.source.close()
    claims["sub"] = "system:serviceaccount:others:sidecar"
    account["namespace"] = "others"
    file.write_text(signed(claims))
    tenant.open(login)
    assert await tenant.reason() == "store_login_refused"
    await tenant.source.close()


async def test_a_server_of_our_own_authority_is_trusted_and_no_other(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path)
    server = tenant.server
    tenant.open(tenant.section.login, address=server.secure, ca_file=str(server.authority.file))
    assert await tenant.value() == VALUE
    await tenant.source.close()
    tenant.open(tenant.section.login, address=server.secure)
    assert await tenant.reason() == "store_untrusted"
    await tenant.source.close()


async def test_the_namespace_is_named_in_every_request(tmp_path: Path) -> None:
    tenant = Tenant(tmp_path)
    tenant.open(tenant.section.login, namespace="teams/a")
    assert await tenant.value() == VALUE  # this edition has no namespaces, and does not mind
    await tenant.source.close()
    asked = tenant.server.namespaces(f"secret/data/{tenant.name}/crm", "read")
    assert asked == ["teams/a"]
    assert tenant.server.namespaces("auth/approle/login")[-1:] == ["teams/a"]


async def test_nothing_is_taken_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("VAULT_TOKEN", "not-this-one")
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    tenant_folder = tmp_path / "tenant"
    tenant_folder.mkdir()
    with monkeypatch.context() as without:
        for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
            without.delenv(name)
        tenant = Tenant(tenant_folder)
    assert await tenant.value() == VALUE
    await tenant.source.close()
