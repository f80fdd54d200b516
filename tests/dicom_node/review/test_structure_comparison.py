"""Edited structures of known geometry: their Dice and volumes are those of geometry."""

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_node.review.structure_comparison import RoiChange, compare_sets
from inference.geometry import Grid
from inference.volumes import SeriesReference
from tests.returned_structures import CENTRE, GRID, RADIUS_MM, SOURCE, came_back, our_set, sphere
from tests.rt_structures import Contours, circle


def change(edited: Dataset, name: str = "Lungs^HighPerf", grid: Grid = GRID) -> RoiChange:
    (found,) = compare_sets([our_set(name)], edited, grid, SOURCE)
    return found


def ball_ml(radius_mm: float) -> float:
    return 4.0 / 3.0 * np.pi * radius_mm**3 / 1000.0


def test_a_sphere_that_was_shrunk_by_2_mm_has_the_dice_and_the_volumes_of_two_concentric_balls() -> None:
    found = change(came_back({"Lungs^HighPerf": sphere(RADIUS_MM - 2.0)}))
    small, large = ball_ml(RADIUS_MM - 2.0), ball_ml(RADIUS_MM)
    assert found.dice == pytest.approx(2 * small / (small + large), abs=0.003)
    assert found.ours_ml == pytest.approx(large, rel=0.005)
    assert found.edited_ml == pytest.approx(small, rel=0.005)
    assert found.change_ml == pytest.approx(small - large, abs=0.3)
    assert found.change_percent == pytest.approx(100 * (small - large) / large, abs=0.5)


def test_what_nobody_touched_has_a_dice_of_exactly_1() -> None:
    found = change(came_back({"Lungs^HighPerf": sphere(RADIUS_MM)}))
    assert (found.dice, found.change_ml, found.code) == (1.0, 0.0, "")


def test_a_sphere_that_was_moved_loses_overlap_and_no_volume() -> None:
    moved = {k: [outline + np.array([0.0, 10.0]) for outline in outlines] for k, outlines in sphere(20.0).items()}
    (found,) = compare_sets([came_back({"a": sphere(20.0)})], came_back({"a": moved}), GRID, SOURCE)
    distance, radius = 10.0, 20.0  # two caps of height r - d/2 are what two balls share
    height = radius - distance / 2
    shared = 2 * np.pi * height**2 * (3 * radius - height) / 3 / 1000.0
    assert found.dice == pytest.approx(shared / ball_ml(radius), abs=0.005)
    assert found.change_ml == 0.0


def test_balls_that_do_not_meet_share_nothing() -> None:
    low = {k: [circle(CENTRE[1], CENTRE[2], 5.0)] for k in range(2, 5)}
    (found,) = compare_sets([came_back({"a": sphere(20.0)})], came_back({"a": low}), GRID, SOURCE)
    assert found.dice == 0.0


@pytest.mark.parametrize("name", ["Lungs_HighPerf", "LUNGS^HIGHPERF", " lungs-highperf "])
def test_an_roi_is_found_whatever_a_planning_system_did_to_its_name(name: str) -> None:
    found = change(came_back({name: sphere(RADIUS_MM)}))
    assert (found.name, found.dice) == ("Lungs^HighPerf", 1.0)


def test_an_roi_that_was_deleted_or_emptied_is_told_apart() -> None:
    assert change(came_back({"GTV": sphere(5.0)})).code == "DELETED"
    emptied = change(came_back({"Lungs^HighPerf": {}}))
    assert (emptied.edited_ml, emptied.dice, emptied.code) == (0.0, 0.0, "")


def contour(dataset: Dataset) -> Dataset:
    return dataset.ROIContourSequence[0].ContourSequence[0]


def test_contours_that_cannot_be_placed_are_not_compared_and_say_why() -> None:
    rois: dict[str, Contours] = {"Lungs^HighPerf": sphere(RADIUS_MM)}
    opened, moved, strange, elsewhere, short = (came_back(rois) for _ in range(5))
    contour(opened).ContourGeometricType = "OPEN_PLANAR"
    values = [float(value) for value in contour(moved).ContourData]
    contour(moved).ContourData = [f"{value + 0.4 * (n % 3 == 2):.3f}" for n, value in enumerate(values)]
    contour(strange).ContourImageSequence[0].ReferencedSOPInstanceUID = "1.2.4711"
    elsewhere.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.4"
    contour(short).ContourData = ["0", "0", "0"]
    found = [change(dataset).code for dataset in (opened, moved, strange, elsewhere, short)]
    assert found == ["NOT_CLOSED", "OFF_PLANE", "ELSEWHERE", "ELSEWHERE", "UNREADABLE"]


def test_outlines_that_would_fill_the_memory_are_not_filled() -> None:
    zigzag = np.array([[0.0 if n % 2 else 1e9, n / 1e3] for n in range(1000)])
    assert change(came_back({"Lungs^HighPerf": {10: [zigzag]}})).code == "TOO_MANY_POINTS"


def test_the_set_that_is_first_speaks_for_an_roi_that_two_sets_hold() -> None:
    both = [our_set("Lungs", "Lungs^HighPerf"), our_set("Lungs_HighPerf")]
    found = compare_sets(both, came_back({"Lungs^HighPerf": sphere(RADIUS_MM)}), GRID, SOURCE)
    assert [each.name for each in found] == ["Lungs", "Lungs^HighPerf"]


def test_slices_of_another_ct_are_not_ours() -> None:
    other = SeriesReference("1.2.7", "1.2.8", "1.2.3", tuple(f"1.2.10.{k}" for k in range(70)))
    assert change(came_back({"Lungs^HighPerf": sphere(RADIUS_MM)}, other)).code == "ELSEWHERE"
