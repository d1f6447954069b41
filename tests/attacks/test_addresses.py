"""Every address and host case: what an attacker writes, and the code it is refused with."""

from __future__ import annotations

import pytest

from sidecar.config.sections import DestinationSection
from sidecar.errors import Refused
from sidecar.model.hosts import canonical_host, host_matches, is_ip_literal, parse_authority
from sidecar.rules.addresses import Grants, Own, check_addresses, compile_grants, own_addresses

FORBIDDEN = "destination_forbidden"
MALFORMED = "malformed"
PUBLIC = "93.184.215.14"


def outcome(
    text: str, found: tuple[str, ...] = (PUBLIC,), grants: Grants | None = None, own: Own = frozenset()
) -> str:
    """What becomes of a host as it is written, when a lookup would find ``found``: a code, or "dialled"."""
    try:
        host = canonical_host(text)
        check_addresses(host, 443, (host,) if is_ip_literal(host) else found, grants or {}, own)
    except Refused as refused:
        return refused.code
    return "dialled"


def test_the_judge_of_these_tests_lets_a_good_host_pass() -> None:
    assert outcome("api.example") == "dialled"
    assert outcome(PUBLIC) == "dialled"


CASES = {
    "A1": {"127.0.0.1": FORBIDDEN, "127.255.255.254": FORBIDDEN},
    "A2": {"localhost": FORBIDDEN, "localhost.": FORBIDDEN, "a.localhost": FORBIDDEN, "LOCALHOST": FORBIDDEN},
    "A3": {"0.0.0.0": FORBIDDEN, "0": FORBIDDEN, "0.1.2.3": FORBIDDEN},
    "A4": {"2130706433": MALFORMED, "4294967295": MALFORMED},
    "A5": {"0x7f000001": MALFORMED, "0X7F000001": MALFORMED, "0x7f.0.0.1": MALFORMED, "0x": MALFORMED},
    "A6": {"0177.0.0.1": MALFORMED, "127.0.0.01": MALFORMED, "00.0.0.0": MALFORMED},
    "A7": {"127.1": MALFORMED, "127.0.1": MALFORMED, "1": MALFORMED},
    "A8": {"169.254.43518": MALFORMED},
    "A9": {
        "\u2460\u2461\u2466.\u24ea.\u24ea.\u2460": MALFORMED,
        "\uff11\uff12\uff17.0.0.1": MALFORMED,
        "127\u30020\u30020\u30021": MALFORMED,
        "127\uff0e0\uff0e0\uff0e1": MALFORMED,
        "127\uff610\uff610\uff611": MALFORMED,
        "\uff41pi.example": MALFORMED,
        "\u212a.example": MALFORMED,
        "lo\u00adcalhost": MALFORMED,
    },
    "A10": {"[::1]": FORBIDDEN, "[::]": FORBIDDEN, "[0:0:0:0:0:0:0:1]": FORBIDDEN},
    "A11": {"[::ffff:127.0.0.1]": FORBIDDEN, "[::ffff:a9fe:a9fe]": FORBIDDEN, "[::ffff:10.0.0.1]": FORBIDDEN},
    "A12": {"[::127.0.0.1]": FORBIDDEN, "[::7f00:1]": FORBIDDEN, "[::808:808]": FORBIDDEN},
    "A13": {"[64:ff9b::a9fe:a9fe]": FORBIDDEN, "[64:ff9b::808:808]": FORBIDDEN},
    "A14": {"[64:ff9b:1::]": FORBIDDEN, "[64:ff9b:1:ffff:ffff:ffff:ffff:ffff]": FORBIDDEN},
    "A15": {"[2002:7f00:1::]": FORBIDDEN, "[2002:808:808::1]": FORBIDDEN},
    "A16": {"[2001:0:53aa:64c::1]": FORBIDDEN, "[2001::1]": FORBIDDEN},
    "A17": {"[::ffff:0:127.0.0.1]": FORBIDDEN, "[::ffff:0:808:808]": FORBIDDEN},
    "A18": {"fe80::1%eth0": MALFORMED, "[fe80::1%25eth0]": MALFORMED, "[fe80::1%]": MALFORMED, "fe80::1": FORBIDDEN},
    "A20": {
        "[fd00:ec2::254]": FORBIDDEN,
        "[fd20:ce::254]": FORBIDDEN,
        "100.100.100.200": FORBIDDEN,
        "168.63.129.16": FORBIDDEN,
        "192.0.0.192": FORBIDDEN,
    },
    "A21": {
        "100.64.0.1": FORBIDDEN,
        "100.127.255.255": FORBIDDEN,
        "100.63.255.254": "dialled",
        "100.128.0.1": "dialled",
    },
    "A22": {
        "10.255.255.255": FORBIDDEN,
        "172.16.0.1": FORBIDDEN,
        "172.31.255.255": FORBIDDEN,
        "192.168.0.1": FORBIDDEN,
        "[fc00::1]": FORBIDDEN,
        "[fdff::1]": FORBIDDEN,
        "[fec0::1]": FORBIDDEN,
    },
    "A23": {
        "198.18.0.1": FORBIDDEN,
        "198.19.255.255": FORBIDDEN,
        "240.0.0.1": FORBIDDEN,
        "255.255.255.255": FORBIDDEN,
        "224.0.0.1": FORBIDDEN,
        "239.255.255.255": FORBIDDEN,
        "[ff02::1]": FORBIDDEN,
        "[ff0e::1]": FORBIDDEN,
        "[3fff:fff::1]": FORBIDDEN,
        "[5f00::1]": FORBIDDEN,
        "192.88.99.1": FORBIDDEN,
    },
    "A39": {"[allowed.example]": MALFORMED, "[1.2.3.4]": MALFORMED, "[allowed.example": MALFORMED},
    "A40": {"evil.example\0.allowed.example": MALFORMED, "evil.example%00.allowed.example": MALFORMED},
    "S03": {"0x7f.1": MALFORMED, "[::ffff:127.0.0.1]": FORBIDDEN},
    "S06": {
        "a\r\nb": MALFORMED,
        "a b": MALFORMED,
        "user@a.example": MALFORMED,
        "a.example/": MALFORMED,
        "a\\b": MALFORMED,
    },
}


