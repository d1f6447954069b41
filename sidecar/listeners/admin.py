"""The administrators' door: aiohttp on a Unix socket that only its owner may open (0600).

Who can open the socket is its guard: the file's mode is checked by the kernel at connect. What fails is answered with
the same problem document as on the agent's door.
"""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from sidecar.errors import Misconfigured, Refused, SidecarError
from sidecar.listeners.access import reply
from sidecar.listeners.routes import LOCAL_ADMIN, Route, Routes
from sidecar.model.call import Problem
from sidecar.operations.tenant.connectors import Connectors
from sidecar.pipeline.refusal import TYPE_PREFIX, problem
from sidecar.rules.documents import parse_json

_BODY_BYTES = 1 << 20
Handler = Callable[[web.Request, dict[str, str]], Awaitable[web.Response]]


class AdminDoor:
    """``status`` gives what ``sidecar status`` shows; ``reload`` reads the configuration again, or raises."""

    def __init__(
        self,
        connectors: Connectors,
        status: Callable[[], dict[str, Any]],
        reload: Callable[[], Awaitable[dict[str, Any]]],
    ) -> None:
        self._connectors = connectors
        self._status = status
        self._reload = reload
        self._runner: web.AppRunner | None = None
        self._routes: Routes[Handler] = Routes(
            [
                Route("GET", "/v1/status", LOCAL_ADMIN, self._show_status),
                Route("POST", "/v1/reload", LOCAL_ADMIN, self._do_reload),
                Route("GET", "/v1/connectors", LOCAL_ADMIN, self._list),
                Route("GET", "/v1/connectors/{connector}", LOCAL_ADMIN, self._show),
                Route("POST", "/v1/connectors/{connector}/operations/{operation}/test", LOCAL_ADMIN, self._test),
            ]
        )

    async def start(self, socket: Path) -> None:
        """Listen on ``socket``, replacing a stale one."""
        application = web.Application(client_max_size=_BODY_BYTES)
        application.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(application, access_log=None)
        await self._runner.setup()
        _clear(socket)
        before = os.umask(0o177)  # the socket must never exist with a wider mode, not for a moment
        try:
            await web.UnixSite(self._runner, str(socket)).start()
        except OSError as error:
            raise Misconfigured(f"the admin socket {socket} cannot be opened: {error.strerror}") from None
        finally:
            os.umask(before)

    async def close(self) -> None:
        """Stop listening."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.Response:
        try:
            found = self._routes.find(request.method, request.path)
            return await found.handler(request, found.values)
        except Misconfigured as error:
            return _misconfigured(error)
        except SidecarError as error:
            return _problem(error)
        except web.HTTPRequestEntityTooLarge:
            return _problem(Refused("body_too_large", f"The body may have at most {_BODY_BYTES} bytes."))

    async def _show_status(self, _: web.Request, __: dict[str, str]) -> web.Response:
        return _json(self._status())

    async def _do_reload(self, _: web.Request, __: dict[str, str]) -> web.Response:
        return _json(await self._reload())

    async def _list(self, _: web.Request, __: dict[str, str]) -> web.Response:
        return _json({"connectors": self._connectors.listed()})

    async def _show(self, _: web.Request, at: dict[str, str]) -> web.Response:
        return _json(self._connectors.shown(at["connector"]))

    async def _test(self, request: web.Request, at: dict[str, str]) -> web.Response:
        body = parse_json(await request.read() or b"{}")
        if not isinstance(body, dict) or not {"parameters"}.issuperset(body):
            raise Refused("invalid_payload", 'Send {"parameters": {...}} or nothing.')
        outcome = await self._connectors.test(at["connector"], at["operation"], body.get("parameters"))
        answer = reply(outcome)
        content = answer.body if isinstance(answer.body, bytes) else b"".join([piece async for piece in answer.body])
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in answer.headers]
        return web.Response(status=answer.status, headers=headers, body=content)


def _problem(error: SidecarError) -> web.Response:
    shown = problem(error, None, None)
    return _json(shown, shown.status, "application/problem+json")


def _misconfigured(error: Misconfigured) -> web.Response:
    """What is wrong with the files, in full: who may ask here wrote them. No agent's door shows this code."""
    shown = Problem(
        type=TYPE_PREFIX + error.code,
        title="The configuration cannot be served",
        status=422,
        detail=error.detail,
        code=error.code,
        evidence_id=None,
        policy_revision=None,
        reasons=tuple({"code": reason.code, "message": reason.message} for reason in error.reasons),
    )
    return _json(shown, shown.status, "application/problem+json")


def _json(value: object, status: int = 200, kind: str = "application/json") -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(value), content_type=kind)


def _clear(socket: Path) -> None:
    """Remove what an earlier process left; never a file that somebody named by mistake."""
    if socket.exists() and not socket.is_socket():
        raise Misconfigured(f"{socket} is not a socket; the admin socket would replace it")
    socket.unlink(missing_ok=True)
