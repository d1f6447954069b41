from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sidecar.adapters.credentials.remote.store import StoreFailure
from sidecar.adapters.credentials.vault.fixed import DatabaseUser, Kv1Secret, rotation
from sidecar.errors import Refused
from sidecar.model.credential import Reference, Terms
from sidecar.model.secret import Secret


class Session:
    """A ``VaultSession`` that gives one answer to everything."""

    def __init__(self, answer: Any) -> None:
        self.answer = answer
        self.asked = 0

    def run(self, _work: Callable[[Any], Any], **_over: str) -> tuple[Any, None]:
        self.asked += 1
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer, None


def user(path: str, answer: Any) -> tuple[DatabaseUser, Session]:
    session: Any = Session(answer)
    return DatabaseUser(session, "database", path, Reference("vault", f"database/{path}", "password")), session


@pytest.mark.parametrize(("path", "said"), [("creds/acme", "roles/ROLE"), ("static-creds/acme", "rotate-role/ROLE")])
def test_a_database_user_is_changed_by_vault_and_nothing_is_asked(path: str, said: str) -> None:
    made, session = user(path, None)
    for change in (
        lambda: made.write(Secret("value-12345678"), Terms(), None),
        lambda: made.amend(Terms(), "lease"),
        lambda: made.delete("lease"),
    ):
        with pytest.raises(Refused, match=said) as refused:
            change()
        assert refused.value.code == "read_only"
    assert session.asked == 0


def test_a_lent_user_is_shown_whether_or_not_its_role_may_be_read() -> None:
    answers: list[Any] = [{"data": {}}, StoreFailure("store_forbidden")]
    for answer in answers:
        about = user("creds/acme", answer)[0].about()
        assert (about.kind, about.version, about.changeable, about.updated) == ("DATABASE", "lease", False, None)
    for code in ("no_such_secret", "store_sealed"):
        with pytest.raises(StoreFailure) as failure:
            user("creds/acme", StoreFailure(code))[0].about()
        assert failure.value.code == code
    with pytest.raises(StoreFailure):
        user("roles/acme", {"data": {}})[0].about()


def test_a_user_whose_password_vault_changes_shows_when_it_did_and_never_the_password() -> None:
    answer = {"data": {"password": "canary-12345678", "last_vault_rotation": "2027-01-02T03:04:05.678901234Z"}}
    about = user("static-creds/acme", answer)[0].about()
    assert (about.version, about.changeable) == (rotation("2027-01-02T03:04:05.678901234Z"), False)
    assert about.updated is not None
    assert about.updated.startswith("2027-01-02T03:04:05")
    assert "canary" not in repr(about)


def test_a_kv1_secret_is_shown_by_its_fields_only() -> None:
    session: Any = Session({"data": {"token": "canary-12345678"}})
    about = Kv1Secret(session, "kv", "acme/crm", Reference("vault", "kv/acme/crm", "token")).about()
    assert (about.version, about.changeable, about.kind) == ("kv1", False, None)
    assert "canary" not in repr(about)
    with pytest.raises(StoreFailure) as failure:
        Kv1Secret(session, "kv", "acme/crm", Reference("vault", "kv/acme/crm", "user")).about()
    assert failure.value.code == "no_such_field"
