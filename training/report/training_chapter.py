"""How training went and what it cost."""

from collections.abc import Sequence
from statistics import median

from training.history import Look
from training.recipe import Arm
from training.report.chapter import Chapter
from training.report.document import Heading, Picture, Row, Table, Text
from training.report.families import Family, family, in_order, label, network_label
from training.report.figures.learning import Course, Curve, draw_learning
from training.report.numbers import NONE, counted, duration, number
from training.report.results import Done, StudyResults

LEARNING = "learning.png"


def training_chapter(results: StudyResults) -> Chapter:
    """Learning curves, then steps, time and devices."""
    courses = [course for course in _courses(results) if course.curves]
    picture = Picture(
        LEARNING,
        "Above: mean Spearman R on the eroded lungs of the validation patients, which chooses the step that is kept; "
        "lines are means over folds and seeds, bands reach from the lowest to the highest. Below: loss of validation "
        "patients (thick) and of training patients with augmentation (thin). Validation patients are never tested.",
        "Learning curves by optimiser step.",
    )
    parts = (Heading("Learning curves"), *([picture] if courses else []), *_cost(results))
    return Chapter(parts, {LEARNING: draw_learning(courses)} if courses else {})


def _courses(results: StudyResults) -> list[Course]:
    by_family: dict[str, list[Curve]] = {"ways of transfer": [], "peers and less input": []}
    arms = {arm.name: arm for arm in results.recipe.arms}
    for name in in_order(arms, results.recipe):
        runs = _runs(results.of_arm(name))
        if runs:
            title = "ways of transfer" if family(name, results.recipe) is Family.TRANSFER else "peers and less input"
            by_family[title].append(Curve(label(name, results.recipe), runs))
    before = [
        Curve(network_label(network.name, results.recipe), runs)
        for network in results.recipe.networks
        if (runs := _runs(results.of_pretraining(network.name)))
    ]
    return [
        Course("pre-training", tuple(before)),
        *(Course(title, tuple(curves)) for title, curves in by_family.items()),
    ]


def _runs(done: Sequence[Done]) -> tuple[tuple[Look, ...], ...]:
    return tuple(each.looks for each in done if each.looks)


def _cost(results: StudyResults) -> tuple[Heading | Text | Table, ...]:
    every = [done for done in results.done.values() if done.job.kind != "reference"]
    steps = sum(done.job.steps for done in every)
    seconds = sum(sum(done.result.seconds.values()) for done in every)
    memory = max((done.result.peak_memory_mb for done in every), default=0.0)
    versions = {f"{name} {version}" for done in every for name, version in done.result.versions.items()}
    devices = sorted({done.result.device for done in every})
    options = sorted({name for done in every for name, value in done.result.running.items() if value is True})
    words = (
        f"{counted(len(every), 'training run')} with {steps:,} optimiser steps took {duration(seconds)} of job time in "
        f"all on {', '.join(devices)}; jobs that ran side by side shared the device. The largest peak of memory of a "
        f"job was {memory:,.0f} MB. Options: {', '.join(options) or 'none'}. Software: "
        f"{', '.join(sorted(versions))}."
    )
    return (Heading("What it cost"), Text(words), Text(_budget(results)), _cost_table(results))


def _budget(results: StudyResults) -> str:
    study = results.recipe.study
    fewer = [arm for arm in results.recipe.arms if set(arm.seeds) != set(study.cohort.seeds)]
    if not fewer:
        return f"Every arm was run with {counted(len(study.cohort.seeds), 'seed')}."
    told = ", ".join(f"{label(arm.name, results.recipe)} ({len(arm.seeds)})" for arm in fewer)
    return (
        f"The study has {len(study.cohort.seeds)} seeds. **Fewer were run of {told}**, because the time on the device "
        "was short; their spread from seed to seed is not known."
    )


def _cost_table(results: StudyResults) -> Table:
    rows = []
    for network in results.recipe.networks:
        done = results.of_pretraining(network.name)
        if done:
            rows.append(
                _cost_row(f"pre-training: {network_label(network.name, results.recipe)}", network.network, done)
            )
    for name in in_order({arm.name: arm for arm in results.recipe.arms}, results.recipe):
        arm, done = results.recipe.arm(name), results.of_arm(name)
        if done:
            rows.append(_cost_row(label(name, results.recipe), arm.network.network, done, arm))
    said = ("network", "parameters", "channels", "steps", "batch", "kept step", "runs", "training, each", "patients/s")
    return Table(
        ("", *said),
        tuple(rows),
        "Steps and batch of one run; kept step: median of the steps that validation chose; time and patients per "
        "second: medians over runs, with other jobs on the same device.",
        words=frozenset({0, 1}),
    )


def _cost_row(called: str, network: str, done: Sequence[Done], arm: Arm | None = None) -> Row:
    optimisation = done[0].job.optimisation
    kept = [each.result.best_step for each in done if each.result.best_step is not None]
    channels = len(done[0].job.input.channels) if done[0].job.input is not None else 0
    return Row(
        (
            called,
            network,
            f"{max(each.result.parameters for each in done):,}",
            str(channels),
            str(optimisation.steps) if optimisation else "0",
            str(optimisation.batch_size) if optimisation else NONE,
            f"{median(kept):.0f}" if kept else NONE,
            str(len(done)),
            duration(median(each.result.seconds.get("training", 0.0) for each in done)) if optimisation else NONE,
            number(median(each.result.samples_per_second for each in done), 1) if optimisation else NONE,
        )
    )
