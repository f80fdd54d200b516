"""Checks of the patient and the scan: position, size, breath, contrast medium, metal, noise.

None of them says that lobes are wrong. They say that this CT is not of the kind that the models were made for, or what
a reader of densities must know.
"""

import numpy as np
from jaxtyping import Float

from inference.anatomy import Side
from inference.geometry import Grid
from inference.lung_box import lung_box
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings
from inference.quality.policy import QualityPolicy
from inference.quality.threshold_lungs import ThresholdLungs
from inference.volumes import CtVolume, LobeMap

METAL_HU = 3000.0
"""Above the densest bone and tooth; the scale of most scanners ends at 3071."""
METAL_MARGIN_MM = 30.0
PURE_GAS_HU = -980.0
"""Mean of a block; what is left of the densest emphysema is some percent of tissue."""
BLOOD_HU = (0.0, 600.0)
SOFT_TISSUE_HU = (-150.0, 250.0)
_NOISE_SLICES = 8
_NOISE_STEP = 3
"""Pixels between two that are compared; neighbours are correlated by the reconstruction."""


def check_position(thorax: CoarseThorax, grid: Grid, policy: QualityPolicy) -> Findings:
    """Prone by the side of the couch, else by the image axes; feet first by the image axes.

    Args:
        thorax: in patient axes.
        grid: of the CT as it was sent.
        policy: judges.
    """
    from inference.atlas.couch import couch_side  # scipy; the node's own processes know the checks by their types

    couch = couch_side(thorax.hu, thorax.body, thorax.grid)
    rows_to_front = bool(grid.direction[1, 1] < 0)
    prone = couch == "front" if couch else rows_to_front
    why = f"the couch lies at the {couch} of the body" if couch else "the image rows run to the front"
    sentence = f"The patient lies prone ({why}); gravity then acts towards the front, which models may not know."
    findings = policy.state("POSITION_PRONE", 1.0, 0.0, sentence) if prone else ()
    if np.cross(grid.direction[:, 2], grid.direction[:, 1])[2] < 0:
        findings += policy.state("POSITION_FEET_FIRST", 1.0, 0.0, "The patient was scanned feet first.")
    return findings


def check_size(thorax: CoarseThorax, policy: QualityPolicy) -> Findings:
    """Height of the lungs."""
    if not thorax.lungs.any():
        return ()
    levels = np.flatnonzero(thorax.lungs.any(axis=(1, 2)))
    height_mm = float(levels[-1] - levels[0] + 1) * thorax.grid.spacing_mm[0]
    sentence = f"The lungs are {height_mm:.0f} mm high: a child, a very small person, or part of the lungs."
    return policy.judge("SMALL_PATIENT", height_mm, sentence)


def check_breath(thorax: CoarseThorax, found: ThresholdLungs, policy: QualityPolicy) -> Findings:
    """Mean HU of aerated lung, and the two halves of the diaphragm against each other."""
    aerated = found.both & (thorax.hu > -970.0) & (thorax.hu < -500.0)
    if not aerated.any():
        return ()
    mean_hu = float(thorax.hu[aerated].mean(dtype=np.float64))
    levels = np.flatnonzero(found.both.any(axis=(1, 2)))
    height_mm = float(levels[-1] - levels[0] + 1) * thorax.grid.spacing_mm[0]
    sentence = (
        f"Aerated lung has {mean_hu:.0f} HU on average, the lungs are {height_mm:.0f} mm high and hold "
        f"{thorax.ml(found.both):.0f} ml: an unusual depth of breath."
    )
    findings = policy.judge("INSPIRATION", mean_hu, sentence)
    domes = dome_heights_mm(thorax, found)
    if domes is not None:
        higher_mm = domes[Side.RIGHT] - domes[Side.LEFT]
        sentence = f"The right half of the diaphragm stands {higher_mm:.0f} mm higher than the left."
        findings += policy.judge("DIAPHRAGM_LEVEL", higher_mm, sentence)
    return findings


def check_gas(thorax: CoarseThorax, policy: QualityPolicy) -> Findings:
    """Blocks of lung that hold no tissue at all."""
    gas_ml = thorax.ml(thorax.lungs & (thorax.hu < PURE_GAS_HU))
    sentence = f"{gas_ml:.0f} ml of the lungs hold gas and no tissue (pneumothorax, bullae, or no lung at all)."
    return policy.judge("PURE_GAS", gas_ml, sentence)


