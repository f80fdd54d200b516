"""The nouns that flow from a CT to a result.

All are frozen; arrays are C-ordered in index order (slice, row, column) and read-only. Two volumes belong together
only when their grids match; each constructor checks that its arrays have the grid's shape.
No patient data goes through here: a `SeriesReference` holds UIDs and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
from jaxtyping import Bool, Float32, Shaped, UInt8

from inference.anatomy import Fissure, Lobe, Side, lobes_of
from inference.errors import GridMismatch
from inference.fingerprint import DomainDistance
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.uncertainty import Uncertainty


@dataclass(frozen=True, slots=True)
class SeriesReference:
    """Which series, and which instance each slice came from."""

    study_instance_uid: str
    series_instance_uid: str
    frame_of_reference_uid: str
    sop_instance_uids: tuple[str, ...]
    """In slice order: instance k is slice k of every array made from the series. A multi-frame image stands here once
    for each of its frames."""
    frame_numbers: tuple[int, ...] | None = None
    """Of multi-frame images: the frame, from 1, that each slice came from. None for single-frame images."""

    def __post_init__(self) -> None:
        if self.frame_numbers is not None and len(self.frame_numbers) != len(self.sop_instance_uids):
            raise ValueError(f"{len(self.frame_numbers)} frame numbers for {len(self.sop_instance_uids)} slices")

    @property
    def slices(self) -> tuple[tuple[str, int], ...]:
        """SOP Instance UID and frame number of each slice; 0 for a single-frame image."""
        numbers = self.frame_numbers or (0,) * len(self.sop_instance_uids)
        return tuple(zip(self.sop_instance_uids, numbers, strict=True))


@dataclass(frozen=True, slots=True)
class LossyCompression:
    """How the pixels of a CT were once compressed with loss (PS3.3 C.7.6.1.1.5)."""

    ratio: float
    """Uncompressed by compressed size; 0 when nobody knows."""
    method: str
    """A defined term of Lossy Image Compression Method (0028,2114); empty when nobody knows."""


@dataclass(frozen=True, slots=True, eq=False)
class CtVolume:
    """A CT in Hounsfield units."""

    hu: Float32[np.ndarray, "slices rows columns"]
    grid: Grid
    source: SeriesReference
    lossy: LossyCompression | None = None
    """None for a CT whose HU are what was measured, which is the rule."""

    def __post_init__(self) -> None:
        _freeze(self.hu, self.grid)


@dataclass(frozen=True, slots=True, eq=False)
class LobeMap:
    """Lungs and lobes as one label volume."""

    labels: UInt8[np.ndarray, "slices rows columns"]
    """0 outside the lungs, else the value of a `Lobe`."""
    grid: Grid
    segmenter: ModelIdentity
    """What drew the lobes; its caveat travels with every object made from them."""
    fissures_seen: Mapping[Fissure, float] = field(default_factory=dict)
    """Share of each fissure's area, 0 to 1, that the CT showed to an engine that looked for fissures; else empty."""

    def __post_init__(self) -> None:
        _freeze(self.labels, self.grid)

    def mask(self, lobe: Lobe) -> Bool[np.ndarray, "slices rows columns"]:
        """Voxels of one lobe."""
        voxels: np.ndarray = self.labels == lobe.value
        return voxels

    def lung(self, side: Side) -> Bool[np.ndarray, "slices rows columns"]:
        """Voxels of one lung."""
        voxels: np.ndarray = np.zeros(self.labels.shape, dtype=bool)
        for lobe in lobes_of(side):
            voxels |= self.labels == lobe.value
        return voxels

    @property
    def lungs(self) -> Bool[np.ndarray, "slices rows columns"]:
        """Voxels of both lungs."""
        voxels: np.ndarray = self.labels > 0
        return voxels

    def volume_ml(self, lobe: Lobe) -> float:
        """Volume of one lobe in millilitres."""
        return float(np.count_nonzero(self.labels == lobe.value)) * self.grid.voxel_volume_ml


