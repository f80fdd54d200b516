"""How far a predicted map may be from what a SPECT would have shown: spread of an ensemble and calibrated intervals.

An ensemble has one network for each fold of the study. Where they disagree nobody should trust their mean: this is the
*spread*. It knows nothing of errors that all networks share, so it is no interval. The *interval* does: each network
was tested on patients that it had never seen (those of its fold), and the largest errors there say how far to reach.

    interval of one network = its prediction ± the error that `level` of its held-out patients do not exceed
    interval of the map     = from the lowest to the highest of these intervals over the networks

The first line is split conformal prediction with the patient as the unit (Papadopoulos 2002; Vovk 2005): for a new
patient who is exchangeable with the held-out ones the interval holds what SPECT would show with a probability of at
least `level`, whatever the network is worth. The second line holds every interval of the first and so keeps what it
promises; it is wider where the networks disagree. Nothing is promised for one given patient, for all regions at once,
or for patients of another kind: other scanners, other diseases, and every real patient while training was in silico.

Numpy only. Lengths are in mm, perfusion in multiples of the mean over both lungs.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import isfinite
from types import MappingProxyType
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, UInt8

from inference.anatomy import Lobe, Side, lobes_of
from inference.calibration_document import decoded, numbered
from inference.errors import GridMismatch
from inference.geometry import Grid

REGIONS: tuple[str, ...] = (*(lobe.tg263 for lobe in Lobe), *(side.tg263 for side in Side))
"""Regions whose mean perfusion gets an interval: the lobes and both sides, by TG-263 name. The mean of both lungs
together is 1 by definition."""


@dataclass(frozen=True, slots=True)
class ConformalInterval:
    """Errors on held-out patients, one for each network of an ensemble, in the order of its members.

    In a model bundle this is `calibration/conformal.json`.
    """

    level: float
    """Share of patients, 0 to 1, for which an interval holds what SPECT showed."""
    voxel_share: float
    """Share of a patient's lung voxels, 0 to 1, that must lie in the interval for the patient to count as held."""
    patients: tuple[int, ...]
    """Held-out patients of each member."""
    voxels: tuple[float, ...]
    """Half-width at each voxel, for each member."""
    regions: Mapping[str, tuple[float, ...]]
    """Half-width of the mean of each of `REGIONS`, for each member."""
    usual_spread: float
    """Mean spread over the lungs that 95 % of the study's patients do not exceed."""
    calibrated_on: str
    """Cohort in one ASCII sentence, saying in-silico or clinical."""

    def __post_init__(self) -> None:
        members = len(self.patients)
        numbers = (*self.voxels, *(width for widths in self.regions.values() for width in widths), self.usual_spread)
        if not 0.0 < self.level < 1.0 or not 0.0 < self.voxel_share <= 1.0:
            raise ValueError(f"level {self.level} and voxel share {self.voxel_share} must lie between 0 and 1")
        if not members or {len(self.voxels), *(len(widths) for widths in self.regions.values())} != {members}:
            raise ValueError(f"every half-width needs one value for each of the {members} members")
        if not all(isfinite(number) and number >= 0.0 for number in numbers):
            raise ValueError("half-widths and spread must be finite and not negative")
        if strange := sorted(set(self.regions) - set(REGIONS)):
            raise ValueError(f"unknown regions {', '.join(strange)}")

    def document(self) -> dict[str, Any]:
        """As JSON values; equal intervals give equal documents."""
        content = numbered({each.name: getattr(self, each.name) for each in fields(self)})
        return content | {"regions": {name: list(widths) for name, widths in self.regions.items()}}

    @classmethod
    def of(cls, document: Mapping[str, Any]) -> "ConformalInterval":
        """From JSON values.

        Raises:
            InvalidModelCard: of another format, lacks a field, or holds an impossible value.
        """

        def made(content: dict[str, Any]) -> "ConformalInterval":
            for name in ("patients", "voxels"):
                content[name] = tuple(content[name])
            content["regions"] = MappingProxyType({name: tuple(widths) for name, widths in content["regions"].items()})
            return cls(**content)

        return decoded(document, "conformal interval", made)


@dataclass(frozen=True, slots=True)
class RegionUncertainty:
    """Of the mean perfusion of one region."""

    spread: float
    """Standard deviation of the members' means."""
    below: float | None
    """How far the interval reaches below the mean of the ensemble; None without an interval."""
    above: float | None
    """How far it reaches above."""