def dome_heights_mm(thorax: CoarseThorax, found: ThresholdLungs) -> dict[Side, float] | None:
    """Patient z of the top of each half of the diaphragm; None where one lung is missing or the scan ends in lung.

    The top is the 90th percentile of the lowest lung over the middle of each lung, beside and behind the heart, on
    which the left lung lies further in front.
    """
    heights = {}
    z_mm, y_mm, x_mm = (thorax.positions_mm(axis) for axis in range(3))
    for side in Side:
        lung = found.side(side)
        if not lung.any() or np.count_nonzero(lung[0]) * thorax.grid.spacing_mm[1] * thorax.grid.spacing_mm[2] > 400.0:
            return None
        _, y_centre, x_centre = thorax.centre_mm(lung)
        outward = (x_mm - x_centre) * (-1.0 if side is Side.RIGHT else 1.0)
        behind = y_mm - y_centre
        chosen = ((behind > -10.0) & (behind < 40.0))[:, np.newaxis] & ((outward > -5.0) & (outward < 30.0))
        footprint = lung.any(axis=0) & chosen
        if not footprint.any():
            return None
        lowest = z_mm[lung.argmax(axis=0)[footprint]]
        heights[side] = float(np.percentile(lowest, 90.0))
    return heights


def check_contrast(thorax: CoarseThorax, found: ThresholdLungs, policy: QualityPolicy) -> Findings:
    """Heart and great vessels brighter than blood."""
    upper_hu = blood_hu(thorax, found)
    if upper_hu is None:
        return ()
    sentence = f"Heart and great vessels reach {upper_hu:.0f} HU: contrast medium, which also makes lung denser."
    return policy.judge("CONTRAST_MEDIUM", upper_hu, sentence)


def blood_hu(thorax: CoarseThorax, found: ThresholdLungs) -> float | None:
    """Upper quartile of HU between the lungs, in front of their middle and without the sternum; None without lungs."""
    lungs = found.both
    if not lungs.any():
        return None
    z_mm, y_mm, x_mm = (thorax.positions_mm(axis) for axis in range(3))
    levels, rows = np.flatnonzero(lungs.any(axis=(1, 2))), np.flatnonzero(lungs.any(axis=(0, 2)))
    bottom, height = z_mm[levels[0]], z_mm[levels[-1]] - z_mm[levels[0]]
    part = np.ix_(
        (z_mm > bottom + 0.25 * height) & (z_mm < bottom + 0.65 * height),
        (y_mm > y_mm[rows[0]] + 15.0) & (y_mm < thorax.centre_mm(lungs)[1] + 10.0),
        np.abs(x_mm - thorax.midline_mm) < 60.0,
    )
    hu = thorax.hu[part][~lungs[part]]
    blood = hu[(hu > BLOOD_HU[0]) & (hu < BLOOD_HU[1])]
    return float(np.percentile(blood, 75.0)) if blood.size else None


def check_metal(ct: CtVolume, lobes: LobeMap, policy: QualityPolicy) -> Findings:
    """Metal in and around the lungs: its streaks are no lung density."""
    if not lobes.labels.any():
        return ()
    near = ct.hu[lung_box(lobes.lungs, lobes.grid, margin_mm=METAL_MARGIN_MM)]
    metal_ml = float(np.count_nonzero(near > METAL_HU)) * ct.grid.voxel_volume_ml
    sentence = f"{metal_ml:.1f} ml around the lungs are denser than {METAL_HU:.0f} HU: metal, whose streaks falsify HU."
    return policy.judge("METAL", metal_ml, sentence)


def check_noise(ct: CtVolume, policy: QualityPolicy) -> Findings:
    """Pixel noise in soft tissue, from some slices."""
    noise_hu = soft_tissue_noise_hu(ct)
    if noise_hu is None:
        return ()
    return policy.judge("PIXEL_NOISE", noise_hu, f"Pixel noise in soft tissue is {noise_hu:.0f} HU.")


def soft_tissue_noise_hu(ct: CtVolume, *, apart: int = _NOISE_STEP) -> float | None:
    """Standard deviation of HU in soft tissue, from pairs of pixels of some slices; None where there is too little.

    Args:
        ct: HU.
        apart: pixels between the two of a pair.
    """
    differences = []
    for k in range(0, ct.grid.shape[0], max(ct.grid.shape[0] // _NOISE_SLICES, 1)):
        first, second = ct.hu[k][:, :-apart], ct.hu[k][:, apart:]
        low, high = SOFT_TISSUE_HU
        both = (first > low) & (first < high) & (second > low) & (second < high)
        differences.append((first - second)[both])
    found: Float[np.ndarray, " n"] = np.concatenate(differences)
    if found.size < 1000:
        return None
    return 1.4826 * float(np.median(np.abs(found))) / float(np.sqrt(2.0))
