"""Volumes as the browser gets them, read back by SimpleITK, which knows NIfTI on its own."""

import gzip
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk

from dicom_node.jobs.cases import CaseFolder
from dicom_node.results.result_files import write_ct
from dicom_node.web.viewer import volumes
from dicom_node.web.viewer.patient_volumes import PatientResult
from dicom_node.web.viewer.volumes import VolumeName, coarse_steps, pack, write_volume
from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference
from tests.dicom_node.web.viewer.view_cases import (
    AIR_HU,
    BODY_HU,
    BONE_HU,
    BONE_MM,
    COLD,
    COLD_MM,
    FRAME,
    HOT,
    HOT_MM,
    LUNG_HU,
    PATIENT,
    STORED,
    stored_grid,
    write_arrays,
)

OUTSIDE_MM = (-94.0, -119.0, -200.0)


def written(folder: Path, name: VolumeName, stored: str = "HFS") -> Path:
    case = CaseFolder(folder / f"case-{stored}")
    if not case.path.exists():
        case.path.mkdir()
        write_arrays(case, stored)
    path = folder / f"{name}-{stored}.nii"
    write_volume(case, name, path)
    return path


def value_at(path: Path, mm: tuple[float, float, float]) -> float:
    image = sitk.ReadImage(str(path))
    return float(image[image.TransformPhysicalPointToIndex(mm)])


@pytest.mark.parametrize("stored", STORED)
def test_a_series_in_any_direction_gives_the_very_same_volumes(tmp_path: Path, stored: str) -> None:
    for name in VolumeName:
        assert written(tmp_path, name, stored).read_bytes() == written(tmp_path, name).read_bytes(), name


@pytest.mark.parametrize("stored", STORED)
def test_the_directions_of_the_tests_are_those_that_they_say(stored: str) -> None:
    turn = STORED[stored]
    assert turn.grid(stored_grid(turn)).matches(PATIENT)


def test_every_volume_lies_where_the_patient_is(tmp_path: Path) -> None:
    ct = written(tmp_path, VolumeName.CT)
    wanted = {HOT_MM: LUNG_HU, COLD_MM: LUNG_HU, BONE_MM: BONE_HU, OUTSIDE_MM: AIR_HU, (1.0, -24.0, -230.0): BODY_HU}
    assert {mm: value_at(ct, mm) for mm in wanted} == wanted
    percent = written(tmp_path, VolumeName.MAP)
    assert [value_at(percent, mm) for mm in (HOT_MM, COLD_MM)] == pytest.approx([100 * HOT, 100 * COLD], abs=0.051)
    lobes = written(tmp_path, VolumeName.LOBES)
    assert [value_at(lobes, mm) for mm in (HOT_MM, COLD_MM)] == [Lobe.RUL, Lobe.LLL]
    function = written(tmp_path, VolumeName.FUNCTION)
    assert [value_at(function, mm) for mm in (HOT_MM, COLD_MM)] == [2, 1]


def test_maps_and_labels_are_cut_to_the_lungs(tmp_path: Path) -> None:
    image = sitk.ReadImage(str(written(tmp_path, VolumeName.LOBES)))
    assert image.GetSize() == (44, 36, 30)
    assert image.GetSpacing() == pytest.approx((3.0, 3.0, 4.0))
    assert image.GetOrigin() == pytest.approx((-65.0, -78.0, -286.0))


def test_lung_is_never_taken_for_what_is_outside(tmp_path: Path) -> None:
    lobes, percent = (
        sitk.GetArrayFromImage(sitk.ReadImage(str(written(tmp_path, name))))
        for name in (VolumeName.LOBES, VolumeName.MAP)
    )
    assert np.array_equal(percent > 0, lobes > 0)


