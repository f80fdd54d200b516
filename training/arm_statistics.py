"""One arm of a study over its patients: scores, lobes, defects and calibration, each with an interval.

An arm is run with several seeds, and every patient is tested once per seed. A patient's scores are averaged over seeds
first; seeds are no patients. What is no mean over patients (the correlation of lobes) is taken per seed and averaged
then, because the mean of three maps would be a better map than any of them.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from inference.anatomy import Lobe
from training.calibration import CalibrationBins, CalibrationRow, calibration_table
from training.perfusion_defects import SMALLEST_DEFECT_ML, DefectSeen
from training.score_names import Against, Score
from training.scores import CaseScores
from training.statistics import Interval, Summary, bootstrap_interval, correlation, ratio, summary

DEFECT_SIZES_ML = (SMALLEST_DEFECT_ML, 20.0, 100.0, float("inf"))
"""Small, middle and large defects: up to about 3.4 cm and 5.8 cm across if they were balls; ours."""
LIMITS_OF_AGREEMENT = 1.96
"""Standard deviations from the mean difference (Bland and Altman 1986)."""


@dataclass(frozen=True, slots=True)
class ArmScores:
    """What the jobs of an arm, or the scoring of a reference map, found."""

    name: str
    seeds: tuple[Mapping[str, CaseScores], ...]
    """Per seed, the scores of every patient of all folds."""

    @property
    def patients(self) -> tuple[str, ...]:
        """All patients, sorted."""
        return tuple(sorted({patient for seed in self.seeds for patient in seed}))

    def only(self, patients: Collection[str]) -> "ArmScores":
        """The same arm with these patients alone."""
        kept = tuple({name: case for name, case in seed.items() if name in patients} for seed in self.seeds)
        return ArmScores(self.name, kept)

    def of(self, patient: str) -> tuple[CaseScores, ...]:
        """Scores of one patient, by seed."""
        return tuple(seed[patient] for seed in self.seeds if patient in seed)

    def values(self, score: Score, against: Against) -> dict[str, float]:
        """One score of each patient that has it, mean over seeds."""
        found = {
            patient: [case.against[against].scores[score] for case in self.of(patient) if score in _of(case, against)]
            for patient in self.patients
        }
        return {patient: float(np.mean(seeds)) for patient, seeds in found.items() if seeds}


@dataclass(frozen=True, slots=True)
class LobeStatistics:
    """Mean perfusion of one lobe over patients, in multiples of the mean of both lungs."""

    patients: int
    r: Interval | None
    """Pearson's r of predicted and measured over patients; None where it is not defined."""
    bias: float
    """Mean of predicted less measured."""
    limits_low: float | None
    """Limits of agreement of one map: bias ± 1.96 standard deviations of the differences; None for one patient."""
    limits_high: float | None


@dataclass(frozen=True, slots=True)
class DefectSize:
    """Defects of one size."""

    from_ml: float
    below_ml: float | None
    """None for no end."""
    defects: int
    found: float
    """Share that is found, mean over seeds."""
    contrast_shown: float
    """Part of the missing perfusion that the map lacks too."""


@dataclass(frozen=True, slots=True)
class DefectStatistics:
    """The truth's defects as the maps of an arm show them."""

    patients: int
    """With a defect in the truth."""
    defects: int
    found: Interval | None
    """Defect-level sensitivity: share of all defects that is found, mean over seeds; None if there is no defect."""
    contrast_shown: Interval | None
    """Part of the perfusion missing in defects that the map lacks too, large defects counting more."""
    false_per_patient: Interval | None
    """Defects of the map that touch none of the truth; over all patients."""
    sizes: tuple[DefectSize, ...]
    """By `DEFECT_SIZES_ML`, those that occur."""


@dataclass(frozen=True, slots=True)
class ArmStatistics:
    """All figures of one arm."""

    name: str
    patients: int
    seeds: int
    scores: dict[Against, dict[Score, Summary]]
    """Those that at least one patient has."""
    seed_sd: dict[Against, dict[Score, float]]
    """Standard deviation of the mean over patients from seed to seed; empty for one seed."""
    lobes: dict[Against, dict[str, LobeStatistics]]
    calibration: dict[Against, tuple[CalibrationRow, ...]]
    defects: DefectStatistics


def arm_statistics(arm: ArmScores) -> ArmStatistics:
    """Every figure of an arm, or of those of its patients that are wanted (`ArmScores.only`)."""
    return ArmStatistics(
        name=arm.name,
        patients=len(arm.patients),
        seeds=len(arm.seeds),
        scores=score_summaries(arm),
        seed_sd={against: _seed_sd(arm, against) for against in Against},
        lobes={against: _lobes(arm, against) for against in Against},
        calibration={against: _calibration(arm, against) for against in Against},
        defects=_defects(arm),
    )


def score_summaries(arm: ArmScores) -> dict[Against, dict[Score, Summary]]:
    """The scores of an arm only."""
    return {
        against: {
            score: found for score in Score if (found := summary(list(arm.values(score, against).values()))) is not None
        }
        for against in Against
    }


