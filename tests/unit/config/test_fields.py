"""What fields are made of: every section is strict, every text and number bounded."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

import sidecar.config.sections  # noqa: F401  # defines the sections that are looked at
from sidecar.config.fields import Bytes, HostPort, Name, Port, ReferenceText, Seconds, Section, Sha256, about


def every(kind: type[Section]) -> Iterator[type[Section]]:
    for section in kind.__subclasses__():
        yield section
        yield from every(section)


def test_inv_8_every_section_is_frozen_and_strict() -> None:
    names = set()
    for kind in every(Section):
        config = kind.__struct_config__
        assert config.frozen and config.forbid_unknown_fields, kind.__name__
        names.add(kind.__name__)
    assert {"Config", "PolicySection", "BundleSection", "OperationSection"} <= names


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        (Name, "a-1.b_c", "A"),
        (Name, "a" * 64, "a" * 65),
        (Name, "a", "-a"),
        (Seconds, 3600, 0),
        (Seconds, 0.001, 3600.1),
        (Bytes, 1, 0),
        (Port, 65535, 65536),
        (HostPort, "a.example:443", "https://a.example:443"),
        (HostPort, "127.0.0.1:1", "user@127.0.0.1:1"),
        (Sha256, "0" * 64, "0" * 63),
        (ReferenceText, "vault://secret/crm#token", "vault://secret/crm"),
        (ReferenceText, "encrypted://crm", "encrypted://../crm"),
        (ReferenceText, "aws://crm@AWSCURRENT#key", "aws://"),
        (ReferenceText, "env://TOKEN", "s3cr3t-value"),
    ],
)
def test_bounds_are_met_and_not_passed(field: Any, good: object, bad: object) -> None:
    assert msgspec.convert(good, field) == good
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(bad, field)


def test_what_a_field_is_about_reaches_its_schema() -> None:
    assert about("how long").description == "how long"
