"""What the tests of ``sidecar policy`` share: a tenant's rules, their tests and cases, and how a command is asked."""

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
