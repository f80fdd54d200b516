"""What an ensemble knows of its own map, between two stages: facts in the JSON of a result, arrays in its NPZ.

Maps of other engines have neither; then nothing is written, and nothing is missed when it is read.
"""

from collections.abc import Mapping
from dataclasses import asdict
from math import isfinite
from typing import Any

import numpy as np

from inference.fingerprint import Deviation, DomainDistance
from inference.geometry import Grid
from inference.uncertainty import ConformalInterval, RegionUncertainty, Uncertainty
from inference.volumes import PerfusionMap

_ARRAYS = ("spread", "lower", "upper")


def uncertainty_facts(perfusion: PerfusionMap) -> dict[str, Any]:
    """Plain JSON values; a statistic that could not be measured is null."""
    facts: dict[str, Any] = {}
    if (known := perfusion.uncertainty) is not None:
        facts["uncertainty"] = {
            "shape": list(known.grid.shape),
            "affine": known.grid.affine.tolist(),
            "mean_spread": known.mean_spread,
            "regions": {name: asdict(region) for name, region in known.regions.items()},
            "interval": None if known.interval is None else known.interval.document(),
        }
    if (domain := perfusion.domain) is not None:
        deviations = [
            {**asdict(each), "measured": each.measured if isfinite(each.measured) else None}
            for each in domain.deviations
        ]
        facts["domain"] = {
            "score": domain.score,
            "limit": domain.limit,
            "trained_on": domain.trained_on,
            "deviations": deviations,
        }
    return facts


def uncertainty_arrays(perfusion: PerfusionMap) -> dict[str, np.ndarray]:
    """The maps of an ensemble, on the grid of its networks."""
    known = perfusion.uncertainty
    return {} if known is None else {name: getattr(known, name) for name in _ARRAYS}


def uncertainty_of(facts: Mapping[str, Any], arrays: Mapping[str, np.ndarray], frame_uid: str) -> Uncertainty | None:
    """The uncertainty of a result that was kept; None where it has none."""
    kept = facts.get("uncertainty")
    if kept is None:
        return None
    spread, lower, upper = (arrays[name] for name in _ARRAYS)
    return Uncertainty(
        spread,
        lower,
        upper,
        Grid(tuple(kept["shape"]), np.array(kept["affine"]), frame_uid),
        kept["mean_spread"],
        {name: RegionUncertainty(**region) for name, region in kept["regions"].items()},
        None if kept["interval"] is None else ConformalInterval.of(kept["interval"]),
    )


def domain_of(facts: Mapping[str, Any]) -> DomainDistance | None:
    """The distance of a result that was kept; None where it has none."""
    kept = facts.get("domain")
    if kept is None:
        return None
    deviations = tuple(
        Deviation(**{**each, "measured": float("nan") if each["measured"] is None else each["measured"]})
        for each in kept["deviations"]
    )
    return DomainDistance(kept["score"], deviations, kept["trained_on"], kept["limit"])
