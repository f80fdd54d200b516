"""Trachea and bronchi of the digital thorax, down to the lobes."""

from dataclasses import replace

from inference.anatomy import Side, lobes_of
from inference.phantom.build import ThoraxBuild
from inference.phantom.shapes import Tube

AIRWAY_WALL_MM = 2.2
"""Thicker than life, so that the wall is still closed on a coarse grid."""

_MAIN = (
    Tube((0.0, 18.0, 200.0), (0.0, 20.0, 36.0), 8.5, 8.5),
    Tube((0.0, 20.0, 36.0), (-42.0, 23.0, 8.0), 7.5, 6.5),
    Tube((0.0, 20.0, 36.0), (45.0, 25.0, 4.0), 7.0, 6.0),
)
_LOBAR = {
    Side.RIGHT: (
        Tube((-24.0, 22.0, 20.0), (-58.0, 12.0, 38.0), 5.0, 3.5),
        Tube((-42.0, 23.0, 8.0), (-58.0, 34.0, -34.0), 5.5, 3.5),
    ),
    Side.LEFT: (
        Tube((40.0, 25.0, 7.0), (62.0, 2.0, 30.0), 5.0, 3.5),
        Tube((45.0, 25.0, 4.0), (60.0, 38.0, -34.0), 5.0, 3.5),
    ),
}


def airway_tree(build: ThoraxBuild) -> tuple[Tube, ...]:
    """Trachea, main and lobar bronchi in the patient, LPS; only a stump on the side of a lung that was taken out."""
    lobar = (tube for side in _LOBAR if not set(lobes_of(side)) <= set(build.absent) for tube in _LOBAR[side])
    return tuple(
        build.place(replace(tube, start_mm=build.drawn(tube.start_mm), end_mm=build.drawn(tube.end_mm)))
        for tube in (*_MAIN, *lobar)
    )