@dataclass(frozen=True, slots=True, eq=False)
class PerfusionMap:
    """Relative perfusion predicted from a CT.

    Dimensionless; 1.0 is the mean over both lungs of this patient, so maps of two patients cannot be compared in
    absolute terms. 0 outside the lungs, always above 0 inside.
    """

    values: Float32[np.ndarray, "slices rows columns"]
    lungs: Bool[np.ndarray, "slices rows columns"]
    grid: Grid
    model: ModelIdentity
    uncertainty: Uncertainty | None = None
    """What an ensemble knows of its own map; None of other engines."""
    domain: DomainDistance | None = None
    """How far the CT is from the training of the model; None where the training is not known."""

    def __post_init__(self) -> None:
        _freeze(self.values, self.grid)
        _freeze(self.lungs, self.grid)


class FunctionBasis(StrEnum):
    """What the two levels of a `FunctionRule` are measured in."""

    PERCENTILE = "percentile"
    """Percentile of perfusion within both lungs."""
    FRACTION_OF_MEAN = "fraction_of_mean"
    """Multiple of the mean perfusion over both lungs."""


@dataclass(frozen=True, slots=True)
class FunctionRule:
    """How a perfusion map is cut into high- and low-functional lung."""

    name: str
    """Short name that travels in the objects, for example `median`."""
    basis: FunctionBasis
    high_from: float
    """At or above this level lung is high-functional."""
    low_below: float
    """Below this level lung is low-functional; not above `high_from`."""
    smallest_island_ml: float = 0.5
    """Smaller connected parts of a region are removed."""
    smallest_hole_ml: float = 0.2
    """Smaller holes in a region are filled."""

    def __post_init__(self) -> None:
        if not self.low_below <= self.high_from:
            raise ValueError(f"low_below {self.low_below} lies above high_from {self.high_from}")

    def statement(self) -> str:
        """The rule in one ASCII sentence for ROI descriptions and pages."""
        if self.basis is FunctionBasis.PERCENTILE:
            high, low = f"percentile {self.high_from:g}", f"percentile {self.low_below:g}"
        else:
            high, low = f"{self.high_from:g} x lung mean", f"{self.low_below:g} x lung mean"
        return (
            f"Rule {self.name}: high from {high}, low below {low} of predicted relative perfusion in both lungs; "
            f"islands under {self.smallest_island_ml:g} ml and holes under {self.smallest_hole_ml:g} ml removed."
        )


@dataclass(frozen=True, slots=True, eq=False)
class FunctionRegions:
    """High- and low-functional lung: disjoint, inside the lungs."""

    high: Bool[np.ndarray, "slices rows columns"]
    low: Bool[np.ndarray, "slices rows columns"]
    grid: Grid
    rule: FunctionRule

    def __post_init__(self) -> None:
        _freeze(self.high, self.grid)
        _freeze(self.low, self.grid)


@dataclass(frozen=True, slots=True)
class LobarPerfusion:
    """What one lobe contributes. Of a lobe without a voxel all is 0, and means and shares of it are not defined."""

    volume_ml: float
    mean_perfusion: float
    """Mean relative perfusion; 1.0 is the mean over both lungs."""
    perfusion_fraction: float
    """Share of the total perfusion of both lungs; sums to 1 over the lobes."""
    high_fraction: float
    """Share of the lobe's volume that is high-functional."""
    low_fraction: float
    """Share of the lobe's volume that is low-functional."""


LobarTable = Mapping[Lobe, LobarPerfusion]


def require_same_grid(expected: Grid, got: Grid) -> None:
    """Raise `GridMismatch` unless both grids are the same within 0.01 mm."""
    if not expected.matches(got):
        raise GridMismatch(expected.description(), got.description())


def _freeze(array: Shaped[np.ndarray, "..."], grid: Grid) -> None:
    if array.shape != grid.shape:
        raise GridMismatch(grid.description(), f"an array of shape {array.shape}")
    array.flags.writeable = False
