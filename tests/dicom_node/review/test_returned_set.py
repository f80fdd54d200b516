"""Which structure sets were made from ours, and what is kept of them."""

from pathlib import Path

import pytest
from pydicom.dataset import Dataset

from dicom_node.jobs.cases import CaseFolder, CaseStore
from dicom_node.objects.provenance import EarlierInstance
from dicom_node.results.ledger import PublishedResult, ResultLedger
from dicom_node.review.returned_set import Kinship, keep_returned, look_at, read_returned
from dicom_node.review.returned_watch import ReturnedWatch
from dicom_node.structures.structure_sets import StructureStore
from inference.volumes import SeriesReference
from tests.returned_structures import OUR_UID, RADIUS_MM, SOURCE, came_back, case_with, naming, our_set, sphere
from tests.rt_structures import structure_set, written

EDITED = sphere(RADIUS_MM - 2.0)
LOBES = ("Lung_RUL", "Lung_RML", "Lung_RLL", "Lung_LUL", "Lung_LLL")


@pytest.fixture
def case(tmp_path: Path) -> CaseFolder:
    return case_with(tmp_path / "cases", our_set("Lungs", "Lungs^HighPerf", "Lungs^LowPerf"))


def kinship(case: CaseFolder, dataset: Dataset) -> Kinship:
    return look_at(case, written(dataset, case.path / "came.dcm")).kinship


@pytest.mark.parametrize("name", ["Lungs^HighPerf", "Lungs_HighPerf", "LUNGS_LOWPERF", "Lungs_HighPerf1"])
def test_our_names_of_functional_lung_make_a_set_ours_in_every_profile(case: CaseFolder, name: str) -> None:
    assert kinship(case, came_back({"GTV": EDITED, name: EDITED})) is Kinship.EDITED


def test_names_that_everybody_uses_do_not(case: CaseFolder) -> None:
    assert kinship(case, came_back({"GTV": EDITED, "Lungs": EDITED, "Lung_L": EDITED})) is Kinship.FOREIGN


def test_a_set_without_function_is_ours_when_all_its_names_are_there(tmp_path: Path) -> None:
    case = case_with(tmp_path / "cases", our_set("Lungs", "Lung_L", "Lung_R", *LOBES))
    whole = dict.fromkeys(("GTV", "Lungs", "Lung_L", "Lung_R", *LOBES), EDITED)
    assert kinship(case, came_back(whole)) is Kinship.EDITED
    assert kinship(case, came_back({name: EDITED for name in whole if name != "Lung_RML"})) is Kinship.FOREIGN


def test_a_reference_to_ours_is_enough_whatever_the_names(case: CaseFolder) -> None:
    assert kinship(case, naming(came_back({"A": EDITED}), OUR_UID)) is Kinship.EDITED
    assert kinship(case, naming(came_back({"A": EDITED}), "2.25.1")) is Kinship.FOREIGN


def test_a_reference_to_a_result_that_was_superseded_counts_too(case: CaseFolder) -> None:
    made = EarlierInstance("1.2.840.10008.5.1.4.1.1.481.3", "2.25.555", "2.25.556")
    ResultLedger(case.ledger).publish(SOURCE.series_instance_uid, PublishedResult("old", "", {"structure-set": made}))
    found = look_at(case, written(naming(came_back({"A": EDITED}), "2.25.555"), case.path / "came.dcm"))
    assert (found.kinship, found.names_ours) == (Kinship.EDITED, True)


def test_another_patient_in_the_same_frame_of_reference_is_not_compared(case: CaseFolder) -> None:
    other = came_back({"Lungs^HighPerf": EDITED})
    other.PatientID = "ZZCANARY"
    found = look_at(case, written(other, case.path / "came.dcm"))
    assert (found.kinship, found.rois) == (Kinship.OTHER_PATIENT, ())
    keep_returned(case, found)
    assert "ZZCANARY" not in (case.path / "edited" / "came.json").read_text()


