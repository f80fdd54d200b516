"""Enhanced CT: the same CT as from single images, and the same reasons why not."""

import random
from collections.abc import Callable
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.dataset import FileDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    LegacyConvertedEnhancedCTImageStorage,
    RLELossless,
)

from inference import errors
from inference.ct.frames import frame_header, frame_headers
from inference.ct.instances import ct_instances
from inference.ct.series import content_digest, read_ct_files, read_ct_series
from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax, draw_thorax
from tests.enhanced_ct import enhanced_ct
from tests.tools import error_lines

SMALL = Grid.axial(
    (20, 40, 50), (12.0, 9.0, 7.0), (-172.0, -180.0, -140.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)
MIDDLE = 7


@pytest.fixture(scope="module")
def small() -> DigitalThorax:
    return draw_thorax(SMALL)


@pytest.fixture(scope="module")
def pristine(small: DigitalThorax) -> list[FileDataset]:
    """Single images, each with a rescale of its own."""
    images = ct_instances(small.ct)
    for k, dataset in enumerate(images):
        stored = np.frombuffer(dataset.PixelData, "<i2")
        dataset.RescaleIntercept = str(-1024 - k)
        dataset.PixelData = (stored + k).astype("<i2").tobytes()
    return images


@pytest.fixture
def image(pristine: list[FileDataset]) -> FileDataset:
    return enhanced_ct(deepcopy(pristine))[0]


def test_the_builder_writes_valid_enhanced_ct(image: FileDataset, tmp_path: Path) -> None:
    image.save_as(tmp_path / "enhanced.dcm", enforce_file_format=True)
    assert error_lines(tmp_path / "enhanced.dcm") == []


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, RLELossless, JPEGLSLossless, JPEG2000Lossless])
@pytest.mark.parametrize("parts", [1, 3])
def test_an_enhanced_ct_is_the_same_volume_as_its_single_images(
    small: DigitalThorax, pristine: list[FileDataset], syntax: str, parts: int
) -> None:
    shuffled = random.Random(3).sample(pristine, len(pristine))
    made = enhanced_ct(shuffled, parts=parts, transfer_syntax=syntax)
    ct = read_ct_series(made[::-1])
    single = read_ct_series(pristine)
    assert np.array_equal(ct.hu, single.hu)
    assert np.array_equal(ct.hu, small.ct.hu)
    assert np.array_equal(ct.grid.affine, single.grid.affine)
    assert ct.grid.matches(SMALL, tolerance_mm=1e-6)
    size = -(-20 // parts)
    frames = {str(single.SOPInstanceUID): divmod(place, size) for place, single in enumerate(shuffled)}
    wanted = [frames[uid] for uid in single.source.sop_instance_uids]
    assert ct.source.slices == tuple((str(made[part].SOPInstanceUID), frame + 1) for part, frame in wanted)


def test_files_give_the_same_as_datasets(pristine: list[FileDataset], tmp_path: Path) -> None:
    paths = []
    for number, dataset in enumerate((*enhanced_ct(pristine, parts=2), *enhanced_ct(pristine, parts=2))):
        paths.append(tmp_path / f"{number}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    ct = read_ct_files(paths)  # each part twice
    assert content_digest(ct) == content_digest(read_ct_series(enhanced_ct(pristine, parts=2)))
    assert content_digest(ct) != content_digest(read_ct_series(enhanced_ct(pristine)))


def test_single_images_from_files_are_the_same_as_from_datasets(pristine: list[FileDataset], tmp_path: Path) -> None:
    for number, dataset in enumerate((*pristine, pristine[MIDDLE])):
        dataset.save_as(tmp_path / f"{number:02d}.dcm", enforce_file_format=True)
    paths = sorted(tmp_path.glob("*.dcm"))
    assert content_digest(read_ct_files(paths)) == content_digest(read_ct_series(pristine))
    other = deepcopy(pristine[MIDDLE])
    other.PixelData = bytes(len(other.PixelData))
    other.save_as(paths[-1], enforce_file_format=True)
    with pytest.raises(errors.DuplicateSlices):
        read_ct_files(paths)


def test_a_file_that_is_no_dicom_is_refused(pristine: list[FileDataset], tmp_path: Path) -> None:
    (tmp_path / "text.dcm").write_text("no DICOM")
    with pytest.raises(errors.UnreadableInstance):
        read_ct_files([tmp_path / "text.dcm"])


def test_a_legacy_converted_ct_of_highdicom_is_the_same_volume(
    small: DigitalThorax, pristine: list[FileDataset]
) -> None:
    import warnings

    from highdicom.legacy import LegacyConvertedEnhancedCTImage

    images = deepcopy(pristine)
    for dataset in images:
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        legacy = LegacyConvertedEnhancedCTImage(
            legacy_datasets=images,
            series_instance_uid="1.2.3.4",
            series_number=1,
            sop_instance_uid="1.2.3.4.5",
            instance_number=1,
        )
    assert legacy.SOPClassUID == LegacyConvertedEnhancedCTImageStorage
    ct = read_ct_series([legacy])
    assert np.array_equal(ct.hu, small.ct.hu)
    assert ct.grid.matches(SMALL, tolerance_mm=1e-6)


def test_a_frame_header_reads_like_a_single_image(image: FileDataset, pristine: list[FileDataset]) -> None:
    headers = frame_headers(image)
    for number, (header, single) in enumerate(zip(headers, pristine, strict=True), start=1):
        for keyword in ("PatientName", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "Rows"):
            assert header[keyword].value == single[keyword].value
        assert header.RescaleIntercept == single.RescaleIntercept
        assert header.ReferencedFrameNumber == number
        assert "PixelData" not in header
    assert frame_header(image, 3) == headers[2]
    assert frame_header(pristine[0], 0) is pristine[0]
    with pytest.raises(errors.UnreadableInstance):
        frame_header(image, 21)


# What is refused

Fault = Callable[[list[FileDataset]], object]


def group(sequence: str, keyword: str, value: object, *, frames: slice = slice(None), shared: bool = False) -> Fault:
    def fault(images: list[FileDataset]) -> None:
        items = images[0].SharedFunctionalGroupsSequence if shared else images[0].PerFrameFunctionalGroupsSequence
        for item in list(items)[frames]:
            if sequence not in item:
                setattr(item, sequence, deepcopy(images[0].SharedFunctionalGroupsSequence[0].get(sequence)))
            if value is None:
                delattr(item[sequence][0], keyword)
            else:
                setattr(item[sequence][0], keyword, value)

    return fault


def frame_type(*values: str, frames: slice = slice(None)) -> Fault:
    return group("CTImageFrameTypeSequence", "FrameType", list(values), frames=frames)


def shifted(frame: int, axis: int, mm: float) -> Fault:
    def fault(images: list[FileDataset]) -> None:
        position = images[0].PerFrameFunctionalGroupsSequence[frame].PlanePositionSequence[0]
        position.ImagePositionPatient[axis] = float(position.ImagePositionPatient[axis]) + mm

    return fault


def tilted(images: list[FileDataset]) -> None:
    for k in range(20):
        shifted(k, 1, 0.05 * k)(images)


def frame_removed(images: list[FileDataset]) -> None:
    images[0].PerFrameFunctionalGroupsSequence.pop(MIDDLE)
    images[0].NumberOfFrames = 19
    size = 40 * 50 * 2
    data = images[0].PixelData
    images[0].PixelData = data[: MIDDLE * size] + data[(MIDDLE + 1) * size :]


def second_phase(images: list[FileDataset]) -> None:
    for item in list(images[0].PerFrameFunctionalGroupsSequence)[10:]:
        item.FrameContentSequence[0].TemporalPositionIndex = 2


def second_image(images: list[FileDataset]) -> None:
    other = deepcopy(images[0])
    other.SOPInstanceUID = "1.2.3.4.5"
    images.append(other)


def cut(images: list[FileDataset]) -> None:
    images[0].PixelData = images[0].PixelData[:-2]


FRAME_TYPE, VALUES = "CTImageFrameTypeSequence", "PixelValueTransformationSequence"
REFUSALS: list[tuple[str, Fault, type[errors.UnusableSeries]]] = [
    ("hole", frame_removed, errors.MissingSlices),
    ("tilt", tilted, errors.GantryTilt),
    ("one frame off", shifted(MIDDLE, 2, 0.06), errors.UnevenSpacing),
    ("two frames at a place", shifted(MIDDLE, 2, 12.0), errors.DuplicateSlices),
    ("two phases by index", second_phase, errors.MixedSeries),
    ("two images of the same places", second_image, errors.DuplicateSlices),
    ("all scouts", frame_type("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"), errors.Localizer),
    ("a scout", frame_type("ORIGINAL", "PRIMARY", "LOCALIZER", "NONE", frames=slice(1)), errors.MixedSeries),
    ("maximum", frame_type("DERIVED", "PRIMARY", "VOLUME", "MAXIMUM"), errors.DerivedFrames),
    ("projection", group(FRAME_TYPE, "VolumeBasedCalculationTechnique", "MAX_IP", shared=True), errors.DerivedFrames),
    ("curved", group(FRAME_TYPE, "VolumetricProperties", "DISTORTED", shared=True), errors.DerivedFrames),
    (
        "no position",
        group("PlanePositionSequence", "ImagePositionPatient", None, frames=slice(1)),
        errors.MissingGeometry,
    ),
    ("no slope", group(VALUES, "RescaleSlope", None, frames=slice(3, 4)), errors.InvalidRescale),
    ("no HU", group(VALUES, "RescaleType", "US", frames=slice(3, 4)), errors.InvalidRescale),
    ("spacings differ", group("PixelMeasuresSequence", "PixelSpacing", [9, 8], frames=slice(1)), errors.MixedSeries),
    (
        "planes differ",
        group("PlaneOrientationSequence", "ImageOrientationPatient", [1, 0, 0, 0, 0, -1], frames=slice(1)),
        errors.MixedSeries,
    ),
    ("fewer groups than frames", lambda i: i[0].PerFrameFunctionalGroupsSequence.pop(), errors.UnreadableInstance),
    ("no groups", lambda i: i[0].__delattr__("PerFrameFunctionalGroupsSequence"), errors.UnreadableInstance),
    ("cut pixels", cut, errors.UnreadableInstance),
    ("no frame of reference", lambda i: setattr(i[0], "FrameOfReferenceUID", ""), errors.NoFrameOfReference),
    ("lossy once", lambda i: setattr(i[0], "LossyImageCompression", "01"), errors.LossyCompressed),
]


@pytest.mark.parametrize(("fault", "refusal"), [case[1:] for case in REFUSALS], ids=[case[0] for case in REFUSALS])
def test_a_faulty_enhanced_ct_is_refused_with_its_reason(
    image: FileDataset, fault: Fault, refusal: type[errors.UnusableSeries]
) -> None:
    images = [image]
    fault(images)
    with pytest.raises(refusal) as raised:
        read_ct_series(images)
    assert type(raised.value) is refusal


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_a_concatenation_without_a_part_is_refused(pristine: list[FileDataset], missing: int) -> None:
    parts = enhanced_ct(pristine, parts=3)
    del parts[missing]
    with pytest.raises(errors.IncompleteConcatenation) as raised:
        read_ct_series(parts)
    assert (raised.value.received, raised.value.total) == (2, 3)


def test_single_images_beside_an_enhanced_one_are_refused(image: FileDataset, pristine: list[FileDataset]) -> None:
    with pytest.raises(errors.MixedSeries, match="SOP Class"):
        read_ct_series([image, pristine[0]])


def test_an_average_over_a_breath_is_read(image: FileDataset, small: DigitalThorax) -> None:
    frame_type("DERIVED", "PRIMARY", "VOLUME", "MEAN")([image])
    assert np.array_equal(read_ct_series([image]).hu, small.ct.hu)


def test_a_series_that_would_take_too_much_memory_is_refused_by_its_headers(
    image: FileDataset, pristine: list[FileDataset]
) -> None:
    images = deepcopy(pristine)
    for dataset in (image, *images):
        dataset.Rows, dataset.Columns = 4096, 4096
    for series in ([image], images):
        with pytest.raises(errors.SeriesTooLarge) as raised:
            read_ct_series(series, most_memory_mb=1024)
        assert raised.value.needed_mb is not None
        assert raised.value.needed_mb > 20 * 4096 * 4096 * 4 // 2**20
        assert raised.value.code == "TOO_LARGE"


# Real files


def test_a_real_functional_map_as_enhanced_ct_is_no_ct(test_data: Path) -> None:
    with pytest.raises(errors.DerivedFrames, match="RCBF"):
        read_ct_series([dcmread(test_data / "pm" / "eCT_Supplemental.dcm")])


def test_a_real_legacy_converted_ct_has_too_few_frames(test_data: Path) -> None:
    with pytest.raises(errors.TooFewSlices) as raised:
        read_ct_series([dcmread(test_data / "pm" / "legacy_converted_ect_24x38x3.dcm")])
    assert raised.value.slices == 3
