"""The names of a study's scores and of the maps that are scored beside those of networks.

Apart from what computes them (`training.scores`), so that plans and reports can name a score and load nothing.
"""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

CEILING = "ceiling"
"""The truth at SPECT resolution: against the SPECT it scores what noise allows any predictor to score."""
SPECT_MAP = "spect"
"""The measured SPECT: against the truth it scores what a measurement is worth."""
BASELINES = ("shape", "shape-gravity", "density", "density-gravity")
"""Trivial predictors (`training.baselines.Predictor`, in its order)."""
REFERENCE_MAPS = (CEILING, SPECT_MAP, *BASELINES)
"""Maps that a case brings along and that are scored as those of networks are."""


class Against(StrEnum):
    """What a map is held against."""

    SPECT = "spect"
    """The measured image, with its noise and its misalignment; what a study of patients has."""
    TRUTH = "truth"
    """True perfusion at the resolution of the SPECT; only an in-silico patient has one."""


class Score(StrEnum):
    """One number of agreement between two maps of a patient."""

    SPEARMAN = "spearman"
    SPEARMAN_ERODED = "spearman-eroded"
    PEARSON = "pearson"
    PEARSON_ERODED = "pearson-eroded"
    SSIM = "ssim"
    RMSE = "rmse"
    RMSE_ERODED = "rmse-eroded"
    DICE_HIGH_50 = "dice-high-50"
    DICE_LOW_50 = "dice-low-50"
    DICE_HIGH_66 = "dice-high-66"
    DICE_LOW_34 = "dice-low-34"
    DICE_HIGH_50_ERODED = "dice-high-50-eroded"
    DICE_LOW_50_ERODED = "dice-low-50-eroded"
    LOBAR_ERROR = "lobar-error"
    CALIBRATION_SLOPE = "calibration-slope"
    CALIBRATION_INTERCEPT = "calibration-intercept"
    CALIBRATION_ERROR = "calibration-error"

    @property
    def label(self) -> str:
        """Its name for readers."""
        return _LABELS[self][0]

    @property
    def meaning(self) -> str:
        """What it is, in one sentence."""
        return _LABELS[self][1]

    @property
    def higher_is_better(self) -> bool:
        """Whether more of it is better; slope and intercept have a right value instead."""
        return self not in _NOT_HIGHER


_NOT_HIGHER = frozenset(
    (
        Score.RMSE,
        Score.RMSE_ERODED,
        Score.LOBAR_ERROR,
        Score.CALIBRATION_SLOPE,
        Score.CALIBRATION_INTERCEPT,
        Score.CALIBRATION_ERROR,
    )
)
_LABELS: Mapping[Score, tuple[str, str]] = MappingProxyType(
    {
        Score.SPEARMAN: ("Spearman R", "Rank correlation of the voxels of both lungs."),
        Score.SPEARMAN_ERODED: (
            "Spearman R, eroded",
            "Rank correlation of voxels at least one resolution inside the lungs' surface.",
        ),
        Score.PEARSON: ("Pearson r", "Linear correlation of the voxels of both lungs."),
        Score.PEARSON_ERODED: ("Pearson r, eroded", "Linear correlation of the voxels of the eroded lungs."),
        Score.SSIM: ("SSIM", "Structural similarity, mean over the voxels of both lungs."),
        Score.RMSE: ("RMSE", "Root of the mean squared difference, in multiples of the lungs' mean."),
        Score.RMSE_ERODED: ("RMSE, eroded", "The same of the eroded lungs, each map scaled to mean 1 there."),
        Score.DICE_HIGH_50: ("DSC high, 50/50", "Overlap of the voxels above each map's median."),
        Score.DICE_LOW_50: ("DSC low, 50/50", "Overlap of the voxels below each map's median."),
        Score.DICE_HIGH_66: ("DSC high, 66/34", "Overlap of the upper 66 % of each map."),
        Score.DICE_LOW_34: ("DSC low, 66/34", "Overlap of the lower 34 % of each map."),
        Score.DICE_HIGH_50_ERODED: ("DSC high, 50/50, eroded", "Overlap above the medians within the eroded lungs."),
        Score.DICE_LOW_50_ERODED: ("DSC low, 50/50, eroded", "Overlap below the medians within the eroded lungs."),
        Score.LOBAR_ERROR: ("Lobar error", "Mean distance of the lobes' means, in multiples of the lungs' mean."),
        Score.CALIBRATION_SLOPE: (
            "Calibration slope",
            "Measured on predicted, eroded lungs; 1 is right.",
        ),
        Score.CALIBRATION_INTERCEPT: ("Calibration intercept", "Of the same line; 0 is right."),
        Score.CALIBRATION_ERROR: (
            "Calibration error",
            "Mean distance of measured from predicted over bins of the predicted value, eroded lungs.",
        ),
    }
)
