"""Files and folders of the model registry that are on the disk, whole, before they have their name."""

import os
import uuid
from pathlib import Path

PART = ".part"
FOLDER_MODE, FILE_MODE = 0o755, 0o644
"""Models are no patient data: whoever imports them, the account of the node must be able to read them."""


def replace_file(path: Path, content: bytes) -> None:
    """Give a file these bytes; whoever looks, also after a power cut, sees the old file or the new one.

    Raises:
        OSError: it could not be written; the old one is as it was.
    """
    part = path.with_name(f".{uuid.uuid4().hex}{PART}")
    try:
        descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        part.replace(path)
        sync_folder(path.parent)
    finally:
        part.unlink(missing_ok=True)


def publish_folder(part: Path, folder: Path) -> None:
    """Give a finished folder its name, once everything in it is on the disk.

    Raises:
        OSError: `folder` exists and is not empty, or the disk refuses.
    """
    for place, _, files in os.walk(part):
        for name in files:
            _sync(Path(place) / name)
        _sync(Path(place))
    part.rename(folder)
    sync_folder(folder.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    _sync(folder)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
