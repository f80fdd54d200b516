"""Frames of a multi-frame object with their functional groups, shared ones included (PS3.3 C.7.6.16)."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import ImageName, integer, items, numbers, referred_image
from dicom_node.checks.image_plane import ImagePlane

_NOTHING = Dataset()


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """One frame: where it lies and what is said of it."""

    number: int
    """From 1, in the order of the file."""
    plane: ImagePlane
    own: Dataset
    shared: Dataset

    @property
    def name(self) -> str:
        """How faults name it."""
        return f"frame {self.number}"

    @property
    def dimension_indices(self) -> tuple[int, ...]:
        """Dimension Index Values; empty if absent."""
        content = items(self.own, "FrameContentSequence")
        value = content[0].get("DimensionIndexValues") if content else None
        if value is None:
            return ()
        return tuple(int(part) for part in np.atleast_1d(np.array(value, dtype=np.int64)))

    @property
    def segment(self) -> int:
        """Referenced Segment Number; -1 if absent."""
        group = items(self.group("SegmentIdentificationSequence"), "SegmentIdentificationSequence")
        return integer(group[0], "ReferencedSegmentNumber") if group else -1

    @property
    def source_images(self) -> set[ImageName]:
        """Images and frames that it was derived from."""
        return {
            referred_image(source)
            for derivation in items(self.group("DerivationImageSequence"), "DerivationImageSequence")
            for source in items(derivation, "SourceImageSequence")
        }

    def group(self, keyword: str) -> Dataset:
        """The dataset that holds a functional group: the frame's own item, else the shared one."""
        return self.own if keyword in self.own else self.shared


def frames_of(dataset: Dataset) -> list[Frame]:
    """The frames that functional groups describe, in the order of the file."""
    shared = next(iter(items(dataset, "SharedFunctionalGroupsSequence")), _NOTHING)
    matrix = integer(dataset, "Rows"), integer(dataset, "Columns")
    return [
        Frame(number, _plane(own, shared, matrix), own, shared)
        for number, own in enumerate(items(dataset, "PerFrameFunctionalGroupsSequence"), start=1)
    ]


def not_ascending(frames: Sequence[Frame]) -> str:
    """Name of the first frame that does not lie above the one before it; empty if all do."""
    for before, frame in pairwise(frames):
        step = float((frame.plane.position_mm - before.plane.position_mm) @ before.plane.normal)
        if not step > 0:
            return frame.name
    return ""


def _plane(own: Dataset, shared: Dataset, matrix: tuple[int, int]) -> ImagePlane:
    def group(keyword: str) -> Dataset:
        return next(iter(items(own, keyword) or items(shared, keyword)), _NOTHING)

    return ImagePlane(
        numbers(group("PlanePositionSequence"), "ImagePositionPatient", 3),
        numbers(group("PlaneOrientationSequence"), "ImageOrientationPatient", 6),
        numbers(group("PixelMeasuresSequence"), "PixelSpacing", 2),
        *matrix,
    )
