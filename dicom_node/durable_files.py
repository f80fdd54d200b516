"""Files that survive kill -9 and a power cut: written under another name, fsynced, renamed, directory fsynced.

Leaving out either fsync gives states in which an acknowledged file is lost or short; both were seen in tests. Names of
part files are never the same twice: two processes, also on two hosts, may write the same file, and each one writes it
whole. A part file is locked while its writer lives, so that `remove_abandoned_parts` knows those of the dead.
"""

import errno
import fcntl
import json
import os
import shutil
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
    with written_durably(path) as part:
        descriptor = os.open(part, os.O_WRONLY | os.O_CLOEXEC)
        try:
            _write_all(descriptor, chunks)
        finally:
            os.close(descriptor)


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


def move_directory(source: Path, target: Path, scratch: Path) -> None:
    """Move a directory durably, also to another file system: it appears whole under its new name, or not at all.

    Killed half way, the directory is whole under its old name, under both, or under the new one.

    Args:
        source: the directory.
        target: its new name, which nothing may have.
        scratch: a name beside `target`, for a copy that is not whole yet; what is there is removed.
    """
    try:
        rename_directory(source, target)
    except OSError as fault:
        if fault.errno != errno.EXDEV:
            raise
        copy_directory(source, target, scratch)
        shutil.rmtree(source)
        sync_directory(source.parent)


def copy_directory(source: Path, target: Path, scratch: Path) -> None:
    """Copy a directory durably; the copy appears whole under its name, or not at all.

    Args:
        source: the directory.
        target: name of the copy, which nothing may have.
        scratch: a name beside `target`, for a copy that is not whole yet; what is there is removed.
    """
    if scratch.exists():
        shutil.rmtree(scratch)
    shutil.copytree(source, scratch, copy_function=_copy_flushed)
    for folder, _, _ in os.walk(scratch):
        sync_directory(Path(folder))
    rename_directory(scratch, target)


def link_durably(source: Path, target: Path) -> None:
    """Give a file another name; where a link is not possible, for instance on another file system, a copy of it.

    The name is durable when its directory is synced. A copy has the bytes that the file has now.
    """
    try:
        target.hardlink_to(source)
    except OSError as fault:
        if fault.errno not in (errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK):
            raise
        write_durably(target, source.read_bytes())


def _copy_flushed(source: str, target: str) -> None:
    shutil.copy2(source, target)
    with Path(target).open("rb") as file:
        os.fsync(file.fileno())


def sync_directory(path: Path) -> None:
    """Make the names in a directory durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_durably(path: Path) -> Iterator[Path]:
    """Give a temporary path to write, an empty file; afterwards it is flushed to disk and renamed to `path`.

    Several processes may write the same file; one of them wins. If writing fails the temporary file is removed.
    """
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex[:12]}.part")
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)  # for as long as we live
        try:
            yield part
            with part.open("rb") as written:
                os.fsync(written.fileno())
            part.replace(path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    finally:
        os.close(descriptor)
    sync_directory(path.parent)


def remove_abandoned_parts(folder: Path, pattern: str = "**/*.part") -> int:
    """Remove what processes that are dead left half-written in a folder and below; how many files that were."""
    removed = 0
    for part in folder.glob(pattern):
        with suppress(FileNotFoundError), part.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            part.unlink()
            removed += 1
    return removed


def write_json(path: Path, content: dict[str, Any] | list[Any]) -> None:
    """Write JSON durably, the same content always as the same bytes."""
    with written_durably(path) as part:
        part.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")
