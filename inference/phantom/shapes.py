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
        (cx, cy, cz), (rx, ry, rz) = self.centre_mm, self.radii_mm
        return np.asarray(np.sqrt(((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 + ((z - cz) / rz) ** 2))


@dataclass(frozen=True, slots=True)
class Tube:
    """A straight tapering tube with round ends."""

    start_mm: Position
    end_mm: Position
    start_radius_mm: float
    end_radius_mm: float

    def depth_mm(self, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
        """Distance below the surface of the tube; negative outside."""
        ax, ay, az = (end - start for start, end in zip(self.start_mm, self.end_mm, strict=True))
        dx, dy, dz = x - self.start_mm[0], y - self.start_mm[1], z - self.start_mm[2]
        along = np.clip((dx * ax + dy * ay + dz * az) / (ax * ax + ay * ay + az * az), 0.0, 1.0)
        distance = np.sqrt((dx - along * ax) ** 2 + (dy - along * ay) ** 2 + (dz - along * az) ** 2)
        return np.asarray(self.start_radius_mm + along * (self.end_radius_mm - self.start_radius_mm) - distance)
