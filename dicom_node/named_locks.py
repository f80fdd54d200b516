"""Locks with names that hold over all hosts of a node: advisory locks of PostgreSQL, or files where SQLite serves one.

A lock goes when its holder ends, however it ends: the kernel or the server takes it back.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from dicom_node.durable_files import make_directory
from dicom_node.held_files import locked
from dicom_node.jobs.job_database import JobDatabase

if TYPE_CHECKING:
    import psycopg

_SESSION: Final[dict[str, Any]] = {
    "connect_timeout": 5,
    "keepalives": 1,
    "keepalives_idle": 3,
    "keepalives_interval": 1,
    "keepalives_count": 3,
    "tcp_user_timeout": 6000,
    "options": "-c tcp_keepalives_idle=5 -c tcp_keepalives_interval=2 -c tcp_keepalives_count=3"
    " -c tcp_user_timeout=10000 -c statement_timeout=0 -c lock_timeout=0",
}
"""We give a server up that is silent for 6 s; it gives us up after 11 s, so that no two hosts hold the same lock. The
server is asked to here, in case it was not set up so."""


@dataclass(frozen=True, slots=True)
class NamedLocks:
    """The locks of one node. Threads and processes of all hosts exclude each other; none may ask twice for one."""

    database: JobDatabase
    data_dir: Path
    """Holds the lock files where the database is no server."""

    @contextmanager
    def hold(self, name: str) -> Iterator[None]:
        """Wait for the lock and hold it.

        Raises:
            psycopg.OperationalError: the server cannot be reached.
            OSError: the lock file cannot be used.
        """
        if self.database.is_server:
            with closing(lock_session(self.database.url)) as session:
                session.execute("select pg_advisory_lock(%s)", (lock_key(name),))
                yield
            return
        with locked(self._file(name)):
            yield

    @contextmanager
    def try_hold(self, name: str) -> Iterator[bool]:
        """Hold the lock if nobody does; the value says whether.

        Raises:
            psycopg.OperationalError: the server cannot be reached.
            OSError: the lock file cannot be used.
        """
        if self.database.is_server:
            with closing(lock_session(self.database.url)) as session:
                yield try_lock(session, name)
            return
        with tried_file(self._file(name)) as is_held:
            yield is_held

    def _file(self, name: str) -> Path:
        return lock_file(self.data_dir, name)


def lock_session(url: str) -> "psycopg.Connection[Any]":
    """A connection to hold locks with, which ends soon after the network or the server does.

    Raises:
        psycopg.OperationalError: the server cannot be reached.
    """
    import psycopg

    return psycopg.connect(url, autocommit=True, **_SESSION)


def try_lock(session: "psycopg.Connection[Any]", name: str) -> bool:
    """Take the lock for this session, if nobody has it."""
    row = session.execute("select pg_try_advisory_lock(%s)", (lock_key(name),)).fetchone()
    return bool(row and row[0])


def unlock(session: "psycopg.Connection[Any]", name: str) -> None:
    """Give back a lock of this session."""
    session.execute("select pg_advisory_unlock(%s)", (lock_key(name),))


def lock_key(name: str) -> int:
    """The number by which PostgreSQL knows the lock."""
    return int.from_bytes(sha256(f"perfnode:{name}".encode()).digest()[:8], "big", signed=True)


def lock_file(data_dir: Path, name: str) -> Path:
    """The file that stands for the lock. Never removed, which cannot be done safely; names are few or share a file."""
    folder = data_dir / "live"
    if not folder.is_dir():
        make_directory(folder)
    kind, _, rest = name.partition(":")
    digits = 2 if kind == "series" else 16  # series come for ever
    return folder / f"{kind}-{sha256(rest.encode()).hexdigest()[:digits]}.lock"


@contextmanager
def tried_file(path: Path) -> Iterator[bool]:
    """Hold a lock file if nobody does; the value says whether."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        is_held = False
        with suppress(BlockingIOError):
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            is_held = True
        yield is_held
    finally:
        os.close(descriptor)
