"""The breasts of a digital patient who lies on the back."""

from collections.abc import Iterator
from dataclasses import dataclass

from inference.phantom.shapes import Ellipsoid


@dataclass(frozen=True, slots=True)
class Breasts:
    """Both breasts, in the space of the standard patient: fat with a gland in it."""

    height_mm: float
    """How far they rise above the chest wall."""
    gland_share: float = 0.5
    """Size of the gland by that of the breast."""

    def halves(self, fat_mm: float) -> Iterator[tuple[Ellipsoid, Ellipsoid]]:
        """Outline and gland of each; lying down they spread to the sides.

        Args:
            fat_mm: fat of the trunk, which carries them.
        """
        width = 56.0 + 0.5 * self.height_mm
        for sign in (-1.0, 1.0):
            centre = sign * 84.0, -74.0 - fat_mm, 2.0
            radii = width, 34.0 + self.height_mm, width + 4.0
            gland = radii[0] * self.gland_share, radii[1] * self.gland_share, radii[2] * self.gland_share
            yield Ellipsoid(centre, radii), Ellipsoid((centre[0], centre[1] - 0.5 * radii[1], 2.0), gland)
