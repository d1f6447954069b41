from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest
import yaml

from sidecar.adapters.credentials.sealed import master_key
from sidecar.adapters.credentials.sealed.store import SealedStore
from sidecar.model.credential import Reference
from sidecar.rules.credential_terms import DAY
from tests.fakes.certificates import Authority
from tests.unit.cli.builders import credentials_command as run
from tests.unit.cli.builders import credentials_done as done

pytestmark = pytest.mark.usefixtures("own_folder")


def value(name: str, directory: str = "credentials", key_file: str = "credentials/master.key") -> bytes:
    store = SealedStore(Path(directory), Path(key_file))
    return asyncio.run(store.resolve(Reference("encrypted", name))).secret.reveal()


def test_put_list_rotate_and_delete_beside_no_configuration_at_all() -> None:
    done("new-key")
    put = done("put", "github", "--kind", "OAUTH", stdin="first-value\n")
    assert put.stdout == ""
    assert "encrypted://github" in put.stderr
    assert value("github") == b"first-value"
    done("rotate", "github", stdin="second-value\r\n")
    assert value("github") == b"second-value"
    listed = json.loads(done("list", "-o", "json").stdout)
    assert [(row["reference"], row["kind"], row["version"], row["state"]) for row in listed] == [
        ("encrypted://github", "OAUTH", "2", "ok")
    ]
    assert yaml.safe_load(done("list", "-o", "yaml").stdout) == listed
    table = done("list").stdout
    assert "github" in table
    assert "value" not in table
    done("delete", "github", "--yes")
    assert json.loads(done("list", "-o", "json").stdout) == []


def test_the_configuration_and_then_flags_say_where_the_store_is(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    config = tmp_path / "etc" / "sidecar.yaml"
    config.write_text("tenant: acme\nstore: {directory: sealed, key_file: keys/master}\n")
    done("new-key", "-c", str(config))
    done("put", "github", "-c", str(config), stdin="first-value")
    assert value("github", "etc/sealed", "etc/keys/master") == b"first-value"
    places = ("--directory", "other", "--key-file", "other.key")
    done("new-key", *places)
    done("put", "github", *places, stdin="other-value")
    assert value("github", "other", "other.key") == b"other-value"
    assert run("list", "-c", "none.yaml").exit_code == 1


def test_only_the_last_line_break_is_dropped_and_none_from_a_key_file(tmp_path: Path) -> None:
    done("new-key")
    done("put", "padded", stdin="  value with spaces  \n")
    assert value("padded") == b"  value with spaces  "
    authority = Authority(tmp_path)
    first, second = (authority.client().partition(b"-----BEGIN CERT")[0] for _ in range(2))
    done("put", "ssh", "--kind", "SSH_KEY", stdin=first)
    assert value("ssh") == first
    done("rotate", "ssh", stdin=second)
    assert value("ssh") == second
    done("put", "binary", "--kind", "CUSTOM", stdin=b"\xff\xfe\xfd\xfc\xfb")
    assert value("binary") == b"\xff\xfe\xfd\xfc\xfb"


@pytest.mark.parametrize("stdin", ["", "\n", "two\nlines-of-it", "two\n\n", "x" * 70_000])
def test_a87_a_value_that_cannot_be_used_is_refused(stdin: str) -> None:
    done("new-key")
    refused = run("put", "github", stdin=stdin)
    assert refused.exit_code == 1
    assert json.loads(done("list", "-o", "json").stdout) == []


def test_a_short_value_is_stored_with_a_warning() -> None:
    done("new-key")
    assert "easy to guess" in done("put", "github", stdin="abcdef").stderr
    assert "easy to guess" not in done("put", "github", stdin="abcdefgh").stderr


@pytest.mark.parametrize("command", ["put", "rotate"])
@pytest.mark.parametrize("more", [["hunter2-value"], ["--hunter2-value"], ["-hunter2-value"], ["a", "hunter2-value"]])
def test_inv_5_an_argument_is_never_a_value(command: str, more: list[str]) -> None:
    refused = run(command, "github", *more, stdin="first-value")
    assert refused.exit_code == 2
    assert "stdin" in refused.stderr
    assert "hunter2" not in refused.output


def test_a_value_is_asked_for_where_a_person_sits(monkeypatch: pytest.MonkeyPatch) -> None:
    done("new-key")
    asked: list[dict[str, object]] = []

    def prompt(_text: str, **how: object) -> str:
        asked.append(how)
        return "typed-value"

    monkeypatch.setattr("click.prompt", prompt)
    monkeypatch.setattr("sidecar.cli.credentials_value._is_typed", lambda: True)
    done("put", "github")
    assert value("github") == b"typed-value"
    assert asked == [{"hide_input": True, "confirmation_prompt": True, "err": True}]


def test_deleting_asks_first() -> None:
    done("new-key")
    done("put", "github", stdin="first-value")
    assert run("delete", "github", stdin="n\n").exit_code == 1
    assert len(json.loads(done("list", "-o", "json").stdout)) == 1
    done("delete", "github", stdin="y\n")
    assert run("delete", "github", "--yes").exit_code == 1


def test_the_master_key_is_rotated_and_never_replaced() -> None:
    done("new-key")
    assert run("new-key").exit_code == 1
    done("put", "github", stdin="first-value")
    before = master_key.load(Path("credentials/master.key"))
    assert "1 credentials" in done("rotate", "--master").stderr
    assert master_key.load(Path("credentials/master.key")) != before
    assert value("github") == b"first-value"


def test_a_store_whose_key_is_lost_gets_no_new_one() -> None:
    done("new-key")
    done("put", "github", stdin="first-value")
    Path("credentials/master.key").unlink()
    refused = run("new-key")
    assert refused.exit_code == 1
    assert "restore that key" in refused.stderr


def test_a_broken_credential_is_listed_as_such() -> None:
    done("new-key")
    done("put", "github", stdin="first-value")
    Path("credentials/github.sealed").write_bytes(b"{}")
    (row,) = json.loads(done("list", "-o", "json").stdout)
    assert (row["state"], row["version"]) == ("broken", "broken")
    assert "broken" in done("list").stdout


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("rotate",), 2),
        (("rotate", "github", "--master"), 2),
        (("rotate", "github"), 1),
        (("put", "Bad Name"), 1),
        (("delete", "../x", "--yes"), 1),
        (("put", "github", "--kind", "ODD"), 2),
    ],
)
def test_wrong_usage_and_a_refusal_have_exit_codes_of_their_own(arguments: tuple[str, ...], code: int) -> None:
    done("new-key")
    assert run(*arguments, stdin="first-value").exit_code == code


