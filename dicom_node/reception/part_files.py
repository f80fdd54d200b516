"""Files of the spool while they are being written, apart from those that are whole.

    root/parts/<process>.owner         held for as long as the process lives (`held_files`)
    root/parts/<process>.<n>.part      a file it is writing

The names are random, never process ids: several containers may share a disk. What a dead process left is swept away by
any other one, at any time, without a danger for those that are receiving.
"""

import itertools
import os
import threading
import uuid
import weakref
from pathlib import Path

from dicom_node.durable_files import make_directory, write_flushed
from dicom_node.held_files import HeldFile, abandoned

_OWNER = ".owner"
_PART = ".part"


class PartFiles:
    """The part files of this process.

    Args:
        directory: Where they lie; made if absent. It must be on the file system of their final names.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._lock = threading.Lock()
        self._owner: HeldFile | None = None
        self._process_id = 0
        self._numbers = itertools.count()
        make_directory(directory)

    def write(self, *chunks: bytes | memoryview) -> Path:
        """Write a part file whose bytes are on disk when this returns; the caller renames or removes it.

        Raises:
            OSError: The disk failed; nothing is left.
        """
        path = self._directory / f"{self._name()}.{next(self._numbers)}{_PART}"
        write_flushed(path, *chunks)
        return path

    def sweep(self) -> int:
        """Remove the part files of dead processes and return how many they were."""
        swept = 0
        for owner in self._directory.glob(f"*{_OWNER}"):
            with abandoned(owner) as is_dead:
                if is_dead:
                    for part in self._directory.glob(f"{owner.stem}.*{_PART}"):
                        part.unlink()
                        swept += 1
        return swept

    def _name(self) -> str:
        """The name under which this process writes; a forked child takes its own."""
        with self._lock:
            if self._owner is None or self._process_id != os.getpid():
                self._owner = HeldFile.create(self._directory / f"{uuid.uuid4().hex}{_OWNER}")
                self._process_id = os.getpid()
                weakref.finalize(self, self._owner.release)
            return self._owner.path.stem
