"""Diseases inside the lungs of a digital patient: nodules, a mass, consolidation, collapse, emphysema."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from inference.anatomy import Lobe, Side
from inference.phantom.build import Sides, ThoraxBuild
from inference.phantom.canvas import Canvas, Mask
from inference.phantom.conditions import Condition
from inference.phantom.shapes import Ellipsoid, Position
from inference.phantom.vessels import points_in, vessel_tree

_SOLID_HU, _GROUND_GLASS_HU, _CONSOLIDATED_HU, _COLLAPSED_HU = 35.0, -550.0, 30.0, 48.0
_BRONCHUS_HU, _BULLA_HU, _EMPHYSEMA_HU = -950.0, -990.0, -895.0


@dataclass(frozen=True, slots=True)
class Nodules(Condition):
    """Round nodules of 8 to 24 mm in all lobes, solid and ground glass in turn.

    Solid ones carry a tenth of the perfusion, ground glass 70 %.
    """

    count: int = 10

    def paint(self, canvas: Canvas) -> Mask:
        """Draw the nodules, as far as they lie in lung."""
        drawn = canvas.nothing()
        for k, ball in enumerate(_balls(canvas.build, tuple(Lobe), self.count, smallest_mm=4.0, largest_mm=12.0)):
            hu, carried = (_SOLID_HU, 0.1) if k % 2 == 0 else (_GROUND_GLASS_HU, 0.7)
            _fill(canvas, drawn, ball, hu, carried)
        return drawn


class Wall(StrEnum):
    """What a mass is attached to."""

    CHEST = "chest wall"
    MEDIASTINUM = "mediastinum"


_MASS: dict[Wall, tuple[Position, float]] = {
    Wall.CHEST: ((-112.0, 4.0, 40.0), 32.0),
    Wall.MEDIASTINUM: ((-34.0, 0.0, 72.0), 28.0),
}


@dataclass(frozen=True, slots=True)
class Mass(Condition):
    """A solid tumour of some 60 mm with a wide base on the wall of the right lung, carrying 5 % of the perfusion."""

    wall: Wall = Wall.CHEST

    def paint(self, canvas: Canvas) -> Mask:
        """Draw the part that lies in lung."""
        drawn = canvas.nothing()
        centre, radius = _MASS[self.wall]
        _fill(canvas, drawn, Ellipsoid(centre, (radius,) * 3), _SOLID_HU, 0.05)
        return drawn


@dataclass(frozen=True, slots=True)
class Consolidation(Condition):
    """Pneumonia of one lobe: no air but in its bronchi, volume kept, a third of the perfusion."""

    lobe: Lobe = Lobe.RLL

    def paint(self, canvas: Canvas) -> Mask:
        """Fill the lobe and draw the bronchi that stand out in it."""
        drawn: Mask = canvas.labels == self.lobe
        canvas.hu[drawn] = _CONSOLIDATED_HU
        canvas.perfusion[drawn] *= 0.35
        large = [tube for tube in vessel_tree(canvas.build, self.lobe) if tube.start_radius_mm > 1.7]
        for box, depth in canvas.along(large, margin_mm=1.0):
            share = np.clip(depth / max(canvas.grid.spacing_mm) + 0.4, 0.0, 1.0) * drawn[box]
            canvas.hu[box] += share * (_BRONCHUS_HU - canvas.hu[box])
        return drawn


@dataclass(frozen=True, slots=True)
class Collapse(Condition):
    """A lobe without air that has shrunk to a quarter or less; its neighbours, heart and diaphragm have followed.

    It carries 15 % of the perfusion that aerated lung would carry there.
    """

    lobe: Lobe = Lobe.LLL

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Move the fissures towards the lobe, and the mediastinum and the diaphragm after it."""
        return drawn_together(with_smaller_lobe(build, self.lobe, 1.0), self.lobe.side, shift_mm=9.0, rise_mm=12.0)

    def paint(self, canvas: Canvas) -> Mask:
        """Fill the lobe."""
        drawn: Mask = canvas.labels == self.lobe
        canvas.hu[drawn] = _COLLAPSED_HU
        canvas.perfusion[drawn] *= 0.15
        return drawn


