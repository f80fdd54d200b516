"""What the headers of a CT series say, checked before a single pixel is decoded.

A planning CT of a thousand slices is refused in milliseconds when it is two patients, a scout or has a hole.
All limits are constants with their reason. What headers cannot show is listed at `ct_series.read_ct_series`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset

from inference.ct.frames import (
    CT_CLASSES,
    frame_number,
    is_multi_frame,
    require_measured_frames,
    require_whole_concatenations,
    slice_headers,
)
from inference.ct.values import numbers, require_parsable, rescale, text, values
from inference.errors import (
    DuplicateSlices,
    EmptySeries,
    GantryTilt,
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
LARGEST_SIDE = 4096
"""Rows or columns: four times the largest usual CT matrix. A header must not ask for more memory than a CT takes."""

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
    """A usable series by its headers: slices in order, and where they are."""

    datasets: tuple[Dataset, ...]
    """The header of each slice, along the normal; of a multi-frame image one for each frame (`ct_frames`)."""
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
    return require_usable_slices(without_repeats(datasets))


def without_repeats(datasets: Sequence[Dataset]) -> list[Dataset]:
    """The same without instances that came twice, byte for byte."""
    kept: dict[str, Dataset] = {}
    others = []
    for dataset in datasets:
        first = kept.setdefault(text(dataset, "SOPInstanceUID"), dataset)
        if first is not dataset and not _are_equal(first, dataset):
            others.append(dataset)
    return [*kept.values(), *others]


def _are_equal(one: Dataset, other: Dataset) -> bool:
    try:
        return bool(one == other)
    except Exception:  # of elements that nobody asks for, one cannot be parsed
        return False


def require_usable_slices(datasets: Sequence[Dataset]) -> SliceStack:
    """As `require_usable_headers`, where no instance comes twice: two of one UID are two slices at one place."""
    if not datasets:
        raise EmptySeries()
    require_parsable(datasets)
    _require_ct(datasets)
    require_whole_concatenations(datasets)
    headers = list(slice_headers(datasets))
    require_parsable([header for header in headers if is_multi_frame(header)])
    require_measured_frames(headers)
    _require_one_series(headers)
    for header in headers:
        _require_plain_image(header)
        rescale(header)
    plane = _shared_plane(headers)
    positions_mm = np.array([numbers(header, "ImagePositionPatient", 3) for header in headers])
    order = np.argsort(positions_mm @ plane.normal, kind="stable")
    ordered, positions_mm = tuple(headers[k] for k in order), positions_mm[order]
    _require_distinct(ordered, positions_mm, plane)
    if len(ordered) < FEWEST_SLICES:
        raise TooFewSlices(len(ordered), FEWEST_SLICES)
    return SliceStack(ordered, _grid(ordered[0], plane, positions_mm), _reference(ordered))


def _require_ct(datasets: Sequence[Dataset]) -> None:
    """CT, Enhanced CT and Legacy Converted Enhanced CT; a series has one of them."""
    for dataset in datasets:
        modality, sop_class = text(dataset, "Modality"), text(dataset, "SOPClassUID")
        if sop_class not in CT_CLASSES or modality != "CT":
            raise NotCt(modality, sop_class)
    classes = {text(dataset, "SOPClassUID") for dataset in datasets}
    if len(classes) > 1:
        raise MixedSeries("SOP Class UID (single and multi-frame images)", len(classes))
    scouts = sum("LOCALIZER" in values(dataset, "ImageType") for dataset in datasets)
    if scouts == len(datasets):
        raise Localizer(scouts)
    if scouts:
        raise MixedSeries("Image Type (scout images among slices)", 2)


def _require_one_series(datasets: Sequence[Dataset]) -> None:
    for keyword, name in ONE_PER_SERIES:
        distinct = len({text(dataset, keyword).rstrip("^") for dataset in datasets})
        if distinct > 1:
            raise MixedSeries(name, distinct)
    if not text(datasets[0], "FrameOfReferenceUID"):
        raise NoFrameOfReference()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID"):
        if not text(datasets[0], keyword):
            raise UnreadableInstance(f"{keyword} is absent")
    if not all(text(dataset, "SOPInstanceUID") for dataset in datasets):
        raise UnreadableInstance("SOPInstanceUID is absent")


def _require_plain_image(dataset: Dataset) -> None:
    """One grey frame of 16 bits, brighter is denser (PS3.3 C.8.2.1.1: MONOCHROME1 is allowed and not read)."""
    wanted: tuple[tuple[str, Callable[[str], bool]], ...] = (
        ("Rows", lambda value: value.isdecimal() and 1 < int(value) <= LARGEST_SIDE),
        ("Columns", lambda value: value.isdecimal() and 1 < int(value) <= LARGEST_SIDE),
        ("SamplesPerPixel", lambda value: value == "1"),
        ("PhotometricInterpretation", lambda value: value == "MONOCHROME2"),
        ("BitsAllocated", lambda value: value == "16"),
        ("BitsStored", lambda value: value.isdecimal() and 8 <= int(value) <= 16),
        ("PixelRepresentation", lambda value: value in ("0", "1")),
        ("NumberOfFrames", lambda value: value in ("", "1")),
    )
    for keyword, fits in wanted:
        value = text(dataset, keyword)
        if not fits(value):
            raise UnreadableInstance(f"{keyword} is {value[:16] or 'absent'}")


def _shared_plane(datasets: Sequence[Dataset]) -> _Plane:
    orientations = np.array([numbers(dataset, "ImageOrientationPatient", 6) for dataset in datasets])
    if np.abs(orientations - orientations[0]).max() > COSINE_TOLERANCE:
        raise MixedSeries("Image Orientation", len(np.unique(orientations, axis=0)))
    spacings = np.array([numbers(dataset, "PixelSpacing", 2) for dataset in datasets])
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


def _require_distinct(ordered: Sequence[Dataset], positions_mm: Float[np.ndarray, "n 3"], plane: _Plane) -> None:
    """Refuse two slices of one UID and frame, and two at one position."""
    heights_mm = positions_mm @ plane.normal
    seen: set[tuple[str, int]] = set()
    clashes_mm = []
    for header, height_mm in zip(ordered, heights_mm.tolist(), strict=True):
        name = (text(header, "SOPInstanceUID"), frame_number(header))
        if name in seen:
            clashes_mm.append(height_mm)
        seen.add(name)
    clashes_mm += heights_mm[1:][np.diff(heights_mm) < DUPLICATE_TOLERANCE_MM].tolist()
    if clashes_mm:
        raise DuplicateSlices(tuple(clashes_mm))


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
    try:
        return Grid(shape, affine, text(first, "FrameOfReferenceUID"))
    except ValueError:  # so small, or so far away, that no patient is there
        raise MissingGeometry("position or spacing") from None


def _require_straight_stack(positions_mm: Float[np.ndarray, "slices 3"], plane: _Plane) -> None:
    heights_mm = positions_mm @ plane.normal
    sideways_mm = positions_mm - heights_mm[:, None] * plane.normal
    sideways_mm = sideways_mm - sideways_mm.mean(axis=0)
    if np.linalg.norm(sideways_mm, axis=1).max() > SIDEWAYS_TOLERANCE_MM:
        drift_mm = float(np.linalg.norm(np.ptp(sideways_mm, axis=0)))
        raise GantryTilt(math.degrees(math.atan2(drift_mm, float(np.ptp(heights_mm)))))


def _reference(ordered: tuple[Dataset, ...]) -> SeriesReference:
    return SeriesReference(
        text(ordered[0], "StudyInstanceUID"),
        text(ordered[0], "SeriesInstanceUID"),
        text(ordered[0], "FrameOfReferenceUID"),
        tuple(text(dataset, "SOPInstanceUID") for dataset in ordered),
        tuple(frame_number(dataset) for dataset in ordered) if frame_number(ordered[0]) else None,
    )
