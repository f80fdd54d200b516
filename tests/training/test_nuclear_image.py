"""A SPECT as NM object: what is read back lies where it was written, whichever way the slices run."""

from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from pydicom import dcmread
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import NuclearMedicineImageStorage

from inference.ct.instances import PhantomPatient
from inference.geometry import Grid
from inference.volumes import SeriesReference
from tests.conformance.validators import dciodvfy, dicom_validator
from training.errors import NuclearImageUnusable
from training.insilico.spect.nuclear_instance import FULL_SCALE, nuclear_instance
from training.insilico.spect.spect_protocol import CONVENTIONAL, RESOLUTION_RECOVERY, SpectMethod
from training.insilico.spect.spect_volume import SpectVolume
from training.nuclear_image import read_nuclear_image

GRID = Grid.axial((7, 9, 11), (4.8, 4.4, 4.2), (-101.1234567, -53.5, 21.25), frame_of_reference_uid="2.25.5")
VALUES = np.random.default_rng(4).random(GRID.shape, dtype=np.float32)
CT = SeriesReference("2.25.3", "2.25.4", "2.25.5", ("2.25.6",))
PATIENT = PhantomPatient(name="Insilico^NC-001", patient_id="INSILICO-NC-001")
UP, DOWN = replace(CONVENTIONAL, first_slice_on_top=False), replace(RESOLUTION_RECOVERY, first_slice_on_top=True)
BOTH = pytest.mark.parametrize("protocol", [UP, DOWN], ids=["up", "down"])


def written(protocol=UP) -> FileDataset:  # type: ignore[no-untyped-def]
    spect = SpectVolume(VALUES, GRID, (1.0, 2.0, 3.0), 4_321_000, protocol, SpectMethod.FAST)
    return nuclear_instance(spect, patient=PATIENT, ct=CT, institution="In-silico hospital A")


def encoded(dataset: FileDataset) -> bytes:
    file = BytesIO()
    dataset.save_as(file, enforce_file_format=True)
    return file.getvalue()


def saved(dataset: FileDataset, folder: Path) -> Path:
    path = folder / "spect.dcm"
    path.write_bytes(encoded(dataset))
    return path


@BOTH
def test_what_is_read_back_is_what_was_written(protocol) -> None:  # type: ignore[no-untyped-def]
    image = read_nuclear_image(dcmread(BytesIO(encoded(written(protocol)))))
    assert image.grid.matches(GRID)
    assert image.values / FULL_SCALE == pytest.approx(VALUES / VALUES.max(), abs=0.6 / FULL_SCALE)


