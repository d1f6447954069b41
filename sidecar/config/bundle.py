"""What ``policy.bundle`` must keep: one source, reached safely, and files that are there."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address
from pathlib import Path
from typing import Final

from sidecar.config.authority import base_url
from sidecar.config.document import JsonPath
from sidecar.config.faults import Faults
from sidecar.config.policy_sections import BundleSection, PolicySection
from sidecar.config.policy_source import check_token
from sidecar.config.sections import Config

_AT: Final[JsonPath] = ("policy", "bundle")
_SOURCES: Final = ("file", "directory", "url")
_FOLDER: Final = PolicySection().directory


def check_bundle(config: Config, faults: Faults) -> None:
    """Add an error for everything that does not fit together, a warning for what is probably not meant."""
    policy, bundle = config.policy, config.policy.bundle
    if bundle is None:
        return
    named = [name for name in _SOURCES if getattr(bundle, name) is not None]
    if len(named) != 1:
        faults.error("one_source", _AT, f"a bundle has exactly one source: {', '.join(_SOURCES)}", key=True)
    if policy.directory != _FOLDER:
        faults.error("one_source", ("policy", "directory"), "policy.bundle is there as well; one of them decides")
    if policy.server is not None:
        message = "policy.server is there as well: an OPA server fetches its own bundles"
        faults.error("one_source", _AT, message, key=True)
    if bundle.url is not None:
        _url(bundle.url, faults)
    for name in ("ca_file", "token"):
        if getattr(bundle, name) is not None and not (bundle.url or "").startswith("https:"):
            faults.error("wrong_key", (*_AT, name), "this is for a url over https", key=True)
    if bundle.token is not None:
        check_token(bundle.token, (*_AT, "token"), config, faults)
    if bundle.scope and not bundle.keys:
        faults.error("wrong_key", (*_AT, "scope"), "a scope is part of a signature: it needs keys", key=True)
    if not bundle.keys:
        message = "without keys anybody who can write to the source decides what is allowed, and what is old"
        faults.warn("unsigned", _AT, message, key=True)


def bundle_files(bundle: BundleSection, directory: Path, faults: Faults) -> Iterator[Path]:
    """The files whose change needs a reload; an error for each that is missing. The bundle itself may come later."""
    named: list[tuple[JsonPath, str]] = [(("keys", name, "file"), key.file) for name, key in bundle.keys.items()]
    named += [((name,), text) for name in ("ca_file", "canaries") if (text := getattr(bundle, name)) is not None]
    for path, text in named:
        yield directory / text
        if not (directory / text).is_file():
            faults.error("no_file", (*_AT, *path), "there is no such file")


def _url(text: str, faults: Faults) -> None:
    path: JsonPath = (*_AT, "url")
    try:
        parsed = base_url(text.partition("?")[0])
    except ValueError as error:
        faults.error("wrong_value", path, str(error))
        return
    if parsed.scheme != "https" and not _is_loopback(parsed.host):
        faults.error(
            "plain_http", path, "policy travels over https, except from a loopback address such as 127.0.0.1"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
