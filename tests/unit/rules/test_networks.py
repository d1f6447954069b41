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
