"""Hosts and addresses of every shape: nothing odd passes, and nothing is read in two ways."""

from __future__ import annotations

import re
import socket
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from hypothesis import example, given
from hypothesis import strategies as st

from sidecar.config.sections import DestinationSection
from sidecar.errors import Refused
from sidecar.model.hosts import canonical_host, is_ip_literal, parse_authority, parse_base_url
from sidecar.rules.addresses import check_addresses, compile_grants
from sidecar.rules.networks import PUBLIC, judge

NAME = re.compile(r"[a-z0-9-]{1,63}(\.[a-z0-9-]{1,63})*")

hostile = st.text(
    st.sampled_from("01279aAfFxX.:[]%@/\\-_ \0\n\u3002\uff0e\u2460\uff11\u00fc\u00ad\u0661n"), max_size=40
)
numbers = st.one_of(
    st.integers(0, 2**32 - 1).map(str),
    st.integers(0, 2**32 - 1).map(hex),
    st.lists(st.integers(0, 300).map(lambda n: f"{n:o}".zfill(4)), min_size=1, max_size=4).map(".".join),
    st.lists(st.one_of(st.integers(0, 300).map(str), st.integers(0, 300).map(hex)), min_size=1, max_size=5).map(
        ".".join
    ),
)
addresses4 = st.integers(0, 2**32 - 1).map(lambda n: str(IPv4Address(n)))
addresses6 = st.integers(0, 2**128 - 1).map(lambda n: str(IPv6Address(n)))
public = st.one_of(addresses4, st.integers(0x20 << 120, (0x40 << 120) - 1).map(lambda n: str(IPv6Address(n)))).filter(
    lambda text: judge(text).kind == PUBLIC
)
guarded = [ip_network(text) for text in ("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16")]
guarded += [ip_network(text) for text in ("168.63.129.16/32", "172.16.0.0/12", "192.168.0.0/16", "224.0.0.0/3")]
guarded4 = st.sampled_from(guarded).flatmap(
    lambda net: st.integers(int(net[0]), int(net[-1])).map(lambda n: str(IPv4Address(n)))
)


def accepted(text: str) -> str | None:
    try:
        return canonical_host(text)
    except Refused as refused:
        assert refused.code in {"malformed", "destination_forbidden"}
        return None


@given(st.one_of(st.text(max_size=300), hostile, numbers, addresses4, addresses6))
@example("127.1")
@example("0x7f.1")
@example("0")
def test_a_host_is_refused_or_has_one_form(text: str) -> None:
    host = accepted(text)
    if host is None:
        return
    assert canonical_host(host) == host
    if is_ip_literal(host):
        assert str(ip_address(host)) == host
    else:
        assert NAME.fullmatch(host)


@given(st.one_of(hostile, numbers, addresses4))
def test_the_system_reads_no_accepted_name_as_an_address(text: str) -> None:
    host = accepted(text)
    if host is None:
        return
    try:
        packed = socket.inet_aton(host)
    except OSError:
        assert ":" in host or not is_ip_literal(host)
    else:
        assert socket.inet_ntoa(packed) == host


@given(st.text(max_size=60))
def test_authorities_and_base_urls_are_parsed_or_refused(text: str) -> None:
    for parse in (parse_authority, parse_base_url):
        for spelled in (text, f"https://{text}", f"https://a.example/{text}"):
            try:
                parse(spelled)
            except Refused as refused:
                assert refused.code in {"malformed", "destination_forbidden"}


@given(st.one_of(addresses4, addresses6))
def test_without_a_grant_only_global_unicast_is_dialled(text: str) -> None:
    try:
        (dialled,) = check_addresses("a.example", 443, (text,), {})
    except Refused:
        return
    address = ip_address(dialled)
    assert address.is_global
    assert not address.is_multicast
    assert address.version == 4 or int(address) >> 125 == 1


@given(guarded4)
def test_a_guarded_ipv4_address_cannot_hide_in_ipv6(text: str) -> None:
    number = int(IPv4Address(text))
    hidden = [
        number,  # ::a.b.c.d
        0xFFFF << 32 | number,  # mapped
        0xFFFF << 48 | number,  # translated
        0x64FF9B << 96 | number,  # NAT64
        0x64FF9B0001 << 80 | number,  # local NAT64
        0x2002 << 112 | number << 80,  # 6to4
        0x20010000 << 96 | number ^ 0xFFFFFFFF,  # Teredo
    ]
    for value in hidden:
        try:
            check_addresses("a.example", 443, (str(IPv6Address(value)),), {})
        except Refused as refused:
            assert refused.code == "destination_forbidden"
        else:
            raise AssertionError(f"{IPv6Address(value)} would be dialled")


@given(st.lists(public, max_size=4), guarded4, st.integers(0, 4))
def test_one_guarded_address_refuses_all(good: list[str], bad: str, position: int) -> None:
    found = [*good[:position], bad, *good[position:]]
    try:
        check_addresses("a.example", 443, tuple(found), {})
    except Refused as refused:
        assert refused.code == "destination_forbidden"
    else:
        raise AssertionError("dialled")


@given(st.lists(public, min_size=1, max_size=4))
def test_public_answers_pass_whole(good: list[str]) -> None:
    assert check_addresses("a.example", 443, tuple(good), {}) == tuple(dict.fromkeys(good))


GRANTED = DestinationSection(name="in.example", port=8443, networks=("10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8"))


@given(addresses4, st.sampled_from(["in.example", "out.example"]), st.sampled_from([443, 8443]))
def test_a_grant_widens_nothing_but_itself(text: str, host: str, port: int) -> None:
    grants = compile_grants({"in": GRANTED})
    try:
        check_addresses(host, port, (text,), grants)
    except Refused:
        return
    if judge(text).kind != PUBLIC:
        assert (host, port) == ("in.example", 8443)
        assert text.startswith(("10.", "127.", "100."))
        assert text != "100.100.100.200"
