"""A plain reverse proxy in aiohttp, on uvloop, without an access log: what a Python team would write first.

Run with the peers' interpreter: ``python aiohttp_proxy.py PORT UPSTREAM_PORT``.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Final

import uvloop
from aiohttp import ClientSession, TCPConnector, web

# RFC 9110 section 7.6.1, and what each side's own framing sets.
_HOP: Final = frozenset(
    {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length"}
)


async def serve(port: int, upstream: int) -> None:
    """Proxy until the process is ended."""
    base = f"http://127.0.0.1:{upstream}"
    async with ClientSession(connector=TCPConnector(limit=0), auto_decompress=False) as session:

        async def forward(request: web.Request) -> web.Response:
            headers = [(name, value) for name, value in request.headers.items() if name.lower() not in _HOP]
            body = await request.read()
            async with session.request(request.method, base + request.path_qs, headers=headers, data=body) as answer:
                passed = [(name, value) for name, value in answer.headers.items() if name.lower() not in _HOP]
                return web.Response(status=answer.status, headers=passed, body=await answer.read())

        application = web.Application()
        application.router.add_route("*", "/{path:.*}", forward)
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
