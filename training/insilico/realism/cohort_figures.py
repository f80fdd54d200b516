"""The figures of a whole cohort from those of its patients, each for the group that a publication speaks of."""

import math
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from training.insilico.cohort_name import CohortName
from training.insilico.realism.agreement_figures import Agreement
from training.insilico.realism.figure import Figure
from training.insilico.realism.published import Group
from training.insilico.realism.realism import PatientFigures

EMPHYSEMA = "emphysema"
FREE = "free breathing"
"""`person.BreathingState` of a CT that shows the lungs as the SPECT does."""
DEEP = "deep inspiration"
"""That of the CTs of most publications on healthy lungs."""
SEVERE_EMPHYSEMA_PERCENT = 10.0
"""Part of the lungs drawn as emphysema from which it counts as severe; ours, Bonney's patients were candidates for lung
volume reduction."""


@dataclass(frozen=True, slots=True)
class Spread:
    """A figure over several patients."""

    number: int
    mean: float
    sd: float
    """Of the patients; 0 for one."""
    median: float
    low: float
    high: float
    """The smallest and the largest."""

    @classmethod
    def of(cls, values: Iterable[float]) -> "Spread | None":
        """The spread of finite values; None if there is none."""
        kept = sorted(value for value in values if math.isfinite(value))
        if not kept:
            return None
        sd = statistics.stdev(kept) if len(kept) > 1 else 0.0
        return cls(len(kept), statistics.fmean(kept), sd, statistics.median(kept), kept[0], kept[-1])


PER_PATIENT: Mapping[Figure, Callable[[PatientFigures], float]] = {
    Figure.VOLUME: lambda p: p.ct.volume_ml,
    Figure.VOLUME_DEEP: lambda p: p.ct.volume_ml,
    Figure.RUL: lambda p: p.ct.lobe_percent.get("RUL", 0.0),
    Figure.RML: lambda p: p.ct.lobe_percent.get("RML", 0.0),
    Figure.RLL: lambda p: p.ct.lobe_percent.get("RLL", 0.0),
    Figure.LUL: lambda p: p.ct.lobe_percent.get("LUL", 0.0),
    Figure.LLL: lambda p: p.ct.lobe_percent.get("LLL", 0.0),
    Figure.RIGHT_VOLUME: lambda p: p.ct.right_percent,
    Figure.MEAN_HU: lambda p: p.ct.mean_hu,
    Figure.MEAN_HU_DEEP: lambda p: p.ct.mean_hu,
    Figure.DEPENDENT_HU: lambda p: p.ct.dependent_hu,
    Figure.LAA950: lambda p: p.ct.laa950_percent,
    Figure.LAA950_CANCER: lambda p: p.ct.laa950_percent,
    Figure.CLASS_OVER: lambda p: p.ct.class_percent["over-inflated"],
    Figure.CLASS_NORMAL: lambda p: p.ct.class_percent["normally inflated"],
    Figure.CLASS_POOR: lambda p: p.ct.class_percent["poorly inflated"],
    Figure.CLASS_NOT: lambda p: p.ct.class_percent["not inflated"],
    Figure.RIGHT_PERFUSION: lambda p: p.spect.right_percent,
    Figure.LOWER_LOBES: lambda p: _lower_lobes(p),
    Figure.GRAVITY: lambda p: p.truth.gravity_percent_per_cm,
    Figure.GRAVITY_PER_TISSUE: lambda p: p.gravity_per_tissue,
    Figure.HEIGHT_SHARE: lambda p: 100.0 * p.seen.height_share,
    Figure.VARIATION: lambda p: p.seen.variation,
    Figure.DEFECT_PERCENT: lambda p: p.defects.percent,
    Figure.FWHM: lambda p: p.agreement.fwhm_mm if p.breath == FREE else math.nan,
    Figure.COUNTS: lambda p: p.counts / 1e6,
}
"""Figures that every patient has for itself; NaN where it means nothing for the patient."""


