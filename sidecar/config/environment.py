"""Flags and environment variables over the file: flags > ``SIDECAR_*`` > YAML > default.

``SIDECAR_<SECTION>_<FIELD>`` sets a plain field of a section that is not a map (``SIDECAR_DOORS_ACCESS``,
``SIDECAR_EVIDENCE_DIRECTORY``), ``SIDECAR_TENANT`` the tenant. With ``_FILE`` after it, the variable names a file
that holds the value. A flag names the field by its path: ``doors.access``. A variable of that shape that means
nothing is an error, because a setting that silently does not apply is worse than none.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from sidecar.config.document import JsonPath, scalar
from sidecar.config.faults import Faults, nearest, show

PREFIX: Final = "SIDECAR_"
OTHERS: Final = frozenset({"SIDECAR_CONFIG", "SIDECAR_REQUIRE_FIXTURES"})  # not fields of the file
_NEARLY: Final = 0.85  # so alike that it was meant to be the other name
_OPTIONAL: Final = "optional"
_PLAIN: Final = frozenset({"string", "integer", "number", "boolean", _OPTIONAL})
# Kubernetes puts these into every container for a Service that happens to be called sidecar-<section>.
_KUBERNETES: Final = re.compile(r"_(?:SERVICE_HOST|SERVICE_PORT(?:_\w+)?|PORT(?:_\d+_(?:TCP|UDP|SCTP)(?:_\w+)?)?)")
_KUBERNETES_PORT: Final = re.compile(r"(?:tcp|udp|sctp)://.*")


def fields(schema: Mapping[str, Any]) -> dict[JsonPath, str]:
    """The fields that can be set from outside the file, each with its JSON type; ``optional`` is a string or null."""
    definitions = schema["$defs"]
    found: dict[JsonPath, str] = {}
    for name, rule in definitions["Config"]["properties"].items():
        if (kind := _kind(rule)) in _PLAIN:
            found[(name,)] = kind
        elif "$ref" in rule:
            inner = definitions[rule["$ref"].rpartition("/")[2]]["properties"]
            found |= {(name, key): kind for key, field in inner.items() if (kind := _kind(field)) in _PLAIN}
    return found


def _kind(rule: Mapping[str, Any]) -> str:
    if [one.get("type") for one in rule.get("anyOf", ())] == ["string", "null"]:
        return _OPTIONAL
    return str(rule.get("type"))


def overlay(
    document: Any,
    schema: Mapping[str, Any],
    environ: Mapping[str, str],
    overrides: Mapping[str, str],
    read: Callable[[str], str],
    faults: Faults,
) -> Any:
    """``document`` with variables and then flags put over it; what cannot be applied becomes an error in ``faults``.

    ``read`` gives the text of the file that a ``_FILE`` variable names; it raises ``OSError`` or ``ValueError``.
    """
    known = fields(schema)
    texts: dict[JsonPath, str] = {}
    for path, (text, origin) in _variables(known, environ, read, faults).items():
        texts[path], faults.origins[path] = text, origin
    by_name = {".".join(map(str, path)): path for path in known}
    for name, text in overrides.items():
        if name in by_name:
            texts[by_name[name]], faults.origins[by_name[name]] = text, f"flag {name}"
        else:
            faults.outside("unknown_flag", f"flag {show((name,))}", f"no such field{nearest(name, by_name)}")
    return _put(document, texts, known) if isinstance(document, dict) else document


def _variables(
    known: Mapping[JsonPath, str], environ: Mapping[str, str], read: Callable[[str], str], faults: Faults
) -> dict[JsonPath, tuple[str, str]]:
    names = {PREFIX + "_".join(map(str, path)).upper(): path for path in known}
    found: dict[JsonPath, tuple[str, str]] = {}
    for variable in sorted(name for name in environ if name.startswith(PREFIX)):
        path, is_file = names.get(variable), False
        if path is None and variable.endswith("_FILE"):
            path, is_file = names.get(variable.removesuffix("_FILE")), True
        if path is None:
            if _misspelt(variable, environ[variable], known, names):
                message = f"no field has this variable{nearest(variable, names)}"
                faults.outside("unknown_variable", f"environment {variable}", message)
        elif path in found:
            faults.outside("conflict", f"environment {variable}", f"{found[path][1]} sets the same field")
        else:
            text = _from_file(variable, environ[variable], read, faults) if is_file else environ[variable]
            if text is not None:
                found[path] = (text, f"environment {variable}")
    return found


def _from_file(variable: str, name: str, read: Callable[[str], str], faults: Faults) -> str | None:
    try:
        return read(name).rstrip("\r\n")
    except (OSError, ValueError):
        faults.outside("unreadable_file", f"environment {variable}", "the file it names cannot be read as text")
        return None


def _misspelt(variable: str, value: str, known: Mapping[JsonPath, str], names: Mapping[str, JsonPath]) -> bool:
    if variable in OTHERS:
        return False
    for section in {str(path[0]).upper() for path in known if len(path) > 1}:
        rest = variable.removeprefix(PREFIX + section)
        if rest != variable and rest.startswith("_"):
            return not _from_kubernetes(rest, value)
    return not _from_kubernetes(variable.removeprefix(PREFIX.rstrip("_")), value) and bool(
        difflib.get_close_matches(variable, names, n=1, cutoff=_NEARLY)
    )


def _from_kubernetes(rest: str, value: str) -> bool:
    return _KUBERNETES.fullmatch(rest) is not None and (
        rest != "_PORT" or _KUBERNETES_PORT.fullmatch(value) is not None
    )


def _put(document: dict[str, Any], texts: Mapping[JsonPath, str], known: Mapping[JsonPath, str]) -> dict[str, Any]:
    result = dict(document)
    for path, text in texts.items():
        if known[path] == _OPTIONAL:
            value = None if text == "null" else text
        else:
            value = text if known[path] == "string" else _value(text)
        if len(path) == 1:
            result[str(path[0])] = value
            continue
        section, field = str(path[0]), str(path[1])
        inner = result.get(section, {})
        if isinstance(inner, dict):
            result[section] = inner | {field: value}
    return result


def _value(text: str) -> Any:
    try:
        return scalar(text)
    except ValueError:
        return text  # the schema says what it must be