@dataclass(frozen=True, slots=True, eq=False)
class Uncertainty:
    """What an ensemble knows of its own map, on the grid on which its networks work."""

    spread: Float32[np.ndarray, "slices rows columns"]
    """Standard deviation over the members (n - 1); 0 outside the lungs."""
    lower: Float32[np.ndarray, "slices rows columns"]
    """Lower end of the interval, at least 0; equal to `upper` and 0 outside the lungs. The lowest member without an
    interval."""
    upper: Float32[np.ndarray, "slices rows columns"]
    """Upper end of the interval; the highest member without an interval."""
    grid: Grid
    """That of the networks, much coarser than the CT: nothing finer is known."""
    mean_spread: float
    """Mean of `spread` over the lungs."""
    regions: Mapping[str, RegionUncertainty] = field(default_factory=dict)
    """By TG-263 name, of those of `REGIONS` that have a voxel."""
    interval: ConformalInterval | None = None
    """What the interval rests on; None where nothing was calibrated."""

    def __post_init__(self) -> None:
        for array in (self.spread, self.lower, self.upper):
            if array.shape != self.grid.shape:
                raise GridMismatch(self.grid.description(), f"an array of shape {array.shape}")
            array.flags.writeable = False

    def statement(self) -> str:
        """What its figures mean, in ASCII sentences for reports."""
        first = f"The networks of the ensemble differ by {100.0 * self.mean_spread:.1f} % of the lung mean on average."
        if (known := self.interval) is None:
            return f"{first} No interval was calibrated."
        patients = " + ".join(str(count) for count in known.patients)
        return (
            f"{first} Range of uncertainty: for at least {100.0 * known.level:.0f} % of patients exchangeable with the "
            f"{patients} held-out ones ({known.calibrated_on.rstrip('.')}) the mean that SPECT would show of one "
            "region lies in it; not of all regions at once, and nothing is promised for other patients."
        )

    def sha256(self) -> str:
        """Digest of all that it says."""
        digest = hashlib.sha256(repr((self.mean_spread, sorted(self.regions.items()))).encode())
        for array in (self.spread, self.lower, self.upper):
            digest.update(np.ascontiguousarray(array).data)
        return digest.hexdigest()


def region_means(values: Float[np.ndarray, " voxels"], labels: UInt8[np.ndarray, " voxels"]) -> dict[str, float]:
    """Mean of each of `REGIONS` that has a voxel, by TG-263 name.

    Args:
        values: at the voxels of the lungs.
        labels: the value of a `Lobe` at each of them.
    """
    count = len(Lobe) + 1
    voxels = np.bincount(labels, minlength=count)
    sums = np.bincount(labels, weights=values, minlength=count)
    members = {lobe.tg263: [lobe.value] for lobe in Lobe} | {
        side.tg263: [lobe.value for lobe in lobes_of(side)] for side in Side
    }
    return {name: float(sums[part].sum() / voxels[part].sum()) for name, part in members.items() if voxels[part].any()}


def uncertainty_of(
    maps: Float[np.ndarray, "members slices rows columns"],
    lungs: Bool[np.ndarray, "slices rows columns"],
    lobes: UInt8[np.ndarray, "slices rows columns"],
    grid: Grid,
    interval: ConformalInterval | None = None,
) -> Uncertainty:
    """What the maps of the members say together.

    Args:
        maps: relative perfusion of each member, on the grid of the networks; values outside `lungs` are ignored.
        lungs: where perfusion is looked at.
        lobes: the value of a `Lobe` at each voxel of `lungs`.
        grid: of all of them.
        interval: calibrated for these members, in this order.
    """
    inside = maps[:, lungs].astype(np.float64)
    spread = _spread(inside)
    half = np.zeros(len(maps)) if interval is None else np.array(interval.voxels)
    lower = np.maximum((inside - half[:, None]).min(axis=0), 0.0)
    upper = (inside + half[:, None]).max(axis=0)

    def whole(values: Float[np.ndarray, " voxels"]) -> Float32[np.ndarray, "slices rows columns"]:
        volume = np.zeros(grid.shape, dtype=np.float32)
        volume[lungs] = values
        return volume

    regions = _of_regions(inside, lobes[lungs], interval)
    mean_spread = float(spread.mean()) if spread.size else 0.0
    return Uncertainty(whole(spread), whole(lower), whole(upper), grid, mean_spread, regions, interval)


def _spread(values: Float[np.ndarray, "members n"]) -> Float[np.ndarray, " n"]:
    """Standard deviation over the members (n - 1); 0 for a single one."""
    found: np.ndarray = values.std(axis=0, ddof=1) if len(values) > 1 else np.zeros(values.shape[1])
    return found


def _of_regions(
    inside: Float[np.ndarray, "members voxels"],
    labels: UInt8[np.ndarray, " voxels"],
    interval: ConformalInterval | None,
) -> dict[str, RegionUncertainty]:
    each = [region_means(values, labels) for values in inside]
    found = {}
    for name in each[0]:
        means = np.array([of_member[name] for of_member in each])
        widths = None if interval is None else interval.regions.get(name)
        below = above = None
        if widths is not None:
            below = float(means.mean() - (means - widths).min())
            above = float((means + widths).max() - means.mean())
        found[name] = RegionUncertainty(float(_spread(means[:, None])[0]), below, above)
    return found
