"""What the headers of a CT series say, checked before a single pixel is decoded.

A planning CT of a thousand slices is refused in milliseconds when it is two patients, a scout or has a hole.
All limits are constants with their reason. What headers cannot show is listed at `ct_series.read_ct_series`.
"""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from inference.errors import (
    DuplicateSlices,
    EmptySeries,
    GantryTilt,
    InvalidRescale,
    Localizer,
    MissingGeometry,
    MissingSlices,
    MixedSeries,
    NoFrameOfReference,
    NotCt,
    TooFewSlices,
    UnevenSpacing,
    UnreadableInstance,
    UnsupportedOrientation,
)
from inference.geometry import Grid
from inference.volumes import SeriesReference

FEWEST_SLICES = 16
"""A lung is about 20 cm high: even 10 mm slices need 20, and no lobe can be found in less than 16."""
GAP_FACTOR = 1.5
"""A step longer than this times the median step is a hole: one missing slice doubles a step."""
LATTICE_TOLERANCE_MM = 0.05
"""How far a slice may lie from its place in an even stack. Covers positions rounded to 0.01 mm over long series; a
twentieth of the thinnest usual slice, so contours still lie on the planes of the CT."""
SIDEWAYS_TOLERANCE_MM = 0.25
"""How far a slice may lie beside the line through the stack: under half a pixel of a planning CT. A gantry tilt of
0.1 degrees displaces the ends of a 30 cm stack by that much."""
DUPLICATE_TOLERANCE_MM = 0.01
"""Slices closer than this lie at one position: the thinnest CT slices are 0.4 mm apart."""
AXIS_TOLERANCE_DEG = 10.0
"""How far image axes may turn from the patient axes: a crooked patient does not turn them, an oblique reformat does."""
COSINE_TOLERANCE = 1e-3
"""Direction cosines are often written with four digits; two slices may differ, and axes be off the right angle, by
this (0.06 degrees)."""
PIXEL_SPACING_TOLERANCE_MM = 1e-4
"""Two slices may differ by this in pixel spacing: 0.05 mm over 512 pixels."""

ONE_PER_SERIES = (
    ("PatientID", "Patient ID"),
    ("PatientName", "Patient's Name"),
    ("PatientBirthDate", "Patient's Birth Date"),
    ("PatientSex", "Patient's Sex"),
    ("StudyInstanceUID", "Study Instance UID"),
    ("SeriesInstanceUID", "Series Instance UID"),
    ("FrameOfReferenceUID", "Frame of Reference UID"),
    ("Rows", "Rows"),
    ("Columns", "Columns"),
)
"""Keyword and name of what all instances of a usable series share; absent and empty are the same value."""


@dataclass(frozen=True, slots=True)
class SliceStack:
    """A usable series by its headers: instances in slice order, and where they are."""

    datasets: tuple[Dataset, ...]
    """One per slice, along the normal."""
    grid: Grid
    source: SeriesReference


@dataclass(frozen=True, slots=True, eq=False)
class _Plane:
    """Orientation and pixel spacing that all slices share."""

    along_row: Float[np.ndarray, "3"]
    """Direction of increasing column index."""
    along_column: Float[np.ndarray, "3"]
    spacing_mm: tuple[float, float]
    """Between rows, between columns (PS3.3 10.7.1.3)."""

    @property
    def normal(self) -> Float[np.ndarray, "3"]:
        return np.cross(self.along_row, self.along_column)


def require_usable_headers(datasets: Sequence[Dataset]) -> SliceStack:
    """Check everything that headers can show and put the slices in order.

    Pixel data may be absent. Slices are sorted by position along row × column direction and never by Instance Number
    or Slice Location, which scanners and exports get wrong.

    Raises:
        UnusableSeries: the leaf that names the first fault found; conditions at `ct_series.read_ct_series`.
    """
    if not datasets:
        raise EmptySeries()
    _require_ct(datasets)
    _require_one_series(datasets)
    for dataset in datasets:
        _require_plain_image(dataset)
        rescale(dataset)
    plane = _shared_plane(datasets)
    positions_mm = np.array([_numbers(dataset, "ImagePositionPatient", 3) for dataset in datasets])
    order = np.argsort(positions_mm @ plane.normal, kind="stable")
    unique = _without_repeated_instances([(datasets[k], positions_mm[k]) for k in order], plane)
    ordered = tuple(dataset for dataset, _ in unique)
    if len(ordered) < FEWEST_SLICES:
        raise TooFewSlices(len(ordered), FEWEST_SLICES)
    grid = _grid(ordered[0], plane, np.array([position for _, position in unique]))
    return SliceStack(ordered, grid, _reference(ordered))


