"""Scores of arms with numbers that are given, so that statistics over them are known."""

from collections.abc import Mapping, Sequence

from training.arm_statistics import ArmScores
from training.calibration import CalibrationBins
from training.perfusion_defects import DefectSeen, DefectsShown
from training.score_names import Against, Score
from training.scores import Agreement, CaseScores, LobeScores


def scored(
    patient: str,
    spearman: float | None = 0.5,
    *,
    lobe: tuple[float, float] = (1.0, 1.0),
    found: Sequence[tuple[float, bool]] = (),
    false: int = 0,
    calibration: CalibrationBins | None = None,
    score: Score = Score.SPEARMAN,
) -> CaseScores:
    """Scores of a patient.

    Args:
        patient: of whom.
        spearman: against the SPECT; half of it against the truth. None for undefined.
        lobe: predicted and measured mean of the right upper lobe; the truth is 1.
        found: volume in ml of each defect, and whether it is found. Found ones are shown as deep as they are.
        false: defects of the map alone.
        calibration: against the SPECT.
        score: what `spearman` is a value of.
    """
    defects = tuple(DefectSeen(volume, 0.2, 0.2 if seen else 1.0, float(seen), seen) for volume, seen in found)
    values = {} if spearman is None else {score: spearman}
    halves = {name: value / 2 for name, value in values.items()}
    return CaseScores(
        patient=patient,
        against={Against.SPECT: Agreement(values, calibration), Against.TRUTH: Agreement(halves, None)},
        lobes={"RUL": LobeScores(100, lobe[0], lobe[1], 1.0)},
        defects=DefectsShown(defects, len(defects) + false, false, None),
    )


def arm(name: str, *seeds: Mapping[str, float], score: Score = Score.SPEARMAN) -> ArmScores:
    """An arm by the Spearman R of its patients, per seed."""
    return ArmScores(name, tuple({p: scored(p, value, score=score) for p, value in seed.items()} for seed in seeds))
