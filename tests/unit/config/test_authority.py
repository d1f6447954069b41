"""Hosts in one spelling only."""

from __future__ import annotations

import pytest

from sidecar.config.authority import base_url, host, host_port
from sidecar.model.hosts import BaseUrl


@pytest.mark.parametrize(
    ("text", "base"),
    [
        ("https://api.example.com", BaseUrl("https", "api.example.com", 443, "")),
        ("https://api.example.com/", BaseUrl("https", "api.example.com", 443, "")),
        ("http://127.0.0.1:8000/v1/", BaseUrl("http", "127.0.0.1", 8000, "/v1")),
        ("https://[2001:db8::1]:8443/a/b", BaseUrl("https", "2001:db8::1", 8443, "/a/b")),
        ("https://[2001:db8::1]", BaseUrl("https", "2001:db8::1", 443, "")),
        ("https://xn--bcher-kva.example", BaseUrl("https", "xn--bcher-kva.example", 443, "")),
    ],
)
def test_base_urls(text: str, base: BaseUrl) -> None:
    assert base_url(text) == base


@pytest.mark.parametrize(
    "text",
    [
        *("https://API.example.com", "https://api.example.com.", "https://my_host.example", "https://-a.example"),
        *(
            "https://2130706433",
            "https://0x7f.1",
            "https://127.1",
            "https://0177.0.0.1",
            "https://1.2.3.4.5",
            "https://0",
        ),
        *("https://bücher.example", "https://①②⑦.⓪.⓪.①", "https://xn--a", "https://xn--BCHER-kva.example"),
        *("https://[::ffff:127.0.0.1]", "https://[fe80::1%25eth0]", "https://[2001:DB8::1]", "https://2001:db8::1"),
        *("https://[api.example.com]", "https://[]", "https://", "https:///a", "https://a..b", "https://a b.example"),
        *("https://api.example.com:0", "https://api.example.com:65536", "https://api.example.com:", "https://a:٣"),
        *("https://api.example.com/../x", "https://api.example.com//x", "https://api.example.com/./x"),
        *("https://api.example.com/%2e", "https://api.example.com/a;b", "https://api.example.com/a\\b"),
        *("https://api.example.com?x=1", "https://api.example.com#x", "ftp://api.example.com", "api.example.com"),
        *("https://api.example.com\n", "https://api.example.com\x00", "https://" + "a" * 64 + ".example"),
        "https://" + ".".join(["a" * 60] * 5),
    ],
)
def test_other_spellings_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\w"):
        base_url(text)


def test_inv_5_a_password_in_a_url_is_refused_unseen() -> None:
    with pytest.raises(ValueError, match="use auth with a credential") as raised:
        base_url("https://user:canary@api.example.com")
    assert "canary" not in str(raised.value)


def test_host_and_port() -> None:
    assert host_port("crm.example.com:443") == ("crm.example.com", 443)
    assert host_port("[::1]:80") == ("::1", 80)
    with pytest.raises(ValueError, match="has no port"):
        host_port("crm.example.com")
    with pytest.raises(ValueError, match="has no port"):
        host_port("[::1]")
    assert host("10.0.0.1") == "10.0.0.1"
