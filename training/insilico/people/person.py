"""Who an invented patient is: sex, age, size, the shape of chest and lungs, and how the patient lay and breathed.

The lungs are brought to drawn volumes: the build says how a chest looks, then the diaphragm of each side is set so that
the lung has its volume, and the fissures so that each lobe has its share. So the published spreads hold by
construction, whatever the bending of the body does.

Published, and used here:

- Shares of the lobes and of the right lung, supine: PMC7490509, table 3.
- Lung volumes: total lung capacity and functional residual capacity by height, age and sex after the European
  reference equations (Quanjer 1993; recalled), a tenth less for people of East Asia (recalled).
- Density follows from mass: lung tissue with blood is spread over the volume. The mass is chosen so that the mean CT
  number in free breathing agrees with the published air fractions of 0.68 and 0.66 (about -670 HU with vessels).
- Slope of density to the dependent side: that of perfusion, 2.6 % per cm (PMC4294417), as perfusion per tissue is
  nearly flat; steeper at the bases, where the dependent third is up to 200 HU denser than the front in neutral
  breathing and less so on inspiration (pubmed 512106).

All other spreads are assumptions, ours. Of 170 people at 4.5 mm, those in free breathing came out at 2.95 +- 0.54 l and
-723 HU (-690 with vessels), those at deep inspiration at 4.7 +- 1.0 l and -833 HU, where 4.07 +- 1.19 l (Cressoni 2013)
and 4.47 +- 1.27 l (COPD 2019) are published for supine volumes and -850 HU is recalled.
"""

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from inference.phantom.anatomy import parenchyma_hu
from inference.phantom.arms import ArmPosition, Arms
from inference.phantom.breasts import Breasts
from inference.phantom.build import HorizontalFissure, ObliqueFissure, Sides, ThoraxBuild
from inference.phantom.couch import Couch, CouchShape
from inference.phantom.deformation import Deformation, Wave
from inference.phantom.shapes import Ellipsoid
from training.insilico.draws import Draws
from training.insilico.people.breathing import MEAN_INSPIRATION, Breathing
from training.insilico.people.chest_fit import LungSizes, Places, fitted
from training.insilico.people.demography import LUNG_PATIENTS, Demography


class Sex(StrEnum):
    """Of the invented patient."""

    MALE = "M"
    FEMALE = "F"


class BreathingState(StrEnum):
    """How the patient breathed while the CT was made."""

    FREE = "free breathing"
    DEEP = "deep inspiration"


RIGHT_SHARE = 0.536, 0.015
"""Mean and standard deviation of the right lung's share (PMC7490509, table 3)."""
LOWER_OF_RIGHT = 0.494, 0.047
"""From the shares of the same table, so that RUL, RML and RLL get its means and, to a tenth, its spreads."""
MIDDLE_OF_UPPER_RIGHT = 0.342, 0.050
LOWER_OF_LEFT = 0.509, 0.050
"""Likewise; large vessels and airways take a little more of the lower lobe."""
VESSEL_SHARE = 0.12
"""Share of tissue and blood that stands as visible vessels in the lung; the parenchyma is that much lighter. Ours."""
TISSUE_G_PER_ML = 1.05
EAST_ASIAN = 0.9
"""Lung volumes of East Asians by those that the European equations give (recalled)."""
GRAVITY_PER_MM = 0.0026
"""Tissue gained per way to the dependent side (PMC4294417)."""
_SUPINE = 0.65
"""Residual capacity lying by that upright (recalled: a quarter to a third less)."""
_DISEASED = 0.16
"""Further spread of the residual capacity in people with lung disease. Ours, for the published spread of volumes."""
_TIDAL_L = 0.45
_REACHED = 0.82
"""Part of the total lung capacity that a supine patient reaches on demand. Ours."""
_TISSUE_G = MappingProxyType({Sex.MALE: 1000.0, Sex.FEMALE: 790.0})
_DOMES_MM = MappingProxyType({BreathingState.FREE: (-80.0, -24.0), BreathingState.DEEP: (-98.0, -52.0)})
NOWHERE = Ellipsoid((0.0, 0.0, -9999.0), (1.0, 1.0, 1.0))


