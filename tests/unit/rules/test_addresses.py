from __future__ import annotations

import pytest

from sidecar.config.sections import DestinationSection
from sidecar.errors import Misconfigured, Refused
from sidecar.rules.addresses import Grant, Range, check_addresses, compile_grants, own_addresses, static_addresses
from sidecar.rules.networks import judge

PUBLIC = "93.184.215.14"
PUBLIC6 = "2606:2800:21f:cb07:6820:80da:af6b:8b2c"


def destination(name: str, port: int, *networks: str, addresses: tuple[str, ...] = ()) -> DestinationSection:
    return DestinationSection(name=name, port=port, networks=networks, addresses=addresses)


GRANTS = compile_grants(
    {
        "upstream": destination("upstream.internal", 8443, "10.1.0.0/16", "fd12::/32"),
        "local": destination("localhost", 9000, "127.0.0.0/8", "::1/128"),
        "literal": destination("[::1]", 9001, "::1/128"),
        "wide": destination("wide.internal", 80, "100.64.0.0/10", "fc00::/7"),
    }
)


def why(host: str, port: int, *addresses: str, own: frozenset[tuple[str, int]] = frozenset()) -> str:
    with pytest.raises(Refused) as refused:
        check_addresses(host, port, addresses, GRANTS, own)
    assert refused.value.code == "destination_forbidden"
    assert not any(address in refused.value.detail for address in addresses if address != host)
    return refused.value.reasons[0].code


def test_public_addresses_are_dialled_in_order_and_once() -> None:
    found = (PUBLIC6.upper(), PUBLIC, f"::ffff:{PUBLIC}")
    assert check_addresses("a.example", 443, found, {}) == (PUBLIC6, PUBLIC)


def test_no_address_is_a_refusal() -> None:
    assert why("a.example", 443) == "no_address"


def test_what_is_no_address_is_a_refusal() -> None:
    assert why("a.example", 443, PUBLIC, "fe80::1%eth0") == "address_invalid"


def test_a_grant_holds_for_its_name_port_and_networks_only() -> None:
    assert check_addresses("upstream.internal", 8443, ("10.1.2.3", "fd12::1"), GRANTS) == ("10.1.2.3", "fd12::1")
    assert why("other.internal", 8443, "10.1.2.3") == "address_private"
    assert why("upstream.internal", 8444, "10.1.2.3") == "address_private"
    assert why("upstream.internal", 8443, "10.2.0.1") == "address_private"
    assert why("upstream.internal", 8443, "127.0.0.1") == "address_loopback"


def test_a_granted_name_may_still_be_public() -> None:
    assert check_addresses("upstream.internal", 8443, (PUBLIC,), GRANTS) == (PUBLIC,)


def test_a_literal_can_be_granted() -> None:
    assert check_addresses("::1", 9001, ("::1",), GRANTS) == ("::1",)


def test_localhost_is_loopback_or_nothing() -> None:
    assert check_addresses("localhost", 9000, ("127.0.0.1",), GRANTS) == ("127.0.0.1",)
    assert why("localhost", 9000, PUBLIC) == "address_localhost"
    assert why("a.localhost", 443, PUBLIC) == "address_localhost"


def test_a_grant_around_a_metadata_address_does_not_reach_it() -> None:
    assert check_addresses("wide.internal", 80, ("100.100.100.201",), GRANTS) == ("100.100.100.201",)
    assert why("wide.internal", 80, "100.100.100.200") == "address_metadata"
    assert why("wide.internal", 80, "fd00:ec2::254") == "address_metadata"


def test_our_own_ports_are_never_dialled() -> None:
    own = own_addresses([("127.0.0.1", 9000), ("10.1.0.9", 8443)])
    assert why("localhost", 9000, "127.0.0.1", own=own) == "address_own"
    assert why("localhost", 9000, "127.9.9.9", own=own) == "address_own"
    assert why("localhost", 9000, "::1", own=own) == "address_own"
    assert why("upstream.internal", 8443, "10.1.0.9", own=own) == "address_own"
    assert check_addresses("upstream.internal", 8443, ("10.1.0.8",), GRANTS, own) == ("10.1.0.8",)
    assert check_addresses("::1", 9001, ("::1",), GRANTS, own) == ("::1",)


