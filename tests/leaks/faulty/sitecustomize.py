"""Python loads this by its name at its start: the sidecar then logs everything, and fails on secrets.

While a file called ``fault`` lies in its folder, functions that are given a canary raise an error whose text quotes
it, as a careless library's would.
"""

from __future__ import annotations

import base64
import logging
import urllib.parse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import orjson

MARKS = ("c4n4ry", "PRIVATE KEY")


def faulty(original: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any, **named: Any) -> Any:
        if Path("fault").exists():
            shown = repr((arguments, named))
            if any(mark in shown for mark in MARKS):
                raise RuntimeError(f"failed on {shown}")
        return original(*arguments, **named)

    return call


def loud(original: Callable[..., None]) -> Callable[..., None]:
    def configure(**named: Any) -> None:
        original(**(named | {"level": logging.DEBUG}))

    return configure


base64.b64encode = faulty(base64.b64encode)
urllib.parse.quote = faulty(urllib.parse.quote)
msgspec.convert = faulty(msgspec.convert)
setattr(orjson, "loads", faulty(orjson.loads))  # noqa: B010  # not among what its stubs let be set
setattr(orjson, "dumps", faulty(orjson.dumps))  # noqa: B010  # not among what its stubs let be set
logging.basicConfig = loud(logging.basicConfig)
