"""The record of decisions and ratings is on the disk when it says so, whoever is killed and whoever else writes."""

import json
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from dicom_node.errors import ReasonMissing, TextTooLong
from dicom_node.jobs.cases import CaseFolder
from dicom_node.review.decision import LONGEST_TEXT, Action, Deciding, Wish, plain_text
from dicom_node.review.rating import Changes
from dicom_node.review.review_log import ReviewLog

ANNA = Deciding("anna", "approver", "looks right")
WRITER = """
import sys
from pathlib import Path
from dicom_node.review.decision import Action, Deciding, Wish
from dicom_node.review.review_log import ReviewLog
log = ReviewLog(Path(sys.argv[1]))
while True:
    print(log.ask(Deciding("anna", "approver", "x" * 400), Wish(Action.RETRY)).id, flush=True)
"""


@pytest.fixture
def log(tmp_path: Path) -> ReviewLog:
    return ReviewLog.of(CaseFolder(tmp_path))


def test_a_decision_is_read_back_with_its_answer(log: ReviewLog) -> None:
    wish = Wish(Action.RELEASE, "pacs", {"Priority": "urgent"}, {"pacs": ("1.2.3", "1.2.4")})
    decision = log.ask(ANNA, wish)
    assert log.decisions() == (decision,)
    assert decision.answer is None
    answered = log.answer(decision, "QUEUED", ("a:1:deliver.pacs:2",))
    assert log.decisions() == (answered,)
    assert (answered.by, answered.role, answered.reason) == ("anna", "approver", "looks right")
    assert answered.objects == {"pacs": ("1.2.3", "1.2.4")}
    assert answered.at.endswith("+00:00")


def test_ratings_stand_beside_decisions(log: ReviewLog) -> None:
    log.ask(ANNA, Wish(Action.CANCEL))
    rating = log.rate(ANNA, Changes.MINOR, 12.5, "result-1")
    assert log.ratings() == (rating,)
    assert (rating.words, rating.minutes, rating.changes) == ("looks right", 12.5, Changes.MINOR)
    assert len(log.decisions()) == 1


def test_nothing_written_yet_is_nothing(log: ReviewLog) -> None:
    assert (log.decisions(), log.ratings()) == ((), ())


def test_whoever_is_killed_leaves_every_decision_that_was_acknowledged(log: ReviewLog) -> None:
    command = [sys.executable, "-c", WRITER, str(log.path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as writer:
        assert writer.stdout is not None
        told = [writer.stdout.readline().strip() for _ in range(30)]
        writer.send_signal(signal.SIGKILL)
        told += writer.stdout.read().split()
    assert set(told) <= {decision.id for decision in log.decisions()}


def test_half_a_line_spoils_no_other(log: ReviewLog) -> None:
    first = log.ask(ANNA, Wish(Action.RETRY))
    whole = log.path.read_bytes()
    log.path.write_bytes(whole + whole[: len(whole) // 2])
    second = log.ask(ANNA, Wish(Action.CANCEL))
    assert log.decisions() == (first, second)


def test_many_write_at_once_and_no_line_is_lost_or_torn(log: ReviewLog) -> None:
    with ThreadPoolExecutor(8) as pool:
        asked = list(pool.map(lambda _: log.ask(ANNA, Wish(Action.RETRY)), range(80)))
    assert {decision.id for decision in log.decisions()} == {decision.id for decision in asked}
    assert all(json.loads(line) for line in log.path.read_text().splitlines())


def test_text_is_kept_whole_or_refused() -> None:
    assert plain_text("  one\r\ntwo\x1b[31m\t ") == "one\ntwo [31m"
    assert plain_text("ü" * LONGEST_TEXT) == "ü" * LONGEST_TEXT
    with pytest.raises(TextTooLong) as caught:
        plain_text("x" * (LONGEST_TEXT + 1))
    assert caught.value.code == "TEXT_TOO_LONG"


@pytest.mark.parametrize("action", [Action.DISCARD, Action.CANCEL, Action.RERUN])
def test_what_needs_a_reason_is_refused_without_one(action: Action) -> None:
    with pytest.raises(ReasonMissing):
        Deciding("anna", "approver", "").require_reason(action)
    ANNA.require_reason(action)


def test_a_release_needs_none() -> None:
    Deciding("anna", "approver").require_reason(Action.RELEASE)
