"""The index is a cache: it may be deleted, spoilt or old at any time, and nobody else may read it."""

import os
import sqlite3
from pathlib import Path

import pytest

from dicom_node.jobs.jobs import JobBook
from dicom_node.settings.config import NodeSettings
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.today.case_reading import CaseReading
from dicom_node.web.today.indexing import Indexing, News
from tests.dicom_node.web.today.made_cases import CASES, DELIVERED, HELD, SCRIPT, WAITING, YAMADA, write_case


class Looker:
    """The thread of the page, by hand."""

    def __init__(self, settings: NodeSettings) -> None:
        self.settings = settings
        self.index = CaseIndex.under(settings.data_dir)
        self.news: list[News] = []
        self.indexing = Indexing(
            self.index,
            settings.cases(),
            lambda: CaseReading(settings.database, settings.cases()),
            tell=self.news.append,
        )

    def look(self) -> set[str]:
        """Look once; the ids of the cases that changed."""
        self.news.clear()
        self.indexing.look()
        return {line.case_id for news in self.news for line in news.lines}

    def gone(self) -> set[str]:
        return {case_id for news in self.news for case_id in news.gone}


@pytest.fixture
def looker(busy_node: NodeSettings) -> Looker:
    return Looker(busy_node)


ALL = {case.case_id for case in CASES}


def test_the_first_look_reads_every_case_and_the_next_ones_what_changed(looker: Looker) -> None:
    assert looker.look() == ALL
    assert looker.look() == set()
    with JobBook(looker.settings.database, looker.settings.cases()) as book:
        book.cancel(WAITING.case_id)
        book.rerun(DELIVERED.case_id)
    assert looker.look() == {WAITING.case_id, DELIVERED.case_id}
    states = {line.case_id: line.state for line in looker.index.lines()}
    assert states == {
        DELIVERED.case_id: "PROCESSING",
        SCRIPT.case_id: "REJECTED",
        YAMADA.case_id: "PROCESSING",
        WAITING.case_id: "CANCELLED",
        HELD.case_id: "HELD",
    }
    assert looker.look() == set()


def test_a_line_says_what_engine_record_image_and_result_say(looker: Looker) -> None:
    looker.look()
    line = looker.index.line(DELIVERED.case_id)
    assert line is not None
    assert (line.state, line.stage, line.attempts) == ("DELIVERED", "verify", 7)
    assert (line.calling_ae_title, line.rule, line.instances) == ("SCANNER", "planning-ct", 1)
    assert (line.model, line.findings, line.severity) == ("densitometric 1", 2, "flag")
    assert line.subject.patient_id == "PID-100"
    assert (rejected := looker.index.line(SCRIPT.case_id)) is not None
    assert (rejected.code, rejected.message, rejected.model) == ("NOT_A_CT", "It is no CT.", "")


def test_a_new_case_comes_in_and_a_removed_one_leaves(looker: Looker, monkeypatch: pytest.MonkeyPatch) -> None:
    looker.look()
    new = write_case(looker.settings.cases(), type(HELD)("00000000000000d9", "New^One", "1"))
    with JobBook(looker.settings.database, looker.settings.cases()) as book:
        book.start(new.case_id)
        assert looker.look() == {new.case_id}
        folder = looker.settings.cases().folder(SCRIPT.case_id).path
        folder.rename(looker.settings.data_dir / "removing")
        book.forget([f"{SCRIPT.case_id}:1:read:1"])
    monkeypatch.setattr("dicom_node.web.today.indexing._FOLDERS_EVERY_S", 0.0)
    looker.indexing.close()  # as after a fault: the next look begins anew
    looker.look()
    assert looker.gone() == {SCRIPT.case_id}
    assert looker.index.case_ids("true") == ALL - {SCRIPT.case_id} | {new.case_id}


def test_a_case_whose_folder_goes_leaves_without_a_look_at_everything(
    looker: Looker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.web.today.indexing._FOLDERS_EVERY_S", 0.0)
    looker.look()
    looker.settings.cases().folder(HELD.case_id).path.rename(looker.settings.data_dir / "removing")
    assert looker.look() == set()
    assert looker.gone() == {HELD.case_id}


def test_it_is_made_anew_when_it_is_deleted_while_somebody_looks(looker: Looker) -> None:
    looker.look()
    for file in looker.index.path.parent.iterdir():
        file.unlink()
    assert looker.index.lines() == []
    assert looker.index.counts() == {}
    assert looker.look() == ALL
    assert looker.index.case_ids("true") == ALL


@pytest.mark.parametrize("spoil", ["other version", "no database", "cut"])
def test_it_is_made_anew_when_it_cannot_be_used(looker: Looker, spoil: str) -> None:
    looker.look()
    path = looker.index.path
    if spoil == "other version":
        with sqlite3.connect(path) as connection:
            connection.execute("pragma user_version = 99")
        connection.close()
    else:
        content = path.read_bytes()
        path.write_bytes(b"nonsense" * 1000 if spoil == "no database" else content[: len(content) // 2])
    again = Looker(looker.settings)
    again.look()
    assert again.index.case_ids("true") == ALL


def test_a_second_start_tells_only_what_changed_meanwhile(looker: Looker) -> None:
    looker.look()
    looker.indexing.close()
    with JobBook(looker.settings.database, looker.settings.cases()) as book:
        book.discard(HELD.case_id)
    again = Looker(looker.settings)
    assert again.look() == {HELD.case_id}
    assert (line := again.index.line(HELD.case_id)) is not None
    assert line.state == "DISCARDED"


def test_only_the_account_of_the_node_may_read_it(looker: Looker) -> None:
    before = os.umask(0)
    try:
        looker.look()
    finally:
        os.umask(before)
    folder = looker.index.path.parent
    assert folder.stat().st_mode & 0o077 == 0
    assert [file.name for file in folder.iterdir() if file.stat().st_mode & 0o077] == []


def test_the_database_may_go_away_and_come_back(looker: Looker) -> None:
    looker.look()
    database = looker.settings.data_dir / "node.sqlite"
    away = database.rename(database.with_suffix(".away"))
    looker.indexing.close()
    with pytest.raises(Exception, match="No node has been started"):
        looker.look()
    assert looker.indexing.view is None
    assert looker.index.case_ids("true") == ALL
    Path(away).rename(database)
    assert looker.look() == set()
    assert looker.indexing.view is not None
