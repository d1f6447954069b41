"""Where the configuration binds credentials."""

from __future__ import annotations

from sidecar.model.credential import About, Reference
from sidecar.operations.tenant.bindings import Bindings, place_in, place_of
from tests.fakes.desk import HOUSE, Desk
from tests.fakes.parts import changed

AT = ("encrypted", "crm")


def bindings(desk: Desk) -> Bindings:
    return Bindings(desk.registered, lambda: desk.held, desk.stage.clock.now)


def test_a_place_is_what_shares_a_version() -> None:
    for text in ("vault://kv/crm", "vault://kv/crm#token", "vault://kv/crm@3#token", "vault://kv/crm@3"):
        assert place_in(text) == ("vault", "kv/crm") == place_of(Reference("vault", "kv/crm", "token", "3"))


def test_each_name_of_a_place_is_shown() -> None:
    section = HOUSE["credentials"]["crm"]
    house = changed("credentials.again", section | {"connectors": ["open"]}, HOUSE)
    found = bindings(Desk(house)).named()[AT]
    assert [(bound.id, bound.connectors, bound.oauth) for bound in found] == [
        ("crm", ("crm",), False),
        ("again", ("open",), False),
    ]


async def test_a_reload_is_seen() -> None:
    desk = Desk()
    known = bindings(desk)
    assert known.used_by(AT) == ("crm",)
    desk.config = Desk(changed("connectors.crm.auth", None, HOUSE)).config
    desk.registered.combined = await desk.serve()
    assert known.used_by(AT) == ()


def test_what_only_the_configuration_knows_has_no_version() -> None:
    view = bindings(Desk()).unread(Reference(*AT), "missing")
    assert (view.state, view.version, view.changeable, view.used_by) == ("missing", None, False, ("crm",))


def test_an_end_that_has_passed_shows() -> None:
    desk = Desk()
    about = About(reference=Reference(*AT), kind="API_KEY", version="1", expires=desk.stage.clock.now())
    assert bindings(desk).view(about).expired


def test_versions_that_calls_hold_are_shown_by_place() -> None:
    desk = Desk()
    desk.held = [
        {"place": "vault://kv/crm@3", "version": "3", "seconds": 1.0},
        {"place": "vault://kv/crm", "version": "4", "seconds": 2.0},
    ]
    about = About(reference=Reference("vault", "kv/crm", "token"), kind=None, version="4")
    assert [kept.version for kept in bindings(desk).view(about).held] == ["3", "4"]
