from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.adapters.credentials.aws import SecretsManager, _which
from sidecar.adapters.credentials.remote import StoreFailure
from sidecar.adapters.credentials.remote_terms import entry, written
from sidecar.config.remotes import AwsSection
from sidecar.model.credential import Reference, Terms

NOWHERE = AwsSection(region="eu-west-1", endpoint="http://127.0.0.1:1", timeout_seconds=1)


def test_what_a_reference_names() -> None:
    assert _which(None) == {"VersionStage": "AWSCURRENT"}
    assert _which("AWSPREVIOUS") == {"VersionStage": "AWSPREVIOUS"}
    identifier = "12345678-90ab-cdef-1234-567890abcdef"
    assert _which(identifier) == {"VersionId": identifier}


@pytest.mark.parametrize("reference", [Reference("aws", "globex/crm"), Reference("vault", "acme/crm", "token")])
def test_c06_another_tenants_secret_is_refused_before_anything_is_asked(tmp_path: Path, reference: Reference) -> None:
    store = SecretsManager(NOWHERE, "acme", tmp_path)
    with pytest.raises(StoreFailure) as failure:
        store.fetch(reference)
    assert failure.value.code == "other_tenant"
    store.close()


def test_an_endpoint_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIDEXAMPLE")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "not-a-real-key")
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:2")
    store = SecretsManager(NOWHERE, "acme", tmp_path)
    with pytest.raises(StoreFailure) as failure:
        store.fetch(Reference("aws", "acme/crm"))
    assert failure.value.code == "store_unreachable"
    store.close()


VERSION = "12345678-90ab-cdef-1234-567890abcdef"
ENDED = 1_700_000_000_000_000  # microseconds since the epoch


def said(document: object) -> bytes:
    body = json.dumps(document).encode()
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/x-amz-json-1.1\r\nContent-Length: {len(body)}\r\n"
    return head.encode() + b"Connection: close\r\n\r\n" + body


def answers() -> dict[str, bytes]:
    terms = {"Key": entry(VERSION), "Value": written(Terms(expires=ENDED))}
    value = {"Name": "acme/crm", "VersionId": VERSION, "SecretString": '{"token": "value-12345678"}'}
    return {
        "GetSecretValue": said(value),
        "DescribeSecret": said({"VersionIdsToStages": {VERSION: ["AWSCURRENT"]}, "Tags": [terms]}),
    }


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[AwsSection, dict[str, bytes]]]:
    """A server that gives ``answers``, whole or not, each on a connection of its own."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "not-a-real-key")
    given = answers()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            self.wfile.write(given[self.headers["X-Amz-Target"].partition(".")[2]])
            self.close_connection = True

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield AwsSection(region="eu-west-1", endpoint=f"http://127.0.0.1:{server.server_address[1]}"), given
    server.shutdown()
    thread.join(10)
    server.server_close()


@pytest.mark.parametrize("cut", ["GetSecretValue", "DescribeSecret"])
def test_an_answer_that_stops_anywhere_is_an_outage_and_ends_no_terms(
    tmp_path: Path, cloud: tuple[AwsSection, dict[str, bytes]], cut: str
) -> None:
    section, given = cloud
    store = SecretsManager(section, "acme", tmp_path)
    reference = Reference("aws", "acme/crm", "token")
    assert store.fetch(reference).expires == ENDED
    whole = given[cut]
    for at in range(0, len(whole), 7):
        given[cut] = whole[:at]
        with pytest.raises(StoreFailure) as failure:
            store.fetch(reference)
        assert failure.value.is_outage, at
    store.close()
