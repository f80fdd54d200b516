"""What a digital patient lies on."""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from inference.phantom.shapes import Coordinate

THICKNESS_MM = 14.0
_STANDARD_TOP_MM = 119.0
_TROUGH_RADIUS_MM = 340.0
"""Of a diagnostic couch; a plausible size, not measured."""


class CouchShape(StrEnum):
    """Across the patient."""

    FLAT = "flat"
    """As for radiotherapy."""
    CURVED = "curved"
    """A trough, as in diagnostics."""


@dataclass(frozen=True, slots=True)
class Couch:
    """A couch under the back, or in front of a prone patient. Nothing bends it."""

    shape: CouchShape = CouchShape.FLAT
    sunk_mm: float = 0.0
    """How far the couch presses the back flat; 0 for a back that just touches it."""
    half_width_mm: float = 200.0

    def below_surface_mm(self, x: Coordinate, y: Coordinate, *, fat_mm: float, is_prone: bool) -> Coordinate:
        """Depth below the surface that carries the patient, between 0 and `THICKNESS_MM` in the couch.

        Args:
            x: to the left, in millimetres, of the body before it is bent.
            y: to posterior.
            fat_mm: fat of the trunk, which the couch lies behind.
            is_prone: whether the patient lies on the belly.
        """
        down = 4.0 - y if is_prone else y
        curve = np.zeros_like(x)
        if self.shape is CouchShape.CURVED:
            curve = _TROUGH_RADIUS_MM - np.sqrt(np.maximum(_TROUGH_RADIUS_MM**2 - x**2, 0.0))
        return np.asarray(down - (_STANDARD_TOP_MM + fat_mm - self.sunk_mm) + curve)