@dataclass(frozen=True, slots=True)
class Person:
    """One invented patient before anything is wrong."""

    sex: Sex
    age_years: float
    height_m: float
    weight_kg: float
    build: ThoraxBuild
    arms_up: bool
    couch: CouchShape
    state: BreathingState
    breathing: Breathing
    lung_ml: Sides
    """Volume of each lung on the body grid, by CT: gas, tissue and blood."""
    lung_tissue_g: float
    """Tissue and blood of both lungs."""
    has_stomach_gas: bool

    @property
    def mean_hu(self) -> float:
        """Mean CT number of the healthy lungs without their larger vessels."""
        return -1000.0 + 1000.0 * (1.0 - VESSEL_SHARE) * self.lung_tissue_g / (self.lung_ml.right + self.lung_ml.left)


def draw_person(
    draws: Draws,
    demography: Demography = LUNG_PATIENTS,
    *,
    state: BreathingState | None = None,
    couch: CouchShape | None = None,
) -> Person:
    """One person; equal draws give equal persons.

    Args:
        draws: the patient's.
        demography: whom to draw from.
        state: how the hospital had the patient breathe; None draws it.
        couch: of the hospital's scanner; None draws it.
    """
    sex = Sex.MALE if draws.chance("male", demography.share_of_men) else Sex.FEMALE
    age = draws.normal("age", demography.age_years, demography.age_sd_years, cut_sd=2.2)
    usual_m = demography.man_m if sex is Sex.MALE else demography.woman_m
    height = draws.normal("height", usual_m, demography.height_sd_m)
    bmi = draws.normal("bmi", demography.bmi, demography.bmi_sd, cut_sd=2.2)
    if state is None:
        state = BreathingState.DEEP if draws.chance("deep inspiration", 0.1) else BreathingState.FREE
    if couch is None:
        couch = CouchShape.FLAT if state is BreathingState.FREE and draws.chance("flat", 0.6) else CouchShape.CURVED
    arms_up = couch is CouchShape.FLAT or draws.chance("arms up", 0.6)
    tissue_g = draws.lognormal("tissue", _TISSUE_G[sex], 0.13) * (height / usual_m) ** 2
    volumes = {each: _air_ml(draws, sex, age, height, each) + tissue_g / TISSUE_G_PER_ML for each in BreathingState}
    sizes = _sizes(draws, volumes[state])
    build = _lying(draws, _build(draws, sex, height, bmi, state), couch, arms_up=arms_up)
    fit = fitted(build, sizes, domes_mm=_DOMES_MM[state])
    person = Person(
        sex=sex,
        age_years=age,
        height_m=height,
        weight_kg=bmi * height**2,
        build=fit.build,
        arms_up=arms_up,
        couch=couch,
        state=state,
        breathing=_breathing(draws, fit.build, volumes[state] - volumes[BreathingState.FREE]),
        lung_ml=Sides(sizes.right_ml, sizes.left_ml),
        lung_tissue_g=tissue_g,
        has_stomach_gas=draws.chance("stomach gas", 0.4),
    )
    return replace(person, build=_with_density(draws, person, fit.places))


def _lying(draws: Draws, build: ThoraxBuild, couch: CouchShape, *, arms_up: bool) -> ThoraxBuild:
    """The build on a couch, with arms."""
    position = ArmPosition.UP if arms_up else ArmPosition.DOWN
    half_width_mm = 265.0 if couch is CouchShape.FLAT else 195.0
    return replace(
        build,
        arms=Arms(position, draws.normal("arms", 42.0, 3.0)),
        couch=Couch(couch, draws.between("sunk", 4.0, 10.0), half_width_mm),
    )