@dataclass(frozen=True, slots=True)
class Emphysema(Condition):
    """Wide, thin lungs with bullae of up to 50 mm in the upper lobes, which carry hardly any perfusion."""

    bullae: int = 16

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Thin tissue, low diaphragm."""
        low = Sides(build.diaphragm_mm.right - 14.0, build.diaphragm_mm.left - 12.0)
        return replace(build, density_hu=_EMPHYSEMA_HU, gravity_hu_per_mm=0.15, diaphragm_mm=low)

    def paint(self, canvas: Canvas) -> Mask:
        """Draw the bullae."""
        drawn = canvas.nothing()
        upper = (Lobe.RUL, Lobe.LUL)
        for ball in _balls(canvas.build, upper, self.bullae, smallest_mm=8.0, largest_mm=25.0):
            _fill(canvas, drawn, ball, _BULLA_HU, 0.02)
        return drawn


def with_smaller_lobe(build: ThoraxBuild, lobe: Lobe, amount: float) -> ThoraxBuild:
    """A patient whose fissures have moved towards one lobe.

    Args:
        build: the patient.
        lobe: the lobe that shrinks.
        amount: 1 leaves about a quarter of it, 10 or more nothing.
    """
    match lobe:
        case Lobe.RUL:
            moved = replace(build.horizontal, height_mm=build.horizontal.height_mm + 62.0 * amount)
            return replace(build, horizontal=moved)
        case Lobe.RML:
            moved = replace(build.horizontal, height_mm=build.horizontal.height_mm - 42.0 * amount)
            return replace(build, horizontal=moved)
        case Lobe.RLL | Lobe.LLL:
            lower = -85.0 * amount
        case Lobe.LUL:
            lower = 95.0 * amount
    oblique = build.oblique(lobe.side)
    oblique = replace(oblique, height_mm=oblique.height_mm + lower)
    return replace(build, right_oblique=oblique) if lobe.side is Side.RIGHT else replace(build, left_oblique=oblique)


def drawn_together(build: ThoraxBuild, side: Side, *, shift_mm: float, rise_mm: float) -> ThoraxBuild:
    """A patient whose mediastinum is drawn to one side and whose diaphragm stands higher there."""
    is_right = side is Side.RIGHT
    dome = build.diaphragm_mm
    dome = Sides(dome.right + rise_mm, dome.left) if is_right else Sides(dome.right, dome.left + rise_mm)
    moved = build.mediastinum_shift_mm + (-shift_mm if is_right else shift_mm)
    return replace(build, mediastinum_shift_mm=moved, diaphragm_mm=dome)


def _balls(
    build: ThoraxBuild, lobes: tuple[Lobe, ...], count: int, *, smallest_mm: float, largest_mm: float
) -> Iterator[Ellipsoid]:
    """Balls spread over lobes, small and large in turn."""
    for k in range(count):
        centres = points_in(build, lobes[k % len(lobes)], 40)
        if len(centres):
            x, y, z = (float(c) for c in centres[(7 * k + 3) % len(centres)])
            radius = smallest_mm + (largest_mm - smallest_mm) * ((0.618 * k) % 1.0)
            yield Ellipsoid((x, y, z), (radius,) * 3)


def _fill(canvas: Canvas, drawn: Mask, ball: Ellipsoid, hu: float, carried: float) -> None:
    """Paint the part of a ball that lies in lung, and mark it; it carries a share of what aerated lung carries."""
    for part, level in canvas.around([ball]):
        inside = (level < 1.0) & (part.labels > 0)
        part.hu[inside] = hu
        part.perfusion[inside] *= carried
        drawn[part.box] |= inside
