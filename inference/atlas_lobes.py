"""Lobes from an atlas: the segmenter that needs no weights and no network.

Lungs are found in the CT (`lungs`); lobes are laid into them (`lobar_atlas`). The fissures of the patient are not
looked at, which the caveat says in every object made from these lobes.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import UInt8

from inference.anatomy import Side
from inference.lobar_atlas import FittedAtlas
from inference.lobes import contiguous, require_complete
from inference.lungs import Lungs, find_lungs
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume, LobeMap


@dataclass(frozen=True, slots=True)
class AtlasLobes:
    """A `LobeSegmenter` that works everywhere, approximately."""

    identity: ClassVar[ModelIdentity] = ModelIdentity(
        "atlas-lobes",
        "1",
        caveat="Approximate lobes: atlas fitted to the lungs by published volume shares, fissures not seen.",
    )

    def segment(self, ct: CtVolume) -> LobeMap:
        """Lobes on the grid of `ct`; each lung voxel gets exactly one lobe.

        Raises:
            LungsNotFound: less lung than `lobes.LEAST_LUNG_ML`.
            LobesIncomplete: one lung is missing.
        """
        lungs = find_lungs(ct)
        return require_complete(LobeMap(contiguous(draw_lobes(lungs)), ct.grid, self.identity))


def draw_lobes(lungs: Lungs) -> UInt8[np.ndarray, "slices rows columns"]:
    """Lobe labels of every lung voxel by the atlas fitted to each lung, plane by plane to spare memory."""
    labels = np.zeros(lungs.grid.shape, dtype=np.uint8)
    for side in Side:
        lung = lungs.side(side)
        if not lung.any():
            continue
        atlas = FittedAtlas.fit(lung, lungs.grid, side)
        for k in np.flatnonzero(lung.any(axis=(1, 2))):
            rows, columns = np.nonzero(lung[k])
            index = np.stack([np.full(len(rows), k), rows, columns], axis=1).astype(np.float64)
            labels[k, rows, columns] = atlas.labels(lungs.grid.to_patient_mm(index))
    return labels
