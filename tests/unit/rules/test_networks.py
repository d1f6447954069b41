from __future__ import annotations

from ipaddress import ip_address, ip_network

import pytest

from sidecar.rules.networks import LOOPBACK, METADATA, PRIVATE, PUBLIC, SPECIAL, find, judge


@pytest.mark.parametrize(
    ("address", "kind"),
    [
        ("93.184.215.14", PUBLIC),
        ("1.1.1.1", PUBLIC),
        ("100.63.255.254", PUBLIC),
        ("100.128.0.1", PUBLIC),
        ("172.15.255.255", PUBLIC),
        ("172.32.0.0", PUBLIC),
        ("2606:4700:4700::1111", PUBLIC),
        ("2a00:1450:4001::1", PUBLIC),
        ("127.0.0.1", LOOPBACK),
        ("127.255.255.255", LOOPBACK),
        ("::1", LOOPBACK),
        ("10.0.0.0", PRIVATE),
        ("172.31.255.255", PRIVATE),
        ("192.168.255.255", PRIVATE),
        ("100.64.0.0", PRIVATE),
        ("100.127.255.255", PRIVATE),
        ("fdff:ffff::1", PRIVATE),
        ("169.254.0.1", METADATA),
        ("fe80::1", METADATA),
        ("100.100.100.200", METADATA),
        ("fd00:ec2::23", METADATA),
        ("169.254.170.2", METADATA),
        ("168.63.129.16", METADATA),
        ("192.0.0.192", METADATA),
        ("fd00:42::42", METADATA),
        ("fd00:c1::a9fe:a9fe", METADATA),
        ("fd20:ce::254", METADATA),
        ("fd20:ce::255", PRIVATE),
        ("168.63.129.17", PUBLIC),
        ("0.255.255.255", SPECIAL),
        ("192.0.0.1", SPECIAL),
        ("192.0.2.1", SPECIAL),
        ("192.31.196.1", SPECIAL),
        ("192.52.193.1", SPECIAL),
        ("192.88.99.1", SPECIAL),
        ("192.175.48.1", SPECIAL),
        ("198.19.255.255", SPECIAL),
        ("198.51.100.1", SPECIAL),
        ("203.0.113.1", SPECIAL),
        ("239.255.255.255", SPECIAL),
        ("255.255.255.255", SPECIAL),
        ("2002::1", SPECIAL),
        ("2620:4f:8000::1", SPECIAL),
        ("2620:4f:8001::1", PUBLIC),
        ("3ffe::1", SPECIAL),
        ("3fff:fff::1", SPECIAL),
        ("3fff:1000::1", PUBLIC),
        ("64:ff9b::1", SPECIAL),
        ("fec0::1", SPECIAL),
        ("ff02::1", SPECIAL),
        ("::", SPECIAL),
        ("::2", SPECIAL),
        ("2001:db8::1", SPECIAL),
        ("2001:1ff:ffff::1", SPECIAL),
        ("4000::1", SPECIAL),
        ("1fff:ffff::1", SPECIAL),
    ],
)
def test_the_most_specific_row_decides(address: str, kind: str) -> None:
    assert judge(address).kind == kind


def test_a_mapped_address_is_its_ipv4_address() -> None:
    assert judge("::ffff:10.1.2.3") == judge("10.1.2.3")
    assert judge("::ffff:5db8:d70e").address == "93.184.215.14"


@pytest.mark.parametrize(
    "text", ["", "a.example", "fe80::1%eth0", "127.1", "0x7f000001", "010.0.0.1", "[::1]", " ::1"]
)
def test_what_is_no_plain_address_is_an_error(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        judge(text)


def test_the_reason_is_the_rows_own() -> None:
    assert judge("ff02::1").reason == "a multicast address (RFC 4291)"
    assert judge("64:ff9b::1").reason == "not a global unicast address (RFC 4291)"


def test_the_address_is_given_in_canonical_text() -> None:
    assert judge("2606:4700:0:0:0:0:0:1111").address == "2606:4700::1111"


@pytest.mark.parametrize("text", ["0.0.0.0/0", "10.0.0.0/8", "::/0", "2000::/3", "2002::/16", "10.0.0.0/7"])
def test_a_network_is_found_whole(text: str) -> None:
    network = ip_network(text)
    row = find(network.version, int(network[0]), int(network[-1]))
    assert row.first <= int(network[0])
    assert int(network[-1]) <= row.last


def test_nothing_public_here_is_private_to_the_standard_library() -> None:
    edges = [f"{first}.{second}.0.1" for first in range(256) for second in (0, 15, 16, 31, 32, 64, 168, 254, 255)]
    for text in edges:
        if judge(text).kind == PUBLIC:
            assert ip_address(text).is_global, text
            assert not ip_address(text).is_multicast, text
