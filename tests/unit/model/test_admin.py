"""What administrators see of the registries."""

from __future__ import annotations

import inspect

import msgspec
from msgspec import Struct

from sidecar.model import admin

VIEWS: list[type[Struct]] = []
for _, kind in inspect.getmembers(admin, inspect.isclass):
    if issubclass(kind, Struct) and kind.__module__ == admin.__name__:
        VIEWS.append(kind)


def test_every_view_is_frozen_and_has_a_schema() -> None:
    assert len(VIEWS) > 8
    for kind in VIEWS:
        assert kind.__struct_config__.frozen, kind
        assert msgspec.json.schema(kind)["$defs"][kind.__name__]["description"]


def test_inv_5_no_view_but_the_one_of_a_new_key_has_a_place_for_a_secret() -> None:
    holders = {
        kind.__name__ for kind in VIEWS if {"key", "secret", "sha256", "password"} & set(kind.__struct_fields__)
    }
    assert holders == {"MadeKey"}
