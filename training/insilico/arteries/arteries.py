"""The pulmonary arteries of one body: trunk, main, lobar and segmental arteries, then thousands of ends in each lobe.

The course of trunk and main arteries is laid down relative to both hila; from there a tree fills each lobe
(`volume_filling.py`). Widths follow Murray's law: the flow of the branches is that of the stem, and width is a power of
flow (C. D. Murray, PNAS 1926;12:207).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from inference.anatomy import Lobe, Side, lobes_of
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.branching import SEGMENTS
from training.insilico.arteries.territories import territory_middles_mm
from training.insilico.arteries.tree_draft import TreeDraft
from training.insilico.draws import Draws
from training.insilico.people.body import Body

TRUNK_RADIUS_MM = 12.6
"""Half of the mean width of 25.2 mm in CT of 2395 patients (Songklanagarind; Bali Med J, article 1833)."""
TRUNK_RADIUS_SD_MM = 1.45
"""Half of 2.9 mm, the spread in 112 people with normal pressure (CT; Diagn Interv Radiol 2008;14:72)."""
TRUNK_START = (0.19, -0.66, -0.28)
"""Where the trunk leaves the heart and where it divides, from the middle between the hila, in units of their distance,
along LPS: as the mediastinum of the standard thorax is drawn (`inference/phantom/great_vessels.py`)."""
TRUNK_END = (0.15, -0.26, 0.01)
INTERLOBAR_STEP = 0.2
"""Way from the right hilum to the middle of middle and lower lobe that their common artery goes. Ours."""


def grow_arteries(body: Body, draws: Draws, *, territories: int) -> ArterialTree:
    """Arteries of all lobes that the body has.

    Args:
        body: with at least one voxel of lung.
        draws: of this patient.
        territories: number of ends; each lobe has its share by volume, and at least one.

    Raises:
        ValueError: the body has no lung.
    """
    draws = draws.of("arteries")
    counts = _apportioned(body, territories)
    middles = {
        lobe: territory_middles_mm(body.lobes == lobe, body.grid, count, draws.generator(f"{lobe.name} territories"))
        for lobe, count in counts.items()
    }
    draft, (right, left) = TreeDraft(), body.hilum_mm.astype(np.float64)
    middle, width = (right + left) / 2, float(np.linalg.norm(left - right))
    division = middle + width * np.array(TRUNK_END)
    draft.add(-1, middle + width * np.array(TRUNK_START), division, next(iter(counts)) if len(counts) == 1 else 0)
    for side, hilum in ((Side.RIGHT, right), (Side.LEFT, left)):
        here = {lobe: middles[lobe] for lobe in lobes_of(side) if lobe in middles}
        _grow_lung(draft, body, draws, division, hilum, here)
    radius = draws.normal("trunk radius", TRUNK_RADIUS_MM, TRUNK_RADIUS_SD_MM)
    return draft.finished(radius)


def _apportioned(body: Body, territories: int) -> dict[Lobe, int]:
    """Territories of each lobe that there is, by volume (largest remainder), at least one."""
    voxels = np.bincount(body.lobes.ravel(), minlength=len(Lobe) + 1)
    lobes = [lobe for lobe in Lobe if voxels[lobe]]
    if not lobes:
        raise ValueError("a body without lung has no pulmonary arteries")
    exact = territories * voxels[lobes] / voxels[lobes].sum()
    counts = np.floor(exact).astype(int)
    counts[np.argsort(counts - exact, kind="stable")[: territories - counts.sum()]] += 1
    return {lobe: max(int(count), 1) for lobe, count in zip(lobes, counts, strict=True)}


def _grow_lung(
    draft: TreeDraft,
    body: Body,
    draws: Draws,
    division_mm: Float[np.ndarray, "3"],
    hilum_mm: Float[np.ndarray, "3"],
    middles: dict[Lobe, Float[np.ndarray, "n 3"]],
) -> None:
    """Main artery of one side and all that follows; nothing for a side without lung."""
    if not middles:
        return
    stem = draft.add(0, division_mm, hilum_mm, _supplied_lobe(list(middles)))
    common = stem
    if Lobe.RML in middles and Lobe.RLL in middles:
        target = np.concatenate([middles[Lobe.RML], middles[Lobe.RLL]]).mean(axis=0)
        common = draft.add(stem, hilum_mm, hilum_mm + INTERLOBAR_STEP * (target - hilum_mm), 0)
    for lobe, places in middles.items():
        _grow_lobe(draft, body, draws, common if lobe in (Lobe.RML, Lobe.RLL) else stem, lobe, places)


def _supplied_lobe(lobes: Sequence[Lobe]) -> int:
    return int(lobes[0]) if len(lobes) == 1 else 0


def _grow_lobe(
    draft: TreeDraft, body: Body, draws: Draws, stem: int, lobe: Lobe, middles_mm: Float[np.ndarray, "n 3"]
) -> None:
    inside, chance = body.lobes == lobe, draws.generator(f"{lobe.name} branching")
    draft.grow_lobe(stem, lobe, middles_mm, inside, body.grid, parts=SEGMENTS[lobe], chance=chance)
