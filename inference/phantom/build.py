"""How one digital patient is built: all the numbers that make it different from another one.

`ThoraxBuild()` is the standard patient of the self-test. `varied(number)` is any other one of an endless family. The
shapes themselves are formulas (`anatomy`) in the space of the standard patient; a build stretches and bends that
space (`deformation`), moves the fissures in it and sets what the scanner sees. So the truth of every member is as exact
as that of the standard one.

What the family spreads over, and why, is said at `varied`. It is an invention: no patient was measured for it, only
the lobar shares and the lung volumes were brought to published means and spreads.
"""

import hashlib
import math
from dataclasses import dataclass, field
from statistics import NormalDist

import numpy as np

from inference.anatomy import Lobe, Side
from inference.geometry import Grid
from inference.phantom.arms import Arms
from inference.phantom.breasts import Breasts
from inference.phantom.couch import Couch
from inference.phantom.deformation import Deformation
from inference.phantom.shapes import Coordinate, Ellipsoid, Position, Tube

FRAME_OF_REFERENCE_UID = "2.25.270464921604411157304817305467196071801"
HEART = Ellipsoid((27.0, -28.0, -38.0), (54.0, 44.0, 52.0))
TUMOUR = Ellipsoid((-86.0, 46.0, -22.0), (13.0, 13.0, 13.0))
"""Right lower lobe, posterior: right, back and below the middle, so that every mirroring moves it."""
LOW_REGION = Ellipsoid((66.0, -24.0, 70.0), (46.0, 50.0, 40.0))
"""Cut with the left upper lobe: left, front and top."""


@dataclass(frozen=True, slots=True)
class Sides:
    """One number for each side of the patient."""

    right: float
    left: float

    def of(self, side: Side) -> float:
        """The number of one side."""
        return self.right if side is Side.RIGHT else self.left


@dataclass(frozen=True, slots=True)
class ObliqueFissure:
    """The oblique fissure of one lung, as a height over the coronal plane."""

    height_mm: float
    """Height 10 mm behind the middle of the body."""
    slope: float
    """Height gained per way to the back."""
    bulge_mm: float = 7.0
    """Height of the fold from side to side."""
    wave_mm: float = 4.0
    """Height of the fold from front to back."""
    twist: float = 0.0
    """Propeller twist: slope gained over 80 mm to the side."""
    seen: float = 1.0
    """1 for a complete fissure, 0 for none; between, it is missing towards the hilum."""


@dataclass(frozen=True, slots=True)
class HorizontalFissure:
    """The horizontal fissure of the right lung."""

    height_mm: float = 11.0
    slope: float = 0.10
    """Height gained per way to the back."""
    tilt: float = 0.0
    """Height gained per way to the left."""
    bulge_mm: float = 5.0
    seen: float = 1.0
    """As for `ObliqueFissure`."""


