"""The figures in which an in-silico cohort is held beside published ones: their names and units."""

from enum import StrEnum


class Figure(StrEnum):
    """One row of the tables of realism."""

    VOLUME = "lung volume"
    VOLUME_DEEP = "lung volume, inspiration"
    RUL = "RUL volume"
    RML = "RML volume"
    RLL = "RLL volume"
    LUL = "LUL volume"
    LLL = "LLL volume"
    RIGHT_VOLUME = "right lung volume"
    MEAN_HU = "mean CT number"
    MEAN_HU_DEEP = "mean CT number, inspiration"
    DEPENDENT_HU = "dependent less anterior lung"
    LAA950 = "LAA-950"
    LAA950_CANCER = "LAA-950, lung cancer"
    CLASS_OVER = "over-inflated, by weight"
    CLASS_NORMAL = "normally inflated, by weight"
    CLASS_POOR = "poorly inflated, by weight"
    CLASS_NOT = "not inflated, by weight"
    RIGHT_PERFUSION = "right lung perfusion"
    LOWER_LOBES = "lower lobes, perfusion per volume"
    GRAVITY = "gravity slope"
    GRAVITY_PER_TISSUE = "gravity slope per tissue"
    HEIGHT_SHARE = "variance explained by height"
    VARIATION = "coefficient of variation"
    EMPHYSEMA_R2 = "R² of lobar density and perfusion"
    DEFECT_PERCENT = "perfusion defects"
    TUMOUR_DEFECT = "defect on the tumour's side"
    FWHM = "effective SPECT resolution"
    POINT_FWHM = "SPECT resolution of a point"
    NOISE = "SPECT noise in uniform lung"
    COUNTS = "SPECT counts"

    @property
    def unit(self) -> str:
        """Unit of its numbers."""
        return UNITS[self]


UNITS = {
    Figure.VOLUME: "ml",
    Figure.VOLUME_DEEP: "ml",
    Figure.RUL: "% of volume",
    Figure.RML: "% of volume",
    Figure.RLL: "% of volume",
    Figure.LUL: "% of volume",
    Figure.LLL: "% of volume",
    Figure.RIGHT_VOLUME: "% of volume",
    Figure.MEAN_HU: "HU",
    Figure.MEAN_HU_DEEP: "HU",
    Figure.DEPENDENT_HU: "HU",
    Figure.LAA950: "% of volume",
    Figure.LAA950_CANCER: "% of volume",
    Figure.CLASS_OVER: "%",
    Figure.CLASS_NORMAL: "%",
    Figure.CLASS_POOR: "%",
    Figure.CLASS_NOT: "%",
    Figure.RIGHT_PERFUSION: "% of perfusion",
    Figure.LOWER_LOBES: "× lung mean",
    Figure.GRAVITY: "%/cm",
    Figure.GRAVITY_PER_TISSUE: "%/cm",
    Figure.HEIGHT_SHARE: "%",
    Figure.VARIATION: "SD/mean",
    Figure.EMPHYSEMA_R2: "R²",
    Figure.DEFECT_PERCENT: "% of volume",
    Figure.TUMOUR_DEFECT: "% of patients",
    Figure.FWHM: "mm FWHM",
    Figure.POINT_FWHM: "mm FWHM",
    Figure.NOISE: "SD/mean, %",
    Figure.COUNTS: "million",
}
