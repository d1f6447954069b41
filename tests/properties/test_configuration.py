"""Whatever is written into a configuration file: it loads or is explained, and two readers of it agree."""

from __future__ import annotations

import contextlib
import tempfile
from pathlib import Path
from typing import Any

import msgspec
import orjson
from hypothesis import given
from hypothesis import strategies as st

from sidecar.config.authority import base_url, host
from sidecar.config.document import DocumentError, parse
from sidecar.config.faults import Faults
from sidecar.config.load import examine
from sidecar.config.operations import check_operation
from sidecar.config.sections import OperationSection
from sidecar.model.hosts import canonical_host, parse_base_url
from sidecar.rules.templates import compile_template, render
from tests.unit.config.builders import GOOD, changed

CANARY = "c4n4ry"
SECRET = "ghp" + "_" + CANARY * 6

_TEXT = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufeff\u2028\u2029\x85"), max_size=20
)
_SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | _TEXT
)
_DOCUMENTS = st.recursive(
    _SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXT, inner, max_size=4), max_leaves=20
)


def _paths(value: Any, path: str = "") -> list[str]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path] * bool(path) + [found for key, item in items for found in _paths(item, f"{path}.{key}".lstrip("."))]


@given(_DOCUMENTS)
def test_every_json_document_reads_as_itself(value: Any) -> None:
    """YAML 1.2 section 1.3: every JSON file is a YAML file."""
    assert parse(orjson.dumps(value)).value == value


@given(st.binary(max_size=200) | st.text(alphabet="-:[]{}&*!|>'\"#%@`,? \n\tab1~<=", max_size=80).map(str.encode))
def test_any_bytes_are_a_document_or_explained(data: bytes) -> None:
    with contextlib.suppress(DocumentError):
        orjson.dumps(parse(data).value)


@given(st.sampled_from(_paths(GOOD)), _DOCUMENTS)
def test_any_value_anywhere_is_loaded_or_explained(path: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sidecar.yaml"
        file.write_bytes(orjson.dumps(changed(path, value)))
        found = examine(file, {}, {})
    assert (found.loaded is None) == bool(found.errors)
    assert all(fault.line is not None for fault in found.errors)


@given(
    st.sampled_from(_paths(GOOD)), st.sampled_from([SECRET, {SECRET: 1}, {"a": [SECRET]}, {SECRET: {SECRET: SECRET}}])
)
def test_inv_5_no_error_repeats_a_raw_key(path: str, value: Any) -> None:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sidecar.yaml"
        file.write_bytes(orjson.dumps(changed(path, value)))
        found = examine(
            file, {"SIDECAR_TENANT": SECRET, "SIDECAR_LIMITS_IN_FLIGHT": SECRET}, {"doors.access": SECRET}
        )
    assert found.errors
    assert CANARY not in repr(found)


_HOSTS = (
    st.from_regex(r"[a-zA-Z0-9._\-]{1,12}(\.[a-z0-9-]{1,6}){0,2}", fullmatch=True)
    | st.ip_addresses().map(str)
    | st.ip_addresses(v=6).map(lambda address: f"[{address.compressed}]")
    | st.sampled_from(
        ["xn--bcher-kva.example", "xn--a", "①.example", "0x7f.1", "127.1", "0", "[::ffff:1.2.3.4]", "a:b"]
    )
    | _TEXT
)


@given(_HOSTS)
def test_inv_2_a_host_that_a_file_may_name_is_its_own_canonical_form(text: str) -> None:
    with contextlib.suppress(ValueError):
        mine = host(text)
        assert canonical_host(text) == mine


@given(
    _HOSTS,
    st.sampled_from(["", ":443", ":8080", ":0", ":"]),
    st.sampled_from(["", "/", "/v1", "/v1/", "//", "/a/../b", "/%41"]),
)
def test_inv_2_a_base_url_that_a_file_may_name_is_read_alike_by_the_rules(name: str, port: str, path: str) -> None:
    text = f"https://{name}{port}{path}"
    with contextlib.suppress(ValueError):
        mine = base_url(text)
        assert tuple(parse_base_url(text)) == tuple(mine)


@given(st.text(alphabet="/.{}a%2eF;?\\_- ", max_size=20).map(lambda text: f"/{text}"))
def test_inv_2_a_path_that_a_file_may_name_renders_to_itself(path: str) -> None:
    try:
        operation = msgspec.convert({"method": "GET", "path": path, "parameters": {}}, OperationSection)
    except msgspec.ValidationError:
        return
    faults = Faults("f")
    check_operation(operation, None, (), faults)
    if not faults.errors:
        rendered = render(compile_template("GET", "", path, {}, {}, None), {})
        assert rendered.path == path
        assert ".." not in path.split("/")
