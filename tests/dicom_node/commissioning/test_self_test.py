"""What a self-test makes of an answer: kept, passed, failed, accepted; and of none at all."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from dicom_node.commissioning.case_figures import FiguresFile
from dicom_node.commissioning.expected import MadeBy
from dicom_node.commissioning.figures import figures_of
from dicom_node.commissioning.port_test import Answer
from dicom_node.commissioning.self_test import answer_file, judged, run_port_test
from dicom_node.constancy.stop import SELF_TEST_FAILED, Outcome, Verdict, VerdictFile
from dicom_node.jobs.attempts import Case, CaseState
from dicom_node.jobs.stages import Stage
from dicom_node.settings.config import NodeSettings, parse_settings
from inference.engine import FoundLobes, PerfusionResult, perfuse
from inference.function_regions import DEFAULT_RULE
from inference.phantom.thorax import DigitalThorax
from inference.volumes import CtVolume, LobeMap, PerfusionMap
from tests.peers import free_port

MAKER = MadeBy("atlas 1", "network 2", "median", "cd")
CASE = Case("0123", CaseState.DELIVERED, Stage.CHECK, "", "", 0.0, 0.0, ())


class Truth:
    """An engine that gives the true map."""

    def __init__(self, thorax: DigitalThorax) -> None:
        self._map = thorax.perfusion

    @property
    def identity(self) -> object:
        return self._map.model

    def predict(self, ct: CtVolume, lobes: LobeMap) -> PerfusionMap:
        return self._map


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    return parse_settings({"node": {"data_dir": "data", "port": free_port()}}, base=tmp_path)


@pytest.fixture(scope="module")
def result(thorax: DigitalThorax) -> PerfusionResult:
    return perfuse(thorax.ct, FoundLobes(thorax.lobes, ()), Truth(thorax), DEFAULT_RULE)  # type: ignore[arg-type]


def answer_of(thorax: DigitalThorax, result: PerfusionResult, maker: MadeBy = MAKER, **moved: float) -> Answer:
    figures = figures_of(thorax.ct, result)
    figures = {name: value + moved.get(name, 0.0) for name, value in figures.items()}
    return Answer(CASE, maker, figures, thorax.ct, result, 12.0)


def test_the_first_answer_of_a_model_is_kept_and_the_next_compared_with_it(
    settings: NodeSettings, thorax: DigitalThorax, result: PerfusionResult
) -> None:
    first = judged(settings, thorax, answer_of(thorax, result), "")
    assert (first.verdict.outcome, first.is_first) == (Outcome.PASSED, True)
    again = judged(settings, thorax, answer_of(thorax, result, lung_hu=1.9), "")
    assert (again.verdict.outcome, again.is_first) == (Outcome.PASSED, False)
    moved = judged(settings, thorax, answer_of(thorax, result, lung_hu=2.1), "")
    assert (moved.verdict.outcome, moved.verdict.code) == (Outcome.FAILED, SELF_TEST_FAILED)
    assert "lung_hu was" in moved.verdict.sentence
    assert "HU, tolerated 2.00" in moved.verdict.sentence
    assert len(FiguresFile.of_self_tests(settings.shared_dir).read()) == 3, "each answer is a value on the charts"


def test_another_model_or_other_settings_have_an_answer_of_their_own(
    settings: NodeSettings, thorax: DigitalThorax, result: PerfusionResult
) -> None:
    for maker in (MAKER, replace(MAKER, perfusion="network 3"), replace(MAKER, settings_digest="ef")):
        assert judged(settings, thorax, answer_of(thorax, result, maker, lung_hu=50.0), "").is_first
    assert not judged(settings, thorax, answer_of(thorax, result, lung_hu=50.0), "").is_first, "after a rollback"


def test_a_person_may_accept_an_answer_and_tolerances_that_were_written_by_hand_stay(
    settings: NodeSettings, thorax: DigitalThorax, result: PerfusionResult
) -> None:
    judged(settings, thorax, answer_of(thorax, result), "")
    path = answer_file(settings, MAKER)
    fields = json.loads(path.read_text())
    assert fields["recorded"]["by"] == ""
    fields["figures"]["lung_hu"].update(tolerance=0.5, source="ours")
    path.write_text(json.dumps(fields))
    assert judged(settings, thorax, answer_of(thorax, result, lung_hu=1.0), "").verdict.stops
    accepted = judged(settings, thorax, answer_of(thorax, result, lung_hu=1.0), "A. Physicist")
    assert (accepted.verdict.outcome, accepted.is_first) == (Outcome.PASSED, True)
    kept = json.loads(path.read_text())
    assert (kept["recorded"]["by"], kept["figures"]["lung_hu"]["tolerance"]) == ("A. Physicist", 0.5)
    assert not judged(settings, thorax, answer_of(thorax, result, lung_hu=1.0), "").verdict.stops


def test_nobody_can_accept_an_answer_that_does_not_fit_the_thorax(
    settings: NodeSettings, thorax: DigitalThorax, result: PerfusionResult
) -> None:
    judged(settings, thorax, answer_of(thorax, result), "")
    before = answer_file(settings, MAKER).read_bytes()
    swapped = LobeMap(np.ascontiguousarray(thorax.lobes.labels[:, :, ::-1]), thorax.ct.grid, thorax.lobes.segmenter)
    wrong = answer_of(thorax, replace(result, lobes=swapped))
    refused = judged(settings, thorax, wrong, "A. Physicist")
    assert (refused.verdict.stops, refused.is_first) == (True, False)
    assert "Dice" in refused.verdict.sentence
    assert answer_file(settings, MAKER).read_bytes() == before


def test_no_result_and_a_kept_answer_that_is_spoilt_are_failures(
    settings: NodeSettings, thorax: DigitalThorax, result: PerfusionResult
) -> None:
    nothing = Answer(replace(CASE, state=CaseState.FAILED, code="X"), None, {}, None, None, 1.0)
    assert "FAILED X" in judged(settings, thorax, nothing, "").verdict.sentence
    judged(settings, thorax, answer_of(thorax, result), "")
    answer_file(settings, MAKER).write_text("{")
    assert judged(settings, thorax, answer_of(thorax, result), "").verdict.stops
    assert not judged(settings, thorax, answer_of(thorax, result), "A. Physicist").verdict.stops


def test_a_test_that_cannot_be_made_changes_nothing(settings: NodeSettings) -> None:
    file = VerdictFile.under(settings.shared_dir)
    file.write(Verdict(Outcome.FAILED, SELF_TEST_FAILED, "The answer has moved.", 5.0))
    report = run_port_test(settings)  # nobody listens there
    assert (report.verdict.outcome, report.verdict.code) == (Outcome.NOT_RUN, "PORT_TEST_REFUSED")
    assert "The answer has moved." in report.verdict.sentence
    assert file.stopped() == "The answer has moved."
