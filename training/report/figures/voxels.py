"""All voxels of all tested patients: predicted over reference as a map of how many voxels lie where."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.colors import LogNorm

from training.report.figures.canvas import canvas

EDGES = np.linspace(0.0, 2.5, 76)
"""In multiples of the lungs' mean."""


@dataclass(frozen=True, slots=True, eq=False)
class VoxelCloud:
    """Voxels of all patients in bins of `EDGES`; each patient has the same weight in all."""

    title: str
    across: str
    """Name of the axis, with its unit."""
    up: str
    share: Float[np.ndarray, "across up"]
    """Of all voxels, 0 to 1; those beyond the last edge lie in the last bin."""

    @classmethod
    def of(
        cls,
        title: str,
        across: str,
        up: str,
        patients: Sequence[tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]],
    ) -> "VoxelCloud":
        """Count the voxels of patients.

        Args:
            title: of the panel.
            across: name of the axis across.
            up: name of the axis upwards.
            patients: of each, the values across and upwards.
        """
        total = np.zeros((EDGES.size - 1, EDGES.size - 1))
        last = EDGES[-1] - 1e-6
        for one, other in patients:
            counts, _, _ = np.histogram2d(np.clip(one, 0.0, last), np.clip(other, 0.0, last), bins=(EDGES, EDGES))
            total += counts / max(one.size, 1)
        return cls(title, across, up, total / max(len(patients), 1))


def draw_voxels(clouds: Sequence[VoxelCloud]) -> bytes:
    """One panel for each cloud, all in one scale of colours; on the line both agree."""
    with canvas(3.1) as paper:
        places = paper.figure.subplots(1, len(clouds), sharex=True, sharey=True, squeeze=False)[0]
        most = max(float(cloud.share.max()) for cloud in clouds)
        norm = LogNorm(most / 1000.0, most)
        for place, cloud in zip(places, clouds, strict=True):
            shown = np.ma.masked_less(cloud.share.T, most / 1000.0)
            mesh = place.pcolormesh(EDGES, EDGES, shown, cmap="Blues", norm=norm, rasterized=True)
            place.plot(EDGES[[0, -1]], EDGES[[0, -1]], color="black", linewidth=0.8, linestyle=(0, (4, 3)))
            place.set_title(cloud.title, loc="left")
            place.set_xlabel(cloud.across)
            place.set_ylabel(cloud.up)
            place.set_aspect("equal")
            place.set_xlim(0.0, EDGES[-1])
            place.set_ylim(0.0, EDGES[-1])
        bar = paper.figure.colorbar(mesh, ax=list(places), shrink=0.85, pad=0.01)
        bar.set_label("share of the voxels per bin")
        return paper.png(colours=128)