def test_a_door_on_every_address_is_behind_every_granted_one() -> None:
    own = own_addresses([("0.0.0.0", 8443)])
    assert why("upstream.internal", 8443, "10.1.0.8", own=own) == "address_own"
    assert check_addresses("a.example", 8443, (PUBLIC,), GRANTS, own) == (PUBLIC,)
    assert why("a.example", 443, PUBLIC, own=own_addresses([(PUBLIC, 443)])) == "address_own"


def test_own_addresses_are_addresses() -> None:
    assert own_addresses([("localhost", 1)]) == {("127.0.0.1", 1), ("::1", 1)}
    assert own_addresses([("::ffff:127.0.0.1", 2)]) == {("127.0.0.1", 2)}
    with pytest.raises(Misconfigured):
        own_addresses([("vault.internal", 8200)])


@pytest.mark.parametrize(
    "network",
    [
        *("0.0.0.0/0", "8.8.8.0/24", "10.0.0.0/7", "224.0.0.0/4", "::/0", "::ffff:10.0.0.0/104"),
        *("169.254.0.0/16", "100.100.100.200/32", "fd00:ec2::/32", "fe80::/10"),
        *("10.0.0.1/8", "ten", ""),
    ],
)
def test_only_loopback_and_private_networks_can_be_granted(network: str) -> None:
    with pytest.raises(Misconfigured) as wrong:
        compile_grants({"mine": destination("a.internal", 80, network)})
    assert "destinations.mine.networks" in str(wrong.value)


def test_a_mapped_network_is_explained() -> None:
    with pytest.raises(Misconfigured, match="write it as an IPv4 network"):
        compile_grants({"mine": destination("a.internal", 80, "::ffff:10.0.0.0/104")})


def test_names_of_grants_are_canonical_and_granted_once() -> None:
    assert list(compile_grants({"mine": destination("A.Internal.", 80, "10.0.0.0/8")})) == [("a.internal", 80)]
    with pytest.raises(Misconfigured, match=r"destinations\.b: a\.internal:80 is granted twice"):
        compile_grants(
            {"a": destination("a.internal", 80, "10.0.0.0/8"), "b": destination("A.internal", 80, "127.0.0.0/8")}
        )
    with pytest.raises(Misconfigured, match=r"destinations\.mine\.name"):
        compile_grants({"mine": destination("127.1", 80, "127.0.0.0/8")})


def test_fixed_addresses_are_inside_their_networks() -> None:
    section = destination("A.internal", 80, "10.0.0.0/8", addresses=("10.0.0.1", "::ffff:10.0.0.2"))
    assert static_addresses({"mine": section}) == {"a.internal": ("10.0.0.1", "10.0.0.2")}
    assert static_addresses({"mine": destination("a.internal", 80, "10.0.0.0/8")}) == {}
    for wrong in (PUBLIC, "192.168.0.1", "169.254.169.254", "a.internal"):
        with pytest.raises(Misconfigured, match=r"destinations\.mine\.addresses"):
            static_addresses({"mine": destination("a.internal", 80, "10.0.0.0/8", addresses=(wrong,))})


def test_a_metadata_address_cannot_be_fixed() -> None:
    with pytest.raises(Misconfigured, match="outside the networks"):
        static_addresses({"mine": destination("a.internal", 80, "100.64.0.0/10", addresses=("100.100.100.200",))})


def test_a_grant_is_for_its_ip_version() -> None:
    everything = Grant((Range(6, 0, (1 << 128) - 1),))
    assert everything.covers(judge("::1"))
    assert not everything.covers(judge("10.0.0.1"))


def test_one_name_has_one_set_of_fixed_addresses() -> None:
    first = destination("a.internal", 80, "10.0.0.0/8", addresses=("10.0.0.1",))
    same = destination("a.internal", 81, "10.0.0.0/8", addresses=("10.0.0.1",))
    other = destination("a.internal", 82, "10.0.0.0/8", addresses=("10.0.0.2",))
    assert static_addresses({"a": first, "b": same}) == {"a.internal": ("10.0.0.1",)}
    with pytest.raises(Misconfigured, match="other addresses"):
        static_addresses({"a": first, "b": other})
