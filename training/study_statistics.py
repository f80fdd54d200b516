"""The answers of a study: figures of all arms, the comparisons that were asked beforehand, and the aims.

What was asked stands in `study.toml` (`training.comparisons`); what was found comes as scores of patients
(`training.arm_statistics.ArmScores`). A study that has not run to its end is answered as far as it goes: what lacks its
scores is said to be unknown, and an aim that is unknown is not met.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from training.arm_statistics import ArmScores, ArmStatistics, arm_statistics
from training.comparisons import Aim, Comparison, Measure
from training.score_names import Against, Score
from training.statistics import Interval, bootstrap_interval, holm, wilcoxon_p


@dataclass(frozen=True, slots=True)
class ComparisonResult:
    """The answer to one comparison, over the patients that both arms have."""

    comparison: Comparison
    patients: int
    mean: float
    """Of the arm."""
    rival_mean: float
    difference: float
    """Mean over patients of arm less rival."""
    low: float | None
    """Of its 95 % bootstrap interval."""
    high: float | None
    relative_percent: float | None
    """That difference in percent of the rival's mean; None where this is not above 0."""
    better: int
    """Patients in which the arm's score is above the rival's (for an error that is worse, not better)."""
    p: float
    """Two-sided, before correction."""
    p_corrected: float
    """After Holm, within the family."""
    family_size: int
    """Tests that were corrected together."""


@dataclass(frozen=True, slots=True)
class AimResult:
    """What became of one aim."""

    aim: Aim
    wanted: str
    """For readers, such as `≥ 5 %, p < 0.01`."""
    got: str
    """For readers: value, interval, best rival, p."""
    value: float | None
    """In the unit of `aim.at_least`; None if scores are missing."""
    low: float | None
    """Of its 95 % bootstrap interval."""
    high: float | None
    best_rival: str | None
    p_corrected: float | None
    """Of the comparison with the best rival, where it was asked."""
    met: bool


@dataclass(frozen=True, slots=True)
class StudyStatistics:
    """Everything a report of a study tells in numbers."""

    arms: dict[str, ArmStatistics]
    comparisons: tuple[ComparisonResult, ...]
    """Those whose arms both have scores."""
    aims: tuple[AimResult, ...]


def study_statistics(
    arms: Sequence[ArmScores],
    comparisons: Sequence[Comparison],
    aims: Sequence[Aim],
) -> StudyStatistics:
    """Answer a study.

    Args:
        arms: scores of every arm and of the reference maps, those that there are.
        comparisons: asked in `study.toml`.
        aims: set there.
    """
    known = {arm.name: arm for arm in arms if arm.patients}
    answers = compare(known, comparisons)
    return StudyStatistics(
        arms={name: arm_statistics(arm) for name, arm in known.items()},
        comparisons=answers,
        aims=tuple(reach(aim, known, answers) for aim in aims),
    )


def compare(arms: Mapping[str, ArmScores], comparisons: Sequence[Comparison]) -> tuple[ComparisonResult, ...]:
    """Answer the comparisons whose arms are there; each family is corrected by all that were asked in it."""
    pairs = [(asked, paired(arms, (asked.arm, asked.rival), asked.score, asked.against)) for asked in comparisons]
    p = [wilcoxon_p(*values) if values is not None else 1.0 for _, values in pairs]
    corrected, sizes = [0.0] * len(p), [0] * len(p)
    for family in {asked.family for asked in comparisons}:
        places = [place for place, asked in enumerate(comparisons) if asked.family == family]
        for place, value in zip(places, holm([p[place] for place in places]), strict=True):
            corrected[place], sizes[place] = value, len(places)
    return tuple(
        _answer(asked, values, p[place], corrected[place], sizes[place])
        for place, (asked, values) in enumerate(pairs)
        if values is not None
    )


