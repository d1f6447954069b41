"""Where a connector may not go, whatever its configuration and whatever the upstream says (SSRF)."""

from __future__ import annotations

import pytest

from tests.e2e.far import Far, answer, says
from tests.e2e.house import GRANTS, Document, House, comes_true

OPERATIONS: Document = {"get": {"method": "GET", "path": "/"}}


def add(house: House, base_url: str, **destination: object) -> None:
    """A connector ``there`` that everybody may call, and, where given, a grant for its destination."""
    house.config["connectors"]["there"] = {"kind": "http", "base_url": base_url, "operations": OPERATIONS}
    if destination:
        house.config["destinations"]["there"] = destination
    house.grant([*GRANTS, "there/*"])
    house.write_config()


@pytest.mark.parametrize(
    ("base_url", "reason"),
    [
        ("http://127.0.0.1:{}", "address_loopback"),  # A1
        ("http://localhost:{}", "address_loopback"),  # A2
        ("http://[::1]:{}", "address_loopback"),  # A10
        ("http://10.0.0.1", "address_private"),  # A22
        ("http://169.254.169.254", "address_metadata"),  # A19, S01
        ("http://[fd00:ec2::254]", "address_metadata"),  # A20
        ("http://[64:ff9b::a9fe:a9fe]", None),  # A13
        ("http://100.64.0.1", None),  # A21
        ("http://0.0.0.0:{}", None),  # A3
    ],
)
def test_an_address_that_no_destination_grants_is_never_dialled(
    house: House, far: Far, base_url: str, reason: str | None
) -> None:
    if "127.0.0.1" in base_url:  # the name and port are `up`'s already
        house.config["connectors"] = {}
        house.config["planes"], house.config["sources"], house.config["destinations"] = {}, {}, {}
    add(house, base_url.format(far.port))
    house.start()
    refused = house.operation("get", {}, connector="there")
    assert (refused.status, refused.code) == (403, "destination_forbidden"), refused.body
    codes = [one["code"] for one in refused.document["reasons"]]
    assert codes == [reason or codes[0]]
    assert codes[0].startswith("address_")
    assert house.evidence(refused.evidence_id).document["kind"] == "refusal"  # no intent: nothing was begun
    assert far.connections == 0


@pytest.mark.parametrize(
    ("base_url", "destination"),
    [
        ("http://169.254.169.254", {"name": "169.254.169.254", "port": 80, "networks": ["169.254.0.0/16"]}),
        ("http://168.63.129.16", {"name": "168.63.129.16", "port": 80, "networks": ["168.63.129.16/32"]}),
        ("http://any.internal", {"name": "any.internal", "port": 80, "networks": ["0.0.0.0/0"]}),
        (
            "http://any.internal",
            {"name": "any.internal", "port": 80, "networks": ["10.0.0.0/8"], "addresses": ["127.0.0.1"]},
        ),
        ("http://2130706433", {}),  # A4
        ("http://0x7f000001", {}),  # A5
        ("http://0177.0.0.1", {}),  # A6
        ("http://127.1", {}),  # A7
        ("http://user@up.example", {}),  # A82
    ],
)
def test_what_must_never_be_reached_cannot_even_be_configured(
    house: House, base_url: str, destination: Document
) -> None:
    add(house, base_url, **destination)
    done = house.sidecar("check")
    assert done.returncode == 1, done.stdout + done.stderr
    assert "there" in done.stdout + done.stderr
    assert house.sidecar("run").returncode == 1


@pytest.mark.parametrize("door", ["access", "metrics"])
@pytest.mark.parametrize("address", ["127.0.0.1", "127.0.0.2"])
def test_a_door_of_our_own_is_never_an_upstream(house: House, door: str, address: str) -> None:  # A24, S04
    house.start()
    port = house.ports[door]
    add(house, f"http://{address}:{port}", name=address, port=port, networks=["127.0.0.0/8"])
    assert comes_true(lambda: house.operation("get", {}, connector="there").code == "destination_forbidden")
    refused = house.operation("get", {}, connector="there")
    assert [one["code"] for one in refused.document["reasons"]] == ["address_own"]


def test_a_granted_name_reaches_the_addresses_that_are_given_for_it(house: House, far: Far) -> None:
    name = {"name": "inner.internal", "port": far.port, "networks": ["127.0.0.0/8"], "addresses": ["127.0.0.1"]}
    add(house, f"http://inner.internal:{far.port}", **name)
    house.start()
    assert house.operation("get", {}, connector="there").status == 200
    assert far.seen[0].headers["host"] == f"inner.internal:{far.port}"


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"])
def test_a_redirect_is_handed_back_and_not_followed(  # A32, A33, S05
    shared: tuple[House, Far], status: str
) -> None:
    house, far = shared
    with Far() as other:
        where = f"http://127.0.0.1:{other.port}/elsewhere"
        far.behave = says(answer(b"{}", status, f"Location: {where}"))
        before = len(far.seen)
        answered = house.operation("read")
        assert answered.status == int(status[:3])
        assert answered.headers["Location"] == where
        assert len(far.seen) == before + 1
        assert other.connections == 0
        assert house.evidence(answered.evidence_id).document["result"]["status"] == int(status[:3])