def rescale(dataset: Dataset) -> tuple[float, float]:
    """Slope and intercept from stored values to HU (PS3.3 C.11.1.1, C.8.2.1).

    Raises:
        InvalidRescale: absent, not finite, slope not above 0, a lookup table, or a Rescale Type other than HU.
    """
    try:
        slope, intercept = (float(dataset[name].value) for name in ("RescaleSlope", "RescaleIntercept"))
    except (KeyError, TypeError, ValueError):
        raise InvalidRescale("rescale slope or intercept is absent or no number") from None
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope > 0):
        raise InvalidRescale(f"rescale slope {slope:g} and intercept {intercept:g} are impossible")
    if _text(dataset, "RescaleType") not in ("", "HU"):
        raise InvalidRescale("the rescale type is not HU")
    if dataset.get("ModalityLUTSequence"):
        raise InvalidRescale("a lookup table stands where HU need a slope and intercept")
    return slope, intercept


def _require_ct(datasets: Sequence[Dataset]) -> None:
    """CT Image Storage only: Enhanced CT is another SOP class with another geometry, and not read."""
    for dataset in datasets:
        modality, sop_class = _text(dataset, "Modality"), _text(dataset, "SOPClassUID")
        if sop_class != CTImageStorage or modality != "CT":
            raise NotCt(modality, sop_class)
    scouts = sum("LOCALIZER" in _values(dataset, "ImageType") for dataset in datasets)
    if scouts == len(datasets):
        raise Localizer(scouts)
    if scouts:
        raise MixedSeries("Image Type (scout images among slices)", 2)


def _require_one_series(datasets: Sequence[Dataset]) -> None:
    for keyword, name in ONE_PER_SERIES:
        distinct = len({_text(dataset, keyword).rstrip("^") for dataset in datasets})
        if distinct > 1:
            raise MixedSeries(name, distinct)
    if not _text(datasets[0], "FrameOfReferenceUID"):
        raise NoFrameOfReference()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not _text(datasets[0], keyword):
            raise UnreadableInstance(f"{keyword} is absent")
    if not all(_text(dataset, "SOPInstanceUID") for dataset in datasets):
        raise UnreadableInstance("SOPInstanceUID is absent")


def _require_plain_image(dataset: Dataset) -> None:
    """One grey frame of 16 bits, brighter is denser (PS3.3 C.8.2.1.1: MONOCHROME1 is allowed and not read)."""
    wanted: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("Rows", lambda value: value.isdecimal() and int(value) > 1),
        ("Columns", lambda value: value.isdecimal() and int(value) > 1),
        ("SamplesPerPixel", lambda value: value == "1"),
        ("PhotometricInterpretation", lambda value: value == "MONOCHROME2"),
        ("BitsAllocated", lambda value: value == "16"),
        ("BitsStored", lambda value: value.isdecimal() and 8 <= int(value) <= 16),
        ("PixelRepresentation", lambda value: value in ("0", "1")),
        ("NumberOfFrames", lambda value: value in ("", "1")),
    )
    for keyword, fits in wanted:
        value = _text(dataset, keyword)
        if not fits(value):
            raise UnreadableInstance(f"{keyword} is {value[:16] or 'absent'}")


def _shared_plane(datasets: Sequence[Dataset]) -> _Plane:
    orientations = np.array([_numbers(dataset, "ImageOrientationPatient", 6) for dataset in datasets])
    if np.abs(orientations - orientations[0]).max() > COSINE_TOLERANCE:
        raise MixedSeries("Image Orientation", len(np.unique(orientations, axis=0)))
    spacings = np.array([_numbers(dataset, "PixelSpacing", 2) for dataset in datasets])
    if spacings.min() <= 0:
        raise MissingGeometry("Pixel Spacing")
    if np.abs(spacings - spacings[0]).max() > PIXEL_SPACING_TOLERANCE_MM:
        raise MixedSeries("Pixel Spacing", len(np.unique(spacings, axis=0)))
    along_row, along_column = orientations[0, :3], orientations[0, 3:]
    lengths = float(np.linalg.norm(along_row)), float(np.linalg.norm(along_column))
    if max(abs(lengths[0] - 1), abs(lengths[1] - 1), abs(float(along_row @ along_column))) > COSINE_TOLERANCE:
        raise MissingGeometry("Image Orientation (Patient)")
    along_row = along_row / lengths[0]
    along_column = along_column - (along_column @ along_row) * along_row
    along_column /= np.linalg.norm(along_column)
    plane = _Plane(along_row, along_column, (float(spacings[0, 0]), float(spacings[0, 1])))
    _require_axial(plane)
    return plane