@pytest.mark.parametrize(
    ("case", "text", "code"), [(case, text, code) for case, hosts in CASES.items() for text, code in hosts.items()]
)
def test_host(case: str, text: str, code: str) -> None:
    assert outcome(text) == code


@pytest.mark.parametrize(
    "text",
    [
        *("169.254.169.254", "100.100.100.200", "[fe80::a9fe:a9fe]", "[fd00:ec2::254]", "[fd20:ce::254]"),
        *("[fd00:42::42]", "[fd00:c1::a9fe:a9fe]"),
    ],
)
def test_a19_a20_s01_metadata_is_never_dialled_even_where_everything_around_it_is_granted(text: str) -> None:
    host = canonical_host(text)
    grants = compile_grants(
        {
            "literal": DestinationSection(name=text, port=443, networks=("10.0.0.0/8", "100.64.0.0/10", "fc00::/7")),
            "name": DestinationSection(name="inside.example", port=443, networks=("100.64.0.0/10", "fc00::/7")),
        }
    )
    assert outcome(text, grants=grants) == FORBIDDEN
    assert outcome("inside.example", (host,), grants) == FORBIDDEN
    assert outcome("inside.example", ("100.64.0.1",), grants) == "dialled"


def test_a24_s04_our_own_ports_are_never_dialled() -> None:
    own = own_addresses([("127.0.0.1", 443), ("10.0.0.5", 443)])
    grants = compile_grants(
        {
            "pod": DestinationSection(
                name="pod.example", port=443, networks=("10.0.0.0/8", "127.0.0.0/8", "::1/128")
            ),
        }
    )
    for address in ("127.0.0.1", "127.0.0.2", "::1", "10.0.0.5", "::ffff:127.0.0.1"):
        assert outcome("pod.example", (address,), grants, own) == FORBIDDEN, address
    assert outcome("pod.example", ("10.0.0.6",), grants, own) == "dialled"


@pytest.mark.parametrize("position", [0, 1, 2])
@pytest.mark.parametrize("bad", ["127.0.0.1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1", "64:ff9b::7f00:1"])
def test_a26_one_bad_address_refuses_the_whole_answer(bad: str, position: int) -> None:
    found = [PUBLIC, "2606:4700:4700::1111"]
    found.insert(position, bad)
    assert outcome("api.example", tuple(found)) == FORBIDDEN


def test_a27_a_name_that_leads_to_metadata_is_refused() -> None:
    assert outcome("looks-harmless.example", ("169.254.169.254",)) == FORBIDDEN


def test_a28_a_private_address_needs_a_grant_for_that_name_and_network() -> None:
    assert outcome("intranet.example", ("10.1.2.3",)) == FORBIDDEN
    grants = compile_grants({"it": DestinationSection(name="intranet.example", port=443, networks=("10.1.0.0/16",))})
    assert outcome("intranet.example", ("10.1.2.3",), grants) == "dialled"
    assert outcome("intranet.example", ("10.2.2.3",), grants) == FORBIDDEN
    assert outcome("other.example", ("10.1.2.3",), grants) == FORBIDDEN
    with pytest.raises(Refused):  # and for that port
        check_addresses("intranet.example", 8443, ("10.1.2.3",), grants)


@pytest.mark.parametrize(
    ("case", "authority"),
    [
        ("A37", "a.example"),
        ("A38", "a@b:443"),
        ("A38", "a:443/x"),
        ("A38", "a:443?x"),
        ("A38", "a:443#x"),
        ("A39", "[allowed.example]:443"),
        ("A40", "evil.example\0.allowed.example:443"),
    ],
)
def test_authority_of_connect(case: str, authority: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_authority(authority)
    assert refused.value.code == MALFORMED


def test_a41_every_spelling_of_a_name_is_one_name() -> None:
    spellings = [
        "b\u00fccher.example",
        "B\u00dcCHER.EXAMPLE.",
        "xn--bcher-kva.example",
        "Xn--Bcher-KVA.example",
        "bu\u0308cher.example",
    ]
    assert {canonical_host(text) for text in spellings} == {"xn--bcher-kva.example"}


@pytest.mark.parametrize(
    ("host", "matches"),
    [
        ("api.allowed.example", True),
        ("notallowed.example", False),
        ("notallowed-example.com", False),
        ("allowed.example.evil.example", False),
        ("allowed.example", False),
        ("x.allowed.example.evil.example", False),
    ],
)
def test_a42_a_wildcard_is_about_labels_not_letters(host: str, matches: bool) -> None:
    assert host_matches("*.allowed.example", host) is matches
