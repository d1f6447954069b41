"""What an OPA server's answers say, and what is not one."""

from __future__ import annotations

import json
from typing import Any

import pytest

from sidecar.adapters.policy import server_answers as answers
from sidecar.adapters.policy.server_answers import Unusable

_PLAIN = b'{"provenance": {"bundles": {"a": {"revision": "r"}}}, %s}'
DATE = "Sat, 21 Nov 2026 04:20:00 GMT"
AT = "2026-11-21T04:19:40.316067979Z"
NEVER = "0001-01-01T00:00:00Z"


def answer(bundles: object, **more: object) -> bytes:
    return json.dumps({"provenance": {"version": "1.22.0", "bundles": bundles}, **more}).encode()


def test_a_decision_comes_with_the_revision_that_made_it() -> None:
    body = b'{"provenance":{"bundles":{"authz":{"revision":"sha256:1f"}}},"result":{"allow": true, "n": 1.0}}'
    assert answers.decided(body) == ("sha256:1f", b'{"allow": true, "n": 1.0}')


def test_an_undefined_result_is_none_and_null_is_not() -> None:
    assert answers.decided(answer({"a": {"revision": "r"}})) == ("r", None)
    assert answers.decided(answer({"a": {"revision": "r"}}, result=None)) == ("r", b"null")


@pytest.mark.parametrize(
    ("bundles", "revision"),
    [
        ({"authz": {"revision": "v1.2+git.abc"}}, "v1.2+git.abc"),
        ({"b": {"revision": "2"}, "a": {"revision": "1"}}, "a=1,b=2"),
    ],
)
def test_a_revision_is_what_the_manifests_say(bundles: object, revision: str) -> None:
    assert answers.decided(answer(bundles))[0] == revision


@pytest.mark.parametrize("odd", ["x" * 300, "two words", "ümlaut", "line\nbreak"])
def test_an_odd_revision_is_its_digest(odd: str) -> None:
    first = answers.decided(answer({"a": {"revision": odd}}))[0]
    assert first.startswith("sha256:") and len(first) == len("sha256:") + 64
    assert first != answers.decided(answer({"a": {"revision": f"{odd}2"}}))[0]


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b'{"result": {"allow": true}}', "names no revision"),
        (answer({}, result={"allow": True}), "names no revision"),
        (answer({"a": {"revision": ""}}, result={}), "has no revision"),
        (answer({"a": {"revision": "1"}, "b": {}}, result={}), "has no revision"),
        (b"", "shape"),
        (b"{}{}", "shape"),
        (b"[1]", "shape"),
        (b"<html>", "shape"),
        (b'{"result": {"allow": true}', "shape"),
        (b'{"result": 1, "provenance": []}', "shape"),
        (answer({"a": {"revision": 7}}, result={}), "shape"),
        (b'{"result": ' + b"[" * 100_000, "shape"),
        (_PLAIN % b'"result": {"allow": false, "allow": true}', "shape"),
        (_PLAIN % b'"result": {"allow": false}, "result": {"allow": true}', "shape"),
        (_PLAIN % b'"result": {"obligations": {"mask": ["/a"], "mask": []}}', "shape"),
        (_PLAIN % b'"result": {"allow": true, "\xff": 1}', "shape"),
        (_PLAIN % b'"\xff": 1', "shape"),
    ],
)
def test_p01_what_is_not_a_whole_decision_is_none(body: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        answers.decided(body)


def status(**bundle: object) -> bytes:
    good: dict[str, Any] = {
        "name": "authz",
        "active_revision": "r",
        "last_successful_activation": AT,
        "last_successful_request": AT,
        "metrics": {"timer_bundle_request_ns": 1},
    }
    return json.dumps({"result": {"labels": {}, "bundles": {"authz": good | bundle}, "plugins": {}}}).encode()


def test_a_status_without_errors_is_good() -> None:
    answers.check_status(status(), DATE, 600)
    answers.check_status(b'{"result": {"labels": {}}}', DATE, 600)  # nothing is downloaded: pushed, or from a file


def test_a_policy_that_nobody_changes_does_not_age() -> None:
    old = "2026-11-20T04:19:40Z"
    answers.check_status(status(last_successful_activation=old), DATE, 600)
    with pytest.raises(Unusable, match="older than 600 seconds"):
        answers.check_status(status(last_successful_activation=old, last_successful_request=old), DATE, 600)


def test_an_age_is_by_the_servers_own_clock() -> None:
    answers.check_status(status(), "Sat, 21 Nov 2026 04:29:39 GMT", 600)
    with pytest.raises(Unusable, match="older"):
        answers.check_status(status(), "Sat, 21 Nov 2026 04:29:41 GMT", 600)
    answers.check_status(status(), "no date", 1e9)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (status(code="bundle_error", message="bundle missing .signatures.json file"), "bundle authz failed"),
        (status(last_successful_activation=NEVER), "never activated"),
        (b'{"result": {"discovery": {"code": "bundle_error"}}}', "discovery"),
        (b'{"result": {"bundles": {"a": {}}}}', "shape"),
        (b'{"result": {"bundles": {"a": {"last_successful_activation": "soon"}}}}', "shape"),
        (status(last_successful_activation="2026-11-21T04:19:40"), "shape"),
        (b'{"result": {"bundles": {"\xff": {"last_successful_activation": "2026-11-21T04:19:40Z"}}}}', "shape"),
        (b"{}", "shape"),
        (b"OK", "shape"),
    ],
)
def test_a_status_that_is_not_good_says_why(body: bytes, why: str) -> None:
    with pytest.raises(Unusable, match=why):
        answers.check_status(body, DATE, 600)


def test_what_the_server_sent_is_not_repeated() -> None:
    secret = "s3cr3t-in-a-url"
    with pytest.raises(Unusable) as caught:
        answers.check_status(status(code="bundle_error", message=secret), DATE, 600)
    assert secret not in str(caught.value)
    odd = json.dumps({"result": {"bundles": {f"<b>{secret}\n": {"last_successful_activation": NEVER}}}}).encode()
    with pytest.raises(Unusable) as caught:
        answers.check_status(odd, DATE, 600)
    assert secret not in str(caught.value)


def test_modules_are_text_by_id() -> None:
    body = b'{"result": [{"id": "a.rego", "raw": "package a", "ast": {}}, {"id": "b.rego", "raw": "package b"}]}'
    assert answers.modules(body) == {"a.rego": "package a", "b.rego": "package b"}
    with pytest.raises(Unusable):
        answers.modules(b'{"result": [{"id": "a.rego"}]}')
    with pytest.raises(Unusable):
        answers.modules(b'{"result": [{"id": "a.rego", "raw": "\xff"}]}')


def test_a_failure_is_told_to_the_operator_in_few_words() -> None:
    body = {
        "code": "internal_error",
        "message": "m",
        "errors": [{"code": "eval_conflict_error", "message": "x" * 900}],
    }
    told = answers.failure(json.dumps(body).encode())
    assert told.startswith("internal_error: m; eval_conflict_error: xx") and len(told) == 500
    assert answers.failure(b"oops") == "no explanation"
