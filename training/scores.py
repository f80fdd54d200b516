"""All scores of one patient: a predicted map against the SPECT and against the truth, whole lungs and eroded.

Every score is computed of the map as the node would write it: negative values count as none, and the mean over both
lungs is 1. The reference maps of a case are scored likewise (`reference_scores`), so that beside each figure stand what
the noise of the SPECT allows (`CEILING`, against the SPECT), what the measurement itself would score (`SPECT_MAP`,
against the truth) and what nearly nothing scores (`BASELINES`).

"Truth" is the true perfusion at the resolution of the SPECT, which a perfect predictor of SPECT images would draw.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Float32, Shaped
from pydantic import TypeAdapter

from inference.anatomy import Lobe
from training.baselines import Predictor
from training.calibration import CalibrationBins, calibration_bins, calibration_error, calibration_line
from training.metrics import SPLITS_PERCENT, function_dice, lobe_means, pearson, rmse, spearman, ssim
from training.perfusion_defects import DefectsShown, defects_shown, edge_corrected
from training.score_names import BASELINES, CEILING, REFERENCE_MAPS, SPECT_MAP, Against, Score
from training.study_case import StudyCase

Values = Float32[np.ndarray, "slices rows columns"]
Mask = Bool[np.ndarray, "slices rows columns"]

_PREDICTORS = dict(zip(BASELINES, Predictor, strict=True))


@dataclass(frozen=True, slots=True)
class Agreement:
    """One map against one reference."""

    scores: dict[Score, float]
    """Only those that are defined: a constant map has no correlation, an empty eroded mask no score at all."""
    calibration: CalibrationBins | None
    """Of the eroded lungs; None if they are empty."""


@dataclass(frozen=True, slots=True)
class LobeScores:
    """Mean perfusion of one lobe, in multiples of the mean of both lungs of the same map."""

    voxels: int
    predicted: float
    spect: float
    truth: float


@dataclass(frozen=True, slots=True)
class CaseScores:
    """All scores of one map of one patient; what `result.json` holds per test patient."""

    patient: str
    against: dict[Against, Agreement]
    lobes: dict[str, LobeScores]
    """By name of the lobe, those that have a voxel."""
    defects: DefectsShown
    """Of the truth, as the map shows them."""


def case_scores(prediction: Float[np.ndarray, "slices rows columns"], case: StudyCase) -> CaseScores:
    """Score a map of a patient.

    Args:
        prediction: on the grid of `case`, in any unit; values outside the lungs are ignored.
        case: SPECT, truth and masks.

    Raises:
        ValueError: the map is not on the grid of the case, holds values in the lungs that are not finite, or is
            nowhere above 0 there.
    """
    maps = {
        name: _relative(values, case, name)
        for name, values in (("prediction", prediction), (Against.SPECT, case.target), (Against.TRUTH, case.truth))
    }
    predicted, spect, truth = maps["prediction"], maps[Against.SPECT], maps[Against.TRUTH]
    outline = case.baseline_maps[Predictor.SHAPE]
    shown, true = (edge_corrected(values, outline, case.lungs) for values in (predicted, truth))
    return CaseScores(
        patient=case.patient,
        against={name: _agreement(predicted, maps[name], case) for name in Against},
        lobes=_lobes(predicted, spect, truth, case),
        defects=defects_shown(shown, true, case.defects, case.lungs, case.grid),
    )


def spect_agreement(prediction: Float[np.ndarray, "slices rows columns"], case: StudyCase) -> Agreement:
    """Score a map against the SPECT alone: all there is of a patient whose true perfusion nobody knows.

    Raises:
        ValueError: as `case_scores`.
    """
    return _agreement(_relative(prediction, case, "prediction"), _relative(case.target, case, Against.SPECT), case)


def reference_map(case: StudyCase, name: str) -> Values:
    """One of the maps that a case brings along.

    Args:
        case: of a patient.
        name: one of `REFERENCE_MAPS`.

    Raises:
        KeyError: no map has this name.
    """
    if name == CEILING:
        return case.truth
    return case.target if name == SPECT_MAP else case.baseline_maps[_PREDICTORS[name]]


def reference_scores(case: StudyCase) -> dict[str, CaseScores]:
    """Scores of all maps that a case brings along, by the names of `REFERENCE_MAPS`."""
    return {name: case_scores(reference_map(case, name), case) for name in REFERENCE_MAPS}


def read_scores(content: Mapping[str, Any]) -> dict[str, CaseScores]:
    """The scores of a `result.json`, by patient: what `dataclasses.asdict` made of them.

    Raises:
        pydantic.ValidationError: they are no scores.
    """
    return _SCORES.validate_python(content)


def _lobes(predicted: Values, spect: Values, truth: Values, case: StudyCase) -> dict[str, LobeScores]:
    means = [lobe_means(values, case.lobes) for values in (predicted, spect, truth)]
    voxels = np.bincount(case.lobes.ravel(), minlength=len(Lobe) + 1)
    return {
        lobe.name: LobeScores(int(voxels[lobe]), *(mean[lobe] for mean in means)) for lobe in Lobe if lobe in means[0]
    }


def _relative(values: Shaped[np.ndarray, "slices rows columns"], case: StudyCase, name: str) -> Values:
    """Perfusion in multiples of the lungs' mean, 0 outside."""
    if values.shape != case.lungs.shape:
        raise ValueError(f"{case.patient}: {name} has {values.shape} voxels, its lungs {case.lungs.shape}")
    inside = np.maximum(values[case.lungs].astype(np.float32), np.float32(0.0))  # maximum() keeps NaN
    mean = float(inside.mean(dtype=np.float64)) if inside.size else 0.0
    if not np.isfinite(mean) or mean <= 0.0:
        raise ValueError(f"{case.patient}: the mean of {name} in the lungs is {mean}, no perfusion")
    relative = np.zeros(values.shape, np.float32)
    relative[case.lungs] = inside / np.float32(mean)
    return relative


