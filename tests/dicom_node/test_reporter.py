"""What there is to tell, found in a real database, a real spool and a watchdog: each thing once, whoever looks."""

import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest

from dicom_node.jobs.jobs import JobBook
from dicom_node.reception.holds import Hold, HoldBook, state_of
from dicom_node.reception.spool import Spool
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.watching.alerts import Reporter
from dicom_node.watching.node_checks import DISK, OLDEST_JOB, RECEIVER, Check, failed, passed
from dicom_node.watching.watchdog import LastWords, Watchdog
from tests.canaries import found_in
from tests.finished_jobs import write_rows
from tests.small_ct import received, small_ct

READ = {"result": "done", "destinations": ["pacs"], "more": True}
ROWS: dict[str, dict[str, Any] | None] = {
    "c0ffee:1:read:1": READ,
    "c0ffee:1:check:1": {"result": "failed", "code": "CHECK_FAILED", "message": "The objects have faults."},
    "beef:1:read:1": READ,
    "beef:1:deliver.pacs:1": {"result": "held", "code": "HOLD", "message": "It waits for a person."},
    "dead:1:read:1": {"result": "rejected", "code": "NO_LUNGS", "message": "There is no lung."},
    "f00d:1:read:1": READ,
}


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, ROWS)
    return folder / "node.sqlite"


@pytest.fixture
def settings(rows: Path, tmp_path: Path) -> NodeSettings:
    """A site with two alerts, and the database as a node has left it."""
    (tmp_path / "data").mkdir()
    with sqlite3.connect(rows) as before, sqlite3.connect(tmp_path / "data" / "node.sqlite") as copy:
        before.backup(copy)
    before.close()
    copy.close()
    (tmp_path / "a.url").write_text("https://hook.example/1")
    alerts = [{"name": "all", "url_file": "a.url"}, {"name": "failures", "url_file": "a.url", "events": ["failed"]}]
    tables = {"node": {"data_dir": "data"}, "watchdog": {"failures": 2}, "alerts": alerts}
    return parse_settings(tables, base=tmp_path)


class Checks:
    """Checks as the test wants them."""

    def __init__(self, settings: NodeSettings) -> None:
        self.found: list[Check] = [passed(RECEIVER)]
        self.watchdog = Watchdog(settings.watchdog, [self._look(n) for n in range(2)], end=lambda check: None)

    def _look(self, number: int) -> Any:
        return lambda: self.found[number] if number < len(self.found) else passed(RECEIVER)


def reporter(settings: NodeSettings, checks: Checks | None = None) -> Reporter:
    def open_book() -> JobBook:
        return JobBook(settings.database, settings.cases())

    watchdog = (checks or Checks(settings)).watchdog
    return Reporter(settings, open_book, watchdog, held_for_s=60.0)


def told(settings: NodeSettings) -> list[str]:
    with sqlite3.connect(settings.data_dir / "node.sqlite") as database:
        found = database.execute(
            "select workflow_uuid, inputs from workflow_status where queue_name = 'alerts'"
        ).fetchall()
    database.close()
    assert found_in(repr(found).encode()) == []
    return sorted(row[0] for row in found)


def test_cases_that_want_a_person_are_told_once_whoever_looks(settings: NodeSettings) -> None:
    first, other_host = reporter(settings), reporter(settings)
    for _ in range(2):
        first.tell_of_cases()
        other_host.tell_of_cases()
    assert told(settings) == [
        "alert:all:failed:c0ffee 1 CHECK_FAILED:1",
        "alert:all:held:beef 1 HOLD:1",
        "alert:failures:failed:c0ffee 1 CHECK_FAILED:1",
    ]


