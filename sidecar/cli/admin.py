"""Talks to a running sidecar over its admin socket."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from sidecar.config.load import read
from sidecar.errors import Misconfigured, Reason, SidecarError, Unavailable

_TIMEOUT_SECONDS = 60.0
_DONE = (200, 201)


class Answered(NamedTuple):
    """What the door answered: the status, what it says about evidence, the document or text, and its version."""

    status: int
    evidence_id: str | None
    content: Any
    etag: str | None = None


def socket_of(config: str) -> Path:
    """The admin socket that a configuration names."""
    loaded = read(Path(config), os.environ, {})
    return loaded.resolve(loaded.config.doors.admin_socket)


def ask(
    socket: Path, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> Answered:
    """One request. Raises ``Unavailable`` where nobody listens or answers, ``Misconfigured`` where we may not ask."""
    return asyncio.run(_ask(socket, method, path, body, headers or {}))


def document(
    socket: Path, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None
) -> Any:
    """The document of a route that must succeed. Raises ``SidecarError`` with the door's own reason."""
    answered = ask(socket, method, path, body, headers)
    if answered.status not in _DONE:
        raise _refusal(answered)
    return answered.content


def _refusal(answered: Answered) -> SidecarError:
    content = answered.content if isinstance(answered.content, dict) else {}
    reasons = [Reason(reason["code"], reason["message"]) for reason in content.get("reasons", ())]
    return SidecarError(content.get("code", "internal_error"), content.get("detail", "The sidecar refused."), reasons)


async def _ask(socket: Path, method: str, path: str, body: object, headers: Mapping[str, str]) -> Answered:
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_SECONDS)
    connector = aiohttp.UnixConnector(str(socket))
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.request(method, f"http://admin{path}", json=body, headers=headers) as response,
        ):
            is_json = response.content_type.endswith("json")
            content = await response.json(content_type=None) if is_json else await response.text()
            evidence_id, etag = response.headers.get("Sidecar-Evidence-Id"), response.headers.get("ETag")
            return Answered(response.status, evidence_id, content, etag)
    except aiohttp.ClientConnectorError as error:
        if isinstance(error.os_error, PermissionError):
            raise Misconfigured(f"{socket} may be opened by the user who runs the sidecar only.") from None
        raise Unavailable(
            "internal_error", f"No sidecar listens on {socket}. Start one with `sidecar run`."
        ) from None
    except (aiohttp.ClientError, TimeoutError):
        raise Unavailable("internal_error", f"The sidecar on {socket} did not answer. Its log says why.") from None
