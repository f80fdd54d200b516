"""Rules of the Parametric Map: every value at the place of its voxel, and nothing that a reader turns over.

Float pixels are looked at frame by frame, straight from the bytes of the file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import CheckedObject, code, integer, items, numbers, raw_bytes, text
from dicom_node.checks.faults import Fault
from dicom_node.checks.frames import Frame, frames_of, not_ascending
from dicom_node.checks.source_ct import SourceCt
from dicom_node.checks.source_images import check_source_images
from dicom_node.checks.surroundings import Surroundings
from dicom_node.objects import codes

MAP_TOLERANCE_PERCENT = 1e-4
"""Values are copied; percent of a float32 fraction may be rounded once."""


def check_parametric_map(checked: CheckedObject, around: Surroundings) -> Iterator[Fault]:
    """All rules of this kind."""
    frames = frames_of(checked.dataset)
    values = float_frames(checked.dataset)
    if values is None or len(frames) != len(values):
        yield checked.fault("MAP_FRAMES", "frames, functional groups and length of Float Pixel Data do not agree")
        values = None
    yield from _check_order(checked, frames)
    yield from _check_anatomy(checked, frames)
    yield from _check_quantity(checked, frames)
    if values is not None:
        yield from _check_range(checked, frames, values)
    if around.ct is None:
        return
    yield from _check_against_ct(checked, frames, around.ct)
    if values is not None and around.expected.percent is not None and values.shape[1:] == around.ct.shape[1:]:
        yield from _check_values(checked, frames, values, around.ct, around.expected.percent)


def float_frames(dataset: Dataset) -> Float32[np.ndarray, "frames rows columns"] | None:
    """The values as they are stored, not copied; None unless their length is frames × rows × columns × 4 bytes."""
    shape = tuple(integer(dataset, keyword) for keyword in ("NumberOfFrames", "Rows", "Columns"))
    encoded = raw_bytes(dataset, "FloatPixelData")
    if min(shape) < 1 or encoded is None or len(encoded) != 4 * int(np.prod(shape)):
        return None
    return np.frombuffer(encoded, dtype="<f4").reshape(shape)


def map_on_ct(dataset: Dataset, ct: SourceCt) -> Float32[np.ndarray, "slices rows columns"] | None:
    """The values in the slices of the CT; None unless every slice has a frame of its matrix."""
    values, frames = float_frames(dataset), frames_of(dataset)
    if values is None or len(values) != len(frames) or values.shape[1:] != ct.shape[1:]:
        return None
    places = [ct.slice_at(frame.plane.position_mm) for frame in frames]
    if sorted(k for k in places if k is not None) != list(range(ct.shape[0])):
        return None
    return values[np.argsort(np.array(places))]


def _check_order(checked: CheckedObject, frames: list[Frame]) -> Iterator[Fault]:
    if place := not_ascending(frames):
        yield checked.fault("MAP_FRAME_ORDER", "a frame does not lie above the one before it", place)
    numbered = [frame.dimension_indices for frame in frames]
    if any(indices[-1:] != (number,) for number, indices in enumerate(numbered, start=1)):
        yield checked.fault("MAP_FRAME_ORDER", "Dimension Index Values are not the order of frames")


def _check_anatomy(checked: CheckedObject, frames: list[Frame]) -> Iterator[Fault]:
    for frame in frames:
        anatomy = items(frame.group("FrameAnatomySequence"), "FrameAnatomySequence")
        region = code(items(anatomy[0], "AnatomicRegionSequence")) if anatomy else ("", "")
        if not region[0] or text(anatomy[0], "FrameLaterality") not in ("L", "R", "B", "U"):
            yield checked.fault(
                "MAP_ANATOMY_ABSENT", "there is no Frame Anatomy with region and laterality", frame.name
            )
            return


@dataclass(frozen=True, slots=True)
class _Mapping:
    """A real world value mapping (PS3.3 C.7.6.16.2.11)."""

    unit: tuple[str, str]
    quantities: tuple[tuple[str, str], ...]
    slope_and_intercept: tuple[float, float]
    first: float
    last: float

    @classmethod
    def of(cls, frame: Frame) -> "_Mapping | None":
        mappings = items(frame.group("RealWorldValueMappingSequence"), "RealWorldValueMappingSequence")
        if len(mappings) != 1:
            return None
        item = mappings[0]
        wanted = (codes.QUANTITY.value, codes.QUANTITY.scheme)
        definitions = items(item, "QuantityDefinitionSequence")
        return cls(
            code(items(item, "MeasurementUnitsCodeSequence")),
            tuple(
                code(items(part, "ConceptCodeSequence"))
                for part in definitions
                if code(items(part, "ConceptNameCodeSequence")) == wanted
            ),
            (_number(item, "RealWorldValueSlope"), _number(item, "RealWorldValueIntercept")),
            _number(item, "DoubleFloatRealWorldValueFirstValueMapped"),
            _number(item, "DoubleFloatRealWorldValueLastValueMapped"),
        )

    def complaint(self) -> str:
        """What is wrong with it, in words; empty if nothing."""
        if self.unit != (codes.PERCENT.value, codes.PERCENT.scheme):
            return "the unit is not %"
        if self.quantities != ((codes.PERFUSION_QUANTITY.value, codes.PERFUSION_QUANTITY.scheme),):
            return "the quantity is not Perfusion"
        if self.slope_and_intercept != (1.0, 0.0):
            return "slope and intercept are not 1 and 0"
        return "" if self.first <= self.last else "the range of mapped values is absent"


def _check_quantity(checked: CheckedObject, frames: list[Frame]) -> Iterator[Fault]:
    for frame in frames:
        mapping = _Mapping.of(frame)
        complaint = mapping.complaint() if mapping else "there is not exactly one real world value mapping"
        if complaint:
            yield checked.fault("MAP_QUANTITY", complaint, frame.name)
            return


def _check_range(
    checked: CheckedObject, frames: list[Frame], values: Float32[np.ndarray, "frames rows columns"]
) -> Iterator[Fault]:
    seen: set[str] = set()
    for frame, plane in zip(frames, values, strict=True):
        mapping = _Mapping.of(frame)
        lowest, highest = float(plane.min()), float(plane.max())  # NaN if any value is
        if not np.isfinite([lowest, highest]).all():
            found = "MAP_NOT_FINITE", "a value is not a finite number"
        elif lowest < 0:
            found = "MAP_NEGATIVE", f"a value is {lowest:g} %"
        elif mapping and mapping.first <= mapping.last and not (mapping.first <= lowest and highest <= mapping.last):
            found = "MAP_OUT_OF_RANGE", f"values reach from {lowest:g} to {highest:g} %, the mapping does not"
        else:
            continue
        if found[0] not in seen:
            seen.add(found[0])
            yield checked.fault(*found, frame.name)


def _check_against_ct(checked: CheckedObject, frames: list[Frame], ct: SourceCt) -> Iterator[Fault]:
    for frame in frames:
        if differences := frame.plane.differences(ct.first):
            yield checked.fault("MAP_GEOMETRY", f"not that of the CT: {', '.join(differences)}", frame.name)
            break
    places = [ct.slice_at(frame.plane.position_mm) for frame in frames]
    if strays := sum(place is None for place in places):
        yield checked.fault("MAP_SLICES", f"{strays} frame(s) lie at the position of no CT image")
    known = [place for place in places if place is not None]
    if set(known) != set(range(ct.shape[0])) or len(known) != len(set(known)):
        missing = ct.shape[0] - len(set(known))
        repeated = len(known) - len(set(known))
        yield checked.fault("MAP_SLICES", f"{missing} CT image(s) have no frame, {repeated} frame(s) repeat one")
    yield from check_source_images(checked, frames, places, ct, "MAP_SOURCE_IMAGE")


def _check_values(
    checked: CheckedObject,
    frames: list[Frame],
    values: Float32[np.ndarray, "frames rows columns"],
    ct: SourceCt,
    percent: Callable[[int], Float32[np.ndarray, "rows columns"]],
) -> Iterator[Fault]:
    worst, where = 0.0, ""
    for frame, plane in zip(frames, values, strict=True):
        k = ct.slice_at(frame.plane.position_mm)
        if k is None:
            continue
        difference = float(np.abs(plane - percent(k)).max())
        if not difference <= max(worst, MAP_TOLERANCE_PERCENT):
            worst, where = difference, frame.name
    if where:
        yield checked.fault("MAP_VALUES_DIFFER", f"a value differs from the result by {worst:g} %", where)


def _number(dataset: Dataset, keyword: str) -> float:
    return float(numbers(dataset, keyword, 1)[0])
