"""A push into a real OPA server: everything of the new policy decides, or everything of the old, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import requests
from opa_client.opa import OpaClient

from sidecar.adapters.policy.files import PolicyFiles, revision_of
from sidecar.adapters.policy.remote import MARK, RemoteOpa
from sidecar.adapters.policy.remote_client import PREFIX, remote_client
from sidecar.config.authority import base_url
from sidecar.errors import Misconfigured, Unavailable
from sidecar.model.secret import Secret
from tests.fakes.opa import TOKEN, Opa

DECISION = "/v1/data/sidecar/authz/decision?provenance=true"
DECIDE = 'package sidecar.authz\n\nimport data.sidecar.rules\n\ndecision := {"allow": rules.allow("x")}\n'
RULES = "package sidecar.rules\n\nallow(x) := data.sidecar.grants[x]\n"
OTHER = "package sidecar.other\n\ndefault one := 1\n"
POLICY = PolicyFiles({"a.rego": DECIDE, "b.rego": RULES}, {"sidecar": {"grants": {"x": True}}})


@pytest.fixture
def opa() -> Iterator[Opa]:
    with Opa(managed=True) as opa:
        yield opa


def client(opa: Opa, token: str | None = None) -> OpaClient:
    return remote_client(base_url(opa.management), Secret(token) if token else None)


def remote(opa: Opa) -> RemoteOpa:
    return RemoteOpa(client(opa))


def decided(opa: Opa) -> tuple[Any, str | None]:
    """The decision, and the revision that the server names."""
    said = opa.request("POST", DECISION, {"input": {}}).document
    bundles = said["provenance"].get("bundles", {})
    return said.get("result", {}).get("allow"), bundles.get(MARK, {}).get("revision")


def texts(opa: Opa) -> dict[str, str]:
    """Every module of the server, by id."""
    return {module["id"]: module["raw"] for module in opa.request("GET", "/v1/policies").document["result"]}


def changed(**modules: str) -> PolicyFiles:
    """``POLICY`` with other modules, by the file's name without its end."""
    return PolicyFiles({**POLICY.modules, **{f"{name}.rego": text for name, text in modules.items()}}, POLICY.data)


def test_a_push_decides_under_the_revision_that_a_sidecar_would_give_it(opa: Opa) -> None:
    pushed = remote(opa).push(POLICY)
    assert pushed.revision == revision_of(POLICY)
    assert pushed.modules == {"a.rego": "new", "b.rego": "new"}
    assert decided(opa) == (True, pushed.revision)


def test_modules_are_put_in_an_order_that_compiles_whatever_they_are_called(opa: Opa) -> None:
    """``a`` calls a function of ``b``, and then the other way round."""
    remote(opa).push(POLICY)
    swapped = PolicyFiles({"a.rego": RULES, "b.rego": DECIDE}, {"sidecar": {"grants": {"x": False}}})
    assert remote(opa).push(swapped).modules == {"a.rego": "changed", "b.rego": "changed"}
    assert decided(opa) == (False, revision_of(swapped))


def test_versions_that_do_not_fit_together_are_changed_together(opa: Opa) -> None:
    remote(opa).push(POLICY)
    wider = changed(a=DECIDE.replace('("x")', '("x", 1)'), b=RULES.replace("(x)", "(x, _)"))
    assert remote(opa).push(wider).revision == revision_of(wider)
    assert decided(opa) == (True, revision_of(wider))


def test_what_is_gone_from_the_folder_goes_from_the_server_and_what_others_put_there_stays(opa: Opa) -> None:
    opa.request("PUT", "/v1/policies/theirs", OTHER)
    opa.request("PUT", "/v1/data/theirs", {"kept": True})
    more = {**POLICY.modules, "c d.rego": "package more.rules\n\nx := 1\n"}
    remote(opa).push(PolicyFiles(more, {**POLICY.data, "extra": {"a": 1}}))
    pushed = remote(opa).push(POLICY)
    assert pushed.modules == {"a.rego": "unchanged", "b.rego": "unchanged", "c d.rego": "removed"}
    assert set(texts(opa)) == {"theirs", f"{PREFIX}a.rego", f"{PREFIX}b.rego"}
    assert "result" not in opa.request("GET", "/v1/data/extra").document
    assert opa.request("GET", "/v1/data/theirs").document["result"] == {"kept": True}


def test_a_refused_module_of_three_leaves_the_old_policy_deciding(opa: Opa) -> None:
    """The server holds a module of somebody else's that ours does not fit: no compiler here could know."""
    first = remote(opa).push(POLICY)
    opa.request("PUT", "/v1/policies/theirs", OTHER)
    before = texts(opa)
    clash = PolicyFiles(
        {"a.rego": DECIDE + "\n# new\n", "b.rego": OTHER, "c.rego": RULES}, {"sidecar": {"grants": {"x": False}}}
    )
    with pytest.raises(Misconfigured, match="the old policy decides") as caught:
        remote(opa).push(clash)
    assert any("b.rego" in reason.message for reason in caught.value.reasons), caught.value.reasons
    assert decided(opa) == (True, first.revision)
    assert texts(opa) == before