@dataclass(frozen=True, slots=True)
class ThoraxBuild:
    """One digital patient.

    Lengths are those of the standard patient's space, which `to_reference` leads to; only `bend_mm` is measured in
    the patient.
    """

    width: float = 1.0
    """Stretch of the whole body from side to side; likewise `depth` and `height`."""
    depth: float = 1.0
    height: float = 1.0
    bend_mm: float = 0.0
    """How far the trunk swings to the side, as in a scoliosis."""
    bend_length_mm: float = 520.0
    """Height of one full swing."""
    fat_mm: float = 0.0
    """Fat added below the skin."""
    mirrored: bool = False
    """The picture is the mirror image of the anatomy described by the other fields."""
    prone: bool = False
    """The patient lies on the belly; whether the grid says so is another matter."""

    lung_half_width_mm: Sides = Sides(66.0, 62.0)
    apex_mm: Sides = Sides(116.0, 119.0)
    diaphragm_mm: Sides = Sides(-58.0, -72.0)
    """Height of the domes: the depth of breath, and a diaphragm that stands high on one side."""
    mediastinum_mm: float = 11.0
    """Half width of the mediastinum where it is narrowest."""
    mediastinum_shift_mm: float = 0.0
    """How far the mediastinum with heart and airway is drawn to the left."""
    heart: Ellipsoid = HEART
    right_oblique: ObliqueFissure = ObliqueFissure(17.0, 1.05)
    left_oblique: ObliqueFissure = ObliqueFissure(11.0, 1.15)
    horizontal: HorizontalFissure = HorizontalFissure()
    absent: tuple[Lobe, ...] = ()
    """Lobes that were taken out; nothing is drawn where they would be."""
    lobe_names: tuple[int, ...] = (0, *Lobe)
    """The label that the truth gives to what is drawn as background, RUL, RML, RLL, LUL, LLL."""

    density_hu: float = -818.0
    """CT number of the lung at the height of the carina, half-way from front to back."""
    gravity_hu_per_mm: float = 0.37
    """Density gained towards the dependent side."""
    blood_hu: float = 45.0
    """Heart, aorta and vessels; some 250 with contrast medium."""
    tumour: Ellipsoid = TUMOUR
    """Soft tissue, as far as it lies in lung."""
    low_region: Ellipsoid = LOW_REGION
    """Emphysema with low perfusion, as far as it lies in the left upper lobe."""

    noise_hu: float = 9.0
    noise_seed: int = 0
    blur_mm: float = 0.0
    """Standard deviation of the scanner's point spread, under the noise; 0 draws sharp edges."""

    deformation: Deformation = field(default=Deformation(), repr=False)
    """Bends everything but the couch. This and what follows is what the standard patient does without."""
    is_tapered: bool = field(default=False, repr=False)
    """Rib cage and shoulders narrow towards the neck, ribs have marrow, the spine a canal."""
    has_great_vessels: bool = field(default=False, repr=False)
    """Pulmonary arteries and great veins are drawn and take their place in the lungs; without them only the aorta."""
    arms: Arms | None = field(default=None, repr=False)
    breasts: Breasts | None = field(default=None, repr=False)
    couch: Couch = field(default=Couch(), repr=False)
    base_gravity: float = field(default=0.0, repr=False)
    """How much steeper density grows to the dependent side at the bases of the lungs than above."""

    @property
    def additions(self) -> tuple[object, ...]:
        """All that the standard patient does without; they came later and are no part of the name of older patients."""
        people = self.arms, self.breasts, self.couch
        return self.deformation, self.is_tapered, self.has_great_vessels, *people, self.base_gravity

    def oblique(self, side: Side) -> ObliqueFissure:
        """The oblique fissure of one side."""
        return self.right_oblique if side is Side.RIGHT else self.left_oblique

    def to_reference(self, x: Coordinate, y: Coordinate, z: Coordinate) -> tuple[Coordinate, Coordinate, Coordinate]:
        """Positions in the standard patient's space of LPS positions in this patient."""
        return self.deformation.moved(*self.straightened(x, y, z))

    def straightened(self, x: Coordinate, y: Coordinate, z: Coordinate) -> tuple[Coordinate, Coordinate, Coordinate]:
        """Positions as `to_reference` gives them to a patient without deformation; the couch lies in this space."""
        straight = (x - self._swing_mm(z)) / self.width if self.bend_mm else x / self.width
        return (-straight if self.mirrored else straight), y / self.depth, z / self.height

    def to_patient(self, position_mm: Position) -> Position:
        """The LPS position in this patient of a place in the standard patient's space."""
        x, y, z = self.deformation.unmoved(position_mm)
        z *= self.height
        x = (-x if self.mirrored else x) * self.width
        return x + float(self._swing_mm(np.asarray(z))) if self.bend_mm else x, y * self.depth, z

    def drawn(self, position_mm: Position) -> Position:
        """A place in the mediastinum where it lies once the mediastinum is drawn to the side; the neck stays."""
        x, y, z = position_mm
        return x + self.mediastinum_shift_mm * min(max((150.0 - z) / 110.0, 0.0), 1.0), y, z

    def place(self, tube: Tube) -> Tube:
        """A straight tube of the standard patient's space in this patient, LPS; it stays straight, its ends move."""
        scale = (self.width * self.depth * self.height) ** (1 / 3)
        start, end = self.to_patient(tube.start_mm), self.to_patient(tube.end_mm)
        return Tube(start, end, scale * tube.start_radius_mm, scale * tube.end_radius_mm)

    def field_of_view(self, spacing_mm: tuple[float, float, float] = (3.0, 2.0, 2.0)) -> Grid:
        """A head-first supine axial grid that holds trunk, couch and lungs of this patient.

        Args:
            spacing_mm: distance between slices, rows and columns.
        """
        beside = max(168.0 + self.fat_mm, self.arms.half_width_mm + self.fat_mm if self.arms else 0.0)
        reach_x, reach_y, reach_z = self.deformation.reach_mm
        half_width = (beside + reach_x) * self.width + abs(self.bend_mm) + 10.0
        in_front = 116.0 + self.fat_mm + max(22.0, self.breasts.height_mm if self.breasts else 0.0)
        half_depth = (in_front + reach_y) * self.depth + 10.0
        floor = (152.0 + reach_z) * self.height
        low, high = np.array([[-half_width, -half_depth, -floor], [half_width, half_depth, 0.0]])
        high[2] = (max(self.apex_mm.right, self.apex_mm.left) + 12.0 + reach_z) * self.height
        shape = [math.ceil(extent / step) + 1 for extent, step in zip((high - low)[::-1], spacing_mm, strict=True)]
        x, y, z = (float(c) for c in low)
        return Grid.axial(
            (shape[0], shape[1], shape[2]), spacing_mm, (x, y, z), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
        )

    def _swing_mm(self, z: Coordinate) -> Coordinate:
        return np.asarray(self.bend_mm * np.sin(2.0 * np.pi * z / self.bend_length_mm))


