"""Checks of a credential that is an OAuth client's: its token endpoint, and what it is asked with."""

from __future__ import annotations

import re
from typing import Final

from sidecar.config.authority import base_url
from sidecar.config.document import JsonPath
from sidecar.config.faults import Faults
from sidecar.config.sections import Config
from sidecar.config.shape import SHAPED_LIKE_ONE, looks_secret

_SCOPE: Final = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749 section 3.3
_VISIBLE: Final = re.compile(r"[\x20-\x7e]+")
_TOKENS_GO_INTO: Final = frozenset({"bearer", "header"})


def check_oauth(config: Config, faults: Faults) -> None:
    """Add an error for every grant that could not be asked for."""
    for name, credential in config.credentials.items():
        if credential.oauth is None:
            continue
        path: JsonPath = ("credentials", name, "oauth")
        try:
            base_url(credential.oauth.token_url)  # that it is https is in its schema
        except ValueError as error:
            faults.error("wrong_value", (*path, "token_url"), str(error))
        for at, scope in enumerate(credential.oauth.scopes):
            if not _SCOPE.fullmatch(scope):
                faults.error("wrong_value", (*path, "scopes", at), "a scope is visible ASCII, no spaces, no quotes")
        for field in ("client_id", "audience"):
            text = getattr(credential.oauth, field)
            if text is not None and looks_secret(text) and field == "audience":
                faults.error("raw_secret", (*path, field), SHAPED_LIKE_ONE)
            elif text is not None and not _VISIBLE.fullmatch(text):
                faults.error("wrong_value", (*path, field), "this is visible ASCII (RFC 6749 appendix A)")
        for at, position in enumerate(credential.positions):
            if position not in _TOKENS_GO_INTO:
                message = "an access token enters a request as bearer or in a header"
                faults.error("position_refused", ("credentials", name, "positions", at), message)


def token_endpoints(config: Config) -> set[tuple[str, int]]:
    """Host and port of each token endpoint that can be read."""
    found = set()
    for credential in config.credentials.values():
        if credential.oauth is not None:
            try:
                base = base_url(credential.oauth.token_url)
            except ValueError:
                continue
            found.add((base.host, base.port))
    return found
