"""Digital patients from whom a lobe or a whole lung was taken. Truth has no voxel of it."""

from dataclasses import dataclass, replace

from inference.anatomy import Lobe, Side, lobes_of
from inference.phantom.build import ThoraxBuild
from inference.phantom.conditions import Condition
from inference.phantom.lesions import drawn_together, with_smaller_lobe


@dataclass(frozen=True, slots=True)
class Lobectomy(Condition):
    """One lobe is gone; the others of its lung have filled the place, heart and diaphragm have followed a little."""

    lobe: Lobe = Lobe.RUL

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Move the fissure out of the lung, so that the neighbour takes all."""
        return drawn_together(with_smaller_lobe(build, self.lobe, 10.0), self.lobe.side, shift_mm=6.0, rise_mm=12.0)


@dataclass(frozen=True, slots=True)
class Pneumonectomy(Condition):
    """One side holds tissue and fluid in place of a lung; the mediastinum is drawn far to it."""

    side: Side = Side.LEFT

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Leave the lung out."""
        without = replace(build, absent=(*build.absent, *lobes_of(self.side)))
        return drawn_together(without, self.side, shift_mm=26.0, rise_mm=24.0)
