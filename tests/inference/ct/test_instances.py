"""CT instances as a scanner would send them: valid, placed, reproducible, and readable by an independent reader."""

from pathlib import Path

import numpy as np
import pytest
import SimpleITK
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from inference.ct.instances import PATIENT_POSITIONS, CtAcquisition, PhantomPatient, ct_instances
from inference.ct.series import content_digest, read_ct_series
from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax, draw_thorax
from tests.tools import error_lines

SMALL = Grid.axial(
    (17, 40, 50), (15.0, 9.0, 7.0), (-172.0, -180.0, -140.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)


def positioned(row: tuple[int, ...], column: tuple[int, ...]) -> Grid:
    """A grid over the thorax whose slices follow row x column, as a scanner stacks them."""
    shape, spacing = (48, 90, 100), (6.0, 4.2, 3.9)
    axes = [np.cross(row, column), np.array(column), np.array(row)]
    affine = np.eye(4)
    affine[:3, :3] = np.stack([axis * step for axis, step in zip(axes, spacing, strict=True)], axis=1)
    centre = affine[:3, :3] @ ((np.array(shape) - 1) / 2)
    affine[:3, 3] = np.array([1.0, 3.0, -10.0]) - centre
    return Grid(shape, affine, FRAME_OF_REFERENCE_UID)


@pytest.fixture(scope="module")
def small() -> DigitalThorax:
    return draw_thorax(SMALL)


def test_dciodvfy_finds_no_error_in_the_first_and_last_instance(small: DigitalThorax, tmp_path: Path) -> None:
    instances = ct_instances(small.ct)
    for dataset in (instances[0], instances[-1]):
        path = tmp_path / "slice.dcm"
        dataset.save_as(path, enforce_file_format=True)
        assert error_lines(path) == []


def test_the_instances_name_a_phantom_and_no_person(small: DigitalThorax) -> None:
    for dataset in ct_instances(small.ct):
        assert dataset.PatientName == "Thorax^Digital"
        assert dataset.PatientID == "DIGITAL-THORAX"
        assert "phantom" in dataset.SeriesDescription


def test_another_patient_can_be_named(small: DigitalThorax) -> None:
    dataset = ct_instances(small.ct, patient=PhantomPatient(name="Case^7", patient_id="C7"))[0]
    assert (str(dataset.PatientName), dataset.PatientID) == ("Case^7", "C7")


def test_a_scanner_can_be_named_and_what_is_not_known_of_it_is_left_out(small: DigitalThorax, tmp_path: Path) -> None:
    told = ct_instances(small.ct, acquisition=CtAcquisition(kernel="SOFT", slice_thickness_mm=2.5, exposure_mas=39.6))[
        0
    ]
    assert (told.ConvolutionKernel, told.SliceThickness, told.Exposure) == ("SOFT", 2.5, 40)
    told.save_as(tmp_path / "slice.dcm", enforce_file_format=True)
    assert error_lines(tmp_path / "slice.dcm") == []
    plain = ct_instances(small.ct)[0]
    assert (plain.SliceThickness, plain.KVP) == (15.0, 120)
    assert not {"ConvolutionKernel", "Exposure", "InstitutionName", "ReconstructionDiameter"} & set(plain.dir())


def test_decimal_strings_have_at_most_sixteen_characters() -> None:
    affine = SMALL.affine.copy()
    affine[:3, :3] *= 1 / 3
    affine[:3, 3] = (-1234.56789012345, 1e-13, -0.0)
    ct = draw_thorax(Grid(SMALL.shape, affine, FRAME_OF_REFERENCE_UID)).ct
    for dataset in ct_instances(ct):
        for keyword in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
            assert all(len(str(value)) <= 16 for value in dataset[keyword].value)
    assert read_ct_series(ct_instances(ct)).grid.matches(ct.grid, tolerance_mm=1e-4)


def test_equal_input_gives_equal_files(small: DigitalThorax, tmp_path: Path) -> None:
    for name in ("one", "two"):
        ct_instances(draw_thorax(SMALL).ct)[3].save_as(tmp_path / name, enforce_file_format=True)
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


@pytest.mark.parametrize(
    "syntax",
    [ImplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless],
)
def test_each_lossless_syntax_carries_the_same_content(small: DigitalThorax, tmp_path: Path, syntax: str) -> None:
    from pydicom import dcmread

    written = ct_instances(small.ct, transfer_syntax=syntax)
    for k, dataset in enumerate(written):
        dataset.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    read = [dcmread(path) for path in tmp_path.glob("*.dcm")]
    assert {dataset.file_meta.TransferSyntaxUID for dataset in read} == {syntax}
    assert content_digest(read_ct_series(read)) == content_digest(small.ct)


FLOOR_OF = {"S": (0, 1, 0), "P": (0, -1, 0), "DL": (1, 0, 0), "DR": (-1, 0, 0)}


@pytest.mark.parametrize(("axes", "position"), PATIENT_POSITIONS.items(), ids=PATIENT_POSITIONS.values())
def test_patient_positions_are_those_of_the_standard(
    axes: tuple[tuple[int, ...], tuple[int, ...]], position: str
) -> None:
    row, column = axes
    assert column == FLOOR_OF[position[2:]]  # what the patient lies on is at the bottom of the image
    into_the_gantry = (0, 0, 1 if position.startswith("HF") else -1)
    assert tuple(np.cross(row, column)) == into_the_gantry


@pytest.mark.parametrize(("axes", "position"), PATIENT_POSITIONS.items(), ids=PATIENT_POSITIONS.values())
def test_each_patient_position_shows_the_tumour_at_the_same_place_in_the_patient(
    axes: tuple[tuple[int, ...], tuple[int, ...]], position: str
) -> None:
    truth = draw_thorax(positioned(*axes))
    datasets = ct_instances(truth.ct)
    assert {dataset.PatientPosition for dataset in datasets} == {position}
    ct = read_ct_series(datasets[::-1])
    assert ct.grid.matches(truth.ct.grid)
    assert np.array_equal(ct.hu, truth.ct.hu)
    x, y, z = ct.grid.to_patient_mm(np.argwhere(truth.tumour).mean(axis=0))
    assert (x, y, z) == pytest.approx((-86, 46, -22), abs=2.0)
    assert ct.hu[truth.tumour].mean() == pytest.approx(35, abs=5)


def test_simpleitk_sees_the_same_voxels_at_the_same_places(small: DigitalThorax, tmp_path: Path) -> None:
    for k, dataset in enumerate(ct_instances(small.ct)):
        dataset.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    reader = SimpleITK.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(tmp_path)))
    image = reader.Execute()
    assert np.array_equal(SimpleITK.GetArrayFromImage(image), small.ct.hu)
    last = image.TransformIndexToPhysicalPoint(tuple(n - 1 for n in image.GetSize()))
    assert last == pytest.approx(SMALL.to_patient_mm(np.array(SMALL.shape) - 1.0), abs=1e-6)


def test_values_beyond_the_stored_range_are_clipped_and_fractions_rounded(small: DigitalThorax) -> None:
    from inference.volumes import CtVolume

    hu = np.full(SMALL.shape, 12.4, dtype=np.float32)
    hu[0] = 50000.0
    read = read_ct_series(ct_instances(CtVolume(hu, SMALL, small.ct.source)))
    assert (read.hu[1:] == 12.0).all()
    assert (read.hu[0] == 32767 - 1024).all()


def test_explicit_little_endian_is_what_is_written_without_a_wish(small: DigitalThorax) -> None:
    assert ct_instances(small.ct)[0].file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
