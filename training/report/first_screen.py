"""What stands at the top: what was asked, that nobody is real, the main table, which aims were met."""

from training.arm_statistics import ArmStatistics
from training.comparisons import Measure
from training.jobs import Result
from training.report.chapter import Chapter
from training.report.document import Beside, Heading, Notice, Part, Row, Table, Text, Weight
from training.report.families import Family, family, in_order, label
from training.report.numbers import NONE, counted, interval, number, p_value, percent
from training.report.paper import CAUTION
from training.report.results import StudyResults
from training.score_names import BASELINES, CEILING, SPECT_MAP, Against, Score
from training.study_statistics import AimResult

_COLUMNS = (
    "arm",
    "Spearman R, whole lungs",
    "Spearman R, eroded lungs",
    "DSC high, 50/50",
    "DSC low, 50/50",
    "of the ceiling, eroded",
)


def first_screen(results: StudyResults) -> Chapter:
    """Title, question, caution, main table and aims."""
    study = results.recipe.study
    left = (Heading("How well each arm agrees with the SPECT", 3), main_table(results))
    right = (Heading("Aims, set before the study ran", 3), _aims(results), Text(_in_short(results)))
    parts: list[Part] = [
        Heading("Transfer learning from CT to lung perfusion, in silico", 1),
        Text(f"{study.statement} {_done(results)}"),
        Notice(CAUTION),
    ]
    if results.lacking:
        parts.append(Notice(_lacking(results)))
    return Chapter((*parts, Beside(left, right)))


def main_table(results: StudyResults) -> Table:
    """Every arm with the scores that matter most, against the SPECT."""
    rows, before = [], None
    for name in in_order(results.arms, results.recipe):
        if name == SPECT_MAP:
            continue
        kind = family(name, results.recipe)
        if kind is not before and kind is not Family.CEILING:
            rows.append(Row((str(kind),), Weight.GROUP))
        before = kind
        weight = Weight.FAINT if kind in (Family.CEILING, Family.BASELINE) else Weight.PLAIN
        weight = Weight.STRONG if name == results.recipe.study.main_arm else weight
        rows.append(Row(_cells(name, results), weight))
    return Table(_COLUMNS, tuple(rows), _caption(results))


def _cells(name: str, results: StudyResults) -> tuple[str, ...]:
    arm = results.statistics.arms[name]
    called = "noise ceiling" if name == CEILING else label(name, results.recipe)
    share = share_of_ceiling(arm, results, Score.SPEARMAN_ERODED)
    return (
        called,
        cell(arm, Score.SPEARMAN),
        cell(arm, Score.SPEARMAN_ERODED),
        mean_of(arm, Score.DICE_HIGH_50),
        mean_of(arm, Score.DICE_LOW_50),
        percent(share, 0),
    )


def cell(arm: ArmStatistics, score: Score, against: Against = Against.SPECT) -> str:
    """A mean with its interval."""
    found = arm.scores[against].get(score)
    return interval(None, None, None) if found is None else interval(found.mean, found.low, found.high)


def mean_of(arm: ArmStatistics, score: Score, against: Against = Against.SPECT) -> str:
    """A mean alone."""
    found = arm.scores[against].get(score)
    return number(None if found is None else found.mean)


def share_of_ceiling(arm: ArmStatistics, results: StudyResults, score: Score) -> float | None:
    """Mean of an arm over the mean of the ceiling; None without either."""
    ours, most = (each.scores[Against.SPECT].get(score) for each in (arm, results.statistics.arms[CEILING]))
    return None if ours is None or most is None or not most.mean else ours.mean / most.mean


def best_trivial(results: StudyResults, score: Score = Score.SPEARMAN_ERODED) -> str | None:
    """Name of the trivial predictor with the highest mean; None without one."""
    means = {
        name: results.statistics.arms[name].scores[Against.SPECT][score].mean
        for name in BASELINES
        if name in results.arms and score in results.statistics.arms[name].scores[Against.SPECT]
    }
    return max(means, key=lambda name: means[name]) if means else None


