"""A house whose upstream speaks TLS and wants a credential; and every form in which a secret could show."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, quote_plus

from tests.e2e.house import House

HOST = "api.upstream.internal"
SECRET = "s3cr/et+va=lue&7f2d40c19be85a36"  # with what an encoding would change
STORE = "credentials"


def secure(house: House, port: int, ca_file: Path) -> None:
    """Rewrite the configuration: ``up`` is ``https://HOST:port``, and takes a sealed bearer token."""
    up = house.config["connectors"]["up"]
    up |= {
        "base_url": f"https://{HOST}:{port}",
        "ca_file": str(ca_file),
        "auth": {"style": "bearer", "credential": "token"},
    }
    house.config["destinations"]["up"] |= {"name": HOST, "addresses": ["127.0.0.1"]}
    house.config["credentials"] = {
        "token": {"reference": "encrypted://token", "hosts": [f"{HOST}:{port}"], "connectors": ["up"]}
    }
    house.write_config()
    for command, value in ((["new-key"], ""), (["put", "token"], SECRET)):
        done = house.sidecar("credentials", *command, given=value)
        assert done.returncode == 0, done.stderr


def forms(secret: str) -> Iterator[bytes]:
    """The secret as it is, percent-encoded, and in base64 at each of its three alignments."""
    yield from {secret.encode(), quote(secret, safe="").encode(), quote_plus(secret).encode()}
    for shift in range(3):
        encoded = base64.b64encode(b"\0" * shift + secret.encode())
        inner = encoded[(shift * 8 + 5) // 6 : -4]  # only what is of the secret alone
        yield inner
        yield inner.replace(b"+", b"-").replace(b"/", b"_")


def found(secret: str, where: dict[str, bytes]) -> list[str]:
    """The names of what holds the secret in any form."""
    needles = tuple(forms(secret))
    return [name for name, data in where.items() if any(needle in data for needle in needles)]


def everything_written(folder: Path) -> dict[str, bytes]:
    """Every file below ``folder`` but the sealed store's, where a secret lives by design, encrypted."""
    files = (path for path in folder.rglob("*") if path.is_file() and STORE not in path.relative_to(folder).parts)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
