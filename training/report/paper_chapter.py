"""The table of the paper beside ours, and the sentence that they are not comparable."""

from inference.anatomy import Lobe
from training.report.chapter import Chapter
from training.report.document import Folded, Heading, Notice, Row, Table, Text
from training.report.numbers import interval, number
from training.report.paper import (
    CAUTION,
    DICE_GOOD,
    DICE_GOOD_HIGH,
    DICE_GOOD_LOW,
    DICE_HIGH,
    DICE_LOW,
    GAIN_PERCENT,
    LOBE_R,
    NEIGHBOURS,
    PATIENTS,
    SPEARMAN,
    Clinical,
)
from training.report.results import StudyResults
from training.score_names import Against, Score

PRETRAINED = "pretrained-only"


def paper_chapter(results: StudyResults) -> Chapter:
    """Ren et al. 2022 in one column, this study in the other, and what else was published, folded."""
    table = Table(
        ("", "Ren et al. 2022: patients, clinical", "this study: nobody, in silico"),
        tuple(_rows(results)),
        "Clinical: mean ± SD or mean (range) as in the abstract; the threshold of the DSC was not read, its numbers "
        "fit the median. The correlations of lobes come from the project's brief and were not read in the paper. "
        "In silico: the main arm against the SPECT, all voxels of the lungs, DSC at the median.",
    )
    neighbours = Table(
        ("source", "task and patients", "Spearman R", "DSC high / low"),
        tuple(Row((each.source, each.task, each.spearman, each.dice)) for each in NEIGHBOURS),
        "Clinical figures, as read in abstracts and tables.",
        words=frozenset({0, 1}),
    )
    return Chapter(
        (
            Heading("The paper's table beside ours"),
            Notice(CAUTION),
            table,
            Folded("What others report on patients", (neighbours, Text(_OTHERS))),
        )
    )


_OTHERS = (
    "Each on its own patients, masks and thresholds, so they are not comparable with one another either, and none of "
    "them with ours."
)


def _rows(results: StudyResults) -> list[Row]:
    rows = [
        Row(("pre-training, fine-tuning patients; folds", "137, 33; 3", _design(results))),
        Row(("Spearman R, voxels", f"{SPEARMAN.mean:.3f} ± {SPEARMAN.sd:.3f}", _mean_sd(results, Score.SPEARMAN))),
    ]
    for name, score, clinical, good in (
        ("high", Score.DICE_HIGH_50, DICE_HIGH, DICE_GOOD_HIGH),
        ("low", Score.DICE_LOW_50, DICE_LOW, DICE_GOOD_LOW),
    ):
        rows.append(Row((f"DSC, {name} function", _range(clinical), _our_range(results, score))))
        values = list(results.main.values(score, Against.SPECT).values())
        above = f"{sum(value > DICE_GOOD for value in values)} of {len(values)}"
        rows.append(Row((f"patients with DSC {name} above {DICE_GOOD}", f"{good} of {PATIENTS}", above)))
    rows.append(Row(("fine-tuned over pre-trained, R", f"about +{GAIN_PERCENT:.0f} %", _gain(results))))
    lobes = results.statistics.arms[results.main.name].lobes[Against.SPECT]
    for lobe in Lobe:
        r = lobes[lobe.name].r if lobe.name in lobes else None
        ours = interval(r.value, r.low, r.high, 2) if r is not None else number(None)
        rows.append(Row((f"mean perfusion of the {lobe.name}, r over patients", f"{LOBE_R[lobe]:.2f}", ours)))
    return rows


def _design(results: StudyResults) -> str:
    cohort = results.recipe.study.cohort
    return f"{cohort.pretraining_cases}, {cohort.fine_tuning_cases}; {cohort.folds}"


def _mean_sd(results: StudyResults, score: Score) -> str:
    found = results.statistics.arms[results.main.name].scores[Against.SPECT].get(score)
    return number(None) if found is None else f"{number(found.mean)} ± {number(found.sd)}"


def _range(clinical: Clinical) -> str:
    return f"{clinical.mean:.3f} ({clinical.low:.3f}–{clinical.high:.3f})"


def _our_range(results: StudyResults, score: Score) -> str:
    values = list(results.main.values(score, Against.SPECT).values())
    if not values:
        return number(None)
    return f"{number(sum(values) / len(values))} ({number(min(values))}–{number(max(values))})"


def _gain(results: StudyResults) -> str:
    if PRETRAINED not in results.arms:
        return "not done"
    ours, before = (
        results.statistics.arms[name].scores[Against.SPECT][Score.SPEARMAN].mean
        for name in (results.main.name, PRETRAINED)
    )
    return f"{number(100.0 * (ours / before - 1.0), 1, signed=True)} %"