def reach(aim: Aim, arms: Mapping[str, ArmScores], answers: Sequence[ComparisonResult]) -> AimResult:
    """Whether an aim is reached; an aim of 0 wants more than 0."""
    values = paired(arms, (aim.arm, *aim.rivals), aim.score, aim.against)
    if values is None:
        missing = [name for name in (aim.arm, *aim.rivals) if name not in arms or not arms[name].patients]
        told = f"not known: no scores of {', '.join(missing)}" if missing else "not known: no patient has all scores"
        return AimResult(aim, _wanted(aim), told, None, None, None, None, None, met=False)
    best = int(np.argmax(values[1:].mean(axis=1))) if aim.rivals else None
    rival = None if best is None else aim.rivals[best]
    value = _measured(aim.measure, values[0], None if best is None else values[1 + best])
    p = next((answer.p_corrected for answer in answers if _asks(answer.comparison, aim, rival)), None)
    enough = value.value >= aim.at_least and value.value != 0.0
    met = enough and (aim.p_below is None or (p is not None and p < aim.p_below))
    return AimResult(
        aim, _wanted(aim), _got(aim, value, rival, p), value.value, value.low, value.high, rival, p, met=met
    )


def paired(
    arms: Mapping[str, ArmScores], names: Sequence[str], score: Score, against: Against
) -> Float[np.ndarray, "arms patients"] | None:
    """One score of several arms on the patients that all have it, sorted; None if there is none."""
    if any(name not in arms for name in names):
        return None
    values = [arms[name].values(score, against) for name in names]
    patients = sorted(set.intersection(*(set(each) for each in values)))
    return np.array([[each[patient] for patient in patients] for each in values]) if patients else None


def _answer(
    asked: Comparison, values: Float[np.ndarray, "2 patients"], p: float, corrected: float, size: int
) -> ComparisonResult:
    mean, rival_mean = (float(part.mean()) for part in values)
    difference = bootstrap_interval(np.mean, values[0] - values[1])
    return ComparisonResult(
        comparison=asked,
        patients=values.shape[1],
        mean=mean,
        rival_mean=rival_mean,
        difference=difference.value,
        low=difference.low,
        high=difference.high,
        relative_percent=100.0 * (mean - rival_mean) / rival_mean if rival_mean > 0 else None,
        better=int(np.count_nonzero(values[0] > values[1])),
        p=p,
        p_corrected=corrected,
        family_size=size,
    )


def _measured(
    measure: Measure, arm: Float[np.ndarray, " patients"], rival: Float[np.ndarray, " patients"] | None
) -> Interval:
    if rival is None:
        return bootstrap_interval(np.mean, arm)

    def gain(one: Float[np.ndarray, "..."], other: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
        result: Float[np.ndarray, "..."] = 100.0 * (one.mean(axis=axis) / other.mean(axis=axis) - 1.0)
        return result

    def share(one: Float[np.ndarray, "..."], other: Float[np.ndarray, "..."], axis: int) -> Float[np.ndarray, "..."]:
        result: Float[np.ndarray, "..."] = one.mean(axis=axis) / other.mean(axis=axis)
        return result

    if measure is Measure.DIFFERENCE:
        return bootstrap_interval(np.mean, arm - rival)
    return bootstrap_interval(gain if measure is Measure.RELATIVE_GAIN else share, arm, rival)


def _asks(comparison: Comparison, aim: Aim, rival: str | None) -> bool:
    return (comparison.arm, comparison.rival, comparison.score, comparison.against) == (
        aim.arm,
        rival,
        aim.score,
        aim.against,
    )


def _wanted(aim: Aim) -> str:
    least = f"≥ {aim.at_least:g}" if aim.at_least else "> 0"
    unit = " %" if aim.measure is Measure.RELATIVE_GAIN else ""
    return f"{least}{unit}" + (f", p < {aim.p_below:g}" if aim.p_below is not None else "")


def _got(aim: Aim, value: Interval, rival: str | None, p: float | None) -> str:
    digits, unit = (1, " %") if aim.measure is Measure.RELATIVE_GAIN else (3, "")
    sign = "+" if aim.measure in (Measure.DIFFERENCE, Measure.RELATIVE_GAIN) else ""
    told = f"{value.value:{sign}.{digits}f}{unit}"
    if value.low is not None and value.high is not None:
        told += f" (95 % CI {value.low:.{digits}f} to {value.high:.{digits}f})"
    if rival is not None:
        told += f", {'of' if aim.measure is Measure.RATIO else 'over'} {rival}"
    return told if p is None else f"{told}, p {f'= {p:.2g}' if p >= 0.0001 else '< 0.0001'}"
