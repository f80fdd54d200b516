"""The CT that objects belong to: where each image lies, who the patient is."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import integer, numbers, text
from inference.geometry import Shape

SAME_POSITION_MM = 0.001
"""Positions are copied, not computed, so they agree to the last digit that a planning system keeps."""

SAME_DIRECTION = 1e-5
"""Difference of direction cosines: 0.005 mm over 500 mm."""

SAME_SPACING_MM = 1e-5
"""Difference of pixel spacings: 0.005 mm over 512 pixels."""

MOST_VOXELS = 2**31
"""2048 images of 1024 x 1024; a broken header must not ask for more memory than there is."""


@dataclass(frozen=True, slots=True, eq=False)
class ImagePlane:
    """Where one image lies (PS3.3 C.7.6.2)."""

    position_mm: Float[np.ndarray, "3"]
    """LPS position of the centre of the first pixel."""
    orientation: Float[np.ndarray, "6"]
    """Directions along a row, then along a column."""
    spacing_mm: Float[np.ndarray, "2"]
    """Between rows, then between columns."""
    rows: int
    columns: int

    @classmethod
    def of(cls, dataset: Dataset) -> "ImagePlane":
        """The plane of a single-frame image; NaN and -1 for what it does not say."""
        return cls(
            numbers(dataset, "ImagePositionPatient", 3),
            numbers(dataset, "ImageOrientationPatient", 6),
            numbers(dataset, "PixelSpacing", 2),
            integer(dataset, "Rows"),
            integer(dataset, "Columns"),
        )

    @property
    def normal(self) -> Float[np.ndarray, "3"]:
        """Row direction x column direction (PS3.3 C.7.6.2.1.1)."""
        return np.cross(self.orientation[:3], self.orientation[3:])

    @property
    def is_known(self) -> bool:
        """Whether everything is said."""
        parts = (self.position_mm, self.orientation, self.spacing_mm)
        return all(np.isfinite(part).all() for part in parts) and min(self.rows, self.columns) > 0

    def differences(self, other: "ImagePlane") -> list[str]:
        """What of matrix, spacing and orientation differs, in words; position is not compared."""
        found = []
        if (self.rows, self.columns) != (other.rows, other.columns):
            found.append(f"matrix {self.rows}x{self.columns} instead of {other.rows}x{other.columns}")
        if not (np.abs(self.spacing_mm - other.spacing_mm) <= SAME_SPACING_MM).all():
            found.append("pixel spacing")
        if not (np.abs(self.orientation - other.orientation) <= SAME_DIRECTION).all():
            found.append("orientation")
        return found


@dataclass(frozen=True, eq=False)
class SourceCt:
    """The images of one CT series, in slice order: image k is slice k of every array compared with it."""

    headers: tuple[Dataset, ...]
    planes: tuple[ImagePlane, ...]
    sop_instance_uids: tuple[str, ...]

    @classmethod
    def of(cls, headers: Iterable[Dataset], order: Sequence[str] = ()) -> "SourceCt":
        """Take the images of a series.

        Args:
            headers: datasets of the images, in any order.
            order: SOP Instance UIDs in slice order; without it, images ascend along row x column direction.

        Raises:
            ValueError: an image of `order` is absent, there is no image, one does not say where it lies, or there are
                more pixels than a CT has.
        """
        by_uid = {text(header, "SOPInstanceUID"): header for header in headers}
        planes = {uid: ImagePlane.of(header) for uid, header in by_uid.items()}
        if not planes or not all(plane.is_known for plane in planes.values()):
            raise ValueError("an image of the CT does not say where it lies")
        if sum(plane.rows * plane.columns for plane in planes.values()) > MOST_VOXELS:
            raise ValueError("the CT is said to have more pixels than any CT has")
        if missing := [uid for uid in order if uid not in by_uid]:
            raise ValueError(f"{len(missing)} image(s) of the CT are absent")
        uids = tuple(order) or tuple(sorted(by_uid, key=lambda uid: _height_mm(planes[uid])))
        return cls(tuple(by_uid[uid] for uid in uids), tuple(planes[uid] for uid in uids), uids)

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
    def index(self) -> dict[str, int]:
        """Slice of each SOP Instance UID."""
        return {uid: k for k, uid in enumerate(self.sop_instance_uids)}

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


def _height_mm(plane: ImagePlane) -> float:
    return float(plane.position_mm @ plane.normal)
