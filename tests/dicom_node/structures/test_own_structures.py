"""What a planner made of our structures is never taken out of the next result; what they drew themselves is."""

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_node.structures.own_structures import FUNCTION_NAMES, OWN_NAMES, bears_our_names, own_rois, plain_name
from dicom_node.structures.received import ReceivedStructures
from dicom_node.structures.structure_sets import StructureStore
from dicom_node.structures.subtraction import SubtractionRule, exclusion_of
from inference.volumes import CtVolume
from tests.returned_structures import GRID, SOURCE, came_back, sphere
from tests.rt_structures import written

BALL = sphere(6.0)
EVERYTHING = SubtractionRule((".*",))


def excluded(dataset: Dataset, folder: Path) -> list[str]:
    ct = CtVolume(np.zeros(GRID.shape, dtype=np.float32), GRID, SOURCE)
    return [each.name for each in exclusion_of([written(dataset, folder / "s.dcm")], ct, EVERYTHING).structures]


@pytest.mark.parametrize("separator", ["^", "_"])
def test_an_edited_copy_of_ours_is_not_subtracted_even_where_the_site_takes_every_roi(
    tmp_path: Path, separator: str
) -> None:
    names = ("Lungs", "Lung_L", "Lung_RML", f"Lungs{separator}HighPerf", f"Lungs{separator}LowPerf")
    edited = came_back(dict.fromkeys(names, BALL))
    assert excluded(edited, tmp_path) == []
    received = ReceivedStructures(StructureStore(tmp_path / "structures"), EVERYTHING)
    assert received.add(written(edited, tmp_path / "edited.dcm")) == SOURCE.series_instance_uid
    assert list(received.used_for(SOURCE.series_instance_uid)) == []  # and so it makes no new case


def test_a_tumour_that_was_drawn_among_our_structures_is_subtracted(tmp_path: Path) -> None:
    assert excluded(came_back({"Lungs^HighPerf": BALL, "Lung_L": BALL, "GTV": BALL}), tmp_path) == ["GTV"]


def test_lungs_of_somebody_else_are_theirs(tmp_path: Path) -> None:
    assert excluded(came_back({"Lungs": BALL, "Lung_L": BALL}), tmp_path) == ["Lungs", "Lung_L"]


def test_a_renamed_copy_is_known_by_our_description(tmp_path: Path) -> None:
    dataset = came_back({"mine": BALL, "GTV": BALL})
    dataset.StructureSetROISequence[0].ROIDescription = "RESEARCH ONLY. High is the upper half."
    assert own_rois(dataset) == {1}
    assert excluded(dataset, tmp_path) == ["GTV"]


def test_names_are_compared_by_letters_and_digits() -> None:
    assert plain_name(" LUNGS^HighPerf ") == "lungs_highperf"
    assert plain_name("Lungs^HighPerf") in FUNCTION_NAMES < OWN_NAMES
    assert bears_our_names(["GTV", "Lungs_LowPerf 2"], [])
    assert not bears_our_names(["GTV", "Lungs"], ["Lungs", "Lung_L"])
    assert not bears_our_names([], [])
