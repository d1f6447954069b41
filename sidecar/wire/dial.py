"""Opens a connection to a destination whose addresses were checked before. Names are never looked up here.

No environment variable is read (A31): the only way to another address is another ``Target``.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar, cast

from sidecar.errors import UpstreamFailure
from sidecar.wire.tls import explain, verifies

_DEFAULT_PORTS: Final = {"http": 80, "https": 443}

Key = tuple[str, str, int, ssl.SSLContext | None]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes. ``host`` is the canonical name or an IP literal; only ``addresses`` are dialled.

    ``tls`` is a verifying context exactly when ``scheme`` is https. Raises ``ValueError``.
    """

    scheme: str
    host: str
    port: int
    addresses: tuple[str, ...]
    tls: ssl.SSLContext | None
    key: Key = field(init=False, repr=False, compare=False)  # what connections may be shared by
    authority: bytes = field(init=False, repr=False, compare=False)  # the Host field

    def __post_init__(self) -> None:
        if self.scheme not in _DEFAULT_PORTS or (self.scheme == "https") != (self.tls is not None):
            raise ValueError("a target is http without TLS or https with it")
        if self.tls is not None and not verifies(self.tls):
            raise ValueError("a target's TLS context must verify chain and name")
        for address in self.addresses:
            _family(address)
        name = self.host.strip("[]")
        shown = f"[{name}]" if ":" in name else name
        if self.port != _DEFAULT_PORTS[self.scheme]:
            shown = f"{shown}:{self.port}"
        object.__setattr__(self, "key", (self.scheme, name, self.port, self.tls))
        object.__setattr__(self, "authority", shown.encode("ascii"))


class Dialled(Protocol):
    """What a dial makes: an ``asyncio.Protocol`` by its methods."""

    def abort(self) -> None:
        """End the connection, if there is one."""


P = TypeVar("P", bound=Dialled)


async def dial(target: Target, make: Callable[[str], P], until: float) -> P:
    """Try the addresses in order until one connects; each gets an even share of the time left to ``until``.

    ``make`` is given the address. Raises ``UpstreamFailure`` with ``sent`` False. A TLS failure ends the attempt:
    the next address would have to prove the same name.
    """
    loop = asyncio.get_running_loop()
    failure = UpstreamFailure("upstream_unavailable", f"{target.host} has no address that may be dialled", sent=False)
    for position, address in enumerate(target.addresses):
        share = (until - loop.time()) / (len(target.addresses) - position)
        try:
            async with asyncio.timeout(share):
                return await _connect(loop, target, address, make)
        except TimeoutError:
            failure = UpstreamFailure("upstream_timeout", f"{target.host} did not connect in time", sent=False)
        except ssl.SSLError as error:
            raise UpstreamFailure("upstream_unavailable", explain(error, target.key[1]), sent=False) from None
        except ConnectionRefusedError:
            failure = UpstreamFailure("upstream_unavailable", f"{target.host} refused the connection", sent=False)
        except OSError:
            failure = UpstreamFailure("upstream_unavailable", f"{target.host} could not be reached", sent=False)
    raise failure


async def _connect(loop: asyncio.AbstractEventLoop, target: Target, address: str, make: Callable[[str], P]) -> P:
    protocol = make(address)
    sock = socket.socket(_family(address), socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        await loop.sock_connect(sock, (address, target.port))
        if target.tls is None:
            await loop.create_connection(lambda: cast("asyncio.Protocol", protocol), sock=sock)
        else:
            await loop.create_connection(
                lambda: cast("asyncio.Protocol", protocol),
                sock=sock,
                ssl=target.tls,
                server_hostname=target.key[1],
                ssl_handshake_timeout=3600,  # the share of the connect timeout is shorter
                ssl_shutdown_timeout=1,
            )
    except BaseException:
        protocol.abort()
        sock.close()
        raise
    return protocol


def _family(address: str) -> socket.AddressFamily:
    """The family of an IP literal. Raises ``ValueError`` for anything that would have to be looked up."""
    for family in (socket.AF_INET, socket.AF_INET6):
        with suppress(OSError):
            socket.inet_pton(family, address)
            return family
    raise ValueError("only IP addresses are dialled")
