"""Lobes from an atlas: the segmenter that needs no weights and no network.

Lungs are found in the CT (`lungs`); the atlas is laid into them (`lobar_atlas`) and its fissures are moved to what the
CT shows (`fissures`). On slices of up to 3 mm the fissures of most patients show; where they do not, the result is
the atlas. How much was seen is said with the lobes.
"""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from jaxtyping import Float32, UInt8

from inference.anatomy import Fissure, Side
from inference.atlas.fissures import LungFissures, find_fissures
from inference.atlas.lobar_atlas import FittedAtlas
from inference.atlas.lungs import Lungs, find_lungs
from inference.geometry import Grid, Reorientation
from inference.lobes import as_found, contiguous
from inference.lung_box import lung_box
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume, LobeMap

_MARGIN_MM = 5.0


@dataclass(frozen=True, slots=True)
class AtlasLobes:
    """A `LobeSegmenter` that works everywhere, approximately."""

    identity: ClassVar[ModelIdentity] = ModelIdentity(
        "atlas-lobes",
        "3",
        caveat="Approximate lobes: atlas fitted to the lungs, fissures followed where the CT shows them.",
    )

    def segment(self, ct: CtVolume) -> LobeMap:
        """Lobes on the grid of `ct`; each lung voxel gets exactly one lobe.

        Raises:
            LungsNotFound: less lung than `lobes.LEAST_LUNG_ML`.
        """
        lungs = find_lungs(ct)
        labels, fissures_seen = draw_lobes(lungs, ct)
        return as_found(LobeMap(contiguous(labels), ct.grid, self.identity, fissures_seen))


def draw_lobes(
    lungs: Lungs, ct: CtVolume | None = None
) -> tuple[UInt8[np.ndarray, "slices rows columns"], dict[Fissure, float]]:
    """Lobe labels of every lung voxel, and the share of each fissure that was seen.

    Args:
        lungs: both lungs; one may be empty.
        ct: where fissures are looked for, on the grid of the lungs; None gives the plain atlas.
    """
    axes = Reorientation.to_patient_axes(lungs.grid)
    grid = axes.grid(lungs.grid)
    labels = np.zeros(lungs.grid.shape, dtype=np.uint8)
    seen: dict[Fissure, float] = {}
    for side in Side:
        lung = axes.apply(lungs.side(side))
        if not lung.any():
            continue
        box = lung_box(lung, grid, margin_mm=_MARGIN_MM)
        inside, around = np.ascontiguousarray(lung[box]), grid.cropped(box)
        divided: FittedAtlas | LungFissures = FittedAtlas.fit(inside, around, side)
        if ct is not None:
            divided = find_fissures(_values(axes.apply(ct.hu)[box]), inside, around, side)
            seen |= divided.seen_shares
        _paint(axes.apply(labels)[box], inside, around, divided)
    return labels, seen


def _values(hu: Float32[np.ndarray, "a b c"]) -> Float32[np.ndarray, "a b c"]:
    return np.ascontiguousarray(hu, dtype=np.float32)


def _paint(
    labels: UInt8[np.ndarray, "a b c"], lung: np.ndarray, grid: Grid, divided: FittedAtlas | LungFissures
) -> None:
    """Label the voxels of a lung, plane by plane to spare memory."""
    for k in np.flatnonzero(lung.any(axis=(1, 2))):
        rows, columns = np.nonzero(lung[k])
        index = np.stack([np.full(len(rows), k), rows, columns], axis=1).astype(np.float64)
        labels[k, rows, columns] = divided.labels(grid.to_patient_mm(index))