@BOTH
@pytest.mark.parametrize("errors", [dciodvfy, dicom_validator])
def test_validators_find_no_error(protocol, errors: Callable[[Path], list[str]], tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    assert errors(saved(written(protocol), tmp_path)) == []


@pytest.mark.parametrize("errors", [dciodvfy, dicom_validator])
def test_validators_would_find_one(errors: Callable[[Path], list[str]], tmp_path: Path) -> None:
    dataset = written()
    del dataset.EnergyWindowInformationSequence
    dataset.NumberOfRotations = None
    assert errors(saved(dataset, tmp_path))


@BOTH
def test_another_reader_finds_every_voxel_in_the_same_place(protocol, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    image = sitk.ReadImage(str(saved(written(protocol), tmp_path)))
    stored = sitk.GetArrayFromImage(image)
    for index in [(0, 0, 0), (6, 8, 10), (2, 3, 9)]:
        continuous = image.TransformPhysicalPointToIndex([float(v) for v in GRID.to_patient_mm(np.array(index, float))])
        assert stored[continuous[::-1]] == round(VALUES[index] / VALUES.max() * FULL_SCALE)


def test_slices_that_run_down_have_a_negative_spacing_and_begin_on_top() -> None:
    dataset = written(DOWN)
    assert float(dataset.SpacingBetweenSlices) == -4.8
    position = dataset.DetectorInformationSequence[0].ImagePositionPatient
    assert float(position[2]) == pytest.approx(21.25 + 6 * 4.8)
    assert float(written(UP).SpacingBetweenSlices) == 4.8


def test_it_is_told_that_nobody_is_shown_and_how_it_was_made() -> None:
    dataset = written(DOWN)
    assert str(dataset.PatientName) == "Insilico^NC-001"
    assert list(dataset.ImageType) == ["ORIGINAL", "PRIMARY", "RECON TOMO", "EMISSION"]
    assert dataset.FrameOfReferenceUID == CT.frame_of_reference_uid
    assert dataset.StudyInstanceUID == CT.study_instance_uid
    assert dataset.CountsAccumulated == 4_321_000
    assert list(dataset.CorrectedImage) == ["ATTN", "SCAT"]
    (drug,) = dataset.RadiopharmaceuticalInformationSequence
    assert drug.RadionuclideTotalDose == DOWN.activity_mbq
    assert drug.RadionuclideCodeSequence[0].CodeValue == "72454006"
    (turn,) = dataset.RotationInformationSequence
    assert turn.NumberOfFramesInRotation * turn.AngularStep == turn.ScanArc == 180


def test_equal_images_give_equal_bytes() -> None:
    assert encoded(written()) == encoded(written())


def test_another_frame_of_reference_than_the_cts_is_refused() -> None:
    spect = SpectVolume(VALUES, GRID, (0.0, 0.0, 0.0), 1, UP, SpectMethod.FAST)
    with pytest.raises(ValueError, match="frame of reference"):
        nuclear_instance(spect, patient=PATIENT, ct=replace(CT, frame_of_reference_uid="2.25.9"), institution="X")


def test_frames_are_put_in_order_by_the_slice_vector() -> None:
    dataset = written()
    order = [3, 1, 2, 0, 6, 5, 4]
    frames = dataset.pixel_array[order]
    dataset.SliceVector = [k + 1 for k in order]
    dataset.PixelData = frames.tobytes()
    image = read_nuclear_image(dcmread(BytesIO(encoded(dataset))))
    assert image.values / FULL_SCALE == pytest.approx(VALUES / VALUES.max(), abs=0.6 / FULL_SCALE)


def test_an_image_with_other_axes_comes_out_with_those_of_the_patient() -> None:
    # Feet first and prone: rows run to the right and columns to the back; the slices still run up.
    dataset = written()
    dataset.DetectorInformationSequence[0].ImageOrientationPatient = [-1, 0, 0, 0, 1, 0]
    dataset.DetectorInformationSequence[0].ImagePositionPatient = [40.0, -20.0, 30.0]
    image = read_nuclear_image(dataset)
    assert image.grid.direction == pytest.approx(np.eye(3)[::-1])
    # The normal is (0, 0, -1) now, so slice 1 is on top; the first column is the leftmost.
    assert image.grid.origin_mm == pytest.approx((40.0 - 10 * 4.2, -20.0, 30.0 - 6 * 4.8))
    assert image.values[0, 0, 0] == dataset.pixel_array[6, 0, 10]


def test_a_rescaling_is_applied() -> None:
    dataset = written()
    dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "3"
    assert read_nuclear_image(dataset).values[1, 2, 3] == 0.5 * dataset.pixel_array[1, 2, 3] + 3


def test_one_slice_is_an_image_too() -> None:
    grid = GRID.cropped((slice(2, 3), slice(0, 9), slice(0, 11)))
    spect = SpectVolume(VALUES[2:3].copy(), grid, (0.0, 0.0, 0.0), 1, UP, SpectMethod.FAST)
    dataset = nuclear_instance(spect, patient=PATIENT, ct=CT, institution="X")
    assert read_nuclear_image(dcmread(BytesIO(encoded(dataset)))).grid.matches(grid)


def test_without_a_frame_of_reference_the_image_matches_no_ct() -> None:
    dataset = written()
    dataset.FrameOfReferenceUID = ""
    assert not read_nuclear_image(dataset).grid.matches(GRID)


def set_to(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset, keyword, value)


def detector_set_to(keyword: str, value: object) -> Callable[[Dataset], None]:
    return lambda dataset: setattr(dataset.DetectorInformationSequence[0], keyword, value)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (set_to("SOPClassUID", "1.2.840.10008.5.1.4.1.1.2"), "RECON TOMO"),
        (set_to("ImageType", ["ORIGINAL", "PRIMARY", "TOMO", "EMISSION"]), "TOMO"),
        (set_to("ImageType", ["ORIGINAL", "PRIMARY", "RECON GATED TOMO", "EMISSION"]), "GATED"),
        (set_to("DetectorInformationSequence", []), "ImagePositionPatient"),
        (detector_set_to("ImagePositionPatient", None), "ImagePositionPatient"),
        (detector_set_to("ImagePositionPatient", [0, 0, 0]), "0, 0, 0"),
        (detector_set_to("ImageOrientationPatient", None), "ImageOrientationPatient"),
        (detector_set_to("ImageOrientationPatient", [1, 0, 0, 1, 0, 0]), "no pair of directions"),
        (set_to("SpacingBetweenSlices", None), "SpacingBetweenSlices"),
        (set_to("SpacingBetweenSlices", "0"), "no size"),
        (set_to("PixelSpacing", None), "PixelSpacing"),
        (set_to("SliceVector", [1, 2, 3, 3, 5, 6, 7]), "Slice Vector"),
        (set_to("SliceVector", None), "Slice Vector"),
    ],
)
def test_an_image_that_cannot_be_placed_is_refused_with_the_reason(
    spoil: Callable[[Dataset], None], reason: str
) -> None:
    dataset = written()
    assert dataset.SOPClassUID == NuclearMedicineImageStorage
    spoil(dataset)
    with pytest.raises(NuclearImageUnusable, match=reason):
        read_nuclear_image(dataset)
