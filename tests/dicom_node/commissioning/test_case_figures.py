"""Figures are taken from results of patients once, with the settings of then; a spoilt case spoils no other."""

from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.commissioning.case_figures import RUN_TIME, FiguresFile, collect
from dicom_node.commissioning.drift_look import look_at_drift
from dicom_node.commissioning.figures import figures_of
from dicom_node.commissioning.self_test import made_since
from dicom_node.constancy.drift_news import DriftNewsFile
from dicom_node.constancy.own_series import SELF_TEST_RULE
from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.results.result_files import write_ct, write_result
from dicom_node.settings.config import NodeSettings, parse_settings
from inference.phantom.thorax import DigitalThorax
from tests.dicom_node.results.test_uncertainty_files import Known, perfused
from tests.finished_jobs import write_rows

PATIENT, OWN, SPOILT, REFUSED, UNSENT = (f"{number:016x}" for number in range(1, 6))


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory, thorax: DigitalThorax) -> NodeSettings:
    settings = parse_settings({"node": {"data_dir": "data"}}, base=tmp_path_factory.mktemp("node"))
    made = {"result": "done", "destinations": []}
    rows = {f"{case}:1:{unit}:1": made for case in (PATIENT, OWN, SPOILT, UNSENT) for unit in ("read", "check")}
    rows[f"{UNSENT}:1:deliver.pacs:1"] = {"result": "failed", "code": "X", "message": "x"}
    rows[f"{REFUSED}:1:read:1"] = {"result": "rejected", "code": "X", "message": "x"}
    write_rows(settings.data_dir, rows)
    for case in (PATIENT, OWN, SPOILT, REFUSED, UNSENT):
        prepare(settings.cases().folder(case), SELF_TEST_RULE if case == OWN else "ct", thorax)
    settings.cases().folder(SPOILT).result.write_bytes(b"no archive")
    return settings


def prepare(folder: CaseFolder, rule: str, thorax: DigitalThorax) -> None:
    make_directory(folder.path)
    folder.write_record(CaseRecord(folder.case_id, "1.2", "d", 1, "TPS", rule=rule))
    write_ct(folder.ct, thorax.ct)
    write_result(folder.result, perfused(thorax, Known(thorax)))
    write_json(folder.contents, {"ordered": [], "settings_digest": "of-then", "result": {}})


def test_every_result_of_a_patient_is_kept_once_whatever_became_of_its_delivery(
    settings: NodeSettings, thorax: DigitalThorax
) -> None:
    for _ in range(2):
        found = collect(settings)
        assert [figures.key for figures in found.kept] == [f"{PATIENT}:1", f"{UNSENT}:1"]
        assert found.unreadable == (SPOILT,)
    figures = dict(found.kept[0].figures)
    assert figures.pop(RUN_TIME) >= 0.0
    assert figures == figures_of(thorax.ct, perfused(thorax, Known(thorax)))
    assert found.kept[0].made_by.settings_digest == "of-then"
    assert FiguresFile.under(settings.shared_dir).read() == found.kept


def test_figures_outlive_their_case(settings: NodeSettings) -> None:
    before = collect(settings).kept
    folder = settings.cases().folder(PATIENT)
    folder.result.rename(folder.result.with_suffix(".away"))
    try:
        assert collect(settings).kept == before
    finally:
        folder.result.with_suffix(".away").rename(folder.result)


def test_a_look_keeps_its_news_for_the_status_page(settings: NodeSettings) -> None:
    look = look_at_drift(settings)
    assert (look.unreadable, look.is_quiet) == ((SPOILT,), True)
    news = DriftNewsFile.under(settings.shared_dir).read()
    assert news is not None
    assert (news.patients["lung_hu"], news.self_tests) == ([], {})


def test_after_a_failure_a_person_is_told_which_cases_of_patients_were_made_since(settings: NodeSettings) -> None:
    assert made_since(settings, 1.0) == (PATIENT, SPOILT, UNSENT)
    assert made_since(settings, 4e9) == ()


def test_a_figures_file_of_somebody_else_stops_the_look_and_stays_as_it_is(
    settings: NodeSettings, tmp_path: Path
) -> None:
    other = replace(settings, shared_dir=tmp_path)
    file = FiguresFile.under(tmp_path)
    make_directory(file.path.parent)
    file.path.write_text("[]\n")
    with pytest.raises(ValueError, match="none of ours"):
        collect(other)
    assert file.path.read_text() == "[]\n"
