"""No core is dumped, whatever the limit was before; each look is at a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

START = """
import ctypes, os, resource, sys
from sidecar.adapters.dumps import forbid_dumps
soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
if sys.argv[1] == "forbid":
    forbid_dumps()
"""
LOOK = (
    START + "print(*resource.getrlimit(resource.RLIMIT_CORE), ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))"
)  # PR_GET_DUMPABLE


def run(program: str, how: str, folder: Path) -> subprocess.CompletedProcess[str]:
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", program, how]
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=60, check=False
    )


def test_c03_a_process_dumps_no_core_and_is_not_dumpable(tmp_path: Path) -> None:
    done = run(LOOK, "forbid", tmp_path)
    assert done.stdout.split() == ["0", "0", "0"], done.stderr


def test_the_look_tells_a_process_that_may_be_dumped(tmp_path: Path) -> None:
    assert run(LOOK, "leave", tmp_path).stdout.split()[-1] == "1"


def test_c03_a_process_that_aborts_leaves_no_core(tmp_path: Path) -> None:
    program = START + "pid = os.fork()\nif pid == 0: os.abort()\nprint(os.WCOREDUMP(os.waitpid(pid, 0)[1]))"
    assert run(program, "forbid", tmp_path).stdout.split() == ["False"]
    assert list(tmp_path.iterdir()) == []


def test_certificates_are_still_loaded_from_memory(tmp_path: Path) -> None:
    """``/proc/self`` belongs to root in a process that is not dumpable; the files we opened are still ours."""
    program = START + (
        "from pathlib import Path\nfrom tests.fakes.certificates import Authority\n"
        "from sidecar.wire.tls import client_context\n"
        "authority = Authority(Path('.'))\nclient_context(authority.file, authority.client())\nprint('loaded')"
    )
    assert run(program, "forbid", tmp_path).stdout.split() == ["loaded"]


# As a user that is not root, who may look at whatever is theirs; the child is another program of the same user.
NEIGHBOUR = """
import ctypes, os, sys
from sidecar.adapters.dumps import forbid_dumps
if os.getuid() == 0:
    os.setgroups([]), os.setgid(65534), os.setuid(65534)
    ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # PR_SET_DUMPABLE, which changing the user takes away
if sys.argv[1] == "forbid":
    forbid_dumps()
looking = 'for name in environ maps mem auxv; do head -c 1 "/proc/$1/$name" > /dev/null && echo "$name"; done'
looking += '; ls "/proc/$1/fd" > /dev/null && echo fd; true'
if os.fork() == 0:
    os.execv("/bin/sh", ["sh", "-c", looking, "sh", str(os.getppid())])
os.wait()
"""


def test_c03_another_program_of_the_same_user_can_look_into_nothing(tmp_path: Path) -> None:
    assert "environ" in run(NEIGHBOUR, "leave", tmp_path).stdout.split()
    assert run(NEIGHBOUR, "forbid", tmp_path).stdout.split() == []
