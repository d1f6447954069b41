from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from io import BytesIO
from pathlib import Path

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer, unused_port

from sidecar.adapters.policy import bundle_sources
from sidecar.adapters.policy.bundle_sources import FileSource, FolderSource, HttpSource, Offer
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.secret import Secret
from tests.fakes.bundles import ALLOW, lay_out, manifest
from tests.fakes.certificates import Authority

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """A bundle server: what it answers, and what it was asked."""

    def __init__(self) -> None:
        self.content, self.etag = b"one", '"1"'
        self.asked: list[web.Request] = []
        self.answer: Answer | None = None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.asked.append(request)
        if self.answer is not None:
            return await self.answer(request)
        if self.etag and request.headers.get("If-None-Match") == self.etag:
            return web.Response(status=304)
        return web.Response(body=self.content, headers={"ETag": self.etag} if self.etag else {})


@pytest.fixture
async def server() -> Server:
    return Server()


@pytest.fixture
async def source(server: Server) -> AsyncIterator[HttpSource]:
    application = web.Application()
    application.router.add_get("/{path:.*}", server.handle)
    async with TestServer(application, host="127.0.0.1") as running:
        yield HttpSource(f"http://127.0.0.1:{running.port}/acme.tar.gz?signature=s3cret", 5.0)


async def given(source: HttpSource | FileSource | FolderSource, seen: str | None = None) -> Offer:
    offer = await source.fetch(seen)
    assert offer is not None
    return offer


async def test_a_server_is_asked_with_the_etag_of_what_it_gave(server: Server, source: HttpSource) -> None:
    first = await given(source)
    assert first.archive == b"one"
    assert await source.fetch(first.tag) is None
    assert server.asked[-1].headers["If-None-Match"] == '"1"'
    server.content, server.etag = b"two", '"2"'
    assert (await given(source, first.tag)).archive == b"two"
    assert {request.headers["Accept-Encoding"] for request in server.asked} == {"identity"}


async def test_without_etags_the_content_tells(server: Server, source: HttpSource) -> None:
    server.etag = ""
    first = await given(source)
    assert await source.fetch(first.tag) is None
    server.content = b"two"
    assert (await given(source, first.tag)).archive == b"two"


async def test_where_it_is_says_nothing_secret(source: HttpSource) -> None:
    assert source.origin.endswith("/acme.tar.gz")
    assert "s3cret" not in source.origin


async def test_a_304_that_was_not_asked_for_is_no_answer(server: Server, source: HttpSource) -> None:
    async def unchanged(_: web.Request) -> web.StreamResponse:
        return web.Response(status=304)

    server.answer = unchanged
    with pytest.raises(Unavailable, match="status 304"):
        await source.fetch(None)


@pytest.mark.parametrize("status", [301, 302, 401, 403, 404, 500, 503, 206, 204])
async def test_only_a_200_is_a_bundle_and_redirects_are_not_followed(
    server: Server, source: HttpSource, status: int
) -> None:
    async def other(_: web.Request) -> web.StreamResponse:
        return web.Response(status=status, headers={"Location": "/elsewhere"})

    server.answer = other
    with pytest.raises(Unavailable, match=f"status {status}") as caught:
        await source.fetch(None)
    assert "s3cret" not in caught.value.detail
    assert len(server.asked) == 1


async def test_an_endless_answer_is_cut_off(
    server: Server, source: HttpSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_sources, "ARCHIVE_LIMIT", 1 << 20)

    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b"x" * (1 << 16))

    server.answer = endless
    with pytest.raises(Misconfigured, match="larger than"):
        await source.fetch(None)


async def test_an_answer_that_is_cut_off_is_no_bundle(server: Server, source: HttpSource) -> None:
    async def cut(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "100"})
        await response.prepare(request)
        await response.write(b"x")
        assert request.transport is not None
        request.transport.abort()
        return response

    server.answer = cut
    with pytest.raises(Unavailable, match="cannot be reached"):
        await source.fetch(None)