def spread(figure: Figure, patients: Iterable[PatientFigures]) -> Spread | None:
    """One figure over patients; None where none has it."""
    patients = tuple(patients)
    if figure is Figure.EMPHYSEMA_R2:
        return _alone(lobar_r2(patients), len(patients))
    if figure is Figure.TUMOUR_DEFECT:
        return _alone(tumour_defect_percent(patients), len(patients))
    return Spread.of(PER_PATIENT[figure](patient) for patient in patients) if figure in PER_PATIENT else None


def in_group(
    group: Group, patients: Sequence[PatientFigures], controls: Sequence[PatientFigures] = ()
) -> tuple[PatientFigures, ...]:
    """Those that a publication's figure is compared with.

    Args:
        group: who they are.
        patients: of the cohort.
        controls: healthy, from the same generator.
    """
    match group:
        case Group.FREE:
            return tuple(p for p in controls if p.breath == FREE)
        case Group.DEEP:
            return tuple(p for p in controls if p.breath == DEEP)
        case Group.ALL:
            return tuple(patients)
        case Group.CANCER:
            return tuple(p for p in patients if p.cohort == CohortName.LUNG_CANCER)
        case Group.EMPHYSEMA:
            return tuple(p for p in patients if has_severe_emphysema(p))
        case _:
            return ()


def has_severe_emphysema(patient: PatientFigures) -> bool:
    """Whether much of the lungs was drawn as emphysema; a CT in free breathing shows little of it below -950 HU."""
    drawn = sum(percent for name, percent in patient.disease_percent.items() if EMPHYSEMA in name)
    return drawn >= SEVERE_EMPHYSEMA_PERCENT


def lobar_r2(patients: Sequence[PatientFigures]) -> float:
    """Square of the linear correlation of LAA-950 and perfusion per volume over all lobes; NaN under three lobes.

    Perfusion is that of the SPECT, in multiples of the patient's mean.
    """
    pairs = [
        (patient.ct.lobe_laa950_percent[lobe], patient.spect.lobe_relative[lobe])
        for patient in patients
        for lobe in patient.spect.lobe_relative
        if lobe in patient.ct.lobe_laa950_percent
    ]
    if len(pairs) < 3:
        return math.nan
    density, perfusion = np.array(pairs).T
    if not density.std() or not perfusion.std():
        return math.nan
    return float(np.corrcoef(density, perfusion)[0, 1]) ** 2


def tumour_defect_percent(patients: Sequence[PatientFigures]) -> float:
    """Share of patients with a tumour that have a perfusion defect in the same lung; NaN without such patients."""
    found = [p.side_defects[p.tumour_side].number > 0 for p in patients if p.tumour_side]
    return 100.0 * sum(found) / len(found) if found else math.nan


def agreement_spread(
    name: str, patients: Iterable[PatientFigures], score: Callable[[Agreement], float]
) -> Spread | None:
    """A score of one map (a ceiling or a predictor) against the SPECT over patients."""
    return Spread.of(score(patient.agreement.with_spect[name]) for patient in patients)


def lobe_correlation(name: str, patients: Sequence[PatientFigures], lobe: str) -> float:
    """Pearson r, over patients, of a lobe's mean in a map and in the SPECT; NaN under three patients."""
    pairs = [
        (patient.agreement.lobe_means[name][lobe], patient.spect.lobe_relative[lobe])
        for patient in patients
        if lobe in patient.agreement.lobe_means[name] and lobe in patient.spect.lobe_relative
    ]
    if len(pairs) < 3:
        return math.nan
    one, other = np.array(pairs).T
    return float(np.corrcoef(one, other)[0, 1]) if one.std() and other.std() else math.nan


def _lower_lobes(patient: PatientFigures) -> float:
    """Perfusion per volume of both lower lobes together."""
    lower = [lobe for lobe in ("RLL", "LLL") if lobe in patient.truth.lobe_percent]
    volume = sum(patient.truth.lobe_percent[lobe] / patient.truth.lobe_relative[lobe] for lobe in lower)
    return sum(patient.truth.lobe_percent[lobe] for lobe in lower) / volume if volume else math.nan


def _alone(value: float, number: int) -> Spread | None:
    """A figure of the whole group, which no patient has alone."""
    return Spread(number, value, 0.0, value, value, value) if math.isfinite(value) else None
