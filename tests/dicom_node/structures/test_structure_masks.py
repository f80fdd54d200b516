"""Contours → voxels: known areas, holes, margins, and the same as another program fills."""

import subprocess
from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom import dcmread

from dicom_node.structures.structure_masks import DrawnStructure, Undrawable, draw_structure
from inference.ct.instances import ct_instances
from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax, draw_thorax
from tests.rt_structures import Contours, circle, cylinder, structure_set, written
from tests.tools import tool

GRID = Grid.axial((20, 60, 70), (3.0, 2.0, 1.5), (-50.0, -60.0, -30.0), frame_of_reference_uid="1.2.3")
THORAX = Grid.axial(
    (20, 80, 90), (12.0, 4.5, 3.9), (-172.0, -180.0, -140.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)


def polygons(contours: Contours, grid: Grid = GRID) -> list[np.ndarray]:
    return [
        grid.to_patient_mm(np.column_stack([np.full(len(outline), float(k)), outline]))
        for k, outlines in contours.items()
        for outline in outlines
    ]


def square(first: float, last: float) -> np.ndarray:
    return np.array([(first, first), (first, last), (last, last), (last, first)])


def whole(drawn: DrawnStructure, grid: Grid = GRID) -> np.ndarray:
    mask = np.zeros(grid.shape, dtype=bool)
    mask[drawn.box] = drawn.mask
    return mask


def test_a_square_through_pixel_edges_holds_exactly_its_pixels() -> None:
    mask = whole(draw_structure(polygons({4: [square(9.5, 14.5)], 5: [square(9.5, 12.5)]}), GRID))
    expected = np.zeros(GRID.shape, dtype=bool)
    expected[4, 10:15, 10:15] = expected[5, 10:13, 10:13] = True
    assert np.array_equal(mask, expected)


def test_a_hole_is_left_out_whether_drawn_apart_or_as_a_keyhole() -> None:
    apart = draw_structure(polygons({4: [square(9.5, 19.5), square(12.5, 15.5)]}), GRID)
    keyhole = np.vstack([square(9.5, 19.5), square(9.5, 19.5)[:1], square(12.5, 15.5)[::-1], square(12.5, 15.5)[3:4]])
    joined = draw_structure(polygons({4: [keyhole]}), GRID)
    expected = np.zeros(GRID.shape, dtype=bool)
    expected[4, 10:20, 10:20] = True
    expected[4, 13:16, 13:16] = False
    assert np.array_equal(whole(apart), expected)
    assert np.array_equal(whole(joined), expected)


def test_the_margin_is_in_millimetres_in_every_direction() -> None:
    centre = {10: [square(29.5, 30.5)]}
    mask = whole(draw_structure(polygons(centre), GRID, margin_mm=6.0))
    distance = np.linalg.norm((np.stack(np.indices(GRID.shape), axis=-1) - (10, 30, 30)) * GRID.spacing_mm, axis=-1)
    assert np.array_equal(mask, distance <= 6.0)


def test_a_margin_ends_at_the_faces_of_the_volume() -> None:
    mask = whole(draw_structure(polygons({0: [square(-0.5, 0.5)]}), GRID, margin_mm=4.0))
    assert mask[0, 0, 0]
    assert mask[1, 0, 0]
    assert not mask[2, 0, 0]


@pytest.mark.parametrize(
    ("slice_index", "is_on"), [(4.0, True), (4.1, True), (4.2, False), (4.5, False), (-1.0, False)]
)
def test_a_contour_belongs_to_the_plane_it_lies_on_or_to_none(slice_index: float, is_on: bool) -> None:
    outline = square(9.5, 14.5)
    shifted = [GRID.to_patient_mm(np.column_stack([np.full(4, slice_index), outline]))]
    both = [*polygons({6: [outline]}), *shifted]
    if is_on:
        assert np.count_nonzero(draw_structure(both, GRID).mask) == 50
    else:
        with pytest.raises(Undrawable, match="off the planes") as raised:
            draw_structure(both, GRID)
        assert raised.value.contours == 1


def test_between_thin_slices_a_contour_may_lie_less_beside_its_plane() -> None:
    thin = Grid.axial((20, 60, 70), (1.0, 2.0, 1.5), (-50.0, -60.0, -30.0), frame_of_reference_uid="1.2.3")
    near, far = ([thin.to_patient_mm(np.column_stack([np.full(4, k), square(9.5, 14.5)]))] for k in (4.2, 4.3))
    assert np.count_nonzero(draw_structure(near, thin).mask) == 25
    with pytest.raises(Undrawable):
        draw_structure(far, thin)


def test_a_tilted_contour_lies_on_no_plane() -> None:
    points = polygons({4: [square(9.5, 14.5)]})[0]
    points[0, 2] += 0.6
    with pytest.raises(Undrawable):
        draw_structure([points], GRID)


def test_images_without_a_contour_between_others_are_counted() -> None:
    drawn = draw_structure(polygons(cylinder([3, 5, 6, 9], 30, 30, 8)), GRID)
    assert drawn.slices_without_contour == 3


def test_contours_beside_the_images_are_left_away() -> None:
    drawn = draw_structure(polygons({4: [square(-20.5, 4.5)]}), GRID)
    assert np.count_nonzero(whole(drawn)) == 25
    assert not whole(draw_structure(polygons({4: [square(-20.5, -10.5)]}), GRID)).any()


def test_more_than_can_be_drawn_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dicom_node.structures.structure_masks.MOST_WORK", 1e5)
    draw_structure(polygons({4: [circle(30, 30, 20, points=40)]}), GRID)
    with pytest.raises(Undrawable, match="more points"):
        draw_structure(polygons({4: [circle(30, 30, 20, points=400)]}), GRID)


@pytest.fixture(scope="module")
def thorax() -> DigitalThorax:
    return draw_thorax(THORAX)


def test_plastimatch_fills_the_same_voxels(thorax: DigitalThorax, tmp_path: Path) -> None:
    holes = {k: [circle(40, 40, 20), circle(38, 42, 8)] for k in range(4, 12)}
    rois = {"GTV": cylinder(range(3, 9), 30, 60, 9.3), "RING": holes}
    ct = thorax.ct
    folder = tmp_path / "dicom"
    folder.mkdir()
    for k, dataset in enumerate(ct_instances(ct)):
        dataset.save_as(folder / f"{k:03d}.dcm", enforce_file_format=True)
    written(structure_set(ct.grid, ct.source, rois), folder / "rtss.dcm")
    _compare(folder, tmp_path, ct.grid, {name: polygons(contours, ct.grid) for name, contours in rois.items()})


def test_plastimatch_fills_the_same_voxels_of_a_real_structure_set(test_data: Path, tmp_path: Path) -> None:
    dataset = dcmread(test_data / "rt" / "dicompyler_breast_BSD3" / "rtss.dcm")
    image = dcmread(test_data / "rt" / "dicompyler_breast_BSD3" / "ct.0.dcm")
    names = {item.ROINumber: str(item.ROIName) for item in dataset.StructureSetROISequence}
    drawn = {
        names[item.ReferencedROINumber]: [
            np.array(c.ContourData, dtype=float).reshape(-1, 3) for c in item.ContourSequence
        ]
        for item in dataset.ROIContourSequence
        if names[item.ReferencedROINumber] in ("Heart", "Lt Lung", "Tumor Bed")
    }
    heights = sorted({round(float(p[0, 2]), 3) for ps in drawn.values() for p in ps})
    step = float(np.median(np.diff(heights)))
    shape = (round((heights[-1] - heights[0]) / step) + 1, image.Rows, image.Columns)
    x, y, _ = map(float, image.ImagePositionPatient)
    spacing = (step, *map(float, image.PixelSpacing))
    grid = Grid.axial(shape, spacing, (x, y, heights[0]), frame_of_reference_uid=str(image.FrameOfReferenceUID))
    folder = tmp_path / "dicom"
    folder.mkdir()
    dataset.save_as(folder / "rtss.dcm", enforce_file_format=True)
    _compare(folder, tmp_path, grid, drawn)


def _compare(folder: Path, tmp_path: Path, grid: Grid, drawn: dict[str, list[np.ndarray]]) -> None:
    fixed = SimpleITK.GetImageFromArray(np.zeros(grid.shape, dtype=np.int16))
    fixed.SetOrigin(grid.origin_mm)
    fixed.SetSpacing(grid.spacing_mm[::-1])
    SimpleITK.WriteImage(fixed, str(tmp_path / "fixed.mha"))
    command = [tool("plastimatch"), "convert", "--input", str(folder), "--fixed", str(tmp_path / "fixed.mha")]
    command += ["--output-prefix", str(tmp_path / "masks"), "--prefix-format", "mha", "--xor-contours"]
    subprocess.run(command, check=True, capture_output=True)
    for name, contours in drawn.items():
        (path,) = (tmp_path / "masks").glob(f"{name.replace(' ', '?')}.mha")
        theirs = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(path))) > 0
        ours = whole(draw_structure(contours, grid), grid)
        dice = 2 * np.count_nonzero(ours & theirs) / (np.count_nonzero(ours) + np.count_nonzero(theirs))
        assert dice >= 0.99, (name, dice)
