"""Where one image or frame lies in the patient, and when two lie alike."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from pydicom.dataset import Dataset

from dicom_node.checks.checked_object import integer, numbers

SAME_POSITION_MM = 0.001
"""Positions are copied, not computed, so they agree to the last digit that a planning system keeps."""

SAME_DIRECTION = 1e-5
"""Difference of direction cosines: 0.005 mm over 500 mm."""

SAME_SPACING_MM = 1e-5
"""Difference of pixel spacings: 0.005 mm over 512 pixels."""


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
