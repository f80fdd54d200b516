"""A smooth bending of a digital patient: what makes two bodies of one build look like two people.

The bending is a sum of a few long waves, so it is known exactly at every position, on any grid. It cannot fold: the
sum of all that the waves can stretch (`strain`) is held below one half, and a map that moves neighbours by less than
their distance keeps their order (its Jacobian matrix is the identity plus a matrix of norm below one half, so its
determinant lies between (1/2)^3 and (3/2)^3). Lobes therefore keep their neighbours and stay in one piece, and a
fissure stays one surface.
"""

import math
from dataclasses import dataclass

import numpy as np

from inference.phantom.shapes import Coordinate, Position

MOST_STRAIN = 0.5
_ITERATIONS = 40
_CLOSE_MM = 1e-9


@dataclass(frozen=True, slots=True)
class Wave:
    """One wave of displacement: `amplitude_mm` times the sine of the phase."""

    amplitude_mm: Position
    per_mm: Position
    """Wave vector in radians per millimetre, along x, y and z."""
    phase: float
    """In radians, at the origin."""

    @property
    def strain(self) -> float:
        """The largest norm of the gradient of its displacement."""
        return math.hypot(*self.amplitude_mm) * math.hypot(*self.per_mm)

    def height(self, x: Coordinate, y: Coordinate, z: Coordinate) -> Coordinate:
        """The sine of the phase; by the addition theorem, so that coordinates that broadcast stay cheap."""
        kx, ky, kz = self.per_mm
        across, along = kx * x, ky * y + (kz * z + self.phase)
        return np.asarray(np.sin(across) * np.cos(along) + np.cos(across) * np.sin(along))


@dataclass(frozen=True, slots=True)
class Deformation:
    """A sum of waves, in the space of the standard patient. Without waves nothing moves."""

    waves: tuple[Wave, ...] = ()

    def __post_init__(self) -> None:
        if self.strain >= MOST_STRAIN:
            raise ValueError(f"waves that stretch by up to {self.strain:.2f} could fold; at most {MOST_STRAIN} is safe")

    @property
    def strain(self) -> float:
        """Upper bound of the norm of the gradient of the displacement, anywhere."""
        return sum((wave.strain for wave in self.waves), start=0.0)

    @property
    def reach_mm(self) -> Position:
        """Upper bounds of the displacement along x, y and z, anywhere."""
        x, y, z = (sum((abs(wave.amplitude_mm[axis]) for wave in self.waves), start=0.0) for axis in range(3))
        return x, y, z

    def moved(self, x: Coordinate, y: Coordinate, z: Coordinate) -> tuple[Coordinate, Coordinate, Coordinate]:
        """Where the waves lead positions."""
        if not self.waves:
            return x, y, z
        heights = [wave.height(x, y, z) for wave in self.waves]
        moved = [
            position + sum(height * wave.amplitude_mm[axis] for wave, height in zip(self.waves, heights, strict=True))
            for axis, position in enumerate((x, y, z))
        ]
        return moved[0], moved[1], moved[2]

    def unmoved(self, position_mm: Position) -> Position:
        """The position that the waves lead to `position_mm`.

        Fixed-point iteration. Each step at least halves the error, because no wave sum strains by more than one half;
        it ends below 1e-9 mm.
        """
        goal = place = position_mm
        for _ in range(_ITERATIONS):
            x, y, z = self._shift_mm(place)
            nearer = goal[0] - x, goal[1] - y, goal[2] - z
            if math.dist(nearer, place) < _CLOSE_MM:
                return nearer
            place = nearer
        return place

    def _shift_mm(self, place: Position) -> Position:
        """By how much the waves move one position."""
        heights = [
            math.sin(sum(k * c for k, c in zip(wave.per_mm, place, strict=True)) + wave.phase) for wave in self.waves
        ]
        x, y, z = (
            sum((height * wave.amplitude_mm[axis] for wave, height in zip(self.waves, heights, strict=True)), 0.0)
            for axis in range(3)
        )
        return x, y, z
