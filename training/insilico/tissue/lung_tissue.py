"""What the lungs are made of at each place: what a CT would show, and how much of the capillary bed works."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from inference.geometry import Grid
from training.insilico.people.body import Body

MOST_TISSUE = 0.55
"""Tissue beyond this share of the volume is no capillary bed: airless lung has no more of it than this; ours."""


@dataclass(frozen=True, slots=True, eq=False)
class LungTissue:
    """The lungs on the grid of the body. A disease gives a new one; arrays are never changed in place."""

    grid: Grid
    lobes: UInt8[np.ndarray, "slices rows columns"]
    """0 outside the lungs, else the value of a `Lobe`. Diseased lung stays lung; fluid of an effusion is no lung."""
    hu: Float32[np.ndarray, "slices rows columns"]
    """CT numbers of the whole body, without the vessels inside the lungs."""
    capillaries: Float32[np.ndarray, "slices rows columns"]
    """Share of the capillary bed per gram of tissue that still carries blood: 1 healthy, 0 none. 1 outside."""
    masks: Mapping[str, Bool[np.ndarray, "slices rows columns"]] = field(default_factory=dict)
    """Where each disease is, by its name; part of the truth that is written out."""

    @classmethod
    def healthy(cls, body: Body) -> "LungTissue":
        """The lungs of a body before disease. Shares arrays with the body."""
        return cls(body.grid, body.lobes, body.hu, np.ones(body.grid.shape, np.float32))

    def with_lesion(
        self,
        name: str,
        voxels: Int[np.ndarray, " voxels"],
        *,
        hu: Float32[np.ndarray, " voxels"] | float | None = None,
        capillaries: Float32[np.ndarray, " voxels"] | float = 1.0,
        adds_tissue: bool = False,
        lobes: UInt8[np.ndarray, " voxels"] | int | None = None,
        seen: Bool[np.ndarray, " voxels"] | bool = True,
    ) -> "LungTissue":
        """The tissue after one lesion.

        Args:
            name: of the disease; lesions of one name share a mask.
            voxels: flat indices of what changes.
            hu: new CT numbers; None leaves them.
            capillaries: share of the capillary bed that is left.
            adds_tissue: what makes the place denser is cells, fluid or scar without capillaries of its own, so that
                there are fewer per gram. Otherwise the lung is pressed together, or thinner.
            lobes: new labels; None leaves them.
            seen: which of the voxels belong to the mask.
        """
        new_hu, bed, labels = self.hu, self.capillaries, self.lobes
        if hu is not None:
            new_hu = self.hu.copy()
            new_hu.reshape(-1)[voxels] = hu
        if not (isinstance(capillaries, float) and capillaries == 1.0):
            bed = self.capillaries.copy()
            bed.reshape(-1)[voxels] *= capillaries
        if adds_tissue and hu is not None:
            before, after = (bedded_fraction(part.reshape(-1)[voxels]) for part in (self.hu, new_hu))
            bed = bed.copy() if bed is self.capillaries else bed
            bed.reshape(-1)[voxels] *= np.minimum(before / np.maximum(after, 0.01), 1.0)
        if lobes is not None:
            labels = self.lobes.copy()
            labels.reshape(-1)[voxels] = lobes
        mask = self.masks[name].copy() if name in self.masks else np.zeros(self.grid.shape, dtype=bool)
        mask.reshape(-1)[voxels] |= seen
        return LungTissue(self.grid, labels, new_hu, bed, {**self.masks, name: mask})


def tissue_fraction(hu: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """Share of the volume that is tissue and blood: 0 for air (-1000 HU), 1 for water (0 HU) and above."""
    fraction: Float32[np.ndarray, "*n"] = np.clip((hu + np.float32(1000.0)) / np.float32(1000.0), 0.0, 1.0)
    return fraction


def bedded_fraction(hu: Float32[np.ndarray, "*n"]) -> Float32[np.ndarray, "*n"]:
    """Share of the volume that is tissue which can hold capillaries: at most `MOST_TISSUE`."""
    fraction: Float32[np.ndarray, "*n"] = np.minimum(tissue_fraction(hu), np.float32(MOST_TISSUE))
    return fraction
