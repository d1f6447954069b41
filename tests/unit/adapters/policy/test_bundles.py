"""What a bundle must pass before it may decide; every refusal is told with its reason, and nothing is left behind."""

from __future__ import annotations

import gzip
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from sidecar.adapters.policy.bundles import Opened, Terms, ask_canaries, read_key
from sidecar.adapters.policy.embedded import Policy
from sidecar.adapters.policy.library import library
from sidecar.errors import Misconfigured
from tests.fakes import bundles as made

TEST = """package sidecar.custom_test

import data.sidecar.custom

test_agents_may if custom.allow with input.principal.id as "agent"
"""


@pytest.fixture
def terms(tmp_path: Path) -> Terms:
    keys = {"release": ("RS256", made.written_key(tmp_path))}
    return Terms(keys, "", True, 30.0, None, "acme", 1.0)


def codes(caught: pytest.ExceptionInfo[Misconfigured]) -> list[str]:
    return [reason.code for reason in caught.value.reasons]


def refused(terms: Terms, archive: bytes) -> str:
    """The one reason why an archive is not opened, after its code."""
    with pytest.raises(Misconfigured) as caught:
        Opened(terms, archive)
    [reason] = caught.value.reasons
    return f"{reason.code}: {reason.message}"


def loaded(terms: Terms, archive: bytes) -> Policy:
    return Opened(terms, archive).load()[0]


def not_loaded(terms: Terms, archive: bytes) -> list[str]:
    with pytest.raises(Misconfigured) as caught:
        Opened(terms, archive).load()
    return [f"{reason.code}: {reason.message}" for reason in caught.value.reasons]


def test_a_signed_bundle_is_opened_and_says_what_it_is(terms: Terms) -> None:
    about = Opened(terms, made.bundle(sequence=7, revision="2024-05")).about
    assert (about.revision, about.sequence, about.key) == ("2024-05", 7, "release")
    assert about.bundle.startswith("sha256:")
    assert about.digest != about.bundle  # the shipped rules are beside it


def test_a_bundle_is_signed_with_es256_as_well(terms: Terms, tmp_path: Path) -> None:
    keys = {"curve": ("ES256", made.written_key(tmp_path, "curve", "ES256"))}
    about = Opened(terms._replace(keys=keys), made.bundle(signer="curve", algorithm="ES256")).about
    assert about.key == "curve"


def test_the_digests_are_of_the_content_and_not_of_its_packing(terms: Terms) -> None:
    archive = made.bundle()
    again = gzip.compress(gzip.decompress(archive), 9)
    assert again != archive
    assert Opened(terms, again).about == Opened(terms, archive).about
    other = Opened(terms, made.bundle({"custom.rego": made.DENY})).about
    assert other.digest != Opened(terms, archive).about.digest
    alone = Opened(terms._replace(with_library=False), archive).about
    assert alone.bundle == Opened(terms, archive).about.bundle
    assert alone.digest != Opened(terms, archive).about.digest


def test_p03_an_unsigned_bundle_is_refused_where_keys_are_configured(terms: Terms) -> None:
    unsigned = made.bundle(signer=None)
    assert refused(terms, unsigned).startswith("unsigned:")
    assert Opened(terms._replace(keys={}), unsigned).about.key == ""


def test_p03_another_signer_is_refused(terms: Terms) -> None:
    assert refused(terms, made.bundle(signer="stranger")).startswith("unknown_key:")
    assert refused(terms, made.bundle(signer="stranger", key_id="release")).startswith("bad_signature:")


@pytest.mark.parametrize("algorithm", ["HS256", "RS512", "PS256"])
def test_p03_another_algorithm_than_the_keys_is_refused(terms: Terms, algorithm: str) -> None:
    archive = made.bundle(algorithm=algorithm)
    assert refused(terms, archive).startswith("wrong_algorithm:")


def test_p03_a_signature_of_no_algorithm_is_refused(terms: Terms) -> None:
    files = made.unpacked(made.bundle())
    document = json.loads(files["/.signatures.json"])
    payload = document["signatures"][0].split(".")[1]
    for head in ({"alg": "none", "kid": "release"}, {"alg": "RS256", "kid": "release"}):
        document["signatures"] = [f"{made.base64url(json.dumps(head).encode())}.{payload}."]
        code = refused(terms, made.packed(files | {"/.signatures.json": json.dumps(document).encode()}))
        assert code.startswith("wrong_algorithm:" if head["alg"] == "none" else "bad_signature:")