def _of(case: CaseScores, against: Against) -> Mapping[Score, float]:
    return case.against[against].scores


def _seed_sd(arm: ArmScores, against: Against) -> dict[Score, float]:
    alone = [ArmScores(arm.name, (seed,)) for seed in arm.seeds if seed]
    if len(alone) < 2:
        return {}
    means = {score: [list(seed.values(score, against).values()) for seed in alone] for score in Score}
    return {
        score: float(np.std([np.mean(values) for values in seeds], ddof=1))
        for score, seeds in means.items()
        if all(seeds)
    }


def _lobes(arm: ArmScores, against: Against) -> dict[str, LobeStatistics]:
    found = {}
    for lobe in Lobe:
        tested = [arm.of(patient) for patient in arm.patients]
        # A study that still runs lacks some seeds of some patients.
        whole = [cases for cases in tested if len([c for c in cases if lobe.name in c.lobes]) == len(arm.seeds)]
        if whole:
            found[lobe.name] = _lobe(whole, lobe, against)
    return found


def _lobe(patients: list[tuple[CaseScores, ...]], lobe: Lobe, against: Against) -> LobeStatistics:
    measured = np.array([getattr(cases[0].lobes[lobe.name], against.value) for cases in patients])
    predicted = np.array([[case.lobes[lobe.name].predicted for case in cases] for cases in patients]).T

    def mean_r(*samples: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
        r: Float[np.ndarray, "..."] = np.mean([correlation(seed, samples[-1], axis) for seed in samples[:-1]], axis=0)
        return r

    differences = predicted - measured
    bias = float(differences.mean())
    reach = LIMITS_OF_AGREEMENT * float(np.sqrt(differences.var(axis=1, ddof=1).mean())) if measured.size > 1 else None
    r = bootstrap_interval(mean_r, *predicted, measured)
    return LobeStatistics(
        patients=measured.size,
        r=r if np.isfinite(r.value) else None,
        bias=bias,
        limits_low=None if reach is None else bias - reach,
        limits_high=None if reach is None else bias + reach,
    )


def _calibration(arm: ArmScores, against: Against) -> tuple[CalibrationRow, ...]:
    bins: list[CalibrationBins] = []
    for seed in arm.seeds:
        bins += [part for case in seed.values() if (part := case.against[against].calibration) is not None]
    return calibration_table(bins)


def _defects(arm: ArmScores) -> DefectStatistics:
    cases = [arm.of(patient) for patient in arm.patients]
    with_some = [seeds for seeds in cases if seeds[0].defects.defects]
    false = np.array([np.mean([case.defects.false for case in seeds]) for seeds in cases])
    sums = np.array([_defect_sums(seeds) for seeds in with_some]).reshape(-1, 4).T
    return DefectStatistics(
        patients=len(with_some),
        defects=sum(len(seeds[0].defects.defects) for seeds in with_some),
        found=bootstrap_interval(ratio, sums[0], sums[1]) if with_some else None,
        contrast_shown=bootstrap_interval(ratio, sums[2], sums[3]) if with_some else None,
        false_per_patient=bootstrap_interval(np.mean, false) if cases else None,
        sizes=tuple(row for ends in pairwise(DEFECT_SIZES_ML) if (row := _defect_size(with_some, *ends)) is not None),
    )


def _defect_sums(seeds: tuple[CaseScores, ...]) -> tuple[float, float, float, float]:
    """Of one patient, mean over seeds: found, defects, perfusion that the map lacks, perfusion that is missing."""
    defects = [defect for case in seeds for defect in case.defects.defects]
    found = sum(defect.found for defect in defects)
    lacking = sum(defect.volume_ml * (1.0 - defect.shown) for defect in defects)
    missing = sum(defect.volume_ml * (1.0 - defect.truth) for defect in defects)
    return found / len(seeds), len(defects) / len(seeds), lacking / len(seeds), missing / len(seeds)


def _defect_size(patients: list[tuple[CaseScores, ...]], low: float, high: float) -> DefectSize | None:
    """The defects of one size; those of the truth are the same for every seed."""
    alone = [defect for seeds in patients for defect in _of_size(seeds[0], low, high)]
    every = [defect for seeds in patients for case in seeds for defect in _of_size(case, low, high)]
    if not alone:
        return None
    return DefectSize(
        from_ml=low,
        below_ml=high if np.isfinite(high) else None,
        defects=len(alone),
        found=float(np.mean([defect.found for defect in every])),
        contrast_shown=sum(defect.volume_ml * (1.0 - defect.shown) for defect in every)
        / sum(defect.volume_ml * (1.0 - defect.truth) for defect in every),
    )


def _of_size(case: CaseScores, low: float, high: float) -> list[DefectSeen]:
    return [defect for defect in case.defects.defects if low - 1e-6 <= defect.volume_ml < high - 1e-6]
