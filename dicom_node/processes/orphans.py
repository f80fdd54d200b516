"""A process that dies with its parent, however that ends, so that nobody works on for a node that is gone."""

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1


def die_with_parent(parent: int) -> None:
    """Ask Linux to kill us when the thread that started us ends; elsewhere the parent's own clean-up must do.

    Args:
        parent: process id of whoever started us, who may be gone already.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(1)
