"""When the last image came: a file whose time says so, for the watchdog, over restarts.

Not durable on purpose: a minute lost in a power cut matters to nobody.
"""

import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self


@dataclass(frozen=True, slots=True)
class LastReceived:
    """The file; processes may share it."""

    path: Path

    @classmethod
    def beside(cls, spool: Path) -> Self:
        """That of the node with this spool."""
        return cls(spool.parent / "last-received")

    def note(self) -> None:
        """Images have come just now. A disk that is full is told by others."""
        with suppress(OSError):
            self.path.touch(mode=0o600)

    def begin(self) -> None:
        """Count from now, if nothing ever came."""
        if not self.path.exists():
            self.note()

    def at_s(self) -> float:
        """Unix time of the last images; now, if that is not known."""
        try:
            return self.path.stat().st_mtime
        except OSError:
            return time.time()