def varied(number: int) -> ThoraxBuild:
    """Patient `number` of the family; equal numbers give equal patients on every machine.

    Size and depth of breath spread the lung volume over 2.5 to 8 l; courses and heights of the fissures, which also
    fold, twist and stop short of the hilum, spread the lobar shares somewhat wider than in 32 healthy people
    (PMC7490509, table 3: RUL 17.9 +- 2.4, RML 9.3 +- 1.6, RLL 26.5 +- 2.6, LUL 23.1 +- 2.1, LLL 23.2 +- 2.4 %). Shallow
    breath goes with a high diaphragm and dense lungs. Every number is drawn for itself and knows nothing of the lobar
    atlas. The spreads are ours, chosen by hand but for those two aims.

    Args:
        number: 0 or above.
    """
    draw = _Draw(number)
    stature, breath = draw.normal("stature", 0.98, 0.07), draw.between("breath", 0.0, 1.0)
    high = 24.0 * (0.5 - breath)
    return ThoraxBuild(
        width=stature * draw.normal("width", 1.0, 0.03),
        depth=stature * draw.normal("depth", 1.0, 0.05),
        height=stature * draw.normal("height", 1.0, 0.07),
        bend_mm=draw.normal("bend", 0.0, 4.0),
        fat_mm=draw.between("fat", 0.0, 25.0),
        lung_half_width_mm=Sides(draw.normal("right", 67.0, 2.0), draw.normal("left", 61.0, 2.0)),
        apex_mm=Sides(draw.normal("right apex", 116.0, 4.0), draw.normal("left apex", 119.0, 4.0)),
        diaphragm_mm=Sides(high + draw.normal("right dome", -58.0, 6.0), high + draw.normal("left dome", -71.0, 6.0)),
        mediastinum_mm=draw.between("mediastinum", 8.0, 16.0),
        heart=_heart(draw),
        right_oblique=_oblique(draw, "right oblique", 15.0, 1.05, complete=0.6),
        left_oblique=_oblique(draw, "left oblique", 12.5, 1.15, complete=0.7),
        horizontal=HorizontalFissure(
            height_mm=draw.normal("horizontal", 12.5, 7.0),
            slope=draw.normal("horizontal slope", 0.10, 0.10),
            tilt=draw.normal("horizontal tilt", 0.0, 0.08),
            bulge_mm=draw.normal("horizontal bulge", 5.0, 3.0),
            seen=draw.share("horizontal seen", complete=0.4),
        ),
        density_hu=-730.0 - 105.0 * breath + draw.normal("density", 0.0, 12.0),
        gravity_hu_per_mm=0.60 - 0.35 * breath,
        tumour=_tumour(draw),
        low_region=_low_region(draw),
        noise_hu=draw.between("noise", 6.0, 28.0),
        noise_seed=number + 1,
        blur_mm=draw.between("blur", 0.3, 0.9),
    )