def _require_axial(plane: _Plane) -> None:
    """Slices stacked head to feet, image axes near the patient axes."""
    cosines = [abs(plane.normal[2]), np.abs(plane.along_row).max(), np.abs(plane.along_column).max()]
    angle_deg = math.degrees(math.acos(min(1.0, float(np.min(cosines)))))
    if angle_deg > AXIS_TOLERANCE_DEG:
        raise UnsupportedOrientation(angle_deg)


def _without_repeated_instances(
    ordered: list[tuple[Dataset, Float[np.ndarray, "3"]]], plane: _Plane
) -> list[tuple[Dataset, Float[np.ndarray, "3"]]]:
    """Drop instances that came twice, byte for byte; anything else at one position, or under one UID, is an error."""
    kept: dict[str, tuple[Dataset, Float[np.ndarray, "3"]]] = {}
    clashes_mm: list[float] = []
    for dataset, position in ordered:
        first = kept.setdefault(str(dataset.SOPInstanceUID), (dataset, position))
        if first[0] is not dataset and first[0] != dataset:
            clashes_mm.append(float(position @ plane.normal))
    heights_mm = np.array([float(position @ plane.normal) for _, position in kept.values()])
    clashes_mm += heights_mm[1:][np.diff(heights_mm) < DUPLICATE_TOLERANCE_MM].tolist()
    if clashes_mm:
        raise DuplicateSlices(tuple(clashes_mm))
    return list(kept.values())


def _grid(first: Dataset, plane: _Plane, positions_mm: Float[np.ndarray, "slices 3"]) -> Grid:
    """The lattice of an even stack: exact first position, mean step along the normal."""
    heights_mm = positions_mm @ plane.normal
    steps_mm = np.diff(heights_mm)
    median_mm = float(np.median(steps_mm))
    gaps_mm = steps_mm[steps_mm > GAP_FACTOR * median_mm]
    if gaps_mm.size:
        raise MissingSlices(tuple(gaps_mm.tolist()), median_mm)
    step_mm = float(heights_mm[-1] - heights_mm[0]) / len(steps_mm)
    lattice_mm = heights_mm[0] + step_mm * np.arange(len(heights_mm))
    if np.abs(heights_mm - lattice_mm).max() > LATTICE_TOLERANCE_MM:
        raise UnevenSpacing(float(steps_mm.min()), float(steps_mm.max()))
    _require_straight_stack(positions_mm, plane)
    affine = np.eye(4)
    affine[:3, 0] = plane.normal * step_mm
    affine[:3, 1] = plane.along_column * plane.spacing_mm[0]
    affine[:3, 2] = plane.along_row * plane.spacing_mm[1]
    affine[:3, 3] = positions_mm[0]
    shape = (len(positions_mm), int(first.Rows), int(first.Columns))
    return Grid(shape, affine, _text(first, "FrameOfReferenceUID"))


def _require_straight_stack(positions_mm: Float[np.ndarray, "slices 3"], plane: _Plane) -> None:
    heights_mm = positions_mm @ plane.normal
    sideways_mm = positions_mm - heights_mm[:, None] * plane.normal
    sideways_mm = sideways_mm - sideways_mm.mean(axis=0)
    if np.linalg.norm(sideways_mm, axis=1).max() > SIDEWAYS_TOLERANCE_MM:
        drift_mm = float(np.linalg.norm(np.ptp(sideways_mm, axis=0)))
        raise GantryTilt(math.degrees(math.atan2(drift_mm, float(np.ptp(heights_mm)))))


def _reference(ordered: tuple[Dataset, ...]) -> SeriesReference:
    return SeriesReference(
        _text(ordered[0], "StudyInstanceUID"),
        _text(ordered[0], "SeriesInstanceUID"),
        _text(ordered[0], "FrameOfReferenceUID"),
        tuple(_text(dataset, "SOPInstanceUID") for dataset in ordered),
    )


def _numbers(dataset: Dataset, keyword: str, count: int) -> list[float]:
    try:
        values = [float(value) for value in dataset[keyword].value]
    except (KeyError, TypeError, ValueError):
        raise MissingGeometry(keyword) from None
    if len(values) != count or not all(math.isfinite(value) for value in values):
        raise MissingGeometry(keyword)
    return values


def _values(dataset: Dataset, keyword: str) -> Counter[str]:
    value = dataset.get(keyword) or ()
    return Counter([value] if isinstance(value, str) else [str(item) for item in value])


def _text(dataset: Dataset, keyword: str) -> str:
    try:
        value = dataset.get(keyword)
    except (TypeError, ValueError):
        raise UnreadableInstance(f"{keyword} cannot be parsed") from None
    return "" if value is None else str(value).strip()
