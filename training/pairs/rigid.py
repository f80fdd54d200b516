"""A rigid movement from one frame of reference to another, in millimetres of the DICOM patient system."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

ROTATION_TOLERANCE = 1e-3
"""How far a matrix may be from a rotation: direction cosines are often written with four digits."""


@dataclass(frozen=True, eq=False)
class Rigid:
    """A rotation and a shift: a point at x goes to `matrix` @ (x, 1)."""

    matrix: Float[np.ndarray, "4 4"]
    """Homogeneous, LPS mm to LPS mm."""

    def __post_init__(self) -> None:
        matrix = np.array(self.matrix, dtype=np.float64)
        if matrix.shape != (4, 4) or not np.isfinite(matrix).all() or np.abs(matrix[3] - (0, 0, 0, 1)).max() > 1e-6:
            raise ValueError(f"no homogeneous matrix of 4 by 4: {matrix.tolist()}")
        turn = matrix[:3, :3]
        if np.abs(turn @ turn.T - np.eye(3)).max() > ROTATION_TOLERANCE or np.linalg.det(turn) < 0:
            raise ValueError(f"not rigid: {turn.tolist()} is no rotation")
        matrix.flags.writeable = False
        object.__setattr__(self, "matrix", matrix)

    @classmethod
    def identity(cls) -> "Rigid":
        """No movement."""
        return cls(np.eye(4))

    @property
    def inverse(self) -> "Rigid":
        """The movement back."""
        return Rigid(np.linalg.inv(self.matrix))

    def after(self, first: "Rigid") -> "Rigid":
        """The movement that does `first`, then this one."""
        return Rigid(self.matrix @ first.matrix)

    def moved_mm(self, points_mm: Float[np.ndarray, "*n 3"]) -> Float[np.ndarray, "*n 3"]:
        """Where points go."""
        moved: np.ndarray = np.asarray(points_mm, dtype=np.float64) @ self.matrix[:3, :3].T + self.matrix[:3, 3]
        return moved

    @property
    def angle_deg(self) -> float:
        """By how much it turns, about whatever axis."""
        turn = self.matrix[:3, :3]
        sine = 0.5 * np.linalg.norm(turn - turn.T) / np.sqrt(2.0)
        return float(np.degrees(np.arctan2(sine, 0.5 * (np.trace(turn) - 1.0))))

    def shift_mm(self, point_mm: Float[np.ndarray, " 3"]) -> float:
        """How far it takes a point."""
        return float(np.linalg.norm(self.moved_mm(point_mm) - point_mm))
