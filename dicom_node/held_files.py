"""Files that are locked for as long as their process lives, so that other processes can tell the living from the dead.

A process id in a file proves nothing: ids come again. A lock (flock) is let go by the kernel when the process ends,
however it ends. Locks are only ever tested with a shared one, so that two observers do not take each other for the
owner.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_descriptors: set[int] = set()


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that this process holds."""

    path: Path
    descriptor: int

    @classmethod
    def create(cls, path: Path) -> "HeldFile":
        """Make a file that is held from now on. Its folder must exist.

        Raises:
            OSError: It cannot be made, for instance because it is there already.
        """
        while True:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                if _is_at(path, descriptor):
                    _descriptors.add(descriptor)
                    return cls(path, descriptor)
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)  # swept away between the two calls

    def release(self) -> None:
        """Remove the file and let go of it. Nothing happens the second time, or in a forked child."""
        if self.descriptor not in _descriptors:
            return
        _descriptors.discard(self.descriptor)
        try:
            self.path.unlink(missing_ok=True)
        finally:
            _let_go(self.descriptor)


def is_held(path: Path) -> bool:
    """Whether a living process holds the file; False where there is none."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextlib.contextmanager
def abandoned(path: Path) -> Iterator[bool]:
    """Give whether the process that held the file is dead. If so, nobody holds it meanwhile, and it is removed after.

    Raises:
        OSError: It cannot be opened or removed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        is_dead = _is_at(path, descriptor)
    except BlockingIOError:
        is_dead = False
    try:
        yield is_dead
        if is_dead:
            path.unlink()
    finally:
        _let_go(descriptor)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait for, then have, the only use of a lock file, made if absent and never removed. Threads exclude each other.

    Raises:
        OSError: The file cannot be opened or locked.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        _let_go(descriptor)


def _let_go(descriptor: int) -> None:
    # Closing alone would leave the lock with a child that was forked in this moment.
    try:
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    finally:
        os.close(descriptor)


def _is_at(path: Path, descriptor: int) -> bool:
    try:
        found = path.stat()
    except FileNotFoundError:
        return False
    return os.path.samestat(found, os.fstat(descriptor))


def _forget_in_child() -> None:
    """A forked child must not seem to be its parent's owner after the parent has died."""
    while _descriptors:
        os.close(_descriptors.pop())


os.register_at_fork(after_in_child=_forget_in_child)