def test_messages_are_no_cases(settings: NodeSettings) -> None:
    reporter(settings).tell_of_cases()
    with JobBook(settings.database, settings.cases()) as book:
        assert {case.case_id for case in book.cases()} == {"c0ffee", "beef", "dead", "f00d"}
        assert {case.case_id for case in book.changed_since(time.time() - 3600)} == {"c0ffee", "beef", "dead", "f00d"}
        assert book.changed_since(time.time() + 60) == []
        assert [(queue.queue, queue.waiting) for queue in book.waiting()] == [("alerts", 3)]


def test_messages_are_forgotten_after_a_while_and_cases_are_not(settings: NodeSettings) -> None:
    reporter(settings).tell_of_cases()
    with JobBook(settings.database, settings.cases()) as book:
        book.forget_messages(time.time() - 60)
        assert len(told(settings)) == 3
        with sqlite3.connect(settings.data_dir / "node.sqlite") as database:
            database.execute(
                "update workflow_status set status = 'SUCCESS', completed_at = 1 where queue_name = 'alerts'"
            )
        database.close()
        book.forget_messages(time.time() - 60)
        assert told(settings) == []
        assert len(book.cases()) == 4


def test_a_series_is_told_of_after_it_has_been_held_for_a_while(settings: NodeSettings) -> None:
    spool = Spool(settings.data_dir / "spool", minimum_free_mb=1)
    spool.association_opened("a1")
    spool.keep(received(small_ct(1)))
    spool.association_released("a1")
    spool.association_ended("a1")
    (series,) = spool.series()
    holds = HoldBook(spool.root / "holds")
    holds.put(series.key, Hold("GAP", "Slices are missing.", "lung", time.time(), state_of(series)))
    reporter(settings).tell_of_series()
    assert told(settings) == []
    holds.put(series.key, Hold("GAP", "Slices are missing.", "lung", 1000.0, state_of(series)))
    for _ in range(2):
        reporter(settings).tell_of_series()
    assert told(settings) == [f"alert:all:held:series {series.key[:16]} 1000:1"]


def test_a_trouble_of_the_node_is_told_when_it_lasts_and_once(settings: NodeSettings) -> None:
    checks = Checks(settings)
    watched = reporter(settings, checks)
    checks.found = [failed(DISK, "7 MB free.")]
    checks.watchdog.look()
    watched.tell_of_node()
    assert told(settings) == []
    for _ in range(3):
        checks.watchdog.look()
        watched.tell_of_node()
    time.sleep(1.1)  # ids of such troubles are of the second
    watched.tell_of_node()
    (one,) = told(settings)
    assert one.startswith("alert:all:node:disk ")
    checks.found = [passed(DISK)]
    checks.watchdog.look()
    watched.tell_of_node()
    checks.found = [failed(DISK, "6 MB free.")]
    for _ in range(3):
        checks.watchdog.look()
        watched.tell_of_node()
    assert len(told(settings)) == 2


def test_what_is_late_is_told_at_once_and_again_for_the_next_job(settings: NodeSettings) -> None:
    checks = Checks(settings)
    watched = reporter(settings, checks)
    for since in ("1000", "1000", "2000", "2000"):
        checks.found = [failed(OLDEST_JOB, "It is old.", since)]
        checks.watchdog.look()
        watched.tell_of_node()
    assert told(settings) == ["alert:all:late:oldest-job 1000:1", "alert:all:late:oldest-job 2000:1"]


def test_the_end_by_the_watchdog_is_told_by_the_next_node(settings: NodeSettings) -> None:
    LastWords.under(settings.data_dir).write(failed(RECEIVER, "No answer to C-ECHO."))
    for _ in range(2):
        reporter(settings).tell_of_node()
    (one,) = told(settings)
    assert one.startswith("alert:all:node:watchdog ")
    assert LastWords.under(settings.data_dir).read() is None


def test_nobody_looks_where_nobody_wants_to_know(settings: NodeSettings, tmp_path: Path) -> None:
    assert len(reporter(settings).chores()) == 3
    silent = parse_settings({"node": {"data_dir": "data"}}, base=tmp_path)
    assert reporter(silent).chores() == []
