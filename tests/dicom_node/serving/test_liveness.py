"""Liveness locks: one process per id, and whoever can take the lock of another one knows that it is dead."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
import pytest

from dicom_node.jobs.job_database import JobDatabase, server_database
from dicom_node.named_locks import NamedLocks, lock_session
from dicom_node.serving.liveness import FileLiveness, ServerLiveness
from tests.peers import eventually
from tests.torture.postgres import PostgresServer, postgres

_ALIVE = """
import sys
from pathlib import Path
from dicom_node.jobs.job_database import JobDatabase, server_database
from dicom_node.serving.liveness import alive
from dicom_node.logs import configure_logs
configure_logs("info", "json")
url, data_dir, executor = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
held = alive(server_database(url, None) if url else JobDatabase.under(data_dir), data_dir, executor)
print("alive", flush=True)
sys.stdin.read()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    with postgres(tmp_path_factory.mktemp("postgres")) as running:
        yield running


@pytest.fixture(params=["file", "server"])
def url(request: pytest.FixtureRequest) -> str:
    """Empty for SQLite."""
    return "" if request.param == "file" else request.getfixturevalue("server").url("liveness")


@contextmanager
def _liveness(url: str, data_dir: Path) -> Iterator[FileLiveness | ServerLiveness]:
    with closing(ServerLiveness(url) if url else FileLiveness(data_dir)) as liveness:
        yield liveness


def _database(url: str, data_dir: Path) -> JobDatabase:
    return server_database(url, None) if url else JobDatabase.under(data_dir)


def _start(url: str, data_dir: Path, executor: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-c", _ALIVE, url, str(data_dir), executor]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.communicate()


def _is_dead(liveness: FileLiveness | ServerLiveness, executor: str) -> bool:
    with liveness.dead(executor) as is_dead:
        return is_dead


def test_a_process_is_alive_until_it_is_killed(tmp_path: Path, url: str) -> None:
    executor = f"host/{bool(url)}/1"
    with _liveness(url, tmp_path) as watcher:
        assert _is_dead(watcher, executor)
        process = _start(url, tmp_path, executor)
        assert process.stdout is not None
        assert process.stdout.readline() == b"alive\n"
        assert not _is_dead(watcher, executor)
        assert _is_dead(watcher, "another")
        _end(process)
        assert eventually(lambda: _is_dead(watcher, executor))


def test_a_second_process_of_the_same_id_waits_until_the_first_one_is_gone(tmp_path: Path, url: str) -> None:
    first = _start(url, tmp_path, "twice")
    assert first.stdout is not None
    assert first.stdout.readline() == b"alive\n"
    second = _start(url, tmp_path, "twice")
    assert second.stderr is not None
    assert second.stdout is not None
    assert b"executor_busy" in second.stderr.readline()
    _end(first)
    assert second.stdout.readline() == b"alive\n"
    _end(second)


def test_who_is_held_for_dead_does_not_come_back_meanwhile_and_only_one_takes_over(tmp_path: Path, url: str) -> None:
    with _liveness(url, tmp_path) as one, _liveness(url, tmp_path) as other:
        with one.dead("gone") as is_dead:
            assert is_dead
            assert not _is_dead(other, "gone")
            assert not other.take("gone")
        assert other.take("gone")
        assert not _is_dead(one, "gone")


def test_a_process_that_lost_its_server_ends_itself(tmp_path: Path, server: PostgresServer) -> None:
    process = _start(server.url("liveness"), tmp_path, "fenced")
    assert process.stdout is not None
    assert process.stdout.readline() == b"alive\n"
    server.kill()
    try:
        _, said = process.communicate(timeout=10)
        assert process.returncode == 70
        assert b"database_lost" in said
    finally:
        server.start()


def test_a_server_that_was_not_set_up_gives_a_silent_client_up_after_eleven_seconds(server: PostgresServer) -> None:
    with psycopg.connect(server.url("patient"), autocommit=True) as session:
        session.execute("alter database patient set tcp_keepalives_idle = 7200")
        session.execute("alter database patient set tcp_user_timeout = 0")
    with lock_session(server.url("patient")) as session:
        names = ("tcp_keepalives_idle", "tcp_keepalives_interval", "tcp_keepalives_count", "tcp_user_timeout")
        rows = [session.execute(f"select setting from pg_settings where name = '{name}'").fetchone() for name in names]  # noqa: S608  # our own names
    assert rows == [("5",), ("2",), ("3",), ("10000",)]


def test_a_named_lock_excludes_others_of_its_name_only_and_goes_with_its_holder(tmp_path: Path, url: str) -> None:
    locks = NamedLocks(_database(url, tmp_path), tmp_path)
    with locks.try_hold("series:a") as first, locks.try_hold("series:a") as second, locks.try_hold("chore:b") as other:
        assert (first, second, other) == (True, False, True)
    with locks.hold("series:a"):
        pass


def test_a_named_lock_cannot_be_had_without_its_server(tmp_path: Path, server: PostgresServer) -> None:
    locks = NamedLocks(server_database("postgresql://nobody@127.0.0.1:1/none", None), tmp_path)
    with pytest.raises(psycopg.OperationalError), locks.hold("series:a"):
        pass