def test_terms_are_shown_and_changed_and_the_value_stays() -> None:
    done("new-key")
    done("put", "github", "--kind", "BEARER_TOKEN", "--expires", "90d", "--rotate-days", "30", stdin="first-value")
    shown = json.loads(done("show", "encrypted://github", "-o", "json").stdout)
    assert (shown["reference"], shown["kind"], shown["version"]) == ("encrypted://github", "BEARER_TOKEN", "1")
    assert 89 * DAY < shown["expires"] - time.time_ns() // 1000 <= 90 * DAY
    assert shown["rotate_days"] == 30
    assert "BEARER_TOKEN" in done("show", "github").stdout
    done("update", "github", "--expires", "2090-01-01T00:00:00Z")
    shown = json.loads(done("show", "github", "-o", "json").stdout)
    assert (shown["expires"], shown["rotate_days"], shown["version"]) == (3_786_912_000_000_000, 30, "1")
    done("update", "github", "--never-expires", "--no-rotation")
    shown = json.loads(done("show", "github", "-o", "json").stdout)
    assert (shown["expires"], shown["rotate_days"], shown["kind"]) == (None, None, "BEARER_TOKEN")
    assert value("github") == b"first-value"


def test_a_rotation_keeps_what_is_not_said_but_for_the_end() -> None:
    done("new-key")
    done("put", "github", "--kind", "OAUTH", "--expires", "1d", "--rotate-days", "30", stdin="first-value")
    done("rotate", "github", stdin="second-value")
    shown = json.loads(done("show", "github", "-o", "json").stdout)
    assert (shown["version"], shown["kind"], shown["expires"], shown["rotate_days"]) == ("2", "OAUTH", None, 30)
    done("put", "github", "--kind", "API_KEY", "--expires", "2d", stdin="third-value")
    shown = json.loads(done("show", "github", "-o", "json").stdout)
    assert (shown["version"], shown["kind"]) == ("3", "API_KEY")
    assert shown["expires"] is not None


def test_a_broken_credential_is_put_anew_or_deleted() -> None:
    done("new-key")
    for _ in range(2):
        done("put", "github", stdin="first-value")
        Path("credentials/github.sealed").write_bytes(b"{}")
    done("delete", "github", "--yes")
    assert json.loads(done("list", "-o", "json").stdout) == []


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("update", "github"), 2),
        (("update", "github", "--expires", "1d", "--never-expires"), 2),
        (("update", "github", "--rotate-days", "1", "--no-rotation"), 2),
        (("update", "github", "--rotate-days", "0"), 2),
        (("update", "github", "--expires", "tomorrow"), 2),
        (("update", "github", "--expires", "2020-01-01"), 1),
        (("update", "missing", "--rotate-days", "1"), 1),
        (("show", "missing"), 1),
        (("show", "vault://secret/acme/crm"), 1),
        (("show", "github@1"), 1),
        (("delete", "missing", "--yes"), 1),
    ],
)
def test_what_cannot_be_done_is_refused_with_a_reason(arguments: tuple[str, ...], code: int) -> None:
    done("new-key")
    done("put", "github", stdin="first-value")
    refused = run(*arguments)
    assert refused.exit_code == code
    assert len(refused.stderr) > 20
    assert "Traceback" not in refused.stderr


def test_a_store_that_cannot_be_used_says_what_is_wrong_with_it() -> None:
    refused = run("put", "github", stdin="first-value")
    assert refused.exit_code == 1
    assert "there is no master key at" in refused.stderr
    done("new-key")
    Path("credentials").chmod(0o755)
    assert "0755" in run("list").stderr


def test_a_refusal_says_its_reason_once_and_with_its_code() -> None:
    done("new-key")
    refused = run("put", "github", stdin="abc")
    assert refused.stderr.count("shorter than") == 1
    assert "[too_short]" in refused.stderr