def test_p03_a_signature_for_another_scope_is_refused(terms: Terms) -> None:
    archive = made.bundle(claims={"keyid": "release", "scope": "staging"})
    assert Opened(terms._replace(scope="staging"), archive).about.key == "release"
    assert refused(terms._replace(scope="production"), archive).startswith("wrong_scope:")
    assert refused(terms, archive).startswith("wrong_scope:")
    assert refused(terms._replace(scope="production"), made.bundle()).startswith("wrong_scope:")


@pytest.mark.parametrize("change", ["rule", "data", "manifest", "more", "less"])
def test_p03_a_bundle_that_was_changed_after_signing_is_refused(terms: Terms, change: str) -> None:
    files = made.unpacked(made.bundle({"custom.rego": made.ALLOW, "sidecar/grants/data.json": '{"acme": {}}'}))
    match change:
        case "rule":
            files["/custom.rego"] += b"\n# more"
        case "data":
            files["/data.json"] = b'{"sidecar": {"grants": {"acme": {"roles": {}}}}}'
        case "manifest":
            files["/.manifest"] = made.manifest(99).encode()
        case "more":
            files["/more.rego"] = made.DENY.encode()
        case "less":
            del files["/data.json"]
    assert refused(terms, made.packed(files)).startswith("bundle_refused:")


def test_several_signatures_are_refused(terms: Terms) -> None:
    files = made.unpacked(made.bundle())
    document = json.loads(files["/.signatures.json"])
    document["signatures"] *= 2
    archive = made.packed(files | {"/.signatures.json": json.dumps(document).encode()})
    assert refused(terms, archive).startswith("bad_signature:")


def link(name: str, kind: bytes) -> bytes:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, "/etc/passwd"
    return made.packed_member(member)


RULE = {"custom.rego": made.ALLOW.encode()}
ARCHIVES: dict[str, bytes] = {
    "nothing": b"",
    "no archive": b"package sidecar.custom\n",
    "an empty archive": made.packed({}),
    "cut off in the middle": made.packed(RULE)[:60],
    "without the end of its gzip": made.packed(RULE)[:-8],
    "with a wrong checksum": made.packed(RULE)[:-8] + b"\0" * 8,
    "a name that leads out": made.packed(RULE | {"../custom.rego": b"package a"}),
    "a name that leads out in the middle": made.packed(RULE | {"a/../../custom.rego": b"package a"}),
    "an absolute name": made.packed(RULE | {"//etc/custom.rego": b"package a"}),
    "a backslash": made.packed(RULE | {"..\\custom.rego": b"package a"}),
    "a control character": made.packed(RULE | {"a\nb.rego": b"package a"}),
    "one file twice": made.packed(RULE | {"./custom.rego": b"package a"}),
    "a symbolic link": link("data.json", tarfile.SYMTYPE),
    "a hard link": link("data.json", tarfile.LNKTYPE),
    "a device": link("data.json", tarfile.CHRTYPE),
    "too deep": made.packed(RULE | {"a/" * 20 + "custom.rego": b"package a"}),
    "too many files": made.packed({f"{number}.rego": b"" for number in range(1001)}),
    "a file that is too large": made.packed(RULE | {"data.json": b" " * ((16 << 20) + 1)}),
    "too large together": made.packed({f"{number}/data.json": b" " * (15 << 20) for number in range(3)}),
    "a gzip bomb after the archive": gzip.compress(gzip.decompress(made.packed(RULE)) + b"\0" * (40 << 20), 9),
}


@pytest.mark.parametrize("what", ARCHIVES)
def test_an_archive_beyond_its_bounds_is_refused(terms: Terms, what: str) -> None:
    assert refused(terms._replace(keys={}), ARCHIVES[what]).startswith("archive_refused:")


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        (
            {".manifest": '{"rego_version": 0}', "custom.rego": "package a\n\nx { true }\n"},
            "manifest_refused: .manifest: the rules must be Rego version 1",
        ),
        ({".manifest": '{"metadata": {"sequence": "7"}}'}, "manifest_refused: .manifest: metadata.sequence"),
        ({".manifest": '{"metadata": {"sequence": -1}}'}, "manifest_refused: .manifest: metadata.sequence"),
        ({".manifest": '{"metadata": {"sequence": 1.5}}'}, "manifest_refused: .manifest: metadata.sequence"),
        ({".manifest": '{"roots": ["elsewhere"]}'}, "bundle_refused: "),
        ({".manifest": "{"}, "bundle_refused: "),
        ({"policy.wasm": "x"}, "bundle_refused: it holds compiled rules"),
        ({"patch.json": '{"data": [{"op": "upsert", "path": "/a", "value": 1}]}'}, "bundle_refused: "),
        ({"data.json": "[" * 100 + "]" * 100}, "bundle_refused: "),
        ({"data.json": '{"a": ' * 100 + "1" + "}" * 100}, "data_error: data: nested more than"),
        ({"data.json": '{"a": ' + "9" * 200 + "}"}, "data_error: data: the input has a number"),
    ],
)
def test_what_opa_would_take_and_a_sidecar_does_not(terms: Terms, files: dict[str, str], expected: str) -> None:
    content = RULE | {name: text.encode() for name, text in files.items()}
    assert refused(terms._replace(keys={}), made.packed(content)).startswith(expected)