async def test_a_server_that_does_not_answer_is_given_up(server: Server, source: HttpSource) -> None:
    async def silent(_: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    server.answer = silent
    quick = HttpSource(source._url, 0.2)
    with pytest.raises(Unavailable, match="cannot be reached"):
        await quick.fetch(None)


async def test_a_server_that_is_not_there_is_unavailable() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await HttpSource(f"http://127.0.0.1:{unused_port()}/a", 1.0).fetch(None)


async def test_a_stranger_of_a_tls_server_is_unavailable(server: Server, source: HttpSource) -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await HttpSource(source._url.replace("http:", "https:"), 1.0).fetch(None)


async def test_a_token_goes_over_tls_with_each_exchange_and_nowhere_else(
    server: Server, source: HttpSource, tmp_path: Path
) -> None:
    authority = Authority(tmp_path)
    words = iter([b"first-token", b"second-token", b"third-token"])

    async def token() -> Secret:
        return Secret(next(words))

    application = web.Application()
    application.router.add_get("/{path:.*}", server.handle)
    secure = TestServer(application, host="127.0.0.1", scheme="https")
    await secure.start_server(ssl=authority.server("127.0.0.1"))
    given_token = HttpSource(f"https://127.0.0.1:{secure.port}/a", 5.0, authority.file, token)
    assert (await given(given_token)).archive == b"one"
    await given(given_token)
    assert [request.headers["Authorization"] for request in server.asked] == [
        "Bearer first-token",
        "Bearer second-token",
    ]
    with pytest.raises(Unavailable, match="cannot be reached"):  # the system's authorities do not know this server
        await HttpSource(f"https://127.0.0.1:{secure.port}/a", 5.0, None, token).fetch(None)
    assert len(server.asked) == 2
    await secure.close()
    plain = HttpSource(source._url, 5.0, None, token)
    assert (await given(plain)).archive == b"one"
    assert "Authorization" not in server.asked[-1].headers


async def test_a_token_that_cannot_be_had_is_said(source: HttpSource) -> None:
    async def none() -> Secret:
        raise Unavailable("credential_unavailable", "The store is sealed.")

    with pytest.raises(Unavailable, match="sealed"):
        await HttpSource("https://127.0.0.1:9/a", 5.0, None, none).fetch(None)


@pytest.mark.parametrize(
    "word", [b"a-token-with-its-line-end\n", "señal-secreta".encode(), b"\xff\xfe-token", b"two words"]
)
async def test_a_token_that_cannot_stand_in_a_header_is_said(word: bytes) -> None:
    async def token() -> Secret:
        return Secret(word)

    with pytest.raises(Unavailable, match="cannot stand in a header") as caught:
        await HttpSource("https://127.0.0.1:9/a", 5.0, None, token).fetch(None)
    assert "token-with" not in caught.value.detail


@pytest.mark.parametrize("etag", ['"caf\u00e9"', '"\udcff"', ""])
async def test_an_etag_that_cannot_be_sent_back_counts_for_nothing(
    server: Server, source: HttpSource, etag: str
) -> None:
    async def odd(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        head = f"HTTP/1.1 200 OK\r\nETag: {etag}\r\nContent-Length: 3\r\nConnection: close\r\n\r\none"
        request.transport.write(head.encode(errors="surrogateescape"))
        request.transport.close()
        return web.Response()

    server.answer = odd
    first = await given(source)
    assert first.tag.startswith("sha256:")
    assert await source.fetch(first.tag) is None
    assert "If-None-Match" not in server.asked[-1].headers


async def test_a_file_is_given_when_it_changed(tmp_path: Path) -> None:
    path = tmp_path / "bundle.tar.gz"
    source = FileSource(path)
    with pytest.raises(Unavailable, match="cannot be read"):
        await source.fetch(None)
    path.write_bytes(b"one")
    first = await given(source)
    assert (first.archive, await source.fetch(first.tag)) == (b"one", None)
    fresh = tmp_path / "new"
    fresh.write_bytes(b"two")
    fresh.replace(path)
    assert (await given(source, first.tag)).archive == b"two"


async def test_a_file_beyond_the_bound_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_sources, "ARCHIVE_LIMIT", 2)
    (tmp_path / "a").write_bytes(b"one")
    with pytest.raises(Misconfigured, match="larger than"):
        await FileSource(tmp_path / "a").fetch(None)


async def test_a_pipe_is_no_bundle_and_keeps_nobody(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(Misconfigured, match="not a regular file"):
        await asyncio.wait_for(FileSource(tmp_path / "pipe").fetch(None), 5)


def names(archive: bytes) -> set[str]:
    with tarfile.open(fileobj=BytesIO(archive)) as tar:
        return set(tar.getnames())


FILES = {
    ".manifest": manifest(),
    ".signatures.json": "{}",
    "custom.rego": ALLOW,
    "custom_test.rego": "package t\n",
    "grants/data.json": "{}",
    "README.md": "no part of a bundle",
    "sub/.manifest": "only the root's counts",
    ".hidden/custom.rego": ALLOW,
}
WANTED = {".manifest", ".signatures.json", "custom.rego", "custom_test.rego", "grants/data.json"}


async def test_a_folder_is_what_a_bundle_reads_of_it(tmp_path: Path) -> None:
    lay_out(tmp_path, FILES)
    source = FolderSource(tmp_path)
    first = await given(source)
    assert names(first.archive) == WANTED
    assert await source.fetch(first.tag) is None
    (tmp_path / "custom.rego").write_text(ALLOW + "# more\n")
    assert (await given(source, first.tag)).tag != first.tag


async def test_a_mounted_folder_changes_by_its_link(tmp_path: Path) -> None:
    for version in ("one", "two"):
        lay_out(tmp_path / version, {"custom.rego": f"package {version}\n"})
    mount = tmp_path / "mount"
    mount.mkdir()
    (mount / "..data").symlink_to(tmp_path / "one")
    (mount / "custom.rego").symlink_to("..data/custom.rego")
    source = FolderSource(mount)
    first = await given(source)
    assert names(first.archive) == {"custom.rego"}
    (mount / "..new").symlink_to(tmp_path / "two")
    os.replace(mount / "..new", mount / "..data")  # noqa: PTH105  # rename(2) over the link itself
    assert b"package two" in (await given(source, first.tag)).archive


async def test_a_folder_that_is_not_there_or_too_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Unavailable, match="cannot be read"):
        await FolderSource(tmp_path / "gone").fetch(None)
    monkeypatch.setattr(bundle_sources, "TOTAL_BYTES_LIMIT", 10)
    lay_out(tmp_path, {"custom.rego": ALLOW})
    with pytest.raises(Misconfigured, match="larger than"):
        await FolderSource(tmp_path).fetch(None)
