"""Fluid and air between the pleurae of a digital patient. Neither is lung, and both go where gravity takes them."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from inference.anatomy import Side, lobes_of
from inference.phantom.canvas import Canvas, Mask
from inference.phantom.conditions import Condition

_FLUID_HU, _GAS_HU = 12.0, -1000.0
_HALF_DEPTH_MM, _MIDDLE_MM = 84.0, 2.0


@dataclass(frozen=True, slots=True)
class Effusion(Condition):
    """Fluid that lies in the dependent part of one side: at the back, or in front in a prone patient."""

    side: Side = Side.RIGHT
    layer_mm: float = 48.0
    """Depth of the layer at its deepest; half a litre in the standard patient."""
    is_dependent: ClassVar[bool] = True

    def paint(self, canvas: Canvas) -> Mask:
        """Take the place of the lung and fill it; the surface climbs a little at the ribs."""
        backwards = 1.0 if self.is_dependent != canvas.build.prone else -1.0
        drawn = canvas.nothing()
        for part in canvas.slices():
            level = _HALF_DEPTH_MM - self.layer_mm - 6.0 * np.clip((np.abs(part.x) - 100.0) / 20.0, 0.0, 1.0)
            inside = np.isin(part.labels, lobes_of(self.side)) & (backwards * (part.y - _MIDDLE_MM) > level)
            part.labels[inside], part.perfusion[inside] = 0, 0.0
            part.hu[inside] = _FLUID_HU if self.is_dependent else _GAS_HU
            drawn[part.box] = inside
        return drawn


@dataclass(frozen=True, slots=True)
class Pneumothorax(Effusion):
    """Air above the lung of one side: in front, or at the back in a prone patient."""

    side: Side = Side.LEFT
    layer_mm: float = 38.0
    is_dependent: ClassVar[bool] = False
