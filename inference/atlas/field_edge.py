"""The edge of the field of view, where it cuts through lung.

A reconstruction circle that is too small leaves lung open to its side, and no tissue closes it off from the air around
the patient. Air and lung differ in HU: where the edge runs from tissue to tissue through something as dense as lung,
the edge is the body's.

Works on a coarse volume with patient axes (slice to superior, row to posterior, column to left).
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Int
from scipy import ndimage

from inference.geometry import Grid

_LUNG_HU = (-930.0, -500.0)
"""Mean of a stretch of lung; air around a patient is below, blankets and foam are seldom between tissue and tissue."""
_LONGEST_MM = 220.0
_SAME_HU = 1.0


@dataclass(frozen=True, slots=True, eq=False)
class FieldEdge:
    """Outermost pixels of a slice that were measured, in order around its middle."""

    rows: Int[np.ndarray, " n"]
    columns: Int[np.ndarray, " n"]
    spacing_mm: float
    shape: tuple[int, int]

    @classmethod
    def of(cls, hu: Float32[np.ndarray, "slices rows columns"], grid: Grid) -> "FieldEdge":
        """The edge of the volume, or of the circle inside it beyond which all pixels have one and the same value."""
        measured = np.ptp(hu, axis=0) > _SAME_HU
        measured = ndimage.binary_fill_holes(measured) if measured.any() else np.ones(hu.shape[1:], dtype=bool)
        # A pixel that is averaged of inside and outside is no measurement either.
        if not measured.all():
            measured = ndimage.binary_erosion(measured, border_value=1)
        edge = measured & ~ndimage.binary_erosion(measured)
        rows, columns = np.nonzero(edge)
        middle = (hu.shape[1] - 1) / 2.0, (hu.shape[2] - 1) / 2.0
        order = np.argsort(np.arctan2(rows - middle[0], columns - middle[1]), kind="stable")
        return cls(rows[order], columns[order], max(grid.spacing_mm[1:]), hu.shape[1:])

    def across_lung(
        self, hu: Float32[np.ndarray, "rows columns"], tissue: Bool[np.ndarray, "rows columns"]
    ) -> Bool[np.ndarray, "rows columns"]:
        """The stretches of the edge that run through lung from tissue to tissue, in one slice."""
        found = np.zeros(self.shape, dtype=bool)
        at_edge = tissue[self.rows, self.columns]
        if not at_edge.any() or at_edge.all():
            return found
        start = int(np.argmax(at_edge))
        order = np.roll(np.arange(len(at_edge)), -start)
        gaps, count = ndimage.label(~at_edge[order])
        values = hu[self.rows, self.columns][order]
        for number in range(1, count + 1):
            stretch = order[gaps == number]
            mean = float(values[gaps == number].mean())
            if len(stretch) * self.spacing_mm <= _LONGEST_MM and _LUNG_HU[0] < mean < _LUNG_HU[1]:
                found[self.rows[stretch], self.columns[stretch]] = True
        return found