def test_a_refused_first_push_leaves_nothing(opa: Opa) -> None:
    opa.request("PUT", "/v1/policies/theirs", OTHER)
    with pytest.raises(Misconfigured, match="no policy was there before"):
        remote(opa).push(changed(c=OTHER))
    assert decided(opa) == (None, "")
    assert set(texts(opa)) == {"theirs"}


def watched(opa: Opa, between: Callable[[int], object]) -> RemoteOpa:
    """A push that calls ``between`` before each module that it puts, with its number."""
    made: Any = client(opa)
    put, numbers = made.update_policy_from_string, count(1)

    def watch(*arguments: Any, **named: Any) -> Any:
        between(next(numbers))
        return put(*arguments, **named)

    made.update_policy_from_string = watch
    return RemoteOpa(made)


def test_while_a_policy_is_pushed_no_mixture_of_two_decides(opa: Opa) -> None:
    remote(opa).push(POLICY)
    seen: list[str | None] = []
    other = changed(a=DECIDE + "\n# two\n", b=RULES + "\n# two\n")
    watched(opa, lambda _: seen.append(decided(opa)[1])).push(other)
    assert seen == ["", ""]  # a sidecar refuses both: nobody could say which policy it was
    assert decided(opa) == (True, revision_of(other))


def test_a_push_that_is_cut_off_leaves_a_server_that_decides_nothing_until_the_next(opa: Opa) -> None:
    remote(opa).push(POLICY)

    def cut(number: int) -> None:
        if number == 2:
            raise requests.exceptions.ConnectionError

    other = changed(a=DECIDE + "\n# two\n", b=RULES + "\n# two\n")
    with pytest.raises(Unavailable, match="no decision from it until a push succeeds"):
        watched(opa, cut).push(other)
    assert decided(opa)[1] == ""
    holding = remote(opa).holding(600)
    assert holding.problem is not None and "being pushed" in holding.problem
    remote(opa).push(other)
    assert decided(opa) == (True, revision_of(other))


def test_two_pushes_at_once_are_never_taken_for_one(opa: Opa) -> None:
    def intrude(number: int) -> None:
        if number == 2:
            opa.request("PUT", f"/v1/policies/{PREFIX}z.rego", "package z\n\nx := 1\n")

    with pytest.raises(Unavailable, match="another push is under way"):
        watched(opa, intrude).push(POLICY)
    assert decided(opa)[1] == ""


def test_a_server_that_takes_its_policy_from_bundles_says_so() -> None:
    with Opa({"a.rego": "package sidecar.authz\n\ndecision := {}\n"}, managed=True) as opa:
        with pytest.raises(Misconfigured, match="from bundles, so publish a new one"):
            remote(opa).push(POLICY)
        assert remote(opa).holding(600).problem is None


def test_data_that_is_no_object_is_refused_before_anything_is_sent(opa: Opa) -> None:
    with pytest.raises(Misconfigured, match=r"data\.limit"):
        remote(opa).push(PolicyFiles(POLICY.modules, {"limit": 3}))
    assert decided(opa) == (None, None)


def test_what_a_server_holds_and_whether_a_sidecar_would_let_it_decide(opa: Opa) -> None:
    empty = remote(opa).holding(600)
    assert empty.problem is not None and "sidecar policy push" in empty.problem
    pushed = remote(opa).push(POLICY)
    holding = remote(opa).holding(600)
    assert holding == (None, pushed.revision, {MARK: pushed.revision}, (f"{PREFIX}a.rego", f"{PREFIX}b.rego"))


def test_a_server_without_a_status_would_not_be_let_decide() -> None:
    with Opa(managed=True, status=False) as opa:
        remote(opa).push(POLICY)
        problem = remote(opa).holding(600).problem
        assert problem is not None and "status.console" in problem


def test_a_token_and_mutual_tls_are_used_where_they_are_wanted(tmp_path: Path) -> None:
    with Opa(secure=True, token=True) as opa:
        pair = (opa.client, opa.client)
        base = base_url(opa.management)
        pushed = RemoteOpa(remote_client(base, Secret(TOKEN), opa.ca, pair)).push(POLICY)
        assert decided(opa) == (True, pushed.revision)
        for made in (remote_client(base, Secret(TOKEN), opa.ca), remote_client(base, Secret(TOKEN), None, pair)):
            with pytest.raises(Unavailable, match=r"certificate|does not answer"):
                RemoteOpa(made).push(POLICY)


@pytest.mark.parametrize("token", ["another-token", None])
def test_a_refused_token_is_no_empty_server(token: str | None) -> None:
    with Opa(token=True, managed=True) as opa:
        refused = RemoteOpa(client(opa, token))
        with pytest.raises(Misconfigured, match="--token-file"):
            refused.push(POLICY)
        with pytest.raises(Unavailable, match="--token-file"):
            refused.holding(600)