@dataclass(frozen=True, slots=True)
class _Draw:
    """Numbers that depend on the patient and on what they are for, and on nothing else."""

    number: int

    def between(self, what: str, low: float, high: float) -> float:
        """Evenly spread."""
        digits = hashlib.sha256(f"{self.number} {what}".encode()).digest()
        return low + (high - low) * (int.from_bytes(digits[:6]) + 0.5) / 2.0**48

    def normal(self, what: str, mean: float, sd: float) -> float:
        """Normally spread, cut at 2.5 standard deviations."""
        return mean + sd * NormalDist().inv_cdf(self.between(what, 0.0062, 0.9938))

    def share(self, what: str, *, complete: float) -> float:
        """How much of a fissure is seen: all of it in the share `complete` of patients, nothing in one of twenty."""
        chance = self.between(what, 0.0, 1.0)
        if chance < complete:
            return 1.0
        return 0.0 if chance > 0.95 else self.between(f"{what}, share", 0.3, 0.95)


def _oblique(draw: _Draw, what: str, height_mm: float, slope: float, *, complete: float) -> ObliqueFissure:
    return ObliqueFissure(
        height_mm=draw.normal(what, height_mm, 8.5),
        slope=draw.normal(f"{what} slope", slope, 0.10),
        bulge_mm=draw.normal(f"{what} bulge", 7.0, 4.0),
        wave_mm=draw.normal(f"{what} wave", 4.0, 3.0),
        twist=draw.normal(f"{what} twist", -0.10, 0.15),
        seen=draw.share(f"{what} seen", complete=complete),
    )


def _heart(draw: _Draw) -> Ellipsoid:
    size = draw.normal("heart", 1.0, 0.07)
    centre = 27.0 + draw.normal("heart x", 0.0, 4.0), -28.0, -38.0 + draw.normal("heart z", 0.0, 4.0)
    return Ellipsoid(centre, (54.0 * size, 44.0 * size, 52.0 * size))


def _tumour(draw: _Draw) -> Ellipsoid:
    """A ball of 10 to 50 mm anywhere in the middle of a lung, or near its surface."""
    radius = draw.between("tumour", 5.0, 25.0)
    side = -1.0 if draw.between("tumour side", 0.0, 1.0) < 0.57 else 1.0
    x = side * draw.between("tumour x", 55.0, 105.0)
    return Ellipsoid((x, draw.between("tumour y", -35.0, 60.0), draw.between("tumour z", -35.0, 70.0)), (radius,) * 3)


def _low_region(draw: _Draw) -> Ellipsoid:
    size = draw.between("low", 0.6, 1.2)
    centre = 66.0, draw.between("low y", -45.0, 10.0), draw.between("low z", 50.0, 85.0)
    return Ellipsoid(centre, (46.0 * size, 50.0 * size, 40.0 * size))
