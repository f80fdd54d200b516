"""Folders that are whole or not there: filled under another name, brought to disk, then renamed in one go.

A process that is killed, or a machine that loses power, leaves at most an unnamed rest in the workshop folder, never a
half-made patient under a patient's name.
"""

import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

WORKSHOP = ".making"
"""Folder, beside the finished ones, in which the unfinished lie."""


@contextmanager
def whole_folder(destination: Path) -> Iterator[Path]:
    """A new, empty folder to fill; at the end of the `with` it takes the name `destination`, in place of an older one.

    Whatever is raised inside leaves `destination` as it was and removes the new folder.

    Raises:
        OSError: the file system refuses.
    """
    workshop = destination.parent / WORKSHOP
    workshop.mkdir(parents=True, exist_ok=True)
    folder = workshop / f"{destination.name}.{uuid.uuid4().hex}"
    folder.mkdir()
    try:
        yield folder
        for path in [*folder.rglob("*"), folder]:
            bring_to_disk(path)
        if destination.exists():
            destination.rename(workshop / f"old.{uuid.uuid4().hex}")
        folder.rename(destination)
        bring_to_disk(destination.parent)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise


def clear_workshop(parent: Path) -> None:
    """Remove what killed processes and replaced folders left. Only for one who knows that nobody is at work there."""
    shutil.rmtree(parent / WORKSHOP, ignore_errors=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that it is whole under its name, in place of an older one, or as it was before.

    Raises:
        OSError: the file system refuses.
    """
    part = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    try:
        part.write_bytes(content)
        bring_to_disk(part)
        part.rename(path)
        bring_to_disk(path.parent)
    finally:
        part.unlink(missing_ok=True)


def bring_to_disk(path: Path) -> None:
    """Wait until a file, or the names in a folder, are on the disk.

    Raises:
        OSError: the file system refuses.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