def _caption(results: StudyResults) -> str:
    seeds: dict[int, list[str]] = {}
    for arm in results.recipe.arms:
        if arm.name in results.arms:
            seeds.setdefault(len(results.arms[arm.name].seeds), []).append(label(arm.name, results.recipe))
    most = max(seeds)
    told = f"Each arm was run with {counted(most, 'seed')}"
    told += "".join(f", but {count} for {', '.join(seeds[count])}" for count in sorted(seeds, reverse=True)[1:])
    return (
        f"Means over {len(results.main.patients)} in-silico patients, each tested once, with 95 % intervals over "
        f"patients. {told}; a patient's scores are averaged over seeds first. Eroded: at least one resolution inside "
        "the lungs' surface, where the blurred edge helps nobody. DSC: overlap of the lung above (high) and below "
        "(low) each map's median; chance alone gives 0.5. Of the ceiling: R over that of the truth at SPECT "
        "resolution, the noise ceiling, which no predictor can beat but by chance."
    )


def _aims(results: StudyResults) -> Table:
    rows = tuple(_aim(each, results) for each in results.statistics.aims)
    return Table(("aim", "wanted", "got", ""), rows, words=frozenset({0, 3}))


def _aim(each: AimResult, results: StudyResults) -> Row:
    if each.value is None:
        return Row((each.aim.statement, each.wanted, NONE, "not known"), Weight.FAINT)
    is_gain = each.aim.measure is Measure.RELATIVE_GAIN
    is_signed = is_gain or each.aim.measure is Measure.DIFFERENCE
    got = interval(each.value, each.low, each.high, 1 if is_gain else 3, signed=is_signed)
    got += "\u00a0%" if is_gain else ""
    if each.aim.p_below is not None and each.p_corrected is not None:
        got += f", p\u00a0{p_value(each.p_corrected)}"
    aim = each.aim.statement
    if len(each.aim.rivals) > 1 and each.best_rival is not None:
        aim += f" Best: {label(each.best_rival, results.recipe)}."
    return Row(
        (
            aim,
            each.wanted.replace(", ", ",~").replace(" ", "\u00a0").replace("~", " "),
            got,
            "met" if each.met else "**missed**",
        )
    )


def _in_short(results: StudyResults) -> str:
    met = sum(each.met for each in results.statistics.aims)
    trivial = best_trivial(results)
    words = f"**{met} of {counted(len(results.statistics.aims), 'aim')} met.** Missed aims stay in this table."
    if trivial is not None:
        at = mean_of(results.statistics.arms[trivial], Score.SPEARMAN_ERODED)
        words += f" The best trivial predictor, {label(trivial, results.recipe)}, scores {at} on the eroded lungs."
    return words


def _done(results: StudyResults) -> str:
    cohort = results.recipe.study.cohort
    networks = {done.job.name: done.result for done in results.done.values() if done.job.kind != "reference"}
    return (
        f"Networks were pre-trained on {cohort.pretraining_cases} in-silico patients without lung cancer and "
        f"fine-tuned on {cohort.fine_tuning_cases} with lung cancer in {cohort.folds} folds: the design of Ren et al. "
        f"2022, on patients that nobody is. {counted(len(networks), 'training run')} on "
        f"{_devices(list(networks.values()))}."
    )


def _devices(done: list[Result]) -> str:
    return " and ".join(sorted({result.device for result in done})) or "no device"


def _lacking(results: StudyResults) -> str:
    total = len(results.lacking) + len(results.done)
    arms = sorted({name.rsplit("/fold", 1)[0] for name in results.lacking})
    return (
        f"**This study is not finished.** {len(results.lacking)} of {total} jobs have no result ({', '.join(arms)}). "
        "Arms without a whole set of folds are left out below, and so are comparisons and aims with them."
    )
