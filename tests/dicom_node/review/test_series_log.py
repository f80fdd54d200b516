"""Decisions about series that are no cases are kept with their reasons, and not for ever."""

import time
from pathlib import Path

import pytest

from dicom_node.errors import UnknownSeries
from dicom_node.operations import Operations
from dicom_node.review.decision import Deciding
from dicom_node.review.series_log import forget_old, series_log
from dicom_node.settings.config import parse_settings
from tests.finished_jobs import write_rows

ANNA = Deciding("anna", "approver", "not wanted")


def test_what_was_decided_about_a_series_is_kept_with_the_answer(tmp_path: Path) -> None:
    settings = parse_settings({"node": {"data_dir": str(tmp_path / "data")}})
    write_rows(settings.data_dir, {})
    with Operations(settings) as node, pytest.raises(UnknownSeries):
        node.discard("abcd", deciding=ANNA)
    (decision,) = series_log(settings.data_dir).decisions()
    assert (decision.by, decision.reason, decision.answer) == ("anna", "not wanted", UnknownSeries.code)
    assert decision.details == {"Series": "abcd"}


def test_old_files_go_and_young_ones_stay(tmp_path: Path) -> None:
    assert forget_old(tmp_path, 10.0, time.time()) == 0
    log = series_log(tmp_path)
    log.path.write_text("")
    assert forget_old(tmp_path, 10.0, time.time() + 9 * 86400) == 0
    assert forget_old(tmp_path, 10.0, time.time() + 11 * 86400) == 1
    assert not log.path.exists()
