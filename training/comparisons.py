"""What a study asks, said before it runs: pairs of arms to compare, and aims to reach.

Both stand in `study.toml`, so that no question is chosen after the answers are known. This file knows their words only;
`training.study_statistics` answers them.
"""

from collections.abc import Sequence, Set
from enum import StrEnum
from typing import Annotated

from pydantic import Field
from pydantic.dataclasses import dataclass

from training.score_names import Against, Score
from training.toml_files import STRICT, Name, Text


class Measure(StrEnum):
    """What an aim is about; all are of means over patients."""

    VALUE = "value"
    """The score of the arm itself."""
    DIFFERENCE = "difference"
    """The score of the arm less that of the best rival."""
    RELATIVE_GAIN = "relative-gain"
    """That difference in percent of the best rival's score."""
    RATIO = "ratio"
    """The score of the arm over that of the best rival, for example of the noise ceiling."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Comparison:
    """Two arms on the same patients: paired, two-sided Wilcoxon signed-rank test, Holm's correction in its family."""

    arm: Name
    rival: Name
    """Another arm, or one of `training.score_names.REFERENCE_MAPS`."""
    score: Score = Score.SPEARMAN
    against: Against = Against.SPECT
    family: Name = "main"
    """All comparisons of one family are corrected together."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Aim:
    """Something a study sets out to reach."""

    name: Name
    statement: Text
    """In one sentence, as a reader would say it."""
    arm: Name
    measure: Measure
    at_least: Annotated[float, Field(allow_inf_nan=False)]
    """In the unit of the score, percent for a relative gain."""
    rivals: tuple[Name, ...] = ()
    """The best of them (by mean over patients) counts. None for a value."""
    score: Score = Score.SPEARMAN
    against: Against = Against.SPECT
    p_below: Annotated[float, Field(gt=0, le=1)] | None = None
    """Also wanted: this corrected p of the comparison of arm and best rival, which must be asked as well."""


def contradictions(comparisons: Sequence[Comparison], aims: Sequence[Aim], names: Set[str]) -> list[str]:
    """What cannot be answered, one sentence each.

    Args:
        comparisons: asked.
        aims: set.
        names: of the arms and reference maps that there will be (`training.score_names.REFERENCE_MAPS` among them).
    """
    faults = []
    for place, comparison in enumerate(comparisons):
        where = f"comparisons.{place}"
        faults += [
            f"{where}: no arm is called {name!r}" for name in (comparison.arm, comparison.rival) if name not in names
        ]
        if comparison.arm == comparison.rival:
            faults.append(f"{where}: {comparison.arm!r} is compared with itself")
        if comparison in comparisons[:place]:
            faults.append(f"{where}: is asked twice")
    for aim in aims:
        faults += [f"aims.{aim.name}: {fault}" for fault in _aim_contradictions(aim, comparisons, names)]
    twice = {aim.name for aim in aims if sum(aim.name == other.name for other in aims) > 1}
    return faults + [f"aims: {name!r} occurs twice" for name in sorted(twice)]


def _aim_contradictions(aim: Aim, comparisons: Sequence[Comparison], names: Set[str]) -> list[str]:
    faults = [f"no arm is called {name!r}" for name in (aim.arm, *aim.rivals) if name not in names]
    if (aim.measure is Measure.VALUE) != (not aim.rivals):
        faults.append("rivals: must be there exactly when the measure is not a value")
    if not aim.score.higher_is_better:
        faults.append(f"score: {aim.score.value!r} is not one of which more is better")
    if aim.p_below is not None:
        asked = {(c.arm, c.rival, c.score, c.against) for c in comparisons}
        faults += [
            f"p_below: the comparison with {rival!r} is not asked"
            for rival in aim.rivals or ("",)
            if (aim.arm, rival, aim.score, aim.against) not in asked
        ]
    return faults
