"""How much room the disk has, asked about once a second instead of once an instance."""

import shutil
import time
from pathlib import Path
from typing import Final

from dicom_node.errors import SpoolFull

_ASK_AGAIN_AFTER_S: Final = 1.0
_ASK_AGAIN_AFTER_SHARE: Final = 1 / 16
"""Of the space that must stay free: after so much was written the answer is not trusted any more. With 16 receiver
processes the reserve holds even if all of them write at once."""


class FreeSpace:
    """Refuses what would leave too little space. Threads may share one; an answer that is a little old does no harm.

    Args:
        directory: Any folder on the disk.
        minimum_mb: What must stay free.
    """

    def __init__(self, directory: Path, minimum_mb: float) -> None:
        self._directory = directory
        self._minimum_mb = minimum_mb
        self._free_mb = 0.0
        self._room_mb = 0.0
        self._asked_at = float("-inf")

    def require(self, size_bytes: int) -> None:
        """Set aside room for so many bytes.

        Raises:
            SpoolFull: There is none. Asked anew every time, so the node recovers as soon as there is space.
        """
        size_mb = size_bytes / 1e6
        if size_mb > self._room_mb or time.monotonic() - self._asked_at > _ASK_AGAIN_AFTER_S:
            self._free_mb = shutil.disk_usage(self._directory).free / 1e6
            if self._free_mb - size_mb < self._minimum_mb:
                raise self.full()
            self._room_mb = min(self._free_mb - self._minimum_mb, self._minimum_mb * _ASK_AGAIN_AFTER_SHARE)
            self._asked_at = time.monotonic()
        self._room_mb -= size_mb

    def full(self) -> SpoolFull:
        """The error for a disk that has too little space; the next time it is asked anew."""
        self._room_mb = 0.0
        return SpoolFull(self._free_mb, self._minimum_mb)
