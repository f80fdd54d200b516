"""What a site wants taken out is taken out of the function regions, and of nothing else; what cannot be is said."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from dicom_node.structures.subtraction import SubtractionRule, exclusion_of
from inference.exclusion import Exclusion, exclude
from inference.geometry import Grid
from inference.quality.checks import Severity
from inference.volumes import CtVolume, FunctionBasis, FunctionRegions, FunctionRule, SeriesReference
from tests.rt_structures import Contours, cylinder, structure_set, written

GRID = Grid.axial((20, 60, 70), (3.0, 2.0, 1.5), (-50.0, -60.0, -30.0), frame_of_reference_uid="1.2.3")
SOURCE = SeriesReference("1.2.7", "1.2.8", "1.2.3", tuple(f"1.2.9.{k}" for k in range(20)))
RULE = SubtractionRule(("GTV.*", "ITV"))
GTV = cylinder(range(4, 9), 30, 30, 6)
OTHER = cylinder(range(4, 9), 30, 45, 4)
CANARY = "Thorax"


@pytest.fixture(scope="module")
def ct() -> CtVolume:
    return CtVolume(np.zeros(GRID.shape, dtype=np.float32), GRID, SOURCE)


Excluding = Callable[..., Exclusion]


@pytest.fixture
def excluding(ct: CtVolume, tmp_path: Path) -> Excluding:
    """Write structure sets and exclude what a rule means."""

    def run(*sets: Dataset, rule: SubtractionRule = RULE) -> Exclusion:
        paths = [written(dataset, tmp_path / f"{number}.dcm") for number, dataset in enumerate(sets)]
        return exclusion_of(paths, ct, rule)

    return run


def a_set(rois: dict[str, Contours], **more: str) -> Dataset:
    return structure_set(GRID, SOURCE, rois, **more)


def names(exclusion: Exclusion) -> list[str]:
    return [structure.name for structure in exclusion.structures]


def codes(exclusion: Exclusion) -> list[str]:
    return [finding.code for finding in exclusion.findings]


def test_names_are_matched_as_a_whole_whatever_their_case(excluding: Excluding) -> None:
    rois = {"gtv_p": GTV, "ITV": OTHER, "ITV 2": GTV, "PGTV": GTV, "Heart": OTHER, "GTVn": OTHER}
    exclusion = excluding(a_set(rois))
    assert names(exclusion) == ["gtv_p", "ITV", "GTVn"]
    assert codes(exclusion) == []


def test_the_voxels_are_taken_from_both_regions_and_counted(excluding: Excluding) -> None:
    exclusion = excluding(a_set({"GTV": GTV}))
    high, low = np.zeros(GRID.shape, dtype=bool), np.zeros(GRID.shape, dtype=bool)
    high[:, :, :30], low[:, :, 30:] = True, True
    regions = FunctionRegions(high, low, GRID, FunctionRule("median", FunctionBasis.PERCENTILE, 50.0, 50.0))
    smaller, (finding,) = exclude(regions, exclusion)
    row, column = np.indices(GRID.shape[1:])
    disc = (row - 30) ** 2 + (column - 30) ** 2 < 35.9
    tumour = np.zeros(GRID.shape, dtype=bool)
    tumour[4:9] = disc
    assert np.count_nonzero(tumour) > 400
    for before, after in ((high, smaller.high), (low, smaller.low)):
        different = (before & ~tumour) ^ after
        assert np.count_nonzero(different) < 0.05 * np.count_nonzero(tumour)
        assert not (after & ~before).any()
    taken = np.count_nonzero(high | low) - np.count_nonzero(smaller.high | smaller.low)
    assert finding.measured == pytest.approx(taken * GRID.voxel_volume_ml)
    assert (finding.code, finding.severity) == ("STRUCTURE_SUBTRACTED", Severity.NOTE)
    assert "GTV (structure set" in finding.sentence
    assert regions.high.sum() == high.sum()


def test_a_margin_takes_more_and_is_said(excluding: Excluding) -> None:
    without, with_margin = (
        excluding(a_set({"GTV": GTV}), rule=SubtractionRule(("GTV",), margin_mm)) for margin_mm in (0.0, 5.0)
    )
    assert names(with_margin) == ["GTV with 5 mm around it"]
    sizes = [np.count_nonzero(e.structures[0].mask) for e in (without, with_margin)]
    assert sizes[1] > 1.5 * sizes[0]


def test_nothing_received_is_flagged(excluding: Excluding) -> None:
    for sets in ((), (a_set({"Heart": OTHER}),)):
        exclusion = excluding(*sets)
        assert codes(exclusion) == ["NO_STRUCTURE_TO_SUBTRACT"]
        assert exclusion.findings[0].severity is Severity.FLAG


def test_the_latest_set_that_has_a_structure_is_used(excluding: Excluding) -> None:
    old = a_set({"GTV old": GTV}, uid="1.2.1", date="20260101", time="235959")
    new = a_set({"GTV new": OTHER}, uid="1.2.2", date="20260102", time="080000")
    newest = a_set({"Heart": OTHER}, uid="1.2.3", date="20260103")
    for order in ((old, new, newest), (newest, new, old)):
        assert names(excluding(*order)) == ["GTV new"]


def test_equal_dates_are_told_apart_by_the_instance(excluding: Excluding) -> None:
    one, two = (a_set({f"GTV {uid}": GTV}, uid=uid) for uid in ("1.2.1", "1.2.2"))
    assert names(excluding(one, two)) == names(excluding(two, one)) == ["GTV 1.2.2"]


def test_our_own_structure_sets_and_those_of_other_series_are_passed_over(excluding: Excluding) -> None:
    own = a_set({"GTV": GTV})
    own.Manufacturer = "perfusion-node"
    foreign = a_set({"GTV": GTV})
    foreign.ReferencedFrameOfReferenceSequence[0].RTReferencedStudySequence[0].RTReferencedSeriesSequence[
        0
    ].SeriesInstanceUID = "1.2.88"
    for dataset in (own, foreign):
        assert codes(excluding(dataset)) == ["NO_STRUCTURE_TO_SUBTRACT"]


def elsewhere(dataset: Dataset) -> None:
    dataset.StructureSetROISequence[0].ReferencedFrameOfReferenceUID = "1.2.33"


def on_other_images(dataset: Dataset) -> None:
    image = dataset.ROIContourSequence[0].ContourSequence[2].ContourImageSequence[0]
    image.ReferencedSOPInstanceUID = "1.2.9.77"


def off_plane(dataset: Dataset) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[2]
    contour.ContourData = [float(v) + (1.5 if i % 3 == 2 else 0) for i, v in enumerate(contour.ContourData)]


def open_contour(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[2].ContourGeometricType = "OPEN_PLANAR"


def no_contours(dataset: Dataset) -> None:
    del dataset.ROIContourSequence[0].ContourSequence


def two_points(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[2].ContourData = [0, 0, 0, 1, 1, 1]


def five_numbers(dataset: Dataset) -> None:
    dataset.ROIContourSequence[0].ContourSequence[2].ContourData = [0, 0, 0, 1, 1]


def beyond_the_ct(dataset: Dataset) -> None:
    contour = dataset.ROIContourSequence[0].ContourSequence[0]
    contour.ContourData = [float(v) - (60 if i % 3 == 2 else 0) for i, v in enumerate(contour.ContourData)]


@pytest.mark.parametrize(
    ("fault", "code"),
    [
        (elsewhere, "STRUCTURE_ELSEWHERE"),
        (on_other_images, "STRUCTURE_ELSEWHERE"),
        (off_plane, "STRUCTURE_OFF_PLANE"),
        (beyond_the_ct, "STRUCTURE_OFF_PLANE"),
        (open_contour, "STRUCTURE_UNREADABLE"),
        (two_points, "STRUCTURE_UNREADABLE"),
        (five_numbers, "STRUCTURE_UNREADABLE"),
        (no_contours, "STRUCTURE_EMPTY"),
    ],
)
def test_a_structure_that_cannot_be_placed_is_left_whole_and_flagged(
    excluding: Excluding, fault: Callable[[Dataset], None], code: str
) -> None:
    dataset = a_set({"GTV": GTV, "ITV": OTHER})
    fault(dataset)
    exclusion = excluding(dataset)
    assert codes(exclusion) == [code]
    assert names(exclusion) == ["ITV"]
    assert exclusion.findings[0].severity is Severity.FLAG
    assert "GTV" in exclusion.findings[0].sentence
    assert CANARY not in exclusion.findings[0].sentence
    assert "1.2." not in exclusion.findings[0].sentence


def test_contours_without_an_image_reference_are_placed_by_their_points(excluding: Excluding) -> None:
    dataset = a_set({"GTV": GTV})
    for contour in dataset.ROIContourSequence[0].ContourSequence:
        del contour.ContourImageSequence
    assert names(excluding(dataset)) == ["GTV"]


def test_a_structure_drawn_on_every_other_image_is_subtracted_and_flagged(excluding: Excluding) -> None:
    exclusion = excluding(a_set({"GTV": cylinder([4, 6, 8], 30, 30, 6)}))
    assert names(exclusion) == ["GTV"]
    assert codes(exclusion) == ["STRUCTURE_WITH_GAPS"]
    assert exclusion.findings[0].measured == 2


def test_a_file_that_is_no_structure_set_is_passed_over(ct: CtVolume, tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no DICOM")
    assert codes(exclusion_of([tmp_path / "text.dcm"], ct, RULE)) == ["NO_STRUCTURE_TO_SUBTRACT"]


def test_the_digest_knows_voxels_names_and_findings(excluding: Excluding) -> None:
    exclusions = [
        excluding(a_set({"GTV": GTV})),
        excluding(a_set({"GTV": OTHER})),
        excluding(a_set({"GTV 2": GTV})),
        excluding(a_set({"GTV": GTV}, uid="1.2.1")),
        excluding(a_set({"GTV": cylinder([4, 6, 8], 30, 30, 6)})),
        excluding(),
    ]
    assert len({exclusion.sha256() for exclusion in exclusions}) == len(exclusions)
    assert exclusions[0].sha256() == excluding(a_set({"GTV": GTV})).sha256()


def test_names_are_written_in_ascii_of_bounded_length(excluding: Excluding) -> None:
    dataset = a_set({"GTV": GTV})
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.StructureSetROISequence[0].ROIName = "GTV Tumör " + "x" * 53
    (name,) = names(excluding(dataset))
    assert name.isascii()
    assert len(name) <= 64
