"""A whole sidecar whose decisions an OPA server makes: allow, deny, fail closed without it, go on when it is back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sidecar.adapters.policy.files import read_policy, revision_of
from sidecar.model.evidence import INTENT, OUTCOME, REFUSAL
from tests.e2e.far import Far
from tests.e2e.house import GRANTS, House, comes_true
from tests.fakes.opa import TOKEN, Opa

SEALED = "encrypted://opa"


@pytest.fixture
def opa() -> Iterator[Opa]:
    """It wants a token, and listens on loopback as well as on its socket."""
    with Opa(token=True, managed=True) as opa:
        yield opa


@pytest.fixture
def served(house: House, opa: Opa) -> House:
    """Not started yet; the policy is pushed, the token sealed."""
    assert house.sidecar("credentials", "new-key").returncode == 0
    assert house.sidecar("credentials", "put", "opa", given=TOKEN).returncode == 0
    house.config["policy"] = {"server": {"url": opa.url, "token": SEALED}}
    house.write_config()
    push(house, opa)
    return house


def push(house: House, opa: Opa) -> str:
    """Push the house's policy folder; its revision."""
    token = house.folder / "token"
    token.touch(mode=0o600)
    token.write_text(TOKEN)
    pushed = house.sidecar("policy", "push", "policy", "--server", opa.management, "--token-file", "token")
    assert pushed.returncode == 0, pushed.stderr
    return revision_of(read_policy(house.folder / "policy"))


def ready(house: House) -> int:
    return house.probe("/readyz").status


def test_the_server_decides_and_its_revision_is_in_the_evidence(served: House, opa: Opa, far: Far) -> None:
    served.start()
    revision = revision_of(read_policy(served.folder / "policy"))
    assert ready(served) == 200
    assert served.status()["policy_revision"] == revision
    assert served.operation("read").status == 200
    denied = served.operation("remove")
    assert (denied.status, denied.code) == (403, "denied")
    assert served.evidence(denied.evidence_id).document["bundle"] == revision
    assert [seen.method for seen in far.seen] == ["GET"]
    served.grant([])
    other = push(served, opa)
    assert comes_true(lambda: served.operation("read").code == "denied")
    assert comes_true(lambda: served.status()["policy_revision"] == other)
    assert served.stop() == 0
    served.verified()
    assert [leaf.kind for leaf in served.leaves()][:3] == [INTENT, OUTCOME, REFUSAL]


def test_p01_without_its_server_a_sidecar_denies_and_goes_on_when_it_is_back(
    served: House, opa: Opa, far: Far
) -> None:
    served.start()
    assert served.operation("read").status == 200
    opa.kill()
    refused = served.operation("read")
    assert (refused.status, refused.code) == (403, "policy_unavailable")
    assert "The OPA server cannot decide" in refused.document["detail"]
    assert comes_true(lambda: ready(served) == 503)
    assert served.probe("/readyz").document["not_ready"] == ["policy"]
    assert served.probe("/livez").status == 200
    assert "cannot be connected to" in served.status()["policy_problem"]
    refused = served.operation("read")
    assert served.evidence(refused.evidence_id).document["code"] == "policy_unavailable"
    assert len(far.seen) == 1
    opa.start()  # empty: what was pushed went with it
    assert comes_true(lambda: "names no revision" in (served.status()["policy_problem"] or ""))
    assert served.operation("read").code == "policy_unavailable"
    push(served, opa)
    assert comes_true(lambda: ready(served) == 200)
    assert served.operation("read").status == 200
    for count, outcome, level in ((1, "ready", "info"), (2, "failed", "error")):
        told = served.event("policy_server", count)
        assert (told["outcome"], told["level"]) == (outcome, level)
    assert comes_true(lambda: served.events("policy_server")[-1]["outcome"] == "ready")


def test_p01_a_server_that_hangs_is_a_refusal_within_the_budget(served: House, opa: Opa) -> None:
    served.start()
    assert served.operation("read").status == 200
    opa.suspend()
    refused = served.operation("read")
    assert refused.code == "policy_unavailable" and "in time" in refused.document["detail"]
    assert comes_true(lambda: ready(served) == 503)
    opa.resume()
    assert comes_true(lambda: ready(served) == 200)
    assert served.operation("read").status == 200


def test_a_sidecar_starts_without_its_server_and_denies_until_it_comes(served: House, opa: Opa) -> None:
    opa.kill()
    served.start()
    assert ready(served) == 503
    assert served.operation("read").code == "policy_unavailable"
    opa.start()
    push(served, opa)
    assert comes_true(lambda: served.operation("read").status == 200)


def test_another_server_needs_a_restart(served: House, opa: Opa) -> None:
    served.start()
    served.config["policy"] = {"server": {"url": "unix:///tmp/elsewhere.sock"}}
    served.write_config()
    failed = served.event("reload")
    assert failed["outcome"] == "failed" and "policy.server changed: restart" in failed["message"]
    assert served.operation("read").status == 200


def test_the_token_is_nowhere_to_be_read(served: House, opa: Opa) -> None:
    served.start()
    assert served.operation("read").status == 200
    opa.kill()
    assert comes_true(lambda: ready(served) == 503)
    assert served.stop() == 0
    (served.folder / "token").unlink()
    holding = [path for path in served.folder.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    assert holding == []


def test_the_servers_address_is_no_connectors(house: House, far: Far, tmp_path: Path) -> None:
    """A24 for OPA: who could reach it through a connector could push a policy."""
    with Opa(managed=True) as opa:
        house.config["policy"] = {"server": {"url": opa.management}}
        house.config["connectors"]["up"]["base_url"] = opa.management
        house.config["destinations"]["up"]["port"] = opa.port
        house.write_config()
        house.grant(GRANTS)
        push_plain(house, opa)
        house.start()
        assert comes_true(lambda: ready(house) == 200)
        refused = house.operation("read")
        assert (refused.status, refused.code) == (403, "destination_forbidden")


def push_plain(house: House, opa: Opa) -> None:
    assert house.sidecar("policy", "push", "policy", "--server", opa.management).returncode == 0
