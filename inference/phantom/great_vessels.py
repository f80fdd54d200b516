"""The large vessels of the mediastinum of a digital patient, from the heart to the hila.

Courses are drawn by hand after textbook anatomy. Calibres are means of adults: pulmonary trunk 27 mm across
(Framingham Heart Study, Truong 2012: 25.1 +- 2.8 mm; recalled), right and left pulmonary artery about 20 mm, ascending
aorta 31 to 34 mm, superior vena cava about 18 mm (recalled).
"""

import numpy as np
from jaxtyping import Bool

from inference.anatomy import Side
from inference.phantom.shapes import Coordinate, Position, Tube

AORTA = (
    Tube((-12.0, -20.0, -10.0), (-12.0, -20.0, 45.0), 14.0, 14.0),
    Tube((-12.0, -20.0, 45.0), (14.0, -2.0, 62.0), 13.0, 12.0),
    Tube((14.0, -2.0, 62.0), (27.0, 46.0, 42.0), 12.0, 12.0),
    Tube((27.0, 46.0, 42.0), (20.0, 50.0, -400.0), 12.0, 10.0),
)
_BIFURCATION: Position = (14.0, -8.0, 17.0)
ARTERY_ENDS_MM: dict[Side, Position] = {Side.RIGHT: (-41.0, 12.0, 9.0), Side.LEFT: (43.0, 17.0, 23.0)}
"""Where the pulmonary arteries enter the lungs."""
PULMONARY_ARTERIES = (
    Tube((17.0, -42.0, -8.0), _BIFURCATION, 13.5, 13.0),
    Tube(_BIFURCATION, (-14.0, 2.0, 13.0), 10.5, 10.0),
    Tube((-14.0, 2.0, 13.0), ARTERY_ENDS_MM[Side.RIGHT], 10.0, 8.0),
    Tube(_BIFURCATION, (27.0, 5.0, 26.0), 10.5, 10.0),
    Tube((27.0, 5.0, 26.0), ARTERY_ENDS_MM[Side.LEFT], 10.0, 8.0),
)
VEINS_AND_BRANCHES = (
    Tube((-25.0, -12.0, 72.0), (-26.0, -10.0, -20.0), 9.0, 9.5),
    Tube((-25.0, -12.0, 72.0), (-30.0, -8.0, 240.0), 8.0, 6.5),
    Tube((-25.0, -12.0, 72.0), (26.0, -14.0, 88.0), 7.0, 6.0),
    Tube((26.0, -14.0, 88.0), (34.0, -8.0, 240.0), 6.0, 6.0),
    Tube((-8.0, -14.0, 56.0), (-20.0, 0.0, 240.0), 6.5, 5.0),
    Tube((6.0, -7.0, 62.0), (16.0, 4.0, 240.0), 4.0, 3.5),
    Tube((17.0, 6.0, 62.0), (30.0, 14.0, 240.0), 4.5, 4.0),
)
"""Superior vena cava, brachiocephalic veins, and the three arteries that leave the arch."""


def inside(
    tubes: tuple[Tube, ...], x: Coordinate, y: Coordinate, z: Coordinate, *, margin_mm: float = 0.0
) -> Bool[np.ndarray, "..."]:
    """Which positions lie in one of the tubes, or within a margin of it.

    Only tubes whose box the positions touch are worked out.
    """
    x, y, z = np.broadcast_arrays(x, y, z)
    found = np.zeros(x.shape, dtype=bool)
    if not found.size:
        return found
    lowest, highest = z.min(), z.max()
    for tube in tubes:
        reach = max(tube.start_radius_mm, tube.end_radius_mm) + margin_mm
        (low_x, high_x), (low_y, high_y), (low_z, high_z) = (
            (min(ends) - reach, max(ends) + reach) for ends in zip(tube.start_mm, tube.end_mm, strict=True)
        )
        if highest > low_z and lowest < high_z:
            near = (x > low_x) & (x < high_x) & (y > low_y) & (y < high_y)
            found[near] |= tube.depth_mm(x[near], y[near], z[near]) > -margin_mm
    return found