def test_every_error_of_the_rules_is_told_with_file_and_line(terms: Terms) -> None:
    files = {"one.rego": "package one\n\nx = = 1\n", "two.rego": "package two\n\n\ny = = 1\n"}
    with pytest.raises(Misconfigured) as caught:
        Opened(terms._replace(keys={}), made.packed({name: text.encode() for name, text in files.items()}))
    told = [reason.message for reason in caught.value.reasons]
    assert any(text.startswith("one.rego:3: ") for text in told)
    assert any(text.startswith("two.rego:4: ") for text in told)


def test_a_policy_that_does_not_compile_is_refused(terms: Terms) -> None:
    archive = made.packed({"custom.rego": b"package sidecar.custom\n\nallow if nowhere\n"})  # `opa build` would not
    assert not_loaded(terms._replace(keys={}), archive) == [
        "rego_unsafe_var_error: custom.rego:3: var nowhere is unsafe"
    ]


def test_a_field_that_the_input_does_not_have_is_refused(terms: Terms) -> None:
    [told] = not_loaded(
        terms, made.bundle({"custom.rego": 'package sidecar.custom\n\nallow if input.principal.ids == "a"\n'})
    )
    assert told.startswith("rego_type_error: custom.rego:3: ")
    assert "ids" in told


def test_an_answer_that_no_sidecar_understands_is_refused_with_its_line(terms: Terms) -> None:
    rule = 'package sidecar.custom\n\ndeny contains {"code": "a", "mesage": "b"} if input.effect == "write"\n'
    told = not_loaded(terms, made.bundle({"custom.rego": rule}))
    assert all("custom.rego:3: " in text for text in told)
    assert any("did you mean 'message'" in text for text in told)
    alone = terms._replace(with_library=False)
    [told_of_true] = not_loaded(alone, made.bundle({"a.rego": "package sidecar.authz\n\ndecision := true\n"}))
    assert told_of_true == "wrong_type: a.rego:3: decision: must be an object"
    test = rule.replace("package sidecar.custom", "package sidecar.custom_test")
    assert loaded(terms, made.bundle({"custom_test.rego": test})).revision  # tests answer nobody


def test_ways_out_are_refused(terms: Terms) -> None:
    rule = 'package sidecar.custom\n\nallow if http.send({"method": "get", "url": "http://127.0.0.1"})\n'
    archive = made.packed({"custom.rego": rule.encode()})
    assert "http.send" in not_loaded(terms._replace(keys={}), archive)[0]


def test_its_own_tests_must_pass(terms: Terms) -> None:
    files = {"custom.rego": made.ALLOW, "custom_test.rego": TEST}
    assert Opened(terms, made.bundle(files)).load()[1] == 1
    [told] = not_loaded(terms, made.bundle(files | {"custom.rego": made.DENY + "\nallow if false\n"}))
    assert told == "test_failed: custom_test.rego:5: data.sidecar.custom_test.test_agents_may fails"


def test_tests_are_no_part_of_what_decides(terms: Terms) -> None:
    sneaky = "package sidecar.custom\n\nallow if true\n\ntest_x if true\n"
    policy = loaded(terms, made.bundle({"custom.rego": made.DENY, "sneaky_test.rego": sneaky}))
    with pytest.raises(Misconfigured):
        ask_canaries(policy, terms._replace(canaries=cases(terms, "allow")))


def test_tests_that_do_not_end_are_refused(terms: Terms) -> None:
    slow = (
        "package sidecar.custom_test\n\ntest_slow if {\n\tsome i in numbers.range(1, 100000)\n"
        "\tsome j in numbers.range(1, 100000)\n\ti * j == -1\n}\n"
    )
    archive = made.bundle({"custom.rego": made.ALLOW, "custom_test.rego": slow})
    told = not_loaded(terms._replace(test_seconds=0.2), archive)
    assert any(text.startswith(("tests_slow:", "test_failed:")) for text in told)


