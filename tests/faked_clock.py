"""A clock of its own for the processes of one node: Debian's libfaketime, moved while they run.

Only the time of day moves. The clock that measures intervals runs on, as in a machine whose time of day is set.
"""

import os
import time
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import pytest

_LIBRARY = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")
_ELSEWHERE = "/usr/lib/*/faketime/libfaketimeMT.so.1"


@dataclass(frozen=True)
class FakedClock:
    """A file that says how far the clock is ahead, and the environment that makes a process read it."""

    file: Path

    def move(self, ahead_s: float) -> None:
        """Set the clock so far ahead of real time, or behind it."""
        part = self.file.with_suffix(".part")
        part.write_text(f"{ahead_s:+.0f}\n")
        part.replace(self.file)

    def set(self, when: datetime) -> None:
        """Set the clock to that time; it goes on from there."""
        self.move(when.timestamp() - time.time())

    def environment(self) -> dict[str, str]:
        """For a process that is to have this clock."""
        return {
            **os.environ,
            "LD_PRELOAD": str(_library()),
            "FAKETIME_TIMESTAMP_FILE": str(self.file),
            "FAKETIME_NO_CACHE": "1",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent / "clock"), os.environ.get("PYTHONPATH", "")]),
        }


def _library() -> Path:
    found = [_LIBRARY] if _LIBRARY.exists() else sorted(Path("/").glob(_ELSEWHERE.lstrip("/")))
    if not found:
        if os.environ.get("CI"):
            pytest.fail("libfaketime is not installed")
        pytest.skip("libfaketime is not installed")
    return found[0]
