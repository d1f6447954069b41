"""No picture of this process's memory: a secret that a call uses is in there, and so is the master key.

A core dump would write both to a disk, or hand them to whatever ``kernel.core_pattern`` pipes dumps to, for which the
size limit does not count (core(5)). A process that is not dumpable makes none at all, and other processes of the same
user may neither trace it nor read its memory (prctl(2), PR_SET_DUMPABLE). Root still may: that is the node's trust.

What this cannot do: Python does not overwrite memory that it frees, so bytes of a secret stay in ours after its call.
"""

from __future__ import annotations

import ctypes
import resource
import sys
from typing import Final

from sidecar.errors import Misconfigured

_PR_SET_DUMPABLE: Final = 4


def forbid_dumps() -> None:
    """From now on, for this process and what it starts; it cannot be taken back for the limit. Linux only: elsewhere
    only the limit is set. Raises ``Misconfigured`` where the kernel refuses.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if sys.platform != "linux":
        return
    if ctypes.CDLL(None).prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0) != 0:
        raise Misconfigured("the kernel does not let this process turn off core dumps (prctl PR_SET_DUMPABLE)")
