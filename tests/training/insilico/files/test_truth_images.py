from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from inference.errors import GridMismatch
from inference.geometry import Grid
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.files.truth_images import PERFUSION_STEP, read_truth, write_truth
from training.insilico.patient import Truth

FRAME = "2.25.1"
GRID = Grid.axial((20, 24, 28), (3.0, 2.0, 2.5), (-31.0, 17.0, -400.0), frame_of_reference_uid=FRAME)
LANDMARK = (13, 7, 19)
"""Slice, row and column of one voxel: in no symmetry of the grid."""


def truth(grid: Grid = GRID) -> Truth:
    """A block of five lobes with a landmark of high perfusion."""
    lobes = np.zeros(grid.shape, np.uint8)
    lobes[5:16, 4:20, 3:25] = 1 + np.arange(22) * 5 // 22
    perfusion = np.where(lobes > 0, 0.7, 0.0).astype(np.float32)
    perfusion[LANDMARK] = 3.1234
    vessels = np.zeros(grid.shape, np.float32)
    vessels[10, 8, 5:9] = (0.25, 1.0, 0.5, 0.07)
    territories = np.where(lobes > 0, lobes * 100, -1).astype(np.int32)
    tumour = np.zeros(grid.shape, bool)
    tumour[LANDMARK] = True
    effusion = np.zeros(grid.shape, bool)
    effusion[3:5, 18:22, 3:6] = True
    return Truth(grid, lobes, perfusion, vessels, territories, {"tumour": tumour, "pleural-effusion": effusion})


def oblique() -> Grid:
    """As scanned feet first with a tilted head: no axis along an axis of the patient."""
    turn = np.radians(20.0)
    cos, sin = np.cos(turn), np.sin(turn)
    affine = np.eye(4)
    affine[:3, :3] = np.array([[0, cos, sin], [0, -sin, cos], [-1, 0, 0]]) * np.array([3.0, 2.0, 2.5])
    affine[:3, 3] = (12.0, -34.0, 56.0)
    return Grid(GRID.shape, affine, FRAME)


@pytest.mark.parametrize("grid", [GRID, oblique()], ids=["axial", "oblique"])
@pytest.mark.parametrize("name", ["perfusion", "diseases/tumour"])
def test_itk_finds_the_landmark_at_its_place_in_the_patient(tmp_path: Path, grid: Grid, name: str) -> None:
    write_truth(truth(grid), tmp_path / "truth")
    image = sitk.ReadImage(str(tmp_path / "truth" / f"{name}.nrrd"))
    slices, rows, columns = np.unravel_index(np.argmax(sitk.GetArrayFromImage(image)), image.GetSize()[::-1])
    found_mm = image.TransformIndexToPhysicalPoint((int(columns), int(rows), int(slices)))
    np.testing.assert_allclose(found_mm, grid.to_patient_mm(np.array(LANDMARK, dtype=float)), atol=1e-6)


def test_the_header_says_in_words_that_positions_are_lps(tmp_path: Path) -> None:
    write_truth(truth(), tmp_path / "truth")
    header = (tmp_path / "truth" / "lobes.nrrd").read_bytes().split(b"\n\n")[0].decode("ascii")
    assert "space: left-posterior-superior" in header


def test_what_is_read_is_what_was_written_on_the_box_of_lungs_and_disease(tmp_path: Path) -> None:
    whole = truth()
    write_truth(whole, tmp_path / "truth")
    read = read_truth(tmp_path / "truth", frame_of_reference_uid=FRAME)
    corner = np.rint(whole.grid.to_index(np.array(read.grid.origin_mm))).astype(int).tolist()
    box = tuple(slice(start, start + length) for start, length in zip(corner, read.grid.shape, strict=True))
    assert read.grid.matches(whole.grid.cropped(box))  # type: ignore[arg-type]
    assert read.grid.shape < whole.grid.shape
    assert np.count_nonzero(read.lobes) == np.count_nonzero(whole.lobes)
    for name in ("lobes", "territories"):
        np.testing.assert_array_equal(getattr(read, name), getattr(whole, name)[box])
    np.testing.assert_allclose(read.vessels, whole.vessels[box], atol=0.0051)
    np.testing.assert_allclose(read.perfusion, whole.perfusion[box], atol=PERFUSION_STEP / 2)
    assert read.diseases.keys() == whole.diseases.keys()
    for name, mask in whole.diseases.items():
        np.testing.assert_array_equal(read.diseases[name], mask[box])
        assert read.diseases[name].any()


def test_the_arteries_come_back_with_what_is_left_of_their_lumen(tmp_path: Path) -> None:
    tree = ArterialTree(
        start_mm=np.array([[0.0, 1.0, 2.0], [3.0004, 4.0, 5.0], [3.0, 4.0, 5.0]]),
        end_mm=np.array([[3.0, 4.0, 5.0], [-6.125, 7.0, 8.0], [9.0, 10.0, 11.0]]),
        parent=np.array([-1, 0, 0], np.int32),
        radius_mm=np.array([12.5, 1.25, 0.75]),
        lobe=np.array([0, 1, 5], np.int32),
        end=np.array([-1, 0, 1], np.int32),
    )
    lumen = np.array([1.0, 0.0, 0.25])
    plain = truth()
    write_truth(
        Truth(plain.grid, plain.lobes, plain.perfusion, plain.vessels, plain.territories, {}, tree, lumen),
        tmp_path / "truth",
    )
    read = read_truth(tmp_path / "truth", frame_of_reference_uid=FRAME)
    assert read.arteries is not None
    np.testing.assert_array_equal(read.lumen, lumen)
    for name in ("parent", "lobe", "end", "radius_mm"):
        np.testing.assert_array_equal(getattr(read.arteries, name), getattr(tree, name))
    for name in ("start_mm", "end_mm"):
        np.testing.assert_allclose(getattr(read.arteries, name), getattr(tree, name), atol=0.0005)
    # In text as in the image, territories count from 1.
    assert (tmp_path / "truth" / "arteries.csv").read_text().splitlines()[-1].endswith(",5,2")


def test_an_array_of_another_shape_is_no_truth() -> None:
    plain = truth()
    with pytest.raises(GridMismatch, match="tumour"):
        Truth(
            plain.grid,
            plain.lobes,
            plain.perfusion,
            plain.vessels,
            plain.territories,
            {"tumour": np.zeros((2, 3, 4), bool)},
        )


def test_a_disease_whose_name_would_leave_the_folder_is_refused() -> None:
    plain = truth()
    mask = np.zeros(plain.grid.shape, bool)
    with pytest.raises(ValueError, match="named in small letters"):
        Truth(plain.grid, plain.lobes, plain.perfusion, plain.vessels, plain.territories, {"../tumour": mask})


def test_a_damaged_image_is_an_error_that_names_it(tmp_path: Path) -> None:
    write_truth(truth(), tmp_path / "truth")
    (tmp_path / "truth" / "lobes.nrrd").write_bytes(b"NRRD0004\nnonsense")
    with pytest.raises(OSError, match=r"lobes\.nrrd"):
        read_truth(tmp_path / "truth", frame_of_reference_uid=FRAME)
