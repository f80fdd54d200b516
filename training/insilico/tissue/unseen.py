"""How perfusion varies within healthy lung: partly by how the vessels have grown, partly for reasons nobody sees.

Log-normal fields with a standard deviation of 0.15 to 0.3 and a correlation length of 20 to 40 mm in all: an
assumption, ours. Most of it is structure: perfusion keeps its pattern in other postures and from day to day, and
follows the branching of the vessels (Glenny, J Appl Physiol 1991;71:620, recalled). Structure shows in the width of
vessels and in the blood of the capillaries; the rest leaves no sign on the CT. Without it perfusion would be a function
of the CT, which it is not in patients.
"""

import numpy as np
from jaxtyping import Float32

from training.insilico.draws import Draws
from training.insilico.tissue.lung_voxels import LungVoxels

SPREAD = (0.15, 0.30)
CORRELATION_MM = (20.0, 40.0)
STRUCTURE_SHARE = 0.7
"""Of the variance of the logarithm. Ours: networks predict SPECT from CT in patients with R of 0.8 (Ren et al. 2022,
10.3389/fonc.2022.883516), which nothing could if most of the pattern were unseen."""


def structural_heterogeneity(voxels: LungVoxels, draws: Draws) -> Float32[np.ndarray, " voxels"]:
    """Factor to the conductance of the capillary bed that vessels have grown for, median 1."""
    return _factor(voxels, draws, "structure", STRUCTURE_SHARE)


def unseen_heterogeneity(voxels: LungVoxels, draws: Draws) -> Float32[np.ndarray, " voxels"]:
    """Factor to the conductance of the capillary bed that nothing shows, median 1."""
    return _factor(voxels, draws, "unseen", 1.0 - STRUCTURE_SHARE)


def _factor(voxels: LungVoxels, draws: Draws, what: str, share: float) -> Float32[np.ndarray, " voxels"]:
    """Spread and correlation length are the patient's own; each field has its share of the variance."""
    spread = draws.between("spread", *SPREAD) * share**0.5
    correlation_mm = draws.between("correlation", *CORRELATION_MM)
    factor: Float32[np.ndarray, " voxels"] = np.exp(np.float32(spread) * voxels.smooth(draws, what, correlation_mm))
    return factor
