"""What the tests of ``sidecar policy`` share: a tenant's rules, their tests, and how a command is asked."""

from __future__ import annotations

from click.testing import CliRunner, Result

from sidecar.cli import main

GOOD = 'package sidecar.custom\n\nallow if input.tenant == "acme"\n'
TESTS = """package sidecar.custom_test

import data.sidecar.custom

test_ours if custom.allow with input.tenant as "acme"

test_theirs if not custom.allow with input.tenant as "{}"
"""


def policy_command(*arguments: object) -> Result:
    """What ``sidecar policy`` says to these arguments."""
    return CliRunner().invoke(main, ["policy", *map(str, arguments)])
