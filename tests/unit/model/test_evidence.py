"""Leaves are deterministic JSON in the order of the class."""

from __future__ import annotations

import msgspec

from sidecar.model.evidence import INTENT, LEAF_VERSION, CredentialUse, Leaf, Receipt


def _leaf(**more: object) -> Leaf:
    fields = {"v": LEAF_VERSION, "kind": INTENT, "origin": "o", "index": 7, "call_id": "c", "time": 1, "tenant": "t"}
    return msgspec.convert(fields | more, Leaf)


def test_a_leaf_is_written_in_field_order_without_what_is_absent() -> None:
    assert msgspec.json.encode(_leaf(tenant="acme", surface="access")) == (
        b'{"v":1,"kind":"intent","origin":"o","index":7,"call_id":"c","time":1,"tenant":"acme","surface":"access"}'
    )


def test_a_leaf_reads_back_as_it_was() -> None:
    leaf = _leaf(credential={"ref": "encrypted://crm", "version": "2"}, decision=False, reasons=[{"code": "denied"}])
    assert leaf.credential == CredentialUse("encrypted://crm", "2")
    assert msgspec.json.decode(msgspec.json.encode(leaf), type=Leaf) == leaf


def test_a_denial_is_told_apart_from_no_decision() -> None:
    assert b'"decision":false' in msgspec.json.encode(_leaf(decision=False))
    assert b"decision" not in msgspec.json.encode(_leaf())


def test_a_receipt_is_quoted_as_origin_and_index() -> None:
    assert Receipt("sidecar-1", 42).id == "sidecar-1/42"