def _agreement(predicted: Values, reference: Values, case: StudyCase) -> Agreement:
    whole, inner = case.lungs, case.eroded
    line = calibration_line(predicted[inner], reference[inner])
    bins = calibration_bins(predicted[inner], reference[inner])
    wanted, got = lobe_means(reference, case.lobes), lobe_means(predicted, case.lobes)
    scores = {
        Score.SPEARMAN: spearman(predicted, reference, whole),
        Score.PEARSON: pearson(predicted, reference, whole),
        Score.SSIM: ssim(predicted, reference, whole),
        Score.RMSE: rmse(predicted, reference, whole),
        Score.LOBAR_ERROR: float(np.mean([abs(got[lobe] - wanted[lobe]) for lobe in got])) if got else np.nan,
        **_dice(predicted, reference, whole),
    }
    if inner.any():
        dice = function_dice(predicted, reference, inner, low_percent=SPLITS_PERCENT["50/50"])
        scores |= {
            Score.SPEARMAN_ERODED: spearman(predicted, reference, inner),
            Score.PEARSON_ERODED: pearson(predicted, reference, inner),
            Score.RMSE_ERODED: rmse(predicted, reference, inner),
            Score.DICE_HIGH_50_ERODED: dice.high,
            Score.DICE_LOW_50_ERODED: dice.low,
        }
    if line is not None:
        scores |= {Score.CALIBRATION_SLOPE: line.slope, Score.CALIBRATION_INTERCEPT: line.intercept}
    if bins is not None:
        scores[Score.CALIBRATION_ERROR] = calibration_error(bins)
    return Agreement({score: float(value) for score, value in scores.items() if np.isfinite(value)}, bins)


def _dice(predicted: Values, reference: Values, mask: Mask) -> dict[Score, float]:
    halves = function_dice(predicted, reference, mask, low_percent=SPLITS_PERCENT["50/50"])
    thirds = function_dice(predicted, reference, mask, low_percent=SPLITS_PERCENT["66/34"])
    return {
        Score.DICE_HIGH_50: halves.high,
        Score.DICE_LOW_50: halves.low,
        Score.DICE_HIGH_66: thirds.high,
        Score.DICE_LOW_34: thirds.low,
    }


_SCORES = TypeAdapter(dict[str, CaseScores])
