"""Other versions of instances that are in the spool already: refused, and a few kept for a person to compare.

    root/<series key>/<instance key>-<digest>.dcm

What is kept is bounded in number and size. It is no archive: the sender was told that its version is not stored.
"""

import hashlib
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from dicom_node.durable_files import make_directory, sync_directory
from dicom_node.reception.part_files import PartFiles

_PER_SERIES: Final = 4
_SERIES: Final = 64
_LARGEST_BYTES: Final = 64_000_000
_DAY_S: Final = 86400.0


@dataclass(frozen=True, slots=True)
class OtherVersions:
    """The folder of refused versions.

    Args:
        root: Where they lie; made when the first one comes.
        parts: Where they are written.
    """

    root: Path
    parts: PartFiles

    def keep(self, series_key: str, instance_key: str, preamble: bytes, encoded_dataset: bytes) -> None:
        """Keep a refused version if there is room for it.

        Raises:
            OSError: The disk failed.
        """
        directory = self.root / series_key
        digest = hashlib.sha256(preamble)
        digest.update(encoded_dataset)
        copy = directory / f"{instance_key}-{digest.hexdigest()[:16]}.dcm"
        if len(encoded_dataset) > _LARGEST_BYTES or copy.exists() or not self._has_room(directory):
            return
        make_directory(directory)
        part = self.parts.write(preamble, encoded_dataset)
        try:
            part.rename(copy)
        except OSError:
            part.unlink(missing_ok=True)
            raise
        sync_directory(directory)

    def remove_older_than(self, days: float) -> int:
        """Delete what nobody added to for longer than that; how many series it was of."""
        if not self.root.exists():
            return 0
        old = [folder for folder in self.root.iterdir() if time.time() - folder.stat().st_mtime > days * _DAY_S]
        for folder in old:
            shutil.rmtree(folder)
        return len(old)

    def _has_room(self, directory: Path) -> bool:
        if directory.exists():
            return len(list(directory.iterdir())) < _PER_SERIES
        return not self.root.exists() or len(list(self.root.iterdir())) < _SERIES
