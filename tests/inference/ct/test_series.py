"""Reading a CT series: the exact volume, or the one reason why not."""

import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread
from pydicom.dataset import FileDataset
from pydicom.encaps import encapsulate, get_frame
from pydicom.sequence import Sequence
from pydicom.uid import JPEG2000, EnhancedCTImageStorage, JPEGLSLossless

from inference import errors
from inference.ct.headers import require_usable_headers
from inference.ct.instances import ct_instances
from inference.ct.pixels import slice_hu
from inference.ct.series import content_digest, read_ct_series
from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax, draw_thorax

SMALL = Grid.axial(
    (20, 40, 50), (12.0, 9.0, 7.0), (-172.0, -180.0, -140.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)
MIDDLE = 7


@pytest.fixture(scope="module")
def small() -> DigitalThorax:
    return draw_thorax(SMALL)


@pytest.fixture(scope="module")
def pristine(small: DigitalThorax) -> list[FileDataset]:
    return ct_instances(small.ct)


@pytest.fixture
def series(pristine: list[FileDataset]) -> list[FileDataset]:
    return deepcopy(pristine)


def moved(dataset: Dataset, x: float = 0.0, y: float = 0.0, z: float = 0.0) -> None:
    position = [float(p) + d for p, d in zip(dataset.ImagePositionPatient, (x, y, z), strict=True)]
    dataset.ImagePositionPatient = [f"{p:.6f}" for p in position]


# What is read


def test_a_shuffled_series_from_disk_is_the_volume_that_was_written(thorax: DigitalThorax, tmp_path: Path) -> None:
    for k, dataset in enumerate(ct_instances(thorax.ct)):
        dataset.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    datasets = [dcmread(path) for path in sorted(tmp_path.iterdir())]
    random.Random(3).shuffle(datasets)
    ct = read_ct_series(datasets)
    assert np.array_equal(ct.hu, thorax.ct.hu)
    assert ct.hu.dtype == np.float32
    assert ct.grid.matches(thorax.ct.grid, tolerance_mm=1e-6)
    assert ct.source == thorax.ct.source


def test_instance_number_and_slice_location_do_not_matter(small: DigitalThorax, series: list[FileDataset]) -> None:
    for k, dataset in enumerate(series):
        dataset.InstanceNumber = (7 * k) % 20
        del dataset.SliceLocation, dataset.SliceThickness
    assert np.array_equal(read_ct_series(series).hu, small.ct.hu)


def test_each_slice_has_its_own_rescale(small: DigitalThorax, series: list[FileDataset]) -> None:
    dataset = series[MIDDLE]
    stored = np.frombuffer(dataset.PixelData, "<i2").astype(int)
    dataset.PixelData = ((stored - 1024 + 2000) * 2).astype("<i2").tobytes()
    dataset.RescaleSlope, dataset.RescaleIntercept = "0.5", "-2000"
    assert np.array_equal(read_ct_series(series).hu, small.ct.hu)


def test_pixel_padding_becomes_air_and_nothing_lies_below(series: list[FileDataset]) -> None:
    dataset = series[MIDDLE]
    stored = np.frombuffer(dataset.PixelData, "<i2").copy()
    stored[0], stored[1], stored[2] = -2000, 3000, -500
    dataset.PixelData = stored.tobytes()
    dataset.PixelPaddingValue = 3000
    hu = read_ct_series(series).hu
    assert hu[MIDDLE].ravel()[:3].tolist() == [-1024.0, -1024.0, -1024.0]
    assert hu.min() >= -1024


def test_a_range_of_padding_becomes_air(series: list[FileDataset]) -> None:
    dataset = series[MIDDLE]
    dataset.PixelPaddingValue, dataset.PixelPaddingRangeLimit = 900, 1200
    stored = np.frombuffer(dataset.PixelData, "<i2").reshape(40, 50)
    hu = slice_hu(dataset)
    padding = (stored >= 900) & (stored <= 1200)
    assert padding.any()
    assert (hu[padding] == -1024).all()
    assert np.array_equal(hu[~padding], np.maximum(stored[~padding] - 1024, -1024))


def test_unsigned_twelve_bit_pixels_are_read(small: DigitalThorax, series: list[FileDataset]) -> None:
    for dataset in series:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
    assert np.array_equal(read_ct_series(series).hu, small.ct.hu)


def test_padding_outside_the_twelve_stored_bits_becomes_air(series: list[FileDataset]) -> None:
    for dataset in series:
        dataset.PixelRepresentation, dataset.BitsStored, dataset.HighBit = 0, 12, 11
        dataset.PixelPaddingValue = 63536  # -2000 in sixteen bits
    stored = np.frombuffer(series[MIDDLE].PixelData, "<i2").copy()
    stored[0] = -2000
    series[MIDDLE].PixelData = stored.tobytes()
    assert read_ct_series(series).hu[MIDDLE, 0, 0] == -1024


def test_an_instance_sent_twice_counts_once(small: DigitalThorax, series: list[FileDataset]) -> None:
    assert np.array_equal(read_ct_series([*series, deepcopy(series[MIDDLE])]).hu, small.ct.hu)


def test_positions_rounded_by_the_scanner_are_accepted_with_the_exact_first_position(
    series: list[FileDataset],
) -> None:
    for k, dataset in enumerate(series):
        moved(dataset, x=0.01 * (k % 2), z=0.02 * ((k % 3) - 1) if 0 < k < 19 else 0.0)
    grid = read_ct_series(series).grid
    assert grid.origin_mm == pytest.approx(SMALL.origin_mm)
    assert grid.spacing_mm[0] == pytest.approx(12.0, abs=1e-9)


def test_headers_alone_give_grid_and_order(small: DigitalThorax, series: list[FileDataset]) -> None:
    for dataset in series:
        del dataset.PixelData
    stack = require_usable_headers(series[::-1])
    assert stack.grid.matches(SMALL)
    assert stack.source == small.ct.source
    assert [dataset.SOPInstanceUID for dataset in stack.datasets] == list(small.ct.source.sop_instance_uids)


def test_the_digest_knows_pixels_geometry_and_identity(small: DigitalThorax, series: list[FileDataset]) -> None:
    digest = content_digest(small.ct)
    compressed = ct_instances(small.ct, transfer_syntax=JPEGLSLossless)
    assert content_digest(read_ct_series(compressed[::-1])) == digest
    others = []
    for change in (one_pixel, all_a_millimetre_up, another_series):
        changed = deepcopy(series)
        change(changed)
        others.append(content_digest(read_ct_series(changed)))
    assert len({digest, *others}) == 4


def one_pixel(series: list[FileDataset]) -> None:
    stored = np.frombuffer(series[MIDDLE].PixelData, "<i2").copy()
    stored[999] += 1
    series[MIDDLE].PixelData = stored.tobytes()


def all_a_millimetre_up(series: list[FileDataset]) -> None:
    for dataset in series:
        moved(dataset, z=1.0)


def another_series(series: list[FileDataset]) -> None:
    for dataset in series:
        dataset.SeriesInstanceUID = "1.2.3.4"


# What is refused

Fault = Callable[[list[FileDataset]], object]


def setting(keyword: str, value: object, *, everywhere: bool = False) -> Fault:
    def fault(series: list[FileDataset]) -> None:
        for dataset in series if everywhere else [series[MIDDLE]]:
            setattr(dataset, keyword, value)

    return fault


def removing(keyword: str, *, everywhere: bool = False) -> Fault:
    def fault(series: list[FileDataset]) -> None:
        for dataset in series if everywhere else [series[MIDDLE]]:
            delattr(dataset, keyword)

    return fault


def shifted(**mm: float) -> Fault:
    return lambda series: moved(series[MIDDLE], **mm)


def tilted(series: list[FileDataset]) -> None:
    for k, dataset in enumerate(series):
        moved(dataset, y=0.05 * k)  # 0.24 degrees


def sagittal(series: list[FileDataset]) -> None:
    for k, dataset in enumerate(series):
        dataset.ImageOrientationPatient = [0, 1, 0, 0, 0, -1]
        dataset.ImagePositionPatient = [10 * k, 0, 0]


def turned_by_11_degrees(series: list[FileDataset]) -> None:
    for dataset in series:
        dataset.ImageOrientationPatient = ["1", "0", "0", "0", "0.981627", "0.190809"]


def second_reconstruction(series: list[FileDataset]) -> None:
    other = deepcopy(series[MIDDLE])
    other.SOPInstanceUID = "1.2.3.4.5"
    series.append(other)


def same_uid_other_pixels(series: list[FileDataset]) -> None:
    other = deepcopy(series[MIDDLE])
    other.PixelData = bytes(len(other.PixelData))
    series.append(other)


def same_uid_other_position(series: list[FileDataset]) -> None:
    other = deepcopy(series[MIDDLE])
    moved(other, z=240.0)
    series.append(other)


def every_slice_thinner_upwards(series: list[FileDataset]) -> None:
    for k, dataset in enumerate(series):
        moved(dataset, z=-0.01 * k * k)


REFUSALS: list[tuple[str, Fault, type[errors.UnusableSeries]]] = [
    ("nothing", lambda series: series.clear(), errors.EmptySeries),
    ("enhanced", setting("SOPClassUID", EnhancedCTImageStorage), errors.MixedSeries),
    ("no SOP class", setting("SOPClassUID", "", everywhere=True), errors.NotCt),
    ("PET by modality", setting("Modality", "PT", everywhere=True), errors.NotCt),
    ("scouts", setting("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"], everywhere=True), errors.Localizer),
    ("one scout", setting("ImageType", ["ORIGINAL", "PRIMARY", "LOCALIZER"]), errors.MixedSeries),
    ("patient ID", setting("PatientID", "SOMEBODY"), errors.MixedSeries),
    ("patient name", setting("PatientName", "Some^Body"), errors.MixedSeries),
    ("no patient ID on one", setting("PatientID", ""), errors.MixedSeries),
    ("birth date", setting("PatientBirthDate", "19700101"), errors.MixedSeries),
    ("sex", setting("PatientSex", "F"), errors.MixedSeries),
    ("study", setting("StudyInstanceUID", "1.2.3"), errors.MixedSeries),
    ("series", setting("SeriesInstanceUID", "1.2.3"), errors.MixedSeries),
    ("frame of reference", setting("FrameOfReferenceUID", "1.2.3"), errors.MixedSeries),
    ("rows", setting("Rows", 39), errors.MixedSeries),
    ("orientation", setting("ImageOrientationPatient", [-1, 0, 0, 0, -1, 0]), errors.MixedSeries),
    ("pixel spacing", setting("PixelSpacing", [9, 7.001]), errors.MixedSeries),
    ("no frame of reference", removing("FrameOfReferenceUID", everywhere=True), errors.NoFrameOfReference),
    ("no study", removing("StudyInstanceUID", everywhere=True), errors.UnreadableInstance),
    ("no instance UID", removing("SOPInstanceUID"), errors.UnreadableInstance),
    ("no position", removing("ImagePositionPatient"), errors.MissingGeometry),
    ("short position", setting("ImagePositionPatient", [1, 2]), errors.MissingGeometry),
    ("no orientation", removing("ImageOrientationPatient"), errors.MissingGeometry),
    ("zero orientation", setting("ImageOrientationPatient", [0] * 6, everywhere=True), errors.MissingGeometry),
    ("no pixel spacing", removing("PixelSpacing"), errors.MissingGeometry),
    ("zero pixel spacing", setting("PixelSpacing", [0, 0], everywhere=True), errors.MissingGeometry),
    ("no slope", removing("RescaleSlope"), errors.InvalidRescale),
    ("empty intercept", setting("RescaleIntercept", None), errors.InvalidRescale),
    ("slope zero", setting("RescaleSlope", "0"), errors.InvalidRescale),
    ("slope negative", setting("RescaleSlope", "-1"), errors.InvalidRescale),
    ("optical density", setting("RescaleType", "OD"), errors.InvalidRescale),
    ("lookup table", setting("ModalityLUTSequence", Sequence([Dataset()])), errors.InvalidRescale),
    ("15 slices", lambda series: series.__delitem__(slice(15, None)), errors.TooFewSlices),
    ("second reconstruction", second_reconstruction, errors.DuplicateSlices),
    ("same UID, other pixels", same_uid_other_pixels, errors.DuplicateSlices),
    ("same UID, other position", same_uid_other_position, errors.DuplicateSlices),
    ("hole", lambda series: series.pop(MIDDLE), errors.MissingSlices),
    ("wide hole", lambda series: series.__delitem__(slice(4, 7)), errors.MissingSlices),
    ("one slice 0.06 mm off", shifted(z=0.06), errors.UnevenSpacing),
    ("spacing drifts", every_slice_thinner_upwards, errors.UnevenSpacing),
    ("tilt", tilted, errors.GantryTilt),
    ("one slice beside", shifted(x=0.4), errors.GantryTilt),
    ("sagittal", sagittal, errors.UnsupportedOrientation),
    ("oblique", turned_by_11_degrees, errors.UnsupportedOrientation),
    ("colour", setting("SamplesPerPixel", 3), errors.UnreadableInstance),
    ("inverted", setting("PhotometricInterpretation", "MONOCHROME1"), errors.UnreadableInstance),
    ("8 bits", setting("BitsAllocated", 8), errors.UnreadableInstance),
    ("two frames", setting("NumberOfFrames", 2), errors.UnreadableInstance),
    ("lossy once", setting("LossyImageCompression", "01"), errors.LossyCompressed),
    ("no pixels", removing("PixelData"), errors.UnreadableInstance),
    ("half the pixels", setting("PixelData", b"\0" * 2000), errors.UnreadableInstance),
    ("more than the stored bits", setting("BitsStored", 10, everywhere=True), errors.UnreadableInstance),
    (
        "no transfer syntax",
        lambda series: series[MIDDLE].file_meta.__delattr__("TransferSyntaxUID"),
        errors.UnreadableInstance,
    ),
]


