"""Rows of the registry as somebody edited them, or as a later version writes them: what is served goes on, and every
list of the administrators is answered.
"""

from __future__ import annotations

from typing import Any, Final

from hypothesis import given
from hypothesis import strategies as st

from sidecar.model.registry import Row
from tests.fakes.desk import SECTION, Desk

_WORDS: Final = st.sampled_from(
    [
        "bob",
        "alice",
        "crm",
        "wiki",
        "get",
        "http",
        "operator",
        "ready",
        "active",
        "disconnected",
        "later",
        "",
        "a:b",
        "A\n",
    ]
)
_JSON: Final = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | _WORDS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(_WORDS, inner, max_size=3),
    max_leaves=8,
)
_MEMBERS: Final = (
    *("kind", "base_url", "operations", "connector", "type", "source", "actions", "owner", "roles", "labels", "keys"),
    *("auth", "rate", "tenant", "capabilities", "draft"),
)
_SECTIONS: Final = st.dictionaries(st.sampled_from(_MEMBERS), _JSON, max_size=5) | st.builds(
    lambda more: SECTION | more, st.dictionaries(st.sampled_from(_MEMBERS), _JSON, max_size=2)
)
_DOCUMENTS: Final = st.one_of(
    st.fixed_dictionaries({"section": _SECTIONS}, optional={"status": _WORDS | _JSON}),
    st.fixed_dictionaries({"principal": _WORDS, "role": _WORDS}),
    st.fixed_dictionaries(
        {"principal": _WORDS, "sha256": st.just("0" * 64), "expires": st.none() | st.integers(0, 1 << 60)}
    ),
    st.dictionaries(_WORDS, _JSON, max_size=3),
)
_KINDS: Final = st.sampled_from(
    ["connector", "source", "plane", "principal", "role", "key", "switch", "activation", "later"]
)


@given(st.dictionaries(st.tuples(_KINDS, _WORDS.filter(bool)), _DOCUMENTS, min_size=1, max_size=6))
async def test_no_row_ends_what_is_served_or_hides_another(rows: dict[tuple[str, str], dict[str, Any]]) -> None:
    desk = Desk()
    for sequence, ((kind, id), document) in enumerate(rows.items(), 1):
        desk.store.rows[kind, id] = Row(
            tenant="acme", kind=kind, id=id, version=1, sequence=sequence, document=document, by="psql", at=1
        )
    await desk.administration.follow()
    await desk.registered.refresh()
    verbs = desk.verbs
    for listed in (
        *(verbs.connectors.listed, verbs.sources.listed, verbs.planes.listed, verbs.principals.listed),
        *(verbs.principals.roles, verbs.keys.listed, verbs.switches.listed),
    ):
        listed()
    assert (await desk.stage.handle("alice")).problem is None
    await verbs.connectors.save(
        "late", SECTION | {"base_url": "https://late.example"}, draft=False, version=None, by="ada"
    )
    assert "late" in desk.stage.parts.catalogue.connectors