def test_coarse_voxels_are_means_of_blocks_in_the_same_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "COARSE_VOXELS", 25_000)
    assert coarse_steps(PATIENT) == (2, 2, 2)
    whole, coarse = (sitk.ReadImage(str(written(tmp_path, name))) for name in (VolumeName.CT, VolumeName.CT_COARSE))
    steps = coarse_steps(PATIENT)
    hu = sitk.GetArrayFromImage(whole).astype(float)
    slices, rows, columns = (n // step for n, step in zip(hu.shape, steps, strict=True))
    means = hu.reshape(slices, steps[0], rows, steps[1], columns, steps[2]).mean(axis=(1, 3, 5))
    assert np.abs(sitk.GetArrayFromImage(coarse) - means).max() <= 0.51
    corners = [image.TransformContinuousIndexToPhysicalPoint((-0.5, -0.5, -0.5)) for image in (whole, coarse)]
    assert corners[0] == pytest.approx(corners[1])
    ends = [
        image.TransformContinuousIndexToPhysicalPoint([n - 0.5 for n in image.GetSize()]) for image in (whole, coarse)
    ]
    assert ends[0] == pytest.approx(ends[1])


def test_a_coarse_map_is_the_mean_of_lung_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(volumes, "COARSE_VOXELS", 10_000)
    assert coarse_steps(PATIENT) == (2, 3, 3)
    path = written(tmp_path, VolumeName.MAP_COARSE)
    percent = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    between = percent[7:11]  # above the cold corner and below the hot one; blocks at the mediastinum are lung in part
    assert between[between > 0] == pytest.approx(100.0, abs=0.051)
    assert (between == 0).any()
    assert [value_at(path, mm) for mm in (HOT_MM, COLD_MM)] == pytest.approx([100 * HOT, 100 * COLD], abs=0.051)


@pytest.mark.parametrize(
    ("shape", "spacing_mm"),
    [((200, 512, 512), (2.0, 0.98, 0.98)), ((400, 512, 512), (1.0, 0.78, 0.78)), ((1, 4096, 4096), (5.0, 0.1, 0.1))],
)
def test_coarse_volumes_are_small_and_their_voxels_nearly_cubes(
    shape: tuple[int, int, int], spacing_mm: tuple[float, float, float]
) -> None:
    grid = Grid.axial(shape, spacing_mm, (0.0, 0.0, 0.0), frame_of_reference_uid=FRAME)
    steps = coarse_steps(grid)
    assert np.prod(np.ceil(np.array(shape) / steps)) <= volumes.COARSE_VOXELS
    sizes_mm = np.array(spacing_mm) * steps
    coarsened = [size for size, step in zip(sizes_mm, steps, strict=True) if step > 1]
    assert max(coarsened) < 1.6 * max(min(sizes_mm), max(spacing_mm))


def test_a_small_volume_is_not_made_coarser() -> None:
    assert coarse_steps(PATIENT) == (1, 1, 1)


def test_labels_shrink_by_packing_and_come_out_the_same(tmp_path: Path) -> None:
    path, packed = written(tmp_path, VolumeName.LOBES), tmp_path / "packed.gz"
    pack(path, packed)
    assert gzip.decompress(packed.read_bytes()) == path.read_bytes()
    assert packed.stat().st_size < path.stat().st_size / 10


def test_a_patient_without_lungs_has_empty_volumes(tmp_path: Path) -> None:
    case = CaseFolder(tmp_path / "case")
    case.path.mkdir()
    write_arrays(case)
    with np.load(case.result) as arrays:
        kept = {name: np.zeros_like(arrays[name]) for name in arrays.files}
    np.savez(case.result, **kept)  # type: ignore[arg-type]
    for name in (VolumeName.MAP, VolumeName.MAP_COARSE, VolumeName.LOBES, VolumeName.FUNCTION):
        write_volume(case, name, tmp_path / f"{name}.nii")
        assert not sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / f"{name}.nii"))).any()
    assert PatientResult.of(case).lung_box == tuple(slice(0, n) for n in PATIENT.shape)


@pytest.mark.parametrize("name", [VolumeName.CT, VolumeName.CT_COARSE])
def test_making_a_volume_takes_memory_for_some_slices_and_not_for_the_ct(tmp_path: Path, name: VolumeName) -> None:
    grid = Grid.axial((120, 256, 256), (1.0, 1.0, 1.0), (0.0, 0.0, 0.0), frame_of_reference_uid=FRAME)
    case = CaseFolder(tmp_path)
    source = SeriesReference("1.2", "1.3", FRAME, tuple(str(k) for k in range(120)))
    write_ct(case.ct, CtVolume(np.zeros(grid.shape, np.float32), grid, source))
    tracemalloc.start()
    write_volume(case, name, tmp_path / "ct.nii")
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 0.15 * 4 * np.prod(grid.shape)
