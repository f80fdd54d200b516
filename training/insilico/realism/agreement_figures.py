"""How far the SPECT of one patient agrees with the truth, and how far predictors get that know nearly nothing.

The best that any predictor could score against a SPECT is what the truth itself scores: the noise ceiling. It is taken
twice. The perfusion of the lung tissue as it is (`TRUTH`) is what one wants to know; blurred as the SPECT blurs
(`SEEN_TRUTH`) it is what a perfect predictor of SPECT images would draw. Between this ceiling and the trivial
predictors lies all that a network can show.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, UInt8
from scipy import optimize

from inference.geometry import Grid
from training.baselines import PUBLISHED_WEIGHTS, LungsOnSpect, Predictor, blurred, sharp_terms, weighted
from training.metrics import SPLITS_PERCENT, eroded, function_dice, lobe_means, pearson, spearman

TRUTH = "truth"
SEEN_TRUTH = "truth at SPECT resolution"
FWHM_RANGE_MM = (6.0, 24.0)
"""Where the effective resolution is looked for; it ends at the upper limit where CT and SPECT differ in breath."""

Picture = Float32[np.ndarray, "slices rows columns"]


@dataclass(frozen=True, slots=True)
class Agreement:
    """One map against the SPECT."""

    whole: float
    """Spearman R of all voxels that are lung by half or more."""
    eroded: float
    """Spearman R of the voxels at least one resolution inside the lungs' surface."""
    dice_high: dict[str, float]
    """Of high-functional lung by each of `SPLITS_PERCENT`, whole mask."""
    dice_low: dict[str, float]


@dataclass(frozen=True, slots=True)
class AgreementFigures:
    """The SPECT of one patient beside the truth and the trivial predictors."""

    fwhm_mm: float
    """Effective resolution: the Gaussian that makes the true activity most like the SPECT (Pearson R)."""
    voxels: int
    eroded_voxels: int
    with_spect: dict[str, Agreement]
    """The two ceilings, then the predictors, by name."""
    lobe_means: dict[str, dict[str, float]]
    """Mean of each lobe in each of these maps, in multiples of the map's mean over both lungs."""


@dataclass(frozen=True, slots=True, eq=False)
class LungVoxels:
    """What fits and later scores of predictors need of a patient: the voxels of the lungs, without their places."""

    terms: Float32[np.ndarray, "terms voxels"]
    """Blurred pictures in the order of `training.baselines.Term`."""
    spect: Float32[np.ndarray, " voxels"]
    eroded: Bool[np.ndarray, " voxels"]


def effective_fwhm_mm(
    activity: Picture, spect: Picture, grid: Grid, mask: Bool[np.ndarray, "slices rows columns"]
) -> float:
    """Resolution of a SPECT with breathing and misalignment, from the true activity per voxel of its grid."""

    def unlikeness(fwhm_mm: float) -> float:
        return -pearson(blurred(activity, grid, fwhm_mm=fwhm_mm), spect, mask)

    found = optimize.minimize_scalar(unlikeness, bounds=FWHM_RANGE_MM, method="bounded", options={"xatol": 0.1})
    return float(found.x)


def measure_agreement(
    activity: Picture,
    perfusion: Picture,
    spect: Picture,
    lungs: LungsOnSpect,
    lobes: UInt8[np.ndarray, "slices rows columns"],
) -> tuple[AgreementFigures, LungVoxels]:
    """Scores against the SPECT, all on its grid, which should end near the lungs to save time.

    Args:
        activity: true activity per voxel, with what is not lung at 0.
        perfusion: mean of the true perfusion in the part of a voxel that is lung.
        spect: the measured image.
        lungs: what the CT shows.
        lobes: where `lungs` is lung by half or more, the lobe.
    """
    mask, grid = lungs.mask, lungs.grid
    fwhm_mm = effective_fwhm_mm(activity, spect, grid, mask)
    inner = eroded(mask, grid, margin_mm=fwhm_mm)
    terms = np.stack([blurred(term, grid, fwhm_mm=fwhm_mm) for term in sharp_terms(lungs)])
    maps: dict[str, Picture] = {TRUTH: perfusion, SEEN_TRUTH: blurred(activity, grid, fwhm_mm=fwhm_mm)}
    maps |= {str(predictor): weighted(terms, PUBLISHED_WEIGHTS[predictor]) for predictor in Predictor}
    figures = AgreementFigures(
        fwhm_mm=fwhm_mm,
        voxels=int(np.count_nonzero(mask)),
        eroded_voxels=int(np.count_nonzero(inner)),
        with_spect={name: _agreement(values, spect, mask, inner) for name, values in maps.items()},
        lobe_means={name: _relative_lobe_means(values, lobes) for name, values in maps.items()},
    )
    return figures, LungVoxels(terms[:, mask], spect[mask], inner[mask])


def _agreement(
    values: Picture,
    spect: Picture,
    mask: Bool[np.ndarray, "slices rows columns"],
    inner: Bool[np.ndarray, "slices rows columns"],
) -> Agreement:
    dice = {name: function_dice(values, spect, mask, low_percent=percent) for name, percent in SPLITS_PERCENT.items()}
    return Agreement(
        whole=spearman(values, spect, mask),
        eroded=spearman(values, spect, inner),
        dice_high={name: part.high for name, part in dice.items()},
        dice_low={name: part.low for name, part in dice.items()},
    )


def _relative_lobe_means(values: Picture, lobes: UInt8[np.ndarray, "slices rows columns"]) -> dict[str, float]:
    mean = float(values[lobes > 0].mean(dtype=np.float64))
    return {lobe.name: part / mean for lobe, part in lobe_means(values, lobes).items()}