def test_another_series_in_the_same_frame_of_reference_is_somebody_else_s(case: CaseFolder) -> None:
    elsewhere = SeriesReference("1.2.7", "1.2.88", SOURCE.frame_of_reference_uid, SOURCE.sop_instance_uids)
    assert kinship(case, came_back({"Lungs^HighPerf": EDITED}, elsewhere)) is Kinship.FOREIGN


def test_our_own_set_that_an_archive_sends_back_is_no_edited_one(case: CaseFolder) -> None:
    assert kinship(case, our_set("Lungs", "Lungs^HighPerf", "Lungs^LowPerf")) is Kinship.OURS


def test_a_set_that_cannot_be_parsed_holds_up_nobody(case: CaseFolder) -> None:
    path = written(came_back({"Lungs^HighPerf": EDITED}), case.path / "came.dcm")
    number, no_number = b"\x06\x30\x22\x00IS\x02\x001 ", b"\x06\x30\x22\x00IS\x02\x00x "
    assert number in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(number, no_number))
    assert look_at(case, path).kinship is Kinship.UNREADABLE


def test_what_is_kept_is_read_back_and_somebody_else_s_is_left_out(case: CaseFolder) -> None:
    found = look_at(case, written(came_back({"Lungs^HighPerf": EDITED, "GTV": EDITED}), case.path / "came.dcm"))
    keep_returned(case, found)
    keep_returned(case, look_at(case, written(came_back({"GTV": EDITED}), case.path / "other.dcm")))
    assert read_returned(case) == (found,)
    assert (found.other_rois, found.result_id) == (1, "result-1")
    assert [(roi.name, roi.code) for roi in found.rois if roi.code] == [
        ("Lungs", "DELETED"),
        ("Lungs^LowPerf", "DELETED"),
    ]


def test_the_watch_looks_at_each_set_once_and_keeps_it_with_the_newest_case(tmp_path: Path) -> None:
    cases = CaseStore(tmp_path / "cases")
    old = case_with(cases.root, our_set("Lungs^HighPerf"), number=7, arrived_at_s=1.0)
    store, watch = (
        StructureStore(tmp_path / "structures"),
        ReturnedWatch(cases, StructureStore(tmp_path / "structures")),
    )
    assert watch.look() == 0
    new = case_with(cases.root, our_set("Lungs^HighPerf"), number=3, arrived_at_s=2.0)
    store.add(written(came_back({"Lungs^HighPerf": EDITED}), tmp_path / "came.dcm"))
    assert (watch.look(), watch.look()) == (1, 0)
    assert ReturnedWatch(cases, store).look() == 0  # after a restart
    assert (len(read_returned(new)), len(read_returned(old))) == (1, 0)
    later = structure_set_again({"Lungs^HighPerf": sphere(RADIUS_MM)})
    store.add(written(later, tmp_path / "later.dcm"))
    assert watch.look() == 1
    assert sorted(roi.dice == 1.0 for each in read_returned(new) for roi in each.rois) == [False, True]


def structure_set_again(rois: dict) -> Dataset:
    from tests.returned_structures import GRID

    return structure_set(GRID, SOURCE, rois, uid="1.2.826.0.1.3680043.8.498.901")


def test_a_set_that_came_before_our_structures_were_made_is_looked_at_later(tmp_path: Path) -> None:
    cases, store = CaseStore(tmp_path / "cases"), StructureStore(tmp_path / "structures")
    case = case_with(cases.root, our_set("Lungs^HighPerf"))
    made = case.object("structure-set")
    made.rename(tmp_path / "aside.dcm")
    store.add(written(came_back({"Lungs^HighPerf": EDITED}), tmp_path / "came.dcm"))
    watch = ReturnedWatch(cases, store)
    assert watch.look() == 0
    (tmp_path / "aside.dcm").rename(made)
    assert watch.look() == 1
