"""A failed self-test holds patients at the door and before each stage, and nobody else."""

from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.constancy.own_series import SELF_TEST_RULE
from dicom_node.constancy.stop import SELF_TEST_FAILED, WAIT_S, Outcome, Verdict, VerdictFile
from dicom_node.errors import ConfigurationError
from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.jobs.following import Next, after
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.watching.node_checks import Weight, check_answer, check_self_test
from dicom_node.work.stage_work import OWN_CASE, StageWork

FAILED = Verdict(Outcome.FAILED, SELF_TEST_FAILED, "The answer has moved.", 5.0)
PROGRAM = "tests.stage_program"


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    pacs = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    return parse_settings({"destinations": [pacs, {**pacs, "name": "tests"}]}, base=tmp_path)


def case(settings: NodeSettings, rule: str) -> CaseFolder:
    folder = settings.cases().folder("c" + str(len(rule)))
    folder.path.mkdir(parents=True)
    folder.write_record(CaseRecord(folder.case_id, "1.2", "d", 1, "TPS", rule=rule))
    return folder


def test_what_is_kept_is_read_again(tmp_path: Path) -> None:
    file = VerdictFile.under(tmp_path)
    assert (file.read(), file.stopped()) == (None, "")
    file.write(FAILED)
    assert (file.read(), file.stopped()) == (FAILED, FAILED.sentence)


@pytest.mark.parametrize("outcome", [Outcome.PASSED, Outcome.NOT_RUN])
def test_only_a_failure_stops(tmp_path: Path, outcome: Outcome) -> None:
    file = VerdictFile.under(tmp_path)
    file.write(replace(FAILED, outcome=outcome))
    assert file.stopped() == ""
    assert file.doubt_of("ct") is None
    assert check_answer(file).ok


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"outcome": "perhaps"}'])
def test_a_word_that_cannot_be_read_stops(tmp_path: Path, content: str) -> None:
    file = VerdictFile.under(tmp_path)
    file.write(FAILED)
    file.path.write_text(content)
    assert "perfnode selftest" in file.stopped()
    assert check_answer(file).code == SELF_TEST_FAILED


def test_patients_wait_at_the_door_and_self_tests_do_not(tmp_path: Path) -> None:
    file = VerdictFile.under(tmp_path)
    file.write(FAILED)
    doubt = file.doubt_of("ct")
    assert doubt is not None
    assert (doubt.code, doubt.sentence) == (SELF_TEST_FAILED, FAILED.sentence)
    assert file.doubt_of(SELF_TEST_RULE) is None


def test_a_case_on_its_way_waits_and_no_attempt_of_it_is_used_up(settings: NodeSettings) -> None:
    folder = case(settings, "ct")
    file, attempt = VerdictFile.under(settings.shared_dir), AttemptId(folder.case_id, 1, "segment", 4)
    file.write(FAILED)
    output = StageWork(settings, PROGRAM).perform(folder, attempt, 2)
    assert (output["result"], output["code"], output["message"]) == ("again", SELF_TEST_FAILED, FAILED.sentence)
    assert after(attempt, output, 2) == [Next(replace(attempt, attempt=5), 2, WAIT_S)]
    file.write(replace(FAILED, outcome=Outcome.PASSED))
    assert StageWork(settings, PROGRAM).perform(folder, attempt, 2)["result"] == "done"


@pytest.mark.parametrize("named", ["nobody", "tried"])
def test_the_destination_for_its_own_cases_must_be_there_and_live(named: str) -> None:
    tried = {"name": "tried", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "mode": "hold"}
    with pytest.raises(ConfigurationError, match=r"self_test\.destination"):
        parse_settings({"destinations": [tried], "self_test": {"destination": named}})


@pytest.mark.parametrize(("destination", "expected"), [("", []), ("tests", ["tests"])])
def test_a_case_of_its_own_is_worked_on_and_goes_to_the_one_destination_for_it(
    settings: NodeSettings, destination: str, expected: list[str]
) -> None:
    settings = replace(settings, self_test=replace(settings.self_test, destination=destination))
    VerdictFile.under(settings.shared_dir).write(FAILED)
    folder = case(settings, SELF_TEST_RULE)
    output = StageWork(settings, PROGRAM).perform(folder, AttemptId(folder.case_id, 1, "check", 1), 1)
    assert (output["result"], output["destinations"], output["shadows"]) == ("done", expected, [])
    assert output["more"] is bool(expected)
    assert output.get("code", OWN_CASE) == OWN_CASE


def test_it_is_remembered_when_the_last_answer_and_the_last_pass_were(tmp_path: Path) -> None:
    file = VerdictFile.under(tmp_path)
    words = [
        (Outcome.NOT_RUN, 10.0, (10.0, 0.0)),
        (Outcome.NOT_RUN, 20.0, (10.0, 0.0)),
        (Outcome.PASSED, 30.0, (30.0, 30.0)),
        (Outcome.FAILED, 40.0, (40.0, 30.0)),
        (Outcome.NOT_RUN, 50.0, (40.0, 30.0)),
    ]
    for outcome, at_s, expected in words:
        kept = file.add(Verdict(outcome, "", "", at_s))
        assert (kept.answered_at_s, kept.passed_at_s) == expected
        assert file.read() == kept
    assert file.last_passed_s() == 30.0
    file.path.write_text("{")
    assert file.last_passed_s() == 0.0
    assert file.add(Verdict(Outcome.PASSED, "", "", 60.0)).passed_at_s == 60.0


def test_self_tests_that_give_no_answer_for_two_intervals_are_told(tmp_path: Path) -> None:
    file, hour_s = VerdictFile.under(tmp_path), 3600.0
    assert check_self_test(file, 24.0, 0.0).ok, "none was made yet"
    file.add(Verdict(Outcome.PASSED, "", "", 1000.0))
    file.add(Verdict(Outcome.NOT_RUN, "NO_ANSWER_IN_TIME", "", 1000.0 + 47 * hour_s))
    assert check_self_test(file, 24.0, 1000.0 + 47.9 * hour_s).ok
    late = check_self_test(file, 24.0, 1000.0 + 48.1 * hour_s)
    assert (late.ok, late.weight, late.code) == (False, Weight.LATE, "SELF_TEST_LATE")
    assert "NO_ANSWER_IN_TIME" in late.detail
    assert check_self_test(file, 0.0, 1000.0 + 999 * hour_s).ok, "the site wants none by the clock"
