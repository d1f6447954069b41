from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import click
import pytest

from sidecar.cli import main
from sidecar.cli.credentials_terms import moment, now
from sidecar.rules.credential_terms import DAY
from tests.fakes.certificates import Authority
from tests.unit.cli.builders import credentials_command as run
from tests.unit.cli.builders import credentials_done as done
from tests.unit.config.builders import changed, written

pytestmark = pytest.mark.usefixtures("own_folder")


def written_days_ago(monkeypatch: pytest.MonkeyPatch, days: int) -> None:
    at = datetime.now(UTC) - timedelta(days=days)

    class Past(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:  # type: ignore[override]  # one zone is asked for
            return at

    monkeypatch.setattr("sidecar.adapters.credentials.sealed.folder.datetime", Past)


def test_what_ends_soon_is_listed_soonest_first_with_a_certificates_own_end(tmp_path: Path) -> None:
    done("new-key")
    done("put", "never", stdin="first-value")
    done("put", "later", "--expires", "60d", stdin="first-value")
    done("put", "soon", "--expires", "10d", stdin="first-value")
    done("put", "client", "--kind", "CERTIFICATE", stdin=Authority(tmp_path).client(days=2))
    rows = json.loads(done("expiring", "-o", "json").stdout)
    assert [row["reference"] for row in rows] == ["encrypted://client", "encrypted://soon"]
    assert 1 < rows[0]["days_left"] <= 2
    assert 9 < rows[1]["days_left"] <= 10
    assert len(json.loads(done("expiring", "--days", "90", "-o", "json").stdout)) == 3
    table = done("expiring").stdout
    assert "encrypted://soon" in table
    assert "UTC" in table


def test_what_is_to_be_rotated_is_listed_most_overdue_first(monkeypatch: pytest.MonkeyPatch) -> None:
    done("new-key")
    done("put", "unpromised", stdin="first-value")
    with monkeypatch.context() as past:
        written_days_ago(past, 10)
        done("put", "overdue", "--rotate-days", "7", stdin="first-value")
        done("put", "to-come", "--rotate-days", "30", stdin="first-value")
    rows = json.loads(done("rotatable", "-o", "json").stdout)
    assert [(row["reference"], row["overdue_days"]) for row in rows] == [
        ("encrypted://overdue", 3.0),
        ("encrypted://to-come", -20.0),
        ("encrypted://unpromised", None),
    ]
    (row,) = json.loads(done("rotatable", "--overdue", "-o", "json").stdout)
    assert row["reference"] == "encrypted://overdue"
    assert "overdue_days" in done("rotatable").stdout
    done("rotate", "overdue", stdin="second-value")
    assert json.loads(done("rotatable", "--overdue", "-o", "json").stdout) == []


@pytest.mark.parametrize("command", ["list", "expiring", "rotatable"])
def test_a_store_that_does_not_answer_does_not_hide_the_others(tmp_path: Path, command: str) -> None:
    vault = {"address": "http://127.0.0.1:1", "login": {"method": "token", "file": "token"}, "timeout_seconds": 1}
    document = changed("store", {"key_file": "master.key", "directory": "store"}, changed("vault", vault))
    written(tmp_path, document)
    (tmp_path / "token").touch(mode=0o600)
    (tmp_path / "token").write_text("canary-token")
    done("new-key")
    done("put", "github", "--expires", "1d", stdin="first-value")
    partly = run(command, "-o", "json")
    assert partly.exit_code == 1
    assert [row["reference"] for row in json.loads(partly.stdout)] == ["encrypted://github"]
    assert "vault: " in partly.stderr
    assert "store_unreachable" in partly.stderr
    assert "canary" not in partly.output
    assert done(command, "--store", "encrypted").exit_code == 0
    alone = run(command, "--store", "vault")
    assert (alone.exit_code, alone.stdout) == (1, "")
    assert "store_unreachable" in alone.stderr


def test_an_end_is_so_many_days_away_or_a_date_or_a_time() -> None:
    context, option = click.Context(main), click.Option(["--expires"])
    assert moment(context, option, None) is None
    assert 89 * DAY < (moment(context, option, "90d") or 0) - now() <= 90 * DAY
    assert moment(context, option, "1970-01-02") == DAY
    assert moment(context, option, "1970-01-02T01:00:00+01:00") == DAY
    for text in ("tomorrow", "0d", "90", "2027-13-01", ""):
        with pytest.raises(click.BadParameter):
            moment(context, option, text)
