"""A folder for files that name patients: for one process, readable by its user alone, and gone afterwards.

It lies beside the study store, whose disk the hospital has chosen, and not in /tmp. What kill -9 leaves, the next call
removes before it begins; SIGTERM is made an orderly end meanwhile, so that nothing is left.
"""

import fcntl
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType


@contextmanager
def scratch_folder(path: Path, busy: Callable[[], Exception]) -> Iterator[Path]:
    """The folder, new and empty, mode 0700; removed at the end, whatever that is.

    Args:
        path: of the folder; its parent must be there.
        busy: makes what is raised where another process has it.

    Raises:
        OSError: it cannot be made, or is no folder.
    """
    path.mkdir(mode=0o700, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        _hold(path, descriptor, busy)
        os.fchmod(descriptor, 0o700)
        empty(path)
        try:
            with _asked_to_end():
                yield path
        finally:
            empty(path)
            path.rmdir()
    finally:
        os.close(descriptor)


def empty(folder: Path) -> None:
    """Remove all that is in a folder.

    Raises:
        OSError: something stays.
    """
    for each in folder.iterdir():
        if each.is_dir() and not each.is_symlink():
            shutil.rmtree(each)
        else:
            each.unlink()


def _hold(path: Path, descriptor: int, busy: Callable[[], Exception]) -> None:
    """Lock the folder; also one that its last owner has removed meanwhile is not ours."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_there = path.exists() and os.path.samestat(path.stat(), os.fstat(descriptor))
    except BlockingIOError as fault:
        raise busy() from fault
    if not is_there:
        raise busy()


@contextmanager
def _asked_to_end() -> Iterator[None]:
    """SIGTERM ends the program by an exception, so that what is open is closed."""

    def end(number: int, frame: FrameType | None) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
