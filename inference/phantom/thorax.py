"""A digital thorax: an invented patient whose lungs, lobes and perfusion are known by construction.

It serves the tests, the demonstration and the self-test of the node at start-up. Everything is drawn from formulas in
patient coordinates (`anatomy`), so any grid shows the same patient: other spacing, flipped or swapped axes,
another patient position. Other patients have another build (`build`) or a condition (`conditions`). All
are inventions without any clinical value: agreement with them shows that the software keeps geometry and arithmetic,
never that a prediction is right for a human being.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType

import numpy as np

from inference.anatomy import Lobe, Side, lobes_of
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.phantom.build import FRAME_OF_REFERENCE_UID, ThoraxBuild
from inference.phantom.canvas import Canvas, Mask
from inference.phantom.conditions import Condition, changed
from inference.phantom.tissue import paint_airway, paint_noise, paint_tissue, paint_tumour, paint_vessels
from inference.volumes import CtVolume, LobeMap, PerfusionMap, SeriesReference

__all__ = ["DEFAULT_GRID", "FRAME_OF_REFERENCE_UID", "DigitalThorax", "ThoraxVariant", "draw_thorax"]

NAME = "digital-thorax"
VERSION = "1"
CAVEAT = "Digital phantom, no patient; no clinical value."
STANDARD_BUILD = ThoraxBuild()
DEFAULT_GRID = Grid.axial(
    (96, 192, 192), (3.0, 2.0, 2.0), (-191.0, -185.0, -152.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)


class ThoraxVariant(StrEnum):
    """What of the patient is drawn."""

    STANDARD = "standard"
    NO_LUNGS = "no-lungs"
    """The lungs are soft tissue, as if another body part had been scanned."""
    ONE_LUNG = "one-lung"
    """The left lung is consolidated; the truth has no left lobes."""
    TRUNCATED = "truncated"
    """The middle half of the grid's slices: apex and base are cut off. The volumes lie on that smaller grid."""


@dataclass(frozen=True, slots=True, eq=False)
class DigitalThorax:
    """The CT of the invented patient and everything that is true about it, on one grid."""

    ct: CtVolume
    lobes: LobeMap
    """True lobes: with vessels and tumour, without the airways that are drawn."""
    perfusion: PerfusionMap
    """True relative perfusion, mean 1 over both lungs."""
    airway: Mask
    """Air in trachea and bronchi."""
    tumour: Mask
    """A soft tissue sphere; in the right lower lobe of the standard patient."""
    low_region: Mask
    """The emphysema-like front and top of the left upper lobe, with low perfusion."""
    lesions: Mapping[Condition, Mask] = field(default_factory=lambda: MappingProxyType({}))
    """What each condition drew."""

    @property
    def existing(self) -> tuple[Lobe, ...]:
        """The lobes this patient has, on this grid."""
        return tuple(lobe for lobe in Lobe if (self.lobes.labels == lobe).any())


def draw_thorax(
    grid: Grid = DEFAULT_GRID,
    *,
    variant: ThoraxVariant = ThoraxVariant.STANDARD,
    build: ThoraxBuild = STANDARD_BUILD,
    conditions: Sequence[Condition] = (),
) -> DigitalThorax:
    """Draw a digital thorax on a grid.

    The lungs of the standard patient reach from z = -150 to z = +122 mm, the body is 336 mm wide and 232 mm deep around
    (0, 2) mm; what lies outside the grid is cut off. `build.field_of_view` gives a grid that holds any patient. Equal
    arguments give equal arrays and UIDs.

    Args:
        grid: where to draw; about one second per 3 million voxels.
        variant: what of the patient is drawn.
        build: which patient.
        conditions: what is wrong with the patient, changed and painted in this order.
    """
    if variant is ThoraxVariant.TRUNCATED:
        quarter = grid.shape[0] // 4
        whole = slice(0, grid.shape[1]), slice(0, grid.shape[2])
        grid = grid.cropped((slice(quarter, max(grid.shape[0] - quarter, quarter + 1)), *whole))
    source = _source(grid, variant, build, tuple(conditions))
    canvas = Canvas.blank(grid, changed(build, conditions))
    paint_tissue(canvas, _with_air(variant))
    paint_vessels(canvas)
    airway = canvas.nothing() if variant is ThoraxVariant.NO_LUNGS else paint_airway(canvas)
    paint_tumour(canvas)
    lesions = {condition: condition.paint(canvas) for condition in conditions}
    paint_noise(canvas)
    return _assemble(canvas, source, airway, lesions)


def _with_air(variant: ThoraxVariant) -> tuple[Lobe, ...]:
    match variant:
        case ThoraxVariant.NO_LUNGS:
            return ()
        case ThoraxVariant.ONE_LUNG:
            return lobes_of(Side.RIGHT)
        case _:
            return tuple(Lobe)


def _assemble(
    canvas: Canvas, source: SeriesReference, airway: Mask, lesions: Mapping[Condition, Mask]
) -> DigitalThorax:
    identity = ModelIdentity(NAME, VERSION, caveat=CAVEAT)
    grid, build, lungs = canvas.grid, canvas.build, canvas.labels > 0
    mean = float(canvas.perfusion[lungs].mean(dtype=np.float64)) if lungs.any() else 1.0
    values = np.where(lungs, canvas.perfusion / mean, 0.0).astype(np.float32)
    tumour, low = canvas.nothing(), canvas.nothing()
    for part in canvas.slices():
        tumour[part.box] = (build.tumour.level(part.x, part.y, part.z) < 1.0) & (part.labels > 0)
        low[part.box] = (build.low_region.level(part.x, part.y, part.z) < 1.0) & (part.labels == Lobe.LUL)
    return DigitalThorax(
        ct=CtVolume(canvas.hu, grid, source),
        lobes=LobeMap(np.array(build.lobe_names, np.uint8)[canvas.labels], grid, identity),
        perfusion=PerfusionMap(values, lungs, grid, identity),
        airway=airway,
        tumour=tumour,
        low_region=low,
        lesions=MappingProxyType(dict(lesions)),
    )


def _source(
    grid: Grid, variant: ThoraxVariant, build: ThoraxBuild, conditions: tuple[Condition, ...]
) -> SeriesReference:
    """UIDs under 2.25 (PS3.5 B.2) from what is drawn: equal drawings have equal UIDs."""
    what = f"{NAME} {VERSION} {variant} {grid.shape} {np.round(grid.affine, 6).tolist()} {grid.frame_of_reference_uid}"
    if build != STANDARD_BUILD or conditions:
        what += f" {build} {conditions}"
    if build.additions != STANDARD_BUILD.additions:
        what += f" {build.additions}"

    def uid(role: str) -> str:
        return f"2.25.{int(hashlib.sha256(f'{what} {role}'.encode()).hexdigest()[:32], 16)}"

    instances = tuple(uid(f"instance {k}") for k in range(grid.shape[0]))
    return SeriesReference(uid("study"), uid("series"), grid.frame_of_reference_uid, instances)
