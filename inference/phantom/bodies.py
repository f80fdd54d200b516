"""Digital patients whose body is unusual: a child, mirrored organs, gas in the stomach."""

from dataclasses import dataclass, replace

from inference.anatomy import Lobe, Side
from inference.phantom.anatomy import AIR_HU, diaphragm_mm
from inference.phantom.build import ThoraxBuild
from inference.phantom.canvas import Canvas, Mask
from inference.phantom.conditions import Condition
from inference.phantom.shapes import Ellipsoid


@dataclass(frozen=True, slots=True)
class Child(Condition):
    """A child of about five years: a small body, about a litre of denser lung."""

    scale: float = 0.6

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Shrink the whole body."""
        sizes = {name: self.scale * getattr(build, name) for name in ("width", "depth", "height")}
        return replace(build, density_hu=build.density_hu + 60.0, fat_mm=0.0, **sizes)


@dataclass(frozen=True, slots=True)
class SitusInversus(Condition):
    """Heart right, liver left, and the lung of three lobes on the left.

    Truth goes by the patient's side. The left middle lobe has no name of its own in TG-263 and belongs to the LUL, in
    place of a lingula; there is no RML.
    """

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Mirror the picture and name the lobes by the side they lie on."""
        names = (0, Lobe.LUL, Lobe.LUL, Lobe.LLL, Lobe.RUL, Lobe.RLL)
        return replace(build, mirrored=not build.mirrored, lobe_names=tuple(int(name) for name in names))


@dataclass(frozen=True, slots=True)
class StomachGas(Condition):
    """A hundred millilitres of gas below the left half of the diaphragm."""

    def paint(self, canvas: Canvas) -> Mask:
        """Draw the gas where it stays clear of lung and heart."""
        drawn = canvas.nothing()
        bubble = Ellipsoid((60.0, -40.0, canvas.build.diaphragm_mm.left - 28.0), (38.0, 30.0, 21.0))
        for part, level in canvas.around([bubble]):
            below = part.z < diaphragm_mm(canvas.build, Side.LEFT, part.x, part.y) - 6.0
            clear = canvas.build.heart.level(part.x - canvas.build.mediastinum_shift_mm, part.y, part.z) > 1.08
            inside = (level < 1.0) & (part.labels == 0) & below & clear
            part.hu[inside] = AIR_HU
            drawn[part.box] = inside
        return drawn