def test_what_was_active_before_is_not_tested_again(terms: Terms) -> None:
    files = {"custom.rego": made.ALLOW, "custom_test.rego": TEST.replace('"agent"', '"nobody"')}
    archive = made.bundle(files)
    assert not_loaded(terms, archive)
    assert Opened(terms, archive, again=True).load()[1] == 0


CANARIES = """\
cases:
  - name: the agent
    expect: EXPECTED
  - name: a stranger
    input: {principal: {id: stranger}}
    expect: deny
"""


def test_a_bundle_that_is_let_go_of_is_closed(terms: Terms) -> None:
    opened = Opened(terms, made.bundle())
    handle = opened._handle
    del opened
    with pytest.raises(Misconfigured, match="no bundle is open"):
        library().load_bundle(handle)


def cases(terms: Terms, expect: str) -> Path:
    [(_, key)] = terms.keys.values()
    path = key.parent / "canaries.yaml"
    path.write_text(CANARIES.replace("EXPECTED", expect))
    return path


def test_canaries_are_asked_what_they_expect(terms: Terms) -> None:
    policy = loaded(terms, made.bundle())
    assert ask_canaries(policy, terms) == 0
    assert ask_canaries(policy, terms._replace(canaries=cases(terms, "allow"))) == 2


def test_a_canary_that_is_decided_otherwise_refuses_with_its_line(terms: Terms) -> None:
    policy = loaded(terms, made.bundle())
    with pytest.raises(Misconfigured) as caught:
        ask_canaries(policy, terms._replace(canaries=cases(terms, "deny")))
    assert [(reason.code, reason.message) for reason in caught.value.reasons] == [
        ("canary_failed", "canaries.yaml:2: the agent: allow is True, expected False")
    ]


def test_canaries_that_cannot_be_read_refuse(terms: Terms, tmp_path: Path) -> None:
    policy = loaded(terms, made.bundle())
    with pytest.raises(Misconfigured) as caught:
        ask_canaries(policy, terms._replace(canaries=tmp_path / "gone.yaml"))
    assert codes(caught) == ["canaries_unreadable"]


@pytest.mark.parametrize(
    "decision",
    [
        'decision := {"allow": true, "reasons": [], "obligations": {}} if input.principal.id == "nobody"',
        'decision := {"allow": upper("yes"), "reasons": [], "obligations": {}}',
        'decision := {"allow": false, "reasons": [], "obligations": object.union({}, {"max_byte": 1})}',
    ],
)
def test_a_policy_whose_answer_is_no_decision_is_refused(terms: Terms, decision: str) -> None:
    alone = terms._replace(with_library=False)
    policy = loaded(alone, made.bundle({"a.rego": f"package sidecar.authz\n\n{decision}\n"}))
    with pytest.raises(Misconfigured) as caught:
        ask_canaries(policy, alone)
    assert codes(caught) == ["no_decision"]


SLOW = """package sidecar.authz

decision := {"allow": true, "reasons": [], "obligations": {}} if {
	some i in numbers.range(1, 100000)
	some j in numbers.range(1, 100000)
	i * j == -1
}
"""


def test_a_canary_that_takes_too_long_refuses(terms: Terms) -> None:
    alone = terms._replace(with_library=False, budget_seconds=0.01)
    with pytest.raises(Misconfigured, match="not in time"):
        ask_canaries(loaded(alone, made.bundle({"a.rego": SLOW})), alone)


def pem(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def unusable(tmp_path: Path) -> dict[str, tuple[str, Path]]:
    weak: Any = made.weak_key()
    return {
        "is no PEM": ("RS256", pem(tmp_path / "a", b"x")),
        "cannot be read": ("RS256", tmp_path / "gone"),
        "no PEM file of a public key": ("RS256", pem(tmp_path / "b", made.private_pem(made.key()))),
        "at least 2048 bits": ("RS256", pem(tmp_path / "c", made.public_pem(weak))),
        "needs a key on the curve P-256": ("ES256", pem(tmp_path / "d", made.public_pem(made.key()))),
        "RS256 needs an RSA key": ("RS256", pem(tmp_path / "e", made.public_pem(made.key("curve", "ES256")))),
    }


def test_a_key_that_cannot_verify_is_refused_with_its_file(terms: Terms, tmp_path: Path) -> None:
    for told, (algorithm, path) in unusable(tmp_path).items():
        with pytest.raises(Misconfigured, match=told) as caught:
            read_key(algorithm, path)
        assert codes(caught) == ["unusable_key"]
        assert path.name in caught.value.detail
    with pytest.raises(Misconfigured):
        Opened(terms._replace(keys={"release": ("RS256", tmp_path / "gone")}), made.bundle())
