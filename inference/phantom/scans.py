"""Digital patients that were scanned in an unusual way: contrast, metal, prone, a picture that was flipped."""

from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from inference.phantom.build import ThoraxBuild
from inference.phantom.canvas import Canvas, Mask
from inference.phantom.conditions import Condition
from inference.phantom.shapes import Ellipsoid

_METAL_HU, _STREAK_HU = 3071.0, 420.0


@dataclass(frozen=True, slots=True)
class Contrast(Condition):
    """Contrast medium in heart, aorta and vessels."""

    blood_hu: float = 260.0

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Brighter blood."""
        return replace(build, blood_hu=self.blood_hu)


@dataclass(frozen=True, slots=True)
class Prone(Condition):
    """The patient lies on the belly: couch in front, the heart a little forward, density rising to the front.

    The slope is smaller than supine, and so is the slope of perfusion (Nyren 1999). Lungs and lobes are the same. What
    the file says about the position is a matter of the grid.
    """

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Turn gravity round."""
        x, y, z = build.heart.centre_mm
        heart = replace(build.heart, centre_mm=(x, y - 5.0, z))
        return replace(build, prone=True, gravity_hu_per_mm=0.6 * build.gravity_hu_per_mm, heart=heart)


@dataclass(frozen=True, slots=True)
class MirroredCt(Condition):
    """A picture flipped from side to side on its way, under a geometry that says nothing of it.

    Truth keeps the patient's own names, so the right lobes lie on the left of the picture. The picture is that of a
    patient with situs inversus, so nothing but a person can tell which of both it is.
    """

    def change(self, build: ThoraxBuild) -> ThoraxBuild:
        """Mirror the picture and nothing else."""
        return replace(build, mirrored=not build.mirrored)


class Implant(StrEnum):
    """A piece of metal."""

    PACEMAKER = "pacemaker"
    """Under the skin of the left chest."""
    SCREWS = "screws"
    """Four in two vertebrae."""


_PIECES: dict[Implant, tuple[Ellipsoid, ...]] = {
    Implant.PACEMAKER: (Ellipsoid((72.0, -100.0, 82.0), (24.0, 5.0, 22.0)),),
    Implant.SCREWS: tuple(Ellipsoid((x, 78.0, z), (4.0, 22.0, 4.0)) for x in (-13.0, 13.0) for z in (-30.0, 20.0)),
}


@dataclass(frozen=True, slots=True)
class Metal(Condition):
    """Metal beyond the scale of CT numbers, with streaks through the slices that hold it.

    The streaks are an invented pattern of bright and dark rays that fade with the distance.
    """

    implant: Implant = Implant.PACEMAKER

    def paint(self, canvas: Canvas) -> Mask:
        """Draw rays around every piece, then the pieces."""
        drawn = canvas.nothing()
        for part in canvas.slices():
            pieces = [p for p in _PIECES[self.implant] if (np.abs(part.z - p.centre_mm[2]) < p.radii_mm[2]).any()]
            for piece in pieces:
                dx, dy = part.x - piece.centre_mm[0], part.y - piece.centre_mm[1]
                at_its_height = np.abs(part.z - piece.centre_mm[2]) < piece.radii_mm[2]
                rays = np.cos(11.0 * np.arctan2(dy, dx)) * np.exp(-np.hypot(dx, dy) / 70.0)
                part.hu[:] += np.where(at_its_height, _STREAK_HU * rays, 0.0)
            for piece in pieces:
                inside = piece.level(part.x, part.y, part.z) < 1.0
                part.hu[inside] = _METAL_HU
                drawn[part.box] |= inside
        return drawn
