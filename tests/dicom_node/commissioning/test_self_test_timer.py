"""When a self-test is due: some time after the start, and then once for each interval, whoever made the last one."""

import subprocess
import time
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.commissioning.self_test_timer import RETRY_S, SelfTestTimer
from dicom_node.constancy.stop import Outcome, Verdict, VerdictFile
from dicom_node.settings.config import NodeSettings, parse_settings

HOUR_S = 3600.0
NOW_S = 1_800_000_000.0


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    return parse_settings({"self_test": {"first_after_s": 0}}, base=tmp_path)


def test_the_first_one_waits_for_the_start(settings: NodeSettings) -> None:
    assert SelfTestTimer(settings).is_due(NOW_S)
    later = replace(settings, self_test=replace(settings.self_test, first_after_s=600.0))
    assert not SelfTestTimer(later).is_due(NOW_S)


def test_one_is_due_a_day_after_the_last(settings: NodeSettings) -> None:
    VerdictFile.under(settings.shared_dir).write(Verdict(Outcome.FAILED, "X", "x", NOW_S))
    timer = SelfTestTimer(settings, NOW_S - 60.0)
    assert not timer.is_due(NOW_S + 23.9 * HOUR_S)
    assert timer.is_due(NOW_S + 24.1 * HOUR_S)
    assert timer.is_due(NOW_S - HOUR_S), "a clock that was put back does not end all tests"


def test_a_last_word_that_cannot_be_read_is_none(settings: NodeSettings) -> None:
    file = VerdictFile.under(settings.shared_dir)
    file.write(Verdict(Outcome.PASSED, "", "", NOW_S))
    file.path.write_text("{")
    assert SelfTestTimer(settings, NOW_S - 60.0).is_due(NOW_S)


def test_one_is_due_after_each_start_unless_somebody_made_it_since(settings: NodeSettings) -> None:
    VerdictFile.under(settings.shared_dir).write(Verdict(Outcome.PASSED, "", "", NOW_S))
    assert SelfTestTimer(settings, NOW_S + 60.0).is_due(NOW_S + 120.0), "made before the start"
    assert not SelfTestTimer(settings, NOW_S - 60.0).is_due(NOW_S + 120.0)


def test_one_that_gave_no_answer_is_tried_again_after_an_hour(settings: NodeSettings) -> None:
    VerdictFile.under(settings.shared_dir).write(Verdict(Outcome.NOT_RUN, "X", "x", NOW_S))
    timer = SelfTestTimer(settings, NOW_S - 60.0)
    assert not timer.is_due(NOW_S + 0.9 * RETRY_S)
    assert timer.is_due(NOW_S + 1.1 * RETRY_S)


def test_one_whose_process_ends_without_a_word_is_tried_again_after_an_hour(settings: NodeSettings) -> None:
    timer = SelfTestTimer(replace(settings, source="/no/such/site.toml"))
    with pytest.raises(subprocess.CalledProcessError):
        timer.look()
    now_s = time.time()
    assert not timer.is_due(now_s + 60.0)
    assert timer.is_due(now_s + 1.1 * RETRY_S)


def test_a_site_may_want_none_by_the_clock(settings: NodeSettings) -> None:
    assert [chore.once_for_all_hosts for chore in SelfTestTimer(settings).chores()] == [True]
    never = replace(settings, self_test=replace(settings.self_test, every_h=0.0))
    assert SelfTestTimer(never).chores() == []