def _air_ml(draws: Draws, sex: Sex, age_years: float, height_m: float, state: BreathingState) -> float:
    """Gas in the lungs of a supine person while the CT is made.

    Free breathing: functional residual capacity, lying down, and the time mean of a breath. Deep inspiration: what is
    reached of the total lung capacity.
    """
    man = sex is Sex.MALE
    if state is BreathingState.DEEP:
        capacity_l = 7.99 * height_m - 7.08 if man else 6.60 * height_m - 5.79
        capacity_l += draws.normal("capacity", 0.0, 0.70 if man else 0.60, cut_sd=2.0)
        return 1000.0 * EAST_ASIAN * _REACHED * capacity_l
    residual_l = 2.34 * height_m + 0.009 * age_years - 1.09 if man else 2.24 * height_m + 0.001 * age_years - 1.00
    residual_l += draws.normal("residual", 0.0, 0.60 if man else 0.50, cut_sd=1.6)
    residual_l *= draws.lognormal("hyperinflation", 1.02, _DISEASED, cut_sd=1.8)
    return 1000.0 * (EAST_ASIAN * _SUPINE * residual_l + MEAN_INSPIRATION * _TIDAL_L)


def _sizes(draws: Draws, lungs_ml: float) -> LungSizes:
    right_share = draws.normal("right lung", *RIGHT_SHARE)
    return LungSizes(
        right_ml=right_share * lungs_ml,
        left_ml=(1.0 - right_share) * lungs_ml,
        lower_of_right=draws.normal("right lower lobe", *LOWER_OF_RIGHT),
        middle_of_upper_right=draws.normal("middle lobe", *MIDDLE_OF_UPPER_RIGHT),
        lower_of_left=draws.normal("left lower lobe", *LOWER_OF_LEFT),
    )


def _build(draws: Draws, sex: Sex, height_m: float, bmi: float, state: BreathingState) -> ThoraxBuild:
    """The chest but for what `fitted` sets. Spreads are ours."""
    size, woman = height_m / 1.70, sex is Sex.FEMALE
    across = size**0.6 * (0.955 if woman else 1.0) * (1.10 if state is BreathingState.DEEP else 1.0)
    fat = max(0.0, (bmi - 18.0) * draws.between("fat", 1.0, 2.2) * (1.2 if woman else 1.0))
    return ThoraxBuild(
        width=across * draws.normal("width", 0.955, 0.03),
        depth=across * draws.normal("depth", 0.955, 0.045),
        height=size * draws.normal("trunk", 0.99, 0.03),
        bend_mm=draws.normal("bend", 0.0, 4.0),
        fat_mm=min(fat, 24.0),
        lung_half_width_mm=Sides(draws.normal("right", 66.5, 1.0), draws.normal("left", 62.0, 1.0)),
        apex_mm=Sides(draws.normal("right apex", 116.0, 4.0), draws.normal("left apex", 118.0, 4.0)),
        mediastinum_mm=draws.between("mediastinum", 11.0, 19.0),
        mediastinum_shift_mm=draws.normal("mediastinum shift", 3.0, 2.0),
        heart=_heart(draws, state),
        right_oblique=_oblique(draws, "right oblique", 1.05, complete=0.6),
        left_oblique=_oblique(draws, "left oblique", 1.15, complete=0.7),
        horizontal=HorizontalFissure(
            slope=draws.normal("horizontal slope", 0.10, 0.10),
            tilt=draws.normal("horizontal tilt", 0.0, 0.08),
            bulge_mm=draws.normal("horizontal bulge", 5.0, 3.0),
            seen=_seen(draws, "horizontal seen", complete=0.4),
        ),
        low_region=NOWHERE,
        tumour=NOWHERE,
        deformation=_deformation(draws),
        is_tapered=True,
        has_great_vessels=True,
        breasts=Breasts(draws.between("breasts", 6.0, 30.0), draws.between("gland", 0.3, 0.7)) if woman else None,
    )


def _heart(draws: Draws, state: BreathingState) -> Ellipsoid:
    """On a high diaphragm the heart lies higher and broader."""
    size = draws.normal("heart", 0.98, 0.06)
    high, wide, tall = (5.0, 62.0, 52.0) if state is BreathingState.FREE else (-5.0, 56.0, 58.0)
    centre = 26.0 + draws.normal("heart x", 0.0, 4.0), -28.0, -38.0 + high + draws.normal("heart z", 0.0, 3.0)
    return Ellipsoid(centre, (wide * size, 50.0 * size, tall * size))


