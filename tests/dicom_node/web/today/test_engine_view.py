"""Following the engine costs a few rows: only what can have changed is asked for."""

import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from dicom_node.jobs.attempts import Attempt, AttemptId, CaseState
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.job_database import JobDatabase
from dicom_node.jobs.jobs import JobBook
from dicom_node.web.today import engine_view
from dicom_node.web.today.case_reading import CaseReading
from dicom_node.web.today.engine_view import EngineView
from tests.dicom_node.web.today.made_cases import CASES, DELIVERED, HELD, SCRIPT, WAITING, YAMADA


class Counted(CaseReading):
    """Counts the rows that are asked for by name, and cases that are read whole."""

    asked = 0
    whole = 0

    def attempts(self, wanted: Iterable[AttemptId]) -> list[Attempt]:
        names = list(wanted)
        self.asked += len(names)
        return super().attempts(names)

    def attempts_of(self, case_id: str) -> list[Attempt]:
        self.whole += 1
        return super().attempts_of(case_id)


@pytest.fixture
def data(tmp_path: Path, engine_rows: Path) -> Path:
    return Path(shutil.copytree(engine_rows, tmp_path / "data"))


@pytest.fixture
def reading(data: Path) -> Iterator[Counted]:
    with Counted(JobDatabase.under(data), CaseStore.under(data)) as opened:
        yield opened


@pytest.fixture
def book(data: Path) -> Iterator[JobBook]:
    with JobBook(JobDatabase.under(data), CaseStore.under(data)) as opened:
        yield opened


def states(view: EngineView) -> dict[str, CaseState]:
    return {case.case_id: case.state for case in view.look().cases}


def test_a_look_at_an_idle_node_asks_for_what_is_active_alone(reading: Counted) -> None:
    view = EngineView(reading)
    assert {case.case_id for case in view.whole().cases} == {case.case_id for case in CASES}
    assert states(view) == {}
    assert (reading.asked, reading.whole) == (2, 0)
    assert {attempt.id.case_id for attempt in view.active} == {YAMADA.case_id, WAITING.case_id}


def test_what_went_before_an_attempt_is_known(reading: Counted) -> None:
    view = EngineView(reading)
    view.whole()
    (waiting,) = (attempt for attempt in view.active if attempt.id.destination)
    before = view.before(waiting)
    assert before is not None
    assert before.output["code"] == "PEER_UNREACHABLE"


def test_a_case_that_finished_long_ago_comes_back(
    data: Path, reading: Counted, book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_view, "_KEPT_S", -1.0)
    monkeypatch.setattr(engine_view, "_OVERLAP_S", 2.0)
    view = EngineView(reading)
    time.sleep(3.1)  # its rows may be new: SQLite keeps whole seconds
    view.whole()
    book.rerun(DELIVERED.case_id)
    assert states(view) == {DELIVERED.case_id: CaseState.PROCESSING}
    assert reading.whole == 1
    CaseStore.under(data).folder(DELIVERED.case_id).path.mkdir(parents=True)
    book.cancel(DELIVERED.case_id)
    assert states(view) == {DELIVERED.case_id: CaseState.CANCELLED}


def test_many_that_come_back_at_once_are_found_by_a_look_at_everything(
    reading: Counted, book: JobBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_view, "_KEPT_S", -1.0)
    monkeypatch.setattr(engine_view, "_STRANGERS", 1)
    view = EngineView(reading)
    view.whole()
    book.rerun(DELIVERED.case_id)
    book.rerun(SCRIPT.case_id)
    changes = view.look()
    assert changes.is_whole
    assert {case.case_id for case in changes.cases} == {case.case_id for case in CASES}


def test_a_case_that_is_removed_while_it_is_looked_at_is_no_fault(reading: Counted, book: JobBook) -> None:
    view = EngineView(reading)
    view.whole()
    book.forget([str(attempt.id) for attempt in book.case(YAMADA.case_id).attempts])
    assert states(view) == {}
    assert {attempt.id.case_id for attempt in view.active} == {WAITING.case_id}
    assert states(view) == {}


def test_new_cases_are_read_by_the_names_of_their_rows(reading: Counted, book: JobBook) -> None:
    view = EngineView(reading)
    view.whole()
    for number in range(3):
        book.start(f"{number:016x}")
    assert states(view) == {f"{number:016x}": CaseState.PROCESSING for number in range(3)}
    assert reading.whole == 0


def test_attempts_are_found_by_name_in_any_number(reading: Counted) -> None:
    names = [AttemptId(HELD.case_id, 1, "read", 1), *(AttemptId(HELD.case_id, 1, "read", n) for n in range(2, 1000))]
    assert [str(attempt.id) for attempt in reading.attempts(names)] == [str(names[0])]
    assert reading.attempts([]) == []
