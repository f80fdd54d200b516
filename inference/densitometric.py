"""The densitometric baseline: relative perfusion from CT density and gravity, without a network.

It is what the node can honestly do when no trained weights exist, and the baseline that a network has to beat: in
normal lung, density alone explains much of where blood goes. It knows nothing that the CT does not show (a pulmonary
embolism, hypoxic vasoconstriction), and in emphysema density explains lobar perfusion only weakly
(R2 = 0.13, Bonney 2020). It has not been validated on patients.

Density and gravity must not be counted twice. Supine, blood flow per ml of lung falls linearly by 2.6 % per cm of
height, while flow per gram of tissue is nearly flat (PMC4294417; flow is much more uniform after correction for the
tissue fraction, PMC5741573): dependent lung gets more blood because there is more tissue per ml. So density times
gravity would apply the gradient twice, and density alone would make it depend on how deeply the patient breathed in
for the planning CT. Instead the patient's own linear trend of density with height is taken out and the published
gradient put in its place:

    uptake = gravity(height) * perfused tissue / tissue expected at this height

The quotient holds what is particular to this patient: emphysema, dense lesions, lobar differences.
"""

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from inference.geometry import Grid
from inference.lung_box import lung_box
from inference.model_card import ModelIdentity
from inference.perfusion import relative_to_lung_mean
from inference.volumes import CtVolume, LobeMap, PerfusionMap, require_same_grid

GRAVITY_PER_CM = 0.026
"""Fall of blood flow per cm of height, as a fraction of the flow at mean height; supine (PMC4294417)."""

SPECT_FWHM_MM = 15.0
"""Resolution of the map: MAA SPECT after reconstruction, filter and free breathing has 12 to 18 mm."""

TISSUE_BY_HU = (
    (-950.0, 0.00),  # emphysema: no capillary bed is counted
    (-900.0, 0.10),  # from here tissue is (HU + 1000) / 1000: air is -1000, blood and tissue about 0
    (-500.0, 0.50),  # densest lung that counts as normally aerated
    (-100.0, 0.05),  # not aerated: tumour, consolidation, atelectasis, effusion; large vessels, which MAA passes
)
"""HU to perfused tissue per volume, linear in between and constant beyond both ends.

-950, -900, -500 and -100 HU are the usual class limits (emphysema; over-inflated, normally, poorly, not aerated).
Between -500 and -100 HU the value falls instead of rising, so that a tumour or its blurred rim does not read as
well-perfused lung. The 0.05 left to non-aerated tissue is our choice.
"""

AERATED_HU = (-950.0, -500.0)
"""Voxels that define the patient's trend of density with height: neither emphysema nor lesions."""


class DensitometricBaseline:
    """Perfusion engine without weights. Assumes that the patient lies supine (see `predict`)."""

    identity = ModelIdentity(
        name="densitometric-baseline",
        version="1",
        caveat="Baseline from CT density and gravity, not a trained network; not validated on patients.",
    )

    def predict(self, ct: CtVolume, lobes: LobeMap) -> PerfusionMap:
        """Predict relative perfusion at SPECT resolution.

        Height is measured along the patient's posterior-anterior axis, on any grid. A CT volume does not say how the
        patient lay: supine is assumed, as planning CTs and MAA injections nearly always are. For a prone patient the
        gravity gradient is the wrong way round, and this is not detected here.

        Args:
            ct: HU with any spacing.
            lobes: on the grid of `ct`.

        Raises:
            GridMismatch: `lobes` is not on the grid of `ct`.
            ImplausibleResult: there is no aerated lung to scale by.
        """
        require_same_grid(ct.grid, lobes.grid)
        lungs = lobes.lungs
        values = np.zeros(ct.grid.shape, dtype=np.float32)
        if lungs.any():
            box = lung_box(lungs, ct.grid)
            grid = ct.grid.cropped(box)
            uptake = expected_uptake(ct.hu[box], lungs[box], grid)
            values[box] = smooth_inside(uptake, lungs[box], grid, fwhm_mm=SPECT_FWHM_MM)
        return PerfusionMap(relative_to_lung_mean(values, lungs), lungs, ct.grid, self.identity)


def expected_uptake(
    hu: Float[np.ndarray, "slices rows columns"],
    lungs: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
) -> Float[np.ndarray, "slices rows columns"]:
    """Uptake per voxel before blurring, 0 outside the lungs, in arbitrary units.

    Args:
        hu: CT numbers on `grid`.
        lungs: voxels of both lungs on `grid`.
        grid: gives the height of each voxel.
    """
    height_cm = np.broadcast_to(-grid.coordinates_mm()[1] / 10.0, grid.shape)[lungs].astype(np.float32)
    inside_hu = hu[lungs]
    tissue = perfused_tissue(inside_hu)
    aerated = (inside_hu > AERATED_HU[0]) & (inside_hu < AERATED_HU[1])
    height_cm -= height_cm.mean(dtype=np.float64)
    expected = _linear_trend(height_cm, tissue, aerated)
    gravity = np.maximum(1.0 - GRAVITY_PER_CM * height_cm, 0.0)
    uptake = np.zeros(grid.shape, dtype=np.float32)
    uptake[lungs] = gravity * tissue / expected
    return uptake


def perfused_tissue(hu: Float[np.ndarray, "*shape"]) -> Float[np.ndarray, "*shape"]:
    """Share of each voxel that is perfused lung tissue, from its CT number by `TISSUE_BY_HU`."""
    levels_hu, shares = zip(*TISSUE_BY_HU, strict=True)
    tissue: Float[np.ndarray, "*shape"] = np.interp(hu, levels_hu, shares).astype(np.float32)
    return tissue


def smooth_inside(
    values: Float[np.ndarray, "slices rows columns"],
    mask: Bool[np.ndarray, "slices rows columns"],
    grid: Grid,
    *,
    fwhm_mm: float,
) -> Float[np.ndarray, "slices rows columns"]:
    """Gaussian blur by normalised convolution: only voxels of `mask` count, so the edge of the lung is not darkened.

    The kernel ends at 3 standard deviations. Left and right lung are blurred together, as in SPECT.

    Args:
        values: on `grid`; ignored outside `mask`.
        mask: voxels that contribute and that are returned; others are 0 in the result.
        grid: gives the spacing.
        fwhm_mm: full width at half maximum of the Gaussian.
    """
    sigma = [fwhm_mm / (2.0 * np.sqrt(2.0 * np.log(2.0))) / spacing_mm for spacing_mm in grid.spacing_mm]
    weight = mask.astype(np.float32)
    blurred = ndimage.gaussian_filter(values * weight, sigma, mode="constant", truncate=3.0)
    coverage = ndimage.gaussian_filter(weight, sigma, mode="constant", truncate=3.0)
    smooth: Float[np.ndarray, "slices rows columns"] = np.divide(
        blurred, coverage, out=np.zeros_like(blurred), where=mask
    )
    return smooth


def _linear_trend(
    height_cm: Float[np.ndarray, " n"], tissue: Float[np.ndarray, " n"], used: Bool[np.ndarray, " n"]
) -> Float[np.ndarray, " n"]:
    """Least-squares line of tissue over height through the `used` voxels, at least 0.02 everywhere."""
    if not used.any():
        return np.ones_like(tissue)
    x, y = height_cm[used].astype(np.float64), tissue[used].astype(np.float64)
    spread = float(x.var())
    slope = float(((x - x.mean()) * (y - y.mean())).mean()) / spread if spread > 0 else 0.0
    line: Float[np.ndarray, " n"] = np.maximum(y.mean() + slope * (height_cm - x.mean()), 0.02).astype(np.float32)
    return line
