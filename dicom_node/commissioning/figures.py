"""What is compared of a result: few figures that a physicist reads, each with a unit and how far it may move.

The same figures serve reference sets, the self-test and drift. How far each may move is ours and untuned: far more than
the rounding of another computer, and less than what we think would change a plan. No report that we know gives
constancy limits for a perfusion map made from CT, so none is quoted; a site that has better ones writes them into its
`expected.json`, with their source, and the report shows both.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from inference.anatomy import Lobe, Side, lobes_of
from inference.engine import PerfusionResult
from inference.volumes import CtVolume

POORLY_PERFUSED: Final = 0.5
"""Lung below this multiple of the mean counts as defect; ours. Not the low-function region, which a site's rule draws:
under the rule `median` that is always half of the lung."""


OURS: Final = "ours, untuned"
"""Source of every tolerance that nobody has changed."""
_SHOWN_UNITS: Final = {"[hnsf'U]": "HU", "1": ""}


def shown_unit(unit: str) -> str:
    """A UCUM unit as people write it."""
    return _SHOWN_UNITS.get(unit, unit)


@dataclass(frozen=True, slots=True)
class FigureKind:
    """One figure: what it is, and how far it may be from what was stored."""

    measures: str
    unit: str
    """UCUM."""
    tolerance: float
    """Absolute, in the unit; ours."""
    relative: float = 0.0
    """Share of the stored value that is tolerated where that is more; ours."""

    def tolerated(self, stored: float) -> float:
        """How far a figure may be from this stored one."""
        return max(self.tolerance, self.relative * abs(stored))


# fmt: off
FIGURES: Final[Mapping[str, FigureKind]] = MappingProxyType({
    "lung_volume": FigureKind("volume of both lungs", "ml", 5.0, 0.01),
    **{f"volume_{lobe.name}": FigureKind(f"volume of {lobe.name}", "ml", 5.0, 0.02) for lobe in Lobe},
    **{f"share_{lobe.name}": FigureKind(f"perfusion of {lobe.name} in percent of both lungs", "%", 0.5)
       for lobe in Lobe},
    "right_share": FigureKind("perfusion of the right lung in percent of both", "%", 0.5),
    "lung_hu": FigureKind("median HU in the lungs", "[hnsf'U]", 2.0),
    "defect_share": FigureKind("lung below half of the mean perfusion", "%", 0.5),
    "high_share": FigureKind("lung that is high-functional by the rule of the site", "%", 0.5),
    "low_share": FigureKind("lung that is low-functional by the rule of the site", "%", 0.5),
    "out_of_domain": FigureKind("distance from the training of the model; 1 is the limit", "1", 0.05),
})
"""By name."""
# fmt: on


def figures_of(ct: CtVolume, result: PerfusionResult) -> dict[str, float]:
    """Every figure of a result; that of the domain only where the model knows its training.

    Args:
        ct: what the result was made from.
        result: on the grid of `ct`.
    """
    lungs, values = result.lobes.lungs, result.perfusion.values
    inside = values[lungs]
    shares = {lobe: 100.0 * result.lobar[lobe].perfusion_fraction for lobe in Lobe}
    found = {
        "lung_volume": float(np.count_nonzero(lungs)) * result.lobes.grid.voxel_volume_ml,
        **{f"volume_{lobe.name}": result.lobar[lobe].volume_ml for lobe in Lobe},
        **{f"share_{lobe.name}": share for lobe, share in shares.items()},
        "right_share": sum(shares[lobe] for lobe in lobes_of(Side.RIGHT)),
        "lung_hu": float(np.median(ct.hu[lungs])),
        "defect_share": 100.0 * float(np.mean(inside < POORLY_PERFUSED)),
        "high_share": 100.0 * float(np.mean(result.regions.high[lungs])),
        "low_share": 100.0 * float(np.mean(result.regions.low[lungs])),
    }
    domain = result.perfusion.domain
    if domain is not None and math.isfinite(domain.score):  # one that could not be measured is not a number
        found["out_of_domain"] = domain.score
    return found
