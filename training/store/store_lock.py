"""One writer at a time in a store, and what it writes is for its owner only."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from training.errors import StoreBusy

LOCK: Final = "store.lock"
_POLL_S: Final = 0.05


@contextmanager
def writing(folder: Path, *, patience_s: float) -> Iterator[None]:
    """Hold the lock of a store. It ends with the process that holds it, whatever ends that.

    Args:
        folder: the store.
        patience_s: how long to wait for another process: an import holds the lock for one pair at a time.

    Raises:
        StoreBusy: it was held all the time.
        OSError: the folder cannot be written.
    """
    descriptor = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, folder, time.monotonic() + patience_s)
        with for_owner_only():
            yield
    finally:
        os.close(descriptor)


@contextmanager
def for_owner_only() -> Iterator[None]:
    """Files made inside are 0600, folders 0700, whatever the account's umask; the images are patient data still."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _take(descriptor: int, folder: Path, until_s: float) -> None:
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError as fault:
            if time.monotonic() >= until_s:
                raise StoreBusy(str(folder)) from fault
            time.sleep(_POLL_S)
