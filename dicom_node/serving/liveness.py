"""Who is alive: every engine process holds a lock under its executor id; whoever can take that knows it is dead.

Taken before the engine begins, so that no two processes ever work under one id. With PostgreSQL the lock belongs to a
connection that is tried every second: a process that has lost it can no longer prove that it is alive, others may take
over its work, and so it ends itself (`KeptProcess` starts it again). The client gives up sooner than the server does
(`named_locks`), so a host that the network has cut off has stopped before another one goes on with its work.
"""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path
from typing import Final, Protocol

import structlog

from dicom_node.jobs.job_database import JobDatabase
from dicom_node.named_locks import lock_file, lock_session, tried_file, try_lock, unlock

SELF_FENCED: Final = 70
"""Exit status of a process that could not prove any more that it is alive."""
_BEAT_S: Final = 1.0
_SILENT_S: Final = 7.0
"""So long an answer may take: longer than TCP takes to see that the network is gone (`named_locks`), and with the beat
still sooner than the server gives us up."""


class Liveness(Protocol):
    """The liveness locks as seen by one process."""

    def take(self, executor_id: str) -> bool:
        """Be alive under this id from now on; False while another process is."""

    def dead(self, executor_id: str) -> AbstractContextManager[bool]:
        """Whether nobody is alive under this id; if so, nobody can be meanwhile."""

    def beat(self) -> None:
        """Make sure that we are still alive; whatever it raises means that we are not."""


class FileLiveness:
    """Locks on files, for one host."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        self._held = ExitStack()

    def take(self, executor_id: str) -> bool:
        """Be alive under this id from now on; False while another process is."""
        with ExitStack() as stack:
            if not stack.enter_context(tried_file(self._file(executor_id))):
                return False
            self._held.push(stack.pop_all())
        return True

    @contextmanager
    def dead(self, executor_id: str) -> Iterator[bool]:
        """Whether nobody is alive under this id; if so, nobody can be meanwhile."""
        with tried_file(self._file(executor_id)) as is_dead:
            yield is_dead

    def beat(self) -> None:
        """Nothing: the kernel keeps the lock for as long as we live."""

    def close(self) -> None:
        """Be alive no more."""
        self._held.close()

    def _file(self, executor_id: str) -> Path:
        return lock_file(self._data_dir, f"alive:{executor_id}")


class ServerLiveness:
    """Locks of one connection to PostgreSQL, which threads may share."""

    def __init__(self, url: str) -> None:
        self._session = lock_session(url)

    def take(self, executor_id: str) -> bool:
        """Be alive under this id from now on; False while another process is."""
        return try_lock(self._session, f"alive:{executor_id}")

    @contextmanager
    def dead(self, executor_id: str) -> Iterator[bool]:
        """Whether nobody is alive under this id; if so, nobody can be meanwhile.

        A lock that we hold ourselves can be taken again, so this must not be asked of our own id.
        """
        is_dead = try_lock(self._session, f"alive:{executor_id}")
        try:
            yield is_dead
        finally:
            if is_dead:
                unlock(self._session, f"alive:{executor_id}")

    def beat(self) -> None:
        """Ask the server; whatever this raises means that the lock is lost."""
        self._session.execute("select 1")

    def close(self) -> None:
        """Be alive no more."""
        self._session.close()


def alive(database: JobDatabase, data_dir: Path, executor_id: str) -> FileLiveness | ServerLiveness:
    """Become alive under this id: wait for the database, and for whoever works under the id now, as long as it takes.

    With a server, this process ends itself (exit status 70) as soon as it cannot prove any more that it is alive.
    """
    log, said = structlog.get_logger(), ""
    while True:
        try:
            liveness = ServerLiveness(database.url) if database.is_server else FileLiveness(data_dir)
            while not liveness.take(executor_id):
                said = _say(log, "executor_busy", "EXECUTOR_BUSY", said)
                time.sleep(_BEAT_S / 4)
        except Exception as fault:  # psycopg's errors, without importing it where it is not used
            said = _say(log, "database_away", type(fault).__name__, said)
            time.sleep(_BEAT_S)
            continue
        if database.is_server:
            threading.Thread(target=_beat, args=(liveness,), name="liveness", daemon=True).start()
        return liveness


def _say(log: structlog.stdlib.BoundLogger, event: str, kind: str, said: str) -> str:
    """Once, not at every try."""
    if said != kind:
        log.warning(event, code=event.upper(), kind=kind)
    return kind


def _beat(liveness: ServerLiveness) -> None:
    while True:
        time.sleep(_BEAT_S)
        # A server that hangs, or a proxy before it, keeps the connection and says nothing: no limit of TCP ends that.
        silence = threading.Timer(_SILENT_S, _end_ourselves, ("silence",))
        silence.daemon = True
        silence.start()
        try:
            liveness.beat()
        except Exception as fault:
            _end_ourselves(type(fault).__name__)
        silence.cancel()


def _end_ourselves(kind: str) -> None:
    structlog.get_logger().error("database_lost", code="DATABASE_LOST", kind=kind)
    os._exit(SELF_FENCED)
