"""Two solids from which the digital thorax is put together, in millimetres."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

Coordinate = Float[np.ndarray, "..."]
Position = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Ellipsoid:
    """An ellipsoid along the patient axes."""

    centre_mm: Position
    radii_mm: Position

    def level(self, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
        """0 at the centre, 1 on the surface, above 1 outside."""
        parts = zip((x, y, z), self.centre_mm, self.radii_mm, strict=True)
        return np.sqrt(sum((((p - c) / r) ** 2 for p, c, r in parts), start=np.zeros(())))


@dataclass(frozen=True, slots=True)
class Tube:
    """A straight tapering tube with round ends."""

    start_mm: Position
    end_mm: Position
    start_radius_mm: float
    end_radius_mm: float

    def depth_mm(self, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
        """Distance below the surface of the tube; negative outside."""
        start, axis = np.array(self.start_mm), np.subtract(self.end_mm, self.start_mm)
        dx, dy, dz = x - start[0], y - start[1], z - start[2]
        along = np.clip((dx * axis[0] + dy * axis[1] + dz * axis[2]) / float(axis @ axis), 0.0, 1.0)
        distance = np.sqrt((dx - along * axis[0]) ** 2 + (dy - along * axis[1]) ** 2 + (dz - along * axis[2]) ** 2)
        return np.asarray(self.start_radius_mm + along * (self.end_radius_mm - self.start_radius_mm) - distance)
