"""One process at a time: a lock that ends with the process that holds it, whatever ends that."""

import fcntl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def alone(path: Path, busy: Callable[[], Exception]) -> Iterator[None]:
    """Hold a lock file, which is made if absent and never removed.

    Args:
        path: of the file.
        busy: makes what is raised where another process holds it.
    """
    with path.open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as fault:
            raise busy() from fault
        yield


def is_held(path: Path) -> bool:
    """Whether a process of this machine holds it."""
    if not path.exists():
        return False
    with path.open("r") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return True
    return False
