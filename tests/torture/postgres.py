"""A real PostgreSQL as Debian installs it, on a free port, that can be killed and started again.

Its server ends connections of a host that is gone after eleven seconds, as `docs/scale.md` asks of a site's server: the
locks of a dead host must become free. As root it runs as another user, because PostgreSQL refuses to run as root.
"""

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import psutil
import psycopg
import pytest

from tests.peers import eventually, free_port

KEEPALIVE: Final = {
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
    "tcp_user_timeout": "10s",
}
"""A client that a network has cut off is given up after eleven seconds."""
_OPTIONS: Final = {"shared_buffers": "32MB", "max_connections": "200", "log_min_messages": "warning", **KEEPALIVE}
_USER: Final = "perfnode"
_START_S: Final = 60.0


def postgres_program(name: str) -> str:
    """Full path of a program of the newest PostgreSQL; a missing one skips the test, and fails it under CI."""
    installed = sorted(Path("/usr/lib/postgresql").glob(f"*/bin/{name}"), key=lambda path: float(path.parts[-3]))
    found = str(installed[-1]) if installed else shutil.which(name)
    if found is None:
        complaint = f"PostgreSQL's {name} is not installed"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return found


class PostgresServer:
    """A cluster in a folder of its own, and the server on it."""

    def __init__(self, data: Path, log: Path, addresses: Sequence[str]) -> None:
        self.port = free_port()
        self.starts = 0
        self._data = data
        self._log = log
        self._addresses = tuple(addresses)
        self._databases: set[str] = set()
        self._process: subprocess.Popen[bytes] | None = None

    def url(self, database: str = "perfnode", host: str = "127.0.0.1") -> str:
        """URL of a database, which is made if it is not there."""
        if database not in self._databases:
            self._make(database)
        return self._url(database, host)

    def start(self) -> None:
        """Start it, and wait until it answers; after a kill it recovers first."""
        assert self._process is None
        options = {**_OPTIONS, "listen_addresses": ",".join(self._addresses), "port": str(self.port),
                   "unix_socket_directories": str(self._data)}  # fmt: skip
        command = [postgres_program("postgres"), "-D", str(self._data)]
        command += [word for name, value in options.items() for word in ("-c", f"{name}={value}")]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, user=_account(), cwd="/")
        self.starts += 1
        if not eventually(lambda: self._answers(), _START_S):
            raise RuntimeError(f"PostgreSQL did not start: {self.log[-2000:]}")

    def stop(self) -> None:
        """End it in order; nothing if it does not run. Clients are cut off."""
        self._end(signal.SIGINT)

    def kill(self) -> None:
        """kill -9 of the server and of all its processes at once, as when the machine dies."""
        assert self._process is not None
        process = psutil.Process(self._process.pid)
        process.suspend()  # or it would start new ones
        gone = [*process.children(recursive=True), process]
        for each in gone:
            each.kill()
        self._process.wait()
        psutil.wait_procs(gone, timeout=10)
        self._process = None

    @property
    def is_running(self) -> bool:
        """Whether it was started and not ended."""
        return self._process is not None

    @property
    def pid(self) -> int | None:
        """Process id of the server."""
        return self._process.pid if self._process else None

    @property
    def log(self) -> str:
        """What it has said."""
        return self._log.read_text(errors="replace")

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(60)
            self._process = None

    def _url(self, database: str, host: str) -> str:
        return f"postgresql://{_USER}@{host}:{self.port}/{database}"

    def _make(self, database: str) -> None:
        with psycopg.connect(self._url("postgres", "127.0.0.1"), autocommit=True) as connection:
            known = connection.execute("select 1 from pg_database where datname = %s", (database,)).fetchone()
            if known is None:
                connection.execute(psycopg.sql.SQL("create database {}").format(psycopg.sql.Identifier(database)))
        self._databases.add(database)

    def _answers(self) -> bool:
        if self._process is not None and self._process.poll() is not None:
            raise RuntimeError(f"PostgreSQL ended: {self.log[-2000:]}")
        try:
            psycopg.connect(self._url("postgres", "127.0.0.1"), connect_timeout=5).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
            return False
        return True


@contextmanager
def postgres(folder: Path, *, addresses: Sequence[str] = ("127.0.0.1",)) -> Iterator[PostgresServer]:
    """A server that runs; its log lies in `folder`. Everybody who reaches one of its addresses is trusted.

    The cluster lies beside, in a folder that the account of the server can reach, and is removed at the end.
    """
    initdb = postgres_program("initdb")
    folder.mkdir(parents=True, exist_ok=True)
    data = Path(tempfile.mkdtemp(prefix="perfnode-postgres-", dir="/tmp"))  # a user without a home
    account = _account()
    try:
        if account is not None:
            os.chown(data, account, -1)
        command = [initdb, "-D", str(data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale", "C.UTF-8"]
        made = subprocess.run(
            [*command, "--no-sync"], user=account, cwd="/", capture_output=True, text=True, check=False
        )
        assert made.returncode == 0, made.stderr
        with (data / "pg_hba.conf").open("a") as access:
            access.write("host all all 0.0.0.0/0 trust\n")
        server = PostgresServer(data, folder / "postgres.log", addresses)
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def _account() -> int | None:
    """Whom the server runs as: ourselves, or where we are root somebody who is not."""
    if os.geteuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name).pw_uid
        except KeyError:
            continue
    return None
