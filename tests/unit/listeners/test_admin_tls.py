"""TLS of the administrators' door, with real certificates and real connections."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from pathlib import Path
from typing import NamedTuple

import aiohttp
import pytest

from sidecar.errors import Misconfigured
from sidecar.listeners.admin_tls import admin_context, names_of
from tests.fakes.certificates import Authority
from tests.fakes.desk import Desk
from tests.fakes.parts import key_of


class Files(NamedTuple):
    folder: Path
    servers: Authority
    clients: Authority
    certificate: Path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    servers, clients = Authority(tmp_path, "servers"), Authority(tmp_path, "clients")
    both = tmp_path / "door.pem"
    both.write_bytes(servers.pem("127.0.0.1", "sidecar.acme.example").read_bytes())
    both.chmod(0o600)
    return Files(tmp_path, servers, clients, both)


@pytest.fixture
async def door(files: Files) -> AsyncIterator[str]:
    context = admin_context(files.certificate, files.certificate, files.clients.file)
    opened = Desk().door
    port = await opened.listen("127.0.0.1", 0, context, names_of(files.certificate))
    yield f"https://127.0.0.1:{port}"
    await opened.close()


def client(files: Files, name: str | None = None, authority: Authority | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(files.servers.file))
    if name is not None:
        shown = files.folder / f"{name}-client.pem"
        shown.write_bytes((authority or files.clients).client(name))
        context.load_cert_chain(shown)
    return context


async def asked(
    door: str, context: ssl.SSLContext, key: str | None = None, host: str | None = None
) -> tuple[int, str]:
    headers = {} if key is None else {"Authorization": f"Bearer {key_of(key)}"}
    if host is not None:
        headers["Host"] = host.format(port=door.rpartition(":")[2])
    async with aiohttp.ClientSession() as session, session.get(
        f"{door}/v1/tenant", ssl=context, headers=headers
    ) as answer:  # fmt: skip
        return answer.status, (await answer.json()).get("code", "")


async def test_a_client_certificate_names_who_asks(door: str, files: Files) -> None:
    assert await asked(door, client(files, "ada")) == (200, "")
    assert await asked(door, client(files, "nobody")) == (403, "forbidden")
    assert await asked(door, client(files, "alice")) == (403, "forbidden")
    assert await asked(door, client(files, "mallory")) == (401, "unauthenticated")


async def test_without_a_certificate_a_key_is_needed(door: str, files: Files) -> None:
    assert await asked(door, client(files)) == (401, "unauthenticated")
    assert await asked(door, client(files), "ada") == (200, "")
    assert await asked(door, client(files), "ada", "sidecar.acme.example:{port}") == (200, "")
    assert await asked(door, client(files), "ada", "other.example:{port}") == (403, "host_forbidden")


async def test_a_certificate_of_another_authority_is_no_connection(door: str, files: Files) -> None:
    stranger = Authority(files.folder, "strangers")
    with pytest.raises((aiohttp.ClientError, ssl.SSLError, ConnectionError)):
        await asked(door, client(files, "ada", stranger))


async def test_tls_1_1_is_refused(door: str, files: Files) -> None:
    old = client(files)
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    with pytest.warns(DeprecationWarning):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises((aiohttp.ClientError, ssl.SSLError)):
        await asked(door, old, "ada")


async def test_without_an_authority_for_clients_no_certificate_is_asked_for(files: Files) -> None:
    opened = Desk().door
    port = await opened.listen("127.0.0.1", 0, admin_context(files.certificate, files.certificate, None))
    assert await asked(f"https://127.0.0.1:{port}", client(files, "ada")) == (401, "unauthenticated")
    await opened.close()


@pytest.mark.parametrize("broken", ["missing", "no certificate", "readable by others", "no authority"])
def test_what_cannot_be_used_refuses_to_start(files: Files, broken: str) -> None:
    certificate, key, client_ca = files.certificate, files.certificate, files.clients.file
    if broken == "missing":
        key = files.folder / "none.pem"
    elif broken == "no certificate":
        certificate = files.folder / "text.pem"
        certificate.write_text("nothing")
    elif broken == "readable by others":
        key.chmod(0o604)
    else:
        client_ca = files.folder / "none.pem"
    with pytest.raises(Misconfigured, match=r"doors\.admin_tls"):
        admin_context(certificate, key, client_ca)


def test_the_names_of_a_certificate(files: Files, tmp_path: Path) -> None:
    assert set(names_of(files.certificate)) == {"127.0.0.1", "sidecar.acme.example"}
    (tmp_path / "text.pem").write_text("nothing")
    assert names_of(tmp_path / "text.pem") == ()