@pytest.mark.parametrize(("fault", "refusal"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_a_faulty_series_is_refused_with_its_reason(
    series: list[FileDataset], fault: Fault, refusal: type[errors.UnusableSeries]
) -> None:
    fault(series)
    with pytest.raises(refusal) as raised:
        read_ct_series(series)
    assert type(raised.value) is refusal
    assert raised.value.permanent
    assert "Thorax" not in str(raised.value)
    assert "2.25." not in str(raised.value)


@pytest.mark.parametrize("dropped", range(1, 19))
def test_each_single_inner_slice_is_missed(series: list[FileDataset], dropped: int) -> None:
    del series[dropped]
    with pytest.raises(errors.MissingSlices) as raised:
        read_ct_series(series)
    assert raised.value.gaps_mm == pytest.approx((24.0,))


@pytest.mark.parametrize("dropped", [0, 19])
def test_a_slice_missing_at_an_end_is_not_detected_as_documented(series: list[FileDataset], dropped: int) -> None:
    del series[dropped]
    assert read_ct_series(series).grid.shape[0] == 19


def test_the_tilt_is_measured(series: list[FileDataset]) -> None:
    tilted(series)
    with pytest.raises(errors.GantryTilt) as raised:
        read_ct_series(series)
    assert raised.value.angle_deg == pytest.approx(0.2387, abs=0.001)


@pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
def test_a_compressed_slice_cut_short_is_refused_although_the_decoder_would_paint_it(
    small: DigitalThorax, kept: float
) -> None:
    dataset = ct_instances(small.ct, transfer_syntax=JPEGLSLossless)[MIDDLE]
    frame = get_frame(dataset.PixelData, 0, number_of_frames=1)
    dataset.PixelData = encapsulate([frame[: int(len(frame) * kept) // 2 * 2 - 4]])
    with pytest.raises(errors.UnreadableInstance, match="cut off"):
        slice_hu(dataset)


def test_a_file_cut_short_is_refused(pristine: list[FileDataset], tmp_path: Path) -> None:
    path = tmp_path / "slice.dcm"
    pristine[MIDDLE].save_as(path, enforce_file_format=True)
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(errors.UnreadableInstance, match="bytes of pixel data"):
        slice_hu(dcmread(path))


def test_jpeg_2000_that_may_lose_is_read_only_when_it_says_that_it_did_not(small: DigitalThorax) -> None:
    dataset = ct_instances(small.ct, transfer_syntax="1.2.840.10008.1.2.4.90")[MIDDLE]
    dataset.file_meta.TransferSyntaxUID = JPEG2000
    with pytest.raises(errors.LossyCompressed):
        slice_hu(dataset)
    dataset.LossyImageCompression = "00"
    assert np.array_equal(slice_hu(dataset), small.ct.hu[MIDDLE])


# Real files


def test_a_real_planning_ct_is_read(test_data: Path) -> None:
    datasets = [dcmread(path) for path in sorted((test_data / "ct" / "lungdx_A0001").iterdir())]
    random.Random(1).shuffle(datasets)
    ct = read_ct_series(datasets)
    assert ct.grid.shape == (64, 512, 512)
    assert ct.grid.spacing_mm == pytest.approx((5.0, 0.841796875, 0.841796875))
    assert ct.grid.origin_mm == pytest.approx((-228.036842, -93.0631599, -439.0))
    assert (ct.hu.min(), ct.hu.max()) == (-1024.0, 2976.0)
    first = min(datasets, key=lambda dataset: dataset.ImagePositionPatient[2])
    assert ct.source.sop_instance_uids[0] == first.SOPInstanceUID
    assert np.array_equal(ct.hu[0], np.maximum(first.pixel_array - 1024.0, -1024.0))


def test_a_real_coarse_ct_agrees_with_its_nrrd_copy(test_data: Path) -> None:
    import SimpleITK

    ct = read_ct_series([dcmread(path) for path in (test_data / "ct" / "cip" / "ct-64Dicom").iterdir()])
    nrrd = SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(test_data / "ct" / "cip" / "ct-64.nrrd")))
    assert ct.grid.shape == (79, 64, 64)
    assert np.array_equal(ct.hu, nrrd) or np.array_equal(ct.hu[::-1], nrrd)


LOSSLESS = (
    "1.2.840.10008.1.2",
    "1.2.840.10008.1.2.1",
    "1.2.840.10008.1.2.1.99",
    "1.2.840.10008.1.2.2",
    "1.2.840.10008.1.2.4.57",
    "1.2.840.10008.1.2.4.70",
    "1.2.840.10008.1.2.4.80",
    "1.2.840.10008.1.2.4.90",
    "1.2.840.10008.1.2.5",
)
LOSSY = tuple(f"1.2.840.10008.1.2.4.{process}" for process in (50, 51, 53, 55, 81, 91))


@pytest.mark.parametrize("syntax", LOSSLESS)
def test_each_lossless_encoding_of_a_real_slice_has_the_same_hu(test_data: Path, syntax: str) -> None:
    (path,) = (test_data / "syntaxes").glob(f"CTImage.dcm_*_{syntax}.dcm")
    plain = slice_hu(dcmread(test_data / "syntaxes" / "CTImage.dcm"))
    dataset = dcmread(path)
    assert dataset.file_meta.TransferSyntaxUID == syntax
    assert np.array_equal(slice_hu(dataset), plain)


@pytest.mark.parametrize("syntax", LOSSY)
def test_each_lossy_encoding_of_a_real_slice_is_refused(test_data: Path, syntax: str) -> None:
    (path,) = (test_data / "syntaxes").glob(f"CTImage.dcm_*_{syntax}.dcm")
    with pytest.raises(errors.LossyCompressed):
        slice_hu(dcmread(path))


@pytest.mark.parametrize("name", ["CT1_J2KR", "CT2_J2KR"])
def test_real_jpeg_2000_with_padding_after_its_end_is_read(test_data: Path, name: str) -> None:
    hu = slice_hu(dcmread(test_data / "syntaxes" / name))
    assert hu.min() >= -1024
    assert hu.max() > 500


def test_a_single_real_slice_is_too_few(test_data: Path) -> None:
    with pytest.raises(errors.TooFewSlices):
        read_ct_series([dcmread(test_data / "syntaxes" / "CTImage.dcm")])
