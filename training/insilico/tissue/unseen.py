"""What varies in perfusion without any sign on the CT and without any disease.

A log-normal field with a standard deviation of 0.15 to 0.3 and a correlation length of 20 to 40 mm: an assumption,
ours. Without it perfusion would be a function of the CT, which it is not in patients.
"""

import numpy as np
from jaxtyping import Float32

from training.insilico.draws import Draws
from training.insilico.tissue.lung_voxels import LungVoxels

SPREAD = (0.15, 0.30)
CORRELATION_MM = (20.0, 40.0)


def unseen_heterogeneity(voxels: LungVoxels, draws: Draws) -> Float32[np.ndarray, " voxels"]:
    """Factor to the conductance of the capillary bed, median 1; spread and correlation length are the patient's own."""
    spread = draws.between("spread", *SPREAD)
    correlation_mm = draws.between("correlation", *CORRELATION_MM)
    factor: Float32[np.ndarray, " voxels"] = np.exp(np.float32(spread) * voxels.smooth(draws, "unseen", correlation_mm))
    return factor
