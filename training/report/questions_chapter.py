"""The comparisons that were asked before the study ran, answered."""

from training.report.chapter import Chapter
from training.report.document import Heading, Picture, Row, Table, Text
from training.report.families import Family, family, label
from training.report.figures.differences import Difference, draw_differences
from training.report.numbers import interval, number, p_value, percent
from training.report.results import StudyResults
from training.score_names import Against
from training.study_statistics import ComparisonResult

PICTURE = "comparisons.png"
CLEAR_BELOW = 0.05
"""Corrected p from which on a difference is drawn as found."""
_WORDS = (
    "Which arms are compared, in which score, stood in `study.toml` before the study ran. Differences are of the same "
    "patients, arm less rival, with 95 % bootstrap intervals over patients; p is of Wilcoxon's signed-rank test, "
    "two-sided, corrected after Holm among all comparisons of one family. Patients of one fold share a network, so "
    "intervals are a little too narrow."
)


def questions_chapter(results: StudyResults) -> Chapter:
    """A picture and a table of all comparisons; a sentence where none was asked."""
    asked = results.statistics.comparisons
    if not asked:
        return Chapter((Heading("Comparisons asked beforehand"), Text("None was asked, or none can be answered yet.")))
    groups: dict[str, list[Difference]] = {}
    for each in asked:
        if each.low is not None and each.high is not None:
            groups.setdefault(_axis(each, results), []).append(_difference(each, each.low, each.high, results))
    picture = Picture(
        PICTURE,
        "Mean difference over patients with its 95 % interval; blue where the corrected p is below "
        f"{CLEAR_BELOW}, grey where it is not.",
        "Differences between arms with intervals; the numbers stand in the table.",
    )
    parts = (Heading("Comparisons asked beforehand"), Text(_WORDS), picture, _table(results))
    if not groups:
        return Chapter((*parts[:2], parts[3]))
    return Chapter(parts, {PICTURE: draw_differences(list(groups.items()))})


def _score(each: ComparisonResult) -> str:
    against = each.comparison.against
    beside = "" if against is Against.SPECT else f", against the {against.value}"
    return f"{each.comparison.score.label}{beside}"


def _axis(each: ComparisonResult, results: StudyResults) -> str:
    """Arm and score; trivial predictors have a scale of their own, as they lie far off."""
    arm, rivals = label(each.comparison.arm, results.recipe), "rival"
    if family(each.comparison.rival, results.recipe) is Family.BASELINE:
        rivals = "trivial predictor"
    return f"{_score(each)}: {arm} − {rivals}"


def _difference(each: ComparisonResult, low: float, high: float, results: StudyResults) -> Difference:
    return Difference(
        label=label(each.comparison.rival, results.recipe),
        mean=each.difference,
        low=low,
        high=high,
        verdict=f"p {p_value(each.p_corrected).removeprefix('= ')}",
        is_clear=each.p_corrected < CLEAR_BELOW,
    )


def _share(in_percent: float | None) -> float | None:
    return None if in_percent is None else in_percent / 100.0


def _table(results: StudyResults) -> Table:
    rows = []
    for each in results.statistics.comparisons:
        arm, rival = (label(name, results.recipe) for name in (each.comparison.arm, each.comparison.rival))
        rows.append(
            Row(
                (
                    arm,
                    rival,
                    _score(each),
                    number(each.mean),
                    number(each.rival_mean),
                    interval(each.difference, each.low, each.high, signed=True),
                    percent(_share(each.relative_percent), signed=True),
                    f"{each.better} of {each.patients}",
                    p_value(each.p),
                    p_value(each.p_corrected),
                    f"{each.comparison.family} ({each.family_size})",
                )
            )
        )
    return Table(
        ("arm", "rival", "score", "arm", "rival", "difference", "relative", "better in", "p", "p, Holm", "family"),
        tuple(rows),
        "Better in: patients in whom the arm scores above the rival. Family: the comparisons that are corrected "
        "together, and their number.",
        words=frozenset({0, 1, 2, 10}),
    )
