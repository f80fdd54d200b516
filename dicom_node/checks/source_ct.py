"""The CT that objects belong to: where each slice lies, which image or frame it is, who the patient is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import ImageName, items, text
from dicom_node.checks.frames import frames_of
from dicom_node.checks.image_plane import SAME_POSITION_MM, ImagePlane
from inference.geometry import Shape

MOST_VOXELS = 2**31
"""2048 images of 1024 x 1024; a broken header must not ask for more memory than there is."""


@dataclass(frozen=True, eq=False)
class SourceCt:
    """The slices of one CT series, in order: slice k is slice k of every array compared with it."""

    headers: tuple[Dataset, ...]
    """Of the image that each slice is, or is a frame of."""
    planes: tuple[ImagePlane, ...]
    images: tuple[ImageName, ...]
    """SOP Instance UID and frame of each slice."""

    @classmethod
    def of(cls, headers: Iterable[Dataset], order: Sequence[ImageName] = ()) -> "SourceCt":
        """Take the images of a series.

        Args:
            headers: datasets of the images, in any order; of one frame or of many.
            order: image and frame of each slice; without it, slices ascend along row x column direction.

        Raises:
            ValueError: an image of `order` is absent, there is no image, one does not say where it lies, or there are
                more pixels than a CT has.
        """
        slices = {name: (header, plane) for header in headers for name, plane in _slices(header)}
        if not slices or not all(plane.is_known for _, plane in slices.values()):
            raise ValueError("an image of the CT does not say where it lies")
        if sum(plane.rows * plane.columns for _, plane in slices.values()) > MOST_VOXELS:
            raise ValueError("the CT is said to have more pixels than any CT has")
        if missing := [name for name in order if name not in slices]:
            raise ValueError(f"{len(missing)} image(s) of the CT are absent")
        names = tuple(order) or tuple(sorted(slices, key=lambda name: _height_mm(slices[name][1])))
        return cls(tuple(slices[name][0] for name in names), tuple(slices[name][1] for name in names), names)

    @cached_property
    def sop_instance_uids(self) -> tuple[str, ...]:
        """The instances of the series, each once."""
        return tuple(dict.fromkeys(uid for uid, _ in self.images))

    @property
    def first(self) -> ImagePlane:
        """The plane of slice 0, whose matrix, spacing and orientation are those of all."""
        return self.planes[0]

    @property
    def representative(self) -> Dataset:
        """The header of slice 0."""
        return self.headers[0]

    @property
    def shape(self) -> Shape:
        """Images, rows, columns."""
        return len(self.planes), self.first.rows, self.first.columns

    @cached_property
    def index(self) -> dict[ImageName, int]:
        """Slice of each image or frame."""
        return {name: k for k, name in enumerate(self.images)}

    @cached_property
    def heights_mm(self) -> Float[np.ndarray, " slices"]:
        """Position of each image along row x column direction of the first."""
        return np.array([float(plane.position_mm @ self.first.normal) for plane in self.planes])

    @property
    def voxel_volume_ml(self) -> float:
        """Of the pixel spacing and the mean distance of neighbouring images; 1 mm for a single image."""
        count = len(self.planes)
        step_mm = float(np.ptp(self.heights_mm)) / (count - 1) if count > 1 else 1.0
        return float(np.prod(self.first.spacing_mm)) * step_mm / 1000.0

    def slice_at(self, position_mm: Float[np.ndarray, "3"]) -> int | None:
        """The slice whose first pixel lies at this position, within `SAME_POSITION_MM`."""
        height = float(position_mm @ self.first.normal)
        if not np.isfinite(height):
            return None
        k = int(np.argmin(np.abs(self.heights_mm - height)))
        distance = np.abs(self.planes[k].position_mm - position_mm).max()
        return k if distance <= SAME_POSITION_MM else None

    def plane_arrays(self, slices: Int[np.ndarray, " n"]) -> tuple[Float[np.ndarray, "n 3"], Float[np.ndarray, "n 6"]]:
        """Positions and orientations of images, one row per entry of `slices`."""
        positions = np.array([plane.position_mm for plane in self.planes])
        orientations = np.array([plane.orientation for plane in self.planes])
        return positions[slices], orientations[slices]


def _slices(header: Dataset) -> Iterable[tuple[ImageName, ImagePlane]]:
    uid = text(header, "SOPInstanceUID")
    if not items(header, "PerFrameFunctionalGroupsSequence"):
        return [((uid, 0), ImagePlane.of(header))]
    return [((uid, frame.number), frame.plane) for frame in frames_of(header)]


def _height_mm(plane: ImagePlane) -> float:
    return float(plane.position_mm @ plane.normal)