def _oblique(draws: Draws, what: str, slope: float, *, complete: float) -> ObliqueFissure:
    return ObliqueFissure(
        height_mm=0.0,
        slope=draws.normal(f"{what} slope", slope, 0.10),
        bulge_mm=draws.normal(f"{what} bulge", 7.0, 4.0),
        wave_mm=draws.normal(f"{what} wave", 4.0, 3.0),
        twist=draws.normal(f"{what} twist", -0.10, 0.15),
        seen=_seen(draws, f"{what} seen", complete=complete),
    )


def _seen(draws: Draws, what: str, *, complete: float) -> float:
    """How much of a fissure is there: all in the share `complete` of people, nothing in one of twenty."""
    chance = draws.between(what, 0.0, 1.0)
    if chance < complete:
        return 1.0
    return 0.0 if chance > 0.95 else draws.between(f"{what}, share", 0.3, 0.95)


def _deformation(draws: Draws) -> Deformation:
    """Five waves of 200 to 450 mm, each in a direction of its own; together they move a place by some 5 mm."""
    return Deformation(tuple(_wave(draws.of(f"wave {k}")) for k in range(5)))


def _wave(draws: Draws) -> Wave:
    number = 2.0 * math.pi / draws.between("length", 200.0, 450.0)
    strain = draws.between("strain", 0.05, 0.095)
    ways = []
    for what, norm in (("amplitude", strain / number), ("wave", number)):
        up, turn = draws.between(f"{what} up", -1.0, 1.0), draws.between(f"{what} turn", 0.0, 2.0 * math.pi)
        flat = math.sqrt(1.0 - up * up)
        ways.append((norm * flat * math.cos(turn), norm * flat * math.sin(turn), norm * up))
    return Wave(ways[0], ways[1], draws.between("phase", 0.0, 2.0 * math.pi))


def _with_density(draws: Draws, person: Person, places: Places) -> ThoraxBuild:
    """The build with the density that the mass of the lungs gives, and a slope that follows it.

    Args:
        draws: the person's.
        person: all but the density is set.
        places: a sample of the lungs.
    """
    free = person.state is BreathingState.FREE
    gravity = GRAVITY_PER_MM * (1000.0 + person.mean_hu) * draws.lognormal("gravity", 1.0, 0.2)
    at_base = draws.between("gravity at the base", 0.2, 1.0) * (1.0 if free else 0.4)
    build = replace(
        person.build, density_hu=0.0, gravity_hu_per_mm=gravity / (1.0 + 0.3 * at_base), base_gravity=at_base
    )
    return replace(build, density_hu=person.mean_hu - float(parenchyma_hu(build, *places).mean(dtype=np.float64)))


def _breathing(draws: Draws, build: ThoraxBuild, inhaled_ml: float) -> Breathing:
    apex = build.to_patient((0.0, 2.0, max(build.apex_mm.right, build.apex_mm.left)))
    dome = build.to_patient((0.0, 2.0, 0.5 * (build.diaphragm_mm.right + build.diaphragm_mm.left)))
    area_mm2 = 2.0 * math.pi * 70.0 * 80.0 * build.width * build.depth
    return Breathing(
        diaphragm_mm=draws.normal("excursion", 14.5, 3.0, cut_sd=1.5),
        anterior_mm=draws.between("anterior", 1.0, 4.0),
        apex_mm=apex[2],
        dome_mm=dome[2],
        cage_middle_mm=build.to_patient((0.0, 2.0, 0.0))[:2],
        cage_half_mm=(137.0 * build.width, 97.0 * build.depth),
        period_s=draws.normal("period", 4.0, 0.7),
        held_mm=min(0.6 * 1000.0 * max(inhaled_ml, 0.0) / area_mm2, 55.0),
    )
