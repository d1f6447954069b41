from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sidecar.errors import Misconfigured
from sidecar.model.credential import Reference
from sidecar.rules.references import check_identifier, parse, parse_stored


@pytest.mark.parametrize(
    ("text", "reference"),
    [
        ("encrypted://github", Reference("encrypted", "github")),
        ("encrypted://git-hub.v2_x", Reference("encrypted", "git-hub.v2_x")),
        ("env://GITHUB_TOKEN", Reference("env", "GITHUB_TOKEN")),
        ("env://_x1", Reference("env", "_x1")),
        ("vault://secret/data/github#token", Reference("vault", "secret/data/github", "token")),
        ("vault://kv#a.b-c_d", Reference("vault", "kv", "a.b-c_d")),
        ("vault://secret/acme/crm@3#token", Reference("vault", "secret/acme/crm", "token", "3")),
        ("aws://acme/crm", Reference("aws", "acme/crm")),
        ("aws://acme/crm#token", Reference("aws", "acme/crm", "token")),
        ("aws://acme/crm@AWSPREVIOUS", Reference("aws", "acme/crm", None, "AWSPREVIOUS")),
        (
            "aws://acme/crm@1b2c3d4e-5f60-4a7b-8c9d-0e1f2a3b4c5d#token",
            Reference("aws", "acme/crm", "token", "1b2c3d4e-5f60-4a7b-8c9d-0e1f2a3b4c5d"),
        ),
    ],
)
def test_a_reference_is_read_and_written_the_same_way(text: str, reference: Reference) -> None:
    assert parse(text) == reference
    assert str(reference) == text


ODD = [
    "",
    "github",
    "encrypted:github",
    "encrypted:/github",
    "ENCRYPTED://github",
    "Vault://a#b",
    " encrypted://github",
    "encrypted://github ",
    "encrypted://github\n",
    "encrypted://",
    "encrypted://GitHub",
    "encrypted://../master",
    "encrypted://a/b",
    "encrypted://.hidden",
    "encrypted://a.",
    "encrypted://a%2fb",
    "encrypted://a#b",
    "encrypted://a#",
    "encrypted://a?b",
    "encrypted://gïthub",
    "encrypted://" + "a" * 65,
    "encrypted://encrypted://a",
    "env://",
    "env://1A",
    "env://A-B",
    "env://A B",
    "env://A#b",
    "env://A\0",
    "env://PATH=x",
    "vault://",
    "vault://a",
    "vault://a@#b",
    "vault://a@0#b",
    "vault://a@x#b",
    "vault://a#b@3",
    "vault://a@3",
    "vault://a@3@4#b",
    "vault://@3#b",
    "aws://",
    "aws://a/../b",
    "aws://a//b",
    "aws://a@",
    "aws://a@b/c",
    "aws://a#",
    "aws://a@sk-proj-9f8e7d6c5b4a39281706",
    "encrypted://a@1",
    "env://A@1",
    "vault://a#",
    "vault://#a",
    "vault:///a#b",
    "vault://a/#b",
    "vault://a//b#c",
    "vault://a/../b#c",
    "vault://a/./b#c",
    "vault://a/b#c#d",
    "vault://a/b#c/d",
    "vault://user@a/b#c",
    "vault://a:8200/b#c",
    "vault://a/b?version=1#c",
    "vault://a/%2e%2e/b#c",
    "vault://a b#c",
    "vault://" + "a/" * 300 + "b#c",
    "file:///etc/passwd",
    "https://vault/a#b",
]


@pytest.mark.parametrize("text", ODD)
def test_every_odd_form_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        parse(text)


RAW = [
    "sk-proj-Ab12Cd34Ef56Gh78Ij90",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "AKIAIOSFODNN7EXAMPLE",
    "Bearer 8f14e45fceea167a5a36dedd4bea2543",
    "hunter2:// and more",
    "postgres://user:hunter2@db/app",
    "encrypted://sk-proj-ab12cd34ef56gh78ij90",
    "encrypted://8f14e45fceea167a5a36dedd4bea2543",
    "vault://ghp_16C7e42F292c6912E7710c838347Ae178B4a#x",
    "vault://kv/app#ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "env://ghp_16C7e42F292c6912E7710c838347Ae178B4a",
]


@pytest.mark.parametrize("text", RAW)
def test_inv_5_a_raw_secret_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Misconfigured) as refusal:
        parse(text)
    shown = f"{refusal.value} {refusal.value!r} {refusal.value.reasons}"
    for part in text.replace("://", " ").replace("#", " ").split():
        assert part in ("encrypted", "vault", "env", "and", "more", "kv/app", "x") or part not in shown


def test_what_is_not_text_is_refused() -> None:
    for value in (None, 1, b"encrypted://a", ["encrypted://a"]):
        with pytest.raises(Misconfigured):
            parse(value)  # type: ignore[arg-type]  # what a YAML file may hold


@given(st.text(max_size=40))
def test_whatever_is_read_is_written_the_same(text: str) -> None:
    for candidate in (text, f"encrypted://{text}", f"vault://{text}", f"env://{text}"):
        try:
            reference = parse(candidate)
        except Misconfigured:
            continue
        assert str(reference) == candidate


@pytest.mark.parametrize("text", ["", "A", "a/b", "..", "a\n", "-a", "8f14e45fceea167a5a36dedd4bea2543"])
def test_an_id_that_could_not_name_a_credential_is_refused(text: str) -> None:
    with pytest.raises(Misconfigured):
        check_identifier(text)


@pytest.mark.parametrize("text", ["encrypted://github", "vault://kv/crm#token", "aws://acme/crm", "aws://acme/crm#a"])
def test_an_administrator_names_a_credential_as_a_configuration_does(text: str) -> None:
    assert parse_stored(text) == parse(text)


def test_an_administrator_may_name_a_secret_as_a_whole() -> None:
    assert parse_stored("vault://kv/crm") == Reference("vault", "kv/crm")


@pytest.mark.parametrize("text", ["vault://kv//crm", "vault://kv/crm#", "vault://kv/crm#a/b", "crm", ""])
def test_what_an_administrator_names_is_otherwise_read_as_strictly(text: str) -> None:
    with pytest.raises(Misconfigured):
        parse_stored(text)
