"""Folders that are gone with whoever made them: at the end, after a fault, and at the latest when the next is made.

    ROOT/<name>/           files, readable by the account of the node only
    ROOT/<name>.held       locked while the process lives

A process that is killed (-9) removes nothing; its lock is let go by the kernel, and the next folder that anybody makes
clears what it left.
"""

import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from dicom_node.held_files import HeldFile, abandoned

_HELD: Final = ".held"


@contextmanager
def scratch_folder(root: Path) -> Iterator[Path]:
    """An empty folder below `root`, which is removed with all that is in it.

    Raises:
        OSError: it cannot be made or removed.
    """
    root.mkdir(mode=0o700, parents=True, exist_ok=True)
    clear_abandoned(root)
    folder = root / uuid.uuid4().hex
    held = HeldFile.create(folder.with_suffix(_HELD))
    try:
        folder.mkdir(mode=0o700)
        yield folder
    finally:
        if folder.exists():
            shutil.rmtree(folder)
        held.release()


def clear_abandoned(root: Path) -> int:
    """Remove the folders of processes that are dead; how many."""
    cleared = 0
    for held in root.glob(f"*{_HELD}"):
        with abandoned(held) as is_dead:
            if is_dead:
                shutil.rmtree(held.with_suffix(""), ignore_errors=True)
                cleared += 1
    return cleared
