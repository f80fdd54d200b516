"""Files that survive kill -9 and a power cut: written under another name, fsynced, renamed, directory fsynced.

Leaving out either fsync gives states in which an acknowledged file is lost or short; both were seen in tests.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


def write_durably(path: Path, *chunks: bytes | memoryview) -> None:
    """Write a file so that it is whole under its name, or not there at all. Several processes may write the same one.

    Raises:
        OSError: It could not be written; the part file is removed.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    write_flushed(part, *chunks)
    try:
        part.rename(path)
    except OSError:
        part.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_flushed(path: Path, *chunks: bytes | memoryview) -> None:
    """Write a new file whose bytes are on disk when this returns. Its name is not, until its directory is synced.

    Raises:
        OSError: It could not be written, or is there already; what was written is removed.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        try:
            _write_all(descriptor, chunks)
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _write_all(descriptor: int, chunks: tuple[bytes | memoryview, ...]) -> None:
    views = [memoryview(chunk) for chunk in chunks if len(chunk)]
    while views:
        written = os.writev(descriptor, views)
        while views and written >= len(views[0]):
            written -= len(views.pop(0))
        if views:
            views[0] = views[0][written:]


def make_directory(path: Path) -> None:
    """Make a directory and its parents, each durable in its parent."""
    if path.is_dir():
        # Its process may have died before it made the name durable. Where we may not look we did not make it.
        with suppress(PermissionError):
            sync_directory(path.parent)
        return
    make_directory(path.parent)
    path.mkdir(exist_ok=True)
    sync_directory(path.parent)


def rename_directory(source: Path, target: Path) -> None:
    """Move a directory within a file system, durably on both sides."""
    source.rename(target)
    sync_directory(target.parent)
    sync_directory(source.parent)


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_durably(path: Path) -> Iterator[Path]:
    """Give a temporary path to write; afterwards it is flushed to disk and renamed to `path`."""
    part = path.with_name(path.name + ".part")
    yield part
    with part.open("rb") as file:
        os.fsync(file.fileno())
    part.replace(path)
    sync_directory(path.parent)


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write JSON durably, the same content always as the same bytes."""
    with written_durably(path) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
