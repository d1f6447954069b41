"""The demo's one request to the agent's door."""

from __future__ import annotations

import asyncio
import json

import pytest

from sidecar.cli.http import Answer, post
from tests.fakes.upstream import recorder, upstream

REFUSED = (
    b"HTTP/1.1 403 Forbidden\r\nContent-Type: application/problem+json\r\n"
    b"Sidecar-Evidence-Id: acme-0/7\r\nContent-Length: 17\r\n\r\n"
    b'{"code":"denied"}'
)


async def test_a_post_is_json_with_the_key() -> None:
    seen: list[bytes] = []
    async with upstream(recorder(seen, REFUSED)) as door:
        answer = await asyncio.to_thread(post, door.port, "/v1/access", "scp_k_1", {"plane_id": "p"})
    assert answer == Answer(403, "acme-0/7", b'{"code":"denied"}')
    assert answer.document() == {"code": "denied"}
    head, _, body = seen[0].partition(b"\r\n\r\n")
    lines = head.decode().lower().split("\r\n")
    assert lines[0] == "post /v1/access http/1.1"
    assert {"authorization: bearer scp_k_1", "content-type: application/json"} <= set(lines)
    assert json.loads(body) == {"plane_id": "p"}


async def test_an_answer_without_evidence_says_so() -> None:
    async with upstream(recorder([])) as door:
        assert await asyncio.to_thread(post, door.port, "/", "k", None) == Answer(200, None, b"ok")


@pytest.mark.parametrize("body", [b"", b"ok", b"[1]", b"{", b"null"])
def test_what_is_no_object_is_an_empty_document(body: bytes) -> None:
    assert Answer(200, None, body).document() == {}
