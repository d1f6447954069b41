from __future__ import annotations

import pytest

from sidecar.errors import Refused
from sidecar.model.hosts import (
    BaseUrl,
    canonical_host,
    host_matches,
    is_ip_literal,
    parse_authority,
    parse_base_url,
    parse_port,
)


@pytest.mark.parametrize(
    ("text", "canonical"),
    [
        ("api.example", "api.example"),
        ("API.Example.", "api.example"),
        ("München.example", "xn--mnchen-3ya.example"),
        ("xn--mnchen-3ya.example", "xn--mnchen-3ya.example"),
        ("XN--MNCHEN-3YA.EXAMPLE", "xn--mnchen-3ya.example"),
        ("faß.example", "xn--fa-hia.example"),  # non-transitional: not fass.example
        ("r3---node.example", "r3---node.example"),
        ("1password.example", "1password.example"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
        (".".join(["a" * 61, *["a" * 63] * 3]) + ".", ".".join(["a" * 61, *["a" * 63] * 3])),  # 253 and the root
        ("192.0.2.1", "192.0.2.1"),
        ("[2001:DB8:0:0::1]", "2001:db8::1"),
        ("2001:db8::1", "2001:db8::1"),
        ("[::ffff:192.0.2.1]", "192.0.2.1"),
        ("localhost.", "localhost"),
    ],
)
def test_a_host_has_one_canonical_form(text: str, canonical: str) -> None:
    assert canonical_host(text) == canonical
    assert canonical_host(canonical) == canonical


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "a..example",
        ".example",
        "a.example..",
        "-a.example",
        "a-.example",
        "a_b.example",
        "a" * 64 + ".example",
        ".".join(["a" * 49] * 6),
        ".".join(["a" * 62, "a" * 63, "a" * 63, "a" * 63]),  # 254 characters
        ".".join(["\u00fc" * 30] * 7),  # short enough until it is Punycode
        "b\u00fccher\u3002example",
        "b\u00fccher\uff0eexample",
        "b\u00fccher\uff61example",
        "xn--abc-.example",
        "xn--a.example",
        "xn--n3h.example",  # a snowman: not in IDNA 2008
        "\u0661.example",
        "\ud800.example",
        "*.example",
        "a.example\n",
        "a.example\t",
        "[2001:db8::1",
        "2001:db8::1]",
        "[]",
        "[:]",
        "1.2.3",
        "1.2.3.4.",
        "1.2.3.4.5",
        "256.1.1.1",
        "a.0xzz.0x",
        "a.09",
    ],
)
def test_odd_forms_are_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        canonical_host(text)
    assert refused.value.code == "malformed"


def test_a_refusal_does_not_repeat_the_hostile_text() -> None:
    with pytest.raises(Refused) as refused:
        canonical_host("evil\r\nInjected: 1")
    assert "evil" not in str(refused.value)


@pytest.mark.parametrize(
    ("host", "literal"),
    [
        ("192.0.2.1", True),
        ("::1", True),
        ("2001:db8::a", True),
        ("a.example", False),
        ("1.example", False),
        ("localhost", False),
        ("deadbeef", False),
    ],
)
def test_literals_are_told_from_names(host: str, literal: bool) -> None:
    assert is_ip_literal(host) is literal


@pytest.mark.parametrize(("text", "port"), [("1", 1), ("443", 443), ("65535", 65535)])
def test_ports(text: str, port: int) -> None:
    assert parse_port(text) == port


@pytest.mark.parametrize(
    "text", ["", "0", "65536", "99999", "0443", "+443", " 443", "4_43", "\u0664\u0664\u0663", "443\n", "1e3", "-1"]
)
def test_odd_ports_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_port(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a.example:443", ("a.example", 443)),
        ("[::1]:8443", ("::1", 8443)),
        ("A.example", ("a.example", 80)),
        ("[2001:db8::1]", ("2001:db8::1", 80)),
    ],
)
def test_an_authority_is_host_and_port(text: str, expected: tuple[str, int]) -> None:
    assert parse_authority(text, 80) == expected


@pytest.mark.parametrize(
    "text", ["a.example:", "a.example:443:1", "::1:443", "[::1]443", "u@a.example:443", ":443", "a/b:1"]
)
def test_odd_authorities_are_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_authority(text, 80)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://api.example", BaseUrl("https", "api.example", 443, "")),
        ("http://API.example/", BaseUrl("http", "api.example", 80, "")),
        ("https://api.example:8443/v1/", BaseUrl("https", "api.example", 8443, "/v1")),
        ("https://[::1]:1/a%20b/c.d", BaseUrl("https", "::1", 1, "/a%20b/c.d")),
    ],
)
def test_a_base_url_comes_apart(text: str, expected: BaseUrl) -> None:
    assert parse_base_url(text) == expected


@pytest.mark.parametrize(
    "text",
    [
        "ftp://api.example",
        "HTTPS://api.example",
        "https:/api.example",
        "https://",
        "https://user@api.example/",
        "https://api.example/a?b",
        "https://api.example/a#b",
        "https://api.example?b",
        "https://api.example\\@evil.example/",
        "https://api.example/a//b",
        "https://api.example/a/../b",
        "https://api.example/a/.",
        "https://api.example/..",
        "https://api.example/a/%2e%2E/b",
        "https://api.example/a%2Fb",
        "https://api.example/a%5cb",
        "https://api.example/a%00",
        "https://api.example/a%zz",
        "https://api.example/a;b",
        "https://api.example/a b",
        "https://api.example/ä",
        " https://api.example/",
    ],
)
def test_odd_base_urls_are_refused(text: str) -> None:
    with pytest.raises(Refused) as refused:
        parse_base_url(text)
    assert refused.value.code == "malformed"


@pytest.mark.parametrize(
    ("pattern", "host", "matches"),
    [
        ("a.example", "a.example", True),
        ("a.example", "b.a.example", False),
        ("*.example", "a.example", True),
        ("*.a.example", "c.b.a.example", True),
        ("*.a.example", "a.example", False),
        ("*.a.example", "ba.example", False),
        ("*.a.example", "a.example.evil.example", False),
        ("*.2.1", "192.0.2.1", False),
    ],
)
def test_a_wildcard_covers_names_below_only(pattern: str, host: str, matches: bool) -> None:
    assert host_matches(pattern, host) is matches


def test_an_ipv6_address_without_brackets_is_explained() -> None:
    with pytest.raises(Refused, match="must stand in brackets"):
        parse_authority("2001:db8::1:443")
