"""References to secrets, read strictly: one way to write each, and nothing that could be the secret itself.

    encrypted://<id>            a credential of the sealed store: lower-case letters, digits, ``.``, ``_``, ``-``
    vault://<path>#<field>      a field of a secret in a vault: segments of letters, digits, ``.``, ``_``, ``-``
    vault://<path>@3#<field>    the same in version 3
    aws://<name>#<field>        a member of a secret in AWS Secrets Manager; without #<field> its whole text
    aws://<name>@<stage>        the same in a stage, such as AWSPREVIOUS, or by the id of a version
    env://<NAME>                an environment variable (IEEE Std 1003.1 section 8.1), for development only

There is no percent-encoding, query, user, port, empty or dotted segment, upper-case scheme or white space, so that
two readers can never take one reference for two places. A text that is refused is never repeated: a raw secret is
often what was written where its reference belongs (INV-5).
"""

from __future__ import annotations

import re
from typing import Final

from sidecar.config.shape import SHAPED_LIKE_ONE, looks_secret
from sidecar.errors import Misconfigured
from sidecar.model.credential import Reference

LONGEST: Final = 512  # characters

_IDENTIFIER: Final = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,62}[a-z0-9])?")
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}")
_SEGMENT: Final = re.compile(r"[A-Za-z0-9_.-]{1,128}")
_NUMBER: Final = re.compile(r"[1-9][0-9]{0,8}")
_VERSION_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_STAGE: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")
_SCHEMES: Final = ("vault", "aws", "encrypted", "env")


def parse(text: str) -> Reference:
    """The reference a configuration names. Raises ``Misconfigured``, which says what is wrong and not with what."""
    return _parsed(text, whole=False)


def parse_stored(text: str) -> Reference:
    """What an administrator names: as ``parse``; ``vault://<path>`` without its field is the secret as a whole."""
    return _parsed(text, whole=True)


def is_path(text: str) -> bool:
    """Whether a reference could name this path of a remote store."""
    return all(_SEGMENT.fullmatch(segment) and segment not in (".", "..") for segment in text.split("/"))


def _parsed(text: str, *, whole: bool) -> Reference:
    if not isinstance(text, str):
        raise Misconfigured("a credential's reference is text, such as encrypted://github")
    scheme, separator, rest = text.partition("://")
    if not separator or scheme not in _SCHEMES:
        raise Misconfigured(_not_a_reference(scheme if separator else ""))
    if len(text) > LONGEST:
        raise Misconfigured(f"a reference has at most {LONGEST} characters")
    place, mark, field = rest.partition("#")
    locator, at, version = place.partition("@")
    if scheme in ("vault", "aws"):
        _check_path(scheme, locator)
        if mark or not whole:
            _check_field(scheme, mark, field)
        _check_version(scheme, at, version)
    elif at:
        raise Misconfigured(f"{scheme}:// takes no @version: it names one value")
    elif mark:
        raise Misconfigured(f"{scheme}:// takes no #field: it names one value")
    elif scheme == "encrypted":
        check_identifier(locator)
    elif not _VARIABLE.fullmatch(locator):
        raise Misconfigured("env:// is followed by the name of an environment variable: letters, digits and _")
    named = () if _VERSION_ID.fullmatch(version) else (version,)
    if any(map(looks_secret, (*locator.split("/"), field, *named))):
        raise Misconfigured(SHAPED_LIKE_ONE)
    return Reference(scheme, locator, field or None, version or None)


def check_identifier(text: str) -> None:
    """Raises ``Misconfigured`` unless ``text`` can name a credential of the sealed store, and so a file."""
    if not _IDENTIFIER.fullmatch(text):
        raise Misconfigured(
            "a credential's id has 1 to 64 lower-case letters, digits, dots, dashes and underscores, "
            "and a letter or digit at either end"
        )
    if looks_secret(text):
        raise Misconfigured(SHAPED_LIKE_ONE)


def _check_field(scheme: str, mark: str, field: str) -> None:
    if not _SEGMENT.fullmatch(field) and (mark or scheme == "vault"):
        raise Misconfigured(f"{scheme}:// needs one #field at its end: letters, digits, dots, dashes and underscores")


def _check_version(scheme: str, at: str, version: str) -> None:
    if at and scheme == "vault" and not _NUMBER.fullmatch(version):
        raise Misconfigured("the version after @ in vault:// is a number from 1 on")
    if at and not _STAGE.fullmatch(version):
        raise Misconfigured("after @ in aws:// stands a stage, such as AWSPREVIOUS, or the id of a version")


def _check_path(scheme: str, path: str) -> None:
    if not is_path(path):
        raise Misconfigured(
            f"the path of {scheme}:// has segments of letters, digits, dots, dashes and underscores between "
            "single slashes, and none is . or .."
        )


def _not_a_reference(scheme: str) -> str:
    if scheme.lower() in _SCHEMES:
        return f"the scheme of a reference is lower-case: {scheme.lower()}://"
    return (
        "this is not a reference. Raw secrets are not accepted in configuration: store the value with "
        "`sidecar credentials put ID` and write encrypted://ID, or name it as vault://path#field"
    )
