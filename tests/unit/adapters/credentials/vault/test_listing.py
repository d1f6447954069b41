from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from sidecar.adapters.credentials.remote.store import LISTED, StoreFailure
from sidecar.adapters.credentials.vault.listing import places
from sidecar.config.remotes import VaultLogin, VaultSection


class Session:
    """A ``VaultSession`` before folders; what is none of them is not there."""

    def __init__(self, folders: dict[str, list[str]]) -> None:
        self.folders = folders
        self.asked: list[str] = []

    def run(self, work: Callable[[Any], Any]) -> tuple[Any, None]:
        return work(self), None

    @property
    def adapter(self) -> Session:
        return self

    def request(self, method: str, url: str) -> Any:
        assert method == "list"
        self.asked.append(url.removeprefix("/v1/"))
        if self.asked[-1] not in self.folders:
            raise StoreFailure("no_such_secret")
        return {"data": {"keys": self.folders[self.asked[-1]]}}


def section(*paths: str) -> VaultSection:
    return VaultSection(
        address="http://127.0.0.1:1",
        login=VaultLogin(method="token", file="token"),
        mounts={"secret": "kv2", "team/kv": "kv2", "kv": "kv1", "database": "database"},
        paths=paths,
    )


def listed(folders: dict[str, list[str]], *paths: str) -> list[str]:
    session: Any = Session(folders)
    return places(session, section(*paths), "acme")


def test_what_is_below_a_path_is_found_to_its_ends() -> None:
    folders = {
        "secret/metadata/acme": ["crm", "crm/", "billing/"],
        "secret/metadata/acme/crm": ["inner"],
        "secret/metadata/acme/billing": ["a", "b"],
    }
    wanted = ["", "/billing/a", "/billing/b", "/crm", "/crm/inner"]
    assert listed(folders, "secret/{tenant}") == [f"secret/acme{one}" for one in wanted]


def test_each_mount_is_listed_in_its_own_way() -> None:
    folders = {"kv/acme": ["crm"], "team/kv/metadata": ["crm"], "secret/metadata/acme/crm": []}
    paths = ("kv/{tenant}", "team/kv", "secret/{tenant}/crm", "database/creds/{tenant}-reports", "unmounted/{tenant}")
    assert listed(folders, *paths) == [
        "database/creds/acme-reports",
        "kv/acme",
        "kv/acme/crm",
        "secret/acme/crm",
        "team/kv/crm",
    ]


def test_a_place_under_two_paths_comes_once() -> None:
    assert listed({"secret/metadata/acme": ["crm"]}, "secret/{tenant}", "secret/{tenant}/crm") == [
        "secret/acme",
        "secret/acme/crm",
    ]


def test_a_list_that_would_have_to_be_cut_is_refused() -> None:
    with pytest.raises(StoreFailure) as failure:
        listed({"secret/metadata/acme": [f"n{number}" for number in range(LISTED + 1)]}, "secret/{tenant}")
    assert failure.value.code == "too_many"


def test_folders_within_folders_come_to_an_end() -> None:
    class Endless(dict[str, list[str]]):
        def __contains__(self, _: object) -> bool:
            return True

        def __missing__(self, _: str) -> list[str]:
            return ["again/"]

    assert listed(Endless(), "secret/{tenant}") == ["secret/acme"]
