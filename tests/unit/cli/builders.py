"""What the tests of commands share: how one is asked, and for ``sidecar policy`` a tenant's rules, tests, cases."""

from __future__ import annotations

from click.testing import CliRunner, Result

from sidecar.cli import main

GOOD = 'package sidecar.custom\n\nallow if input.tenant == "acme"\n'
TESTS = """package sidecar.custom_test

import data.sidecar.custom

test_ours if custom.allow with input.tenant as "acme"

test_theirs if not custom.allow with input.tenant as "{}"
"""
CASES = """\
cases:
  - {{name: ours, expect: allow, reasons: []}}
  - {{name: theirs, input: {{tenant: globex}}, expect: deny, reasons: [{}]}}
"""


def policy_command(*arguments: object, given: str | None = None) -> Result:
    """What ``sidecar policy`` says to these arguments, with ``given`` on its standard input."""
    return CliRunner().invoke(main, ["policy", *map(str, arguments)], input=given)


def credentials_command(*arguments: str, stdin: bytes | str = "") -> Result:
    """What ``sidecar credentials`` says to these arguments."""
    return CliRunner().invoke(main, ["credentials", *arguments], input=stdin)


def credentials_done(*arguments: str, stdin: bytes | str = "") -> Result:
    """The same of a command that succeeds."""
    result = credentials_command(*arguments, stdin=stdin)
    assert result.exit_code == 0, result.output
    return result
