"""The traps of the client, each shown on a real OPA server, and that none of them is stepped into."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from opa_client.opa import OpaClient

from sidecar.adapters.policy import remote, remote_client
from sidecar.adapters.policy.remote_client import Rejected, ask, found
from sidecar.config.authority import base_url
from sidecar.errors import Unavailable
from sidecar.model.secret import Secret
from tests.fakes.opa import TOKEN, WAIT, Opa

V0 = 'package old\n\nallow {\n  input.user == "root"\n}\n'  # what OPA 1 rejects
GOOD = "package old\n\nallow := false\n"


def made(url: str, token: str | None = None) -> OpaClient:
    return remote_client.remote_client(base_url(url), Secret(token) if token else None)


def test_a_rejected_module_stays_rejected_and_is_not_repaired() -> None:
    with Opa(managed=True) as opa:
        client = made(opa.management)
        ask(client.update_policy_from_string, GOOD, "old", rego_compat=False)
        with pytest.raises(Rejected) as caught:
            ask(client.update_policy_from_string, V0, "old", rego_compat=False)
        assert caught.value.code == "invalid_parameter"
        assert caught.value.errors[0].message.startswith("old:3: ")
        assert client.get_policy("old")["result"]["raw"] == GOOD  # the old one still decides
        # the trap: by itself the client rewrites it and installs what nobody has read
        assert client.update_policy_from_string(V0, "old") is True
        assert client.get_policy("old")["result"]["raw"] not in (GOOD, V0)


def test_the_ways_around_are_not_used() -> None:
    """Files and URLs are pushed with repairs, and a PATCH is never repeated."""
    text = "".join(Path(module.__file__ or "").read_text() for module in (remote, remote_client))
    for trap in ("update_policy_from_file", "update_policy_from_url", "patch_data"):
        assert hasattr(OpaClient, trap)
        assert trap not in text
    assert text.count("update_policy_from_string") == text.count("rego_compat=False") == 1


def test_a_refused_token_is_not_taken_for_nothing_there() -> None:
    with Opa(managed=True, token=True) as opa:
        assert found(made(opa.management, TOKEN), "nothing") is None
        with pytest.raises(Rejected, match="--token-file"):
            found(made(opa.management, "another-token"), "nothing")


@contextmanager
def answering(status: int, headers: dict[str, str], body: bytes = b"") -> Iterator[tuple[str, list[Any]]]:
    """An HTTP server that says one thing; its URL, and what it was sent."""
    seen: list[Any] = []

    class Handler(BaseHTTPRequestHandler):
        def handle_one_request(self) -> None:
            self.raw_requestline = self.rfile.readline(65537)
            if self.raw_requestline and self.parse_request():
                seen.append((self.path, dict(self.headers)))
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), "Connection": "close", **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)
            self.close_connection = True

        def log_message(self, *_: Any) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
        thread.join(WAIT)


def test_nobody_is_followed_to_another_server() -> None:
    with answering(200, {}, b'{"result": []}') as (elsewhere, seen):
        for target in (f"{elsewhere}/v1/policies", f"//{elsewhere.partition('//')[2]}/v1/policies", "/other"):
            with answering(307, {"Location": target}) as (url, _), pytest.raises(Unavailable, match="redirects"):
                ask(made(url, TOKEN).get_policies_list)
        assert seen == []


def test_the_environment_sends_nothing_elsewhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "netrc").write_text("default login somebody password something\n")
    (tmp_path / "netrc").chmod(0o600)
    monkeypatch.setenv("NETRC", str(tmp_path / "netrc"))
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    with answering(500, {}) as (proxy, proxied), answering(200, {}, b'{"result": []}') as (url, seen):
        monkeypatch.setenv("HTTP_PROXY", proxy)
        monkeypatch.setenv("http_proxy", proxy)
        assert ask(made(url, TOKEN).get_policies_list) == []
        assert proxied == []
        assert seen[0][1]["Authorization"] == f"Bearer {TOKEN}"


@pytest.mark.parametrize(
    ("status", "body"),
    [(200, b"<html>"), (200, b"[]"), (500, b"oops"), (400, b"[]"), (400, b"{}"), (400, b'"x"'), (404, b"")],
)
def test_what_is_not_opas_is_an_answer_of_nobodys(status: int, body: bytes) -> None:
    with answering(status, {"Content-Type": "application/json"}, body) as (url, _):
        client = made(url)
        reads: list[Callable[[], Any]] = [
            lambda: ask(client.get_policies_list),
            lambda: ask(client.get_policy, "a")["result"]["raw"],
        ]
        writes: list[Callable[[], Any]] = [
            lambda: ask(client.update_policy_from_string, GOOD, "a", rego_compat=False),
            lambda: ask(client.update_or_create_data, {}, "a"),
            lambda: ask(client.delete_policy, "a"),
        ]
        # The client takes any 200 for a write that was done; so a push reads everything back.
        for call in reads[:1] if status == 200 else reads + writes:
            with pytest.raises((Unavailable, Rejected)):
                call()


def test_nothing_is_tried_again_behind_our_back() -> None:
    with answering(500, {}, json.dumps({"code": "internal_error", "message": "m"}).encode()) as (url, seen):
        with pytest.raises((Unavailable, Rejected)):
            ask(made(url).update_or_create_data, {}, "a")
        assert len(seen) == 1


def test_an_address_of_six_is_in_brackets() -> None:
    assert made("http://[::1]:8181").root_url == "http://[::1]:8181/v1"


def test_the_token_is_in_no_text_of_the_client() -> None:
    client = made("http://127.0.0.1:1", TOKEN)
    with pytest.raises(Unavailable) as caught:
        ask(client.get_policies_list)
    assert TOKEN not in str(caught.value) + repr(caught.value) + repr(client)
