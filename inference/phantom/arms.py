"""The arms of a digital patient, raised beside the head or lying beside the trunk."""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from inference.phantom.shapes import Coordinate, Position, Tube


class ArmPosition(StrEnum):
    """Where the arms are."""

    UP = "up"
    """Beside the head, as for radiotherapy; the upper arms begin at the top of the picture."""
    DOWN = "down"
    """Beside the trunk."""


_TISSUES = ((0.0, -95.0), (0.18, 42.0), (0.70, 620.0), (0.85, -60.0))
"""Depth below the skin by the radius of the arm, and the CT number from there on: fat, muscle, bone, yellow marrow.
Plausible shares, not measured."""


@dataclass(frozen=True, slots=True)
class Arms:
    """Both arms, in the space of the standard patient."""

    position: ArmPosition
    radius_mm: float = 42.0
    """Of the upper arm in its middle."""

    @property
    def half_width_mm(self) -> float:
        """How far from the middle of the body the arms reach, without the fat of the trunk."""
        return 176.0 + 2.0 * self.radius_mm if self.position is ArmPosition.DOWN else 155.0 + self.radius_mm

    def limbs(self, fat_mm: float) -> Iterator[Tube]:
        """Upper arms and, beside the trunk, forearms.

        Args:
            fat_mm: fat of the trunk; it pushes the arms out.
        """
        radius = self.radius_mm
        for sign in (-1.0, 1.0):
            if self.position is ArmPosition.UP:
                aside = sign * (138.0 + fat_mm)
                shoulder, elbow = (aside, 6.0, 106.0), (aside + sign * 44.0, -30.0, 330.0)
                yield Tube(shoulder, elbow, 1.12 * radius, 0.95 * radius)
            else:
                beside = sign * (174.0 + fat_mm + radius)
                upper: Position = (beside, 34.0, -170.0)
                yield Tube((sign * 142.0, 8.0, 118.0), (beside, 24.0, 40.0), 1.15 * radius, 1.05 * radius)
                yield Tube((beside, 24.0, 40.0), upper, 1.05 * radius, 0.85 * radius)
                yield Tube(upper, (beside, 10.0, -420.0), 0.85 * radius, 0.6 * radius)


def arm_hu(depth_share: Coordinate) -> Coordinate:
    """CT numbers in an arm.

    Args:
        depth_share: depth below the skin by the radius of the arm.
    """
    starts, hu = (np.array(column, np.float32) for column in zip(*_TISSUES, strict=True))
    return np.asarray(hu[np.searchsorted(starts, depth_share, side="right") - 1])
