"""Rules of the Segmentation: every segment has exactly the voxels of its region, each on its image."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
from jaxtyping import Bool
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import CheckedObject, integer, items, raw_bytes, text
from dicom_node.checks.expected import FUNCTION, LOBES, Expected, Mask, comparable
from dicom_node.checks.faults import Fault
from dicom_node.checks.frames import Frame, frames_of, not_ascending
from dicom_node.checks.source_ct import SourceCt
from dicom_node.checks.source_images import check_source_images
from dicom_node.checks.surroundings import Surroundings
from inference.geometry import Shape


@dataclass(frozen=True, slots=True, eq=False)
class BinaryFrames:
    """Pixel Data of one bit per pixel: the first pixel is the lowest bit, frames follow without a gap (PS3.5 8.1.1)."""

    packed: bytes
    rows: int
    columns: int

    @classmethod
    def of(cls, dataset: Dataset) -> "BinaryFrames | None":
        """The frames of a BINARY segmentation; None unless their number and the length of Pixel Data agree."""
        count, rows, columns = (integer(dataset, keyword) for keyword in ("NumberOfFrames", "Rows", "Columns"))
        packed = raw_bytes(dataset, "PixelData")
        if text(dataset, "SegmentationType") != "BINARY" or integer(dataset, "BitsAllocated") != 1:
            return None
        if min(count, rows, columns) < 1 or packed is None:
            return None
        needed = -(-count * rows * columns // 8)
        return cls(packed, rows, columns) if len(packed) == needed + needed % 2 else None

    def frame(self, place: int) -> Bool[np.ndarray, "rows columns"]:
        """The frame at a place from 0."""
        size = self.rows * self.columns
        first, skipped = divmod(place * size, 8)
        part = np.frombuffer(self.packed, dtype=np.uint8, offset=first, count=-(-(skipped + size) // 8))
        bits = np.unpackbits(part, bitorder="little", count=skipped + size)[skipped:]
        return bits.view(bool).reshape(self.rows, self.columns)


def check_segmentation(checked: CheckedObject, around: Surroundings) -> Iterator[Fault]:
    """All rules of this kind."""
    dataset = checked.dataset
    labels = segment_labels(dataset)
    frames = frames_of(dataset)
    pixels = BinaryFrames.of(dataset)
    yield from _check_segments(checked)
    yield from _check_frames(checked, frames, pixels, labels)
    if around.ct is None:
        return
    yield from _check_geometry(checked, frames, around.ct)
    if around.expected.is_complete:
        yield from _check_names(checked, labels, around.expected)
        yield from _check_voxels(checked, around.ct, around.expected)


def segment_masks(dataset: Dataset, ct: SourceCt) -> Mapping[str, Callable[[], Mask]]:
    """Masks by segment label, each unpacked when it is asked for; empty if they do not fit the CT."""
    pixels, frames = BinaryFrames.of(dataset), frames_of(dataset)
    if pixels is None or len(frames) != integer(dataset, "NumberOfFrames"):
        return {}
    if (pixels.rows, pixels.columns) != ct.shape[1:]:
        return {}
    placed = [(frame.number - 1, frame.segment, ct.slice_at(frame.plane.position_mm)) for frame in frames]
    if any(k is None for _, _, k in placed):
        return {}
    return {
        label: partial(
            _mask, pixels, [(i, k) for i, segment, k in placed if segment == number and k is not None], ct.shape
        )
        for number, label in segment_labels(dataset).items()
    }


def segment_labels(dataset: Dataset) -> dict[int, str]:
    """Label of each segment by its number."""
    return {integer(item, "SegmentNumber"): text(item, "SegmentLabel") for item in items(dataset, "SegmentSequence")}


def _mask(pixels: BinaryFrames, places: list[tuple[int, int]], shape: Shape) -> Mask:
    mask = np.zeros(shape, dtype=bool)
    for frame, k in places:
        mask[k] |= pixels.frame(frame)
    return mask


def _check_segments(checked: CheckedObject) -> Iterator[Fault]:
    segments = items(checked.dataset, "SegmentSequence")
    found = [integer(item, "SegmentNumber") for item in segments]
    if not found or found != list(range(1, len(found) + 1)):
        yield checked.fault("SEGMENT_NUMBERS", "segments are not numbered from 1 without gaps")
    names = [comparable(text(item, "SegmentLabel")) for item in segments]
    if "" in names:
        yield checked.fault("SEGMENT_LABELS", "a segment has no label")
    if len(set(names)) != len(names):
        yield checked.fault("SEGMENT_LABELS", "two segments have the same label")


def _check_frames(
    checked: CheckedObject, frames: list[Frame], pixels: BinaryFrames | None, labels: Mapping[int, str]
) -> Iterator[Fault]:
    if pixels is None:
        yield checked.fault("SEGMENT_FRAMES", "it is not BINARY, or the length of Pixel Data is not that of its frames")
    if len(frames) != integer(checked.dataset, "NumberOfFrames"):
        yield checked.fault("SEGMENT_FRAMES", "there are not as many functional groups as frames")
    strays = [frame for frame in frames if frame.segment not in labels]
    if strays:
        yield checked.fault("SEGMENT_FRAMES", f"{len(strays)} frame(s) are of no segment", strays[0].name)
    for number, label in labels.items():
        own = [frame for frame in frames if frame.segment == number]
        if not own:
            yield checked.fault("SEGMENT_FRAMES", "a segment has no frame", f"segment {label}")
        if place := not_ascending(own):
            yield checked.fault("SEGMENT_FRAME_ORDER", "a frame does not lie above the one before it", place)


def _check_geometry(checked: CheckedObject, frames: list[Frame], ct: SourceCt) -> Iterator[Fault]:
    for frame in frames:
        if differences := frame.plane.differences(ct.first):
            yield checked.fault("SEGMENT_GEOMETRY", f"not that of the CT: {', '.join(differences)}", frame.name)
            break
    places = [ct.slice_at(frame.plane.position_mm) for frame in frames]
    strays = [frame for frame, k in zip(frames, places, strict=True) if k is None]
    if strays:
        sentence = f"{len(strays)} frame(s) lie at the position of no CT image"
        yield checked.fault("SEGMENT_GEOMETRY", sentence, strays[0].name)
    taken = [(frame.segment, k) for frame, k in zip(frames, places, strict=True) if k is not None]
    if len(set(taken)) != len(taken):
        yield checked.fault("SEGMENT_GEOMETRY", "a segment has two frames of one CT image")
    yield from check_source_images(checked, frames, places, ct, "SEGMENT_SOURCE_IMAGE")


def _check_names(checked: CheckedObject, labels: Mapping[int, str], expected: Expected) -> Iterator[Fault]:
    present = {comparable(label) for label in labels.values()}
    for label in labels.values():
        if comparable(label) not in expected.masks:
            yield checked.fault("SEGMENT_UNKNOWN", "this is no region of the result", f"segment {label}")
    groups = [group for group in (LOBES, FUNCTION) if present.intersection(group)]
    for name in (name for group in groups for name in group):
        if name not in present and expected.masks[name]().any():
            yield checked.fault("SEGMENT_ABSENT", f"the result has the region {name}, the segmentation has not")


def _check_voxels(checked: CheckedObject, ct: SourceCt, expected: Expected) -> Iterator[Fault]:
    for label, mask in segment_masks(checked.dataset, ct).items():
        region = expected.masks.get(comparable(label))
        if region is None:
            continue
        wanted = region()
        if different := int(np.count_nonzero(mask() != wanted)):
            sentence = f"{different} voxel(s) differ from the region, which has {int(np.count_nonzero(wanted))}"
            yield checked.fault("SEGMENT_SHAPE_DIFFERS", sentence, f"segment {label}")
