"""The page of a retrained model for people, in the six sections of AID-RT (doi:10.1016/j.phro.2026.100940).

As `training.model_card_page` does for the model of the study. Figures on it are of the patients of each fold, whom its
network has not seen; how the model does beside the one in use says `perfnode evaluate`, on held-out patients.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from inference.ensemble_perfusion import FINGERPRINT_FILE, INTERVAL_FILE
from training.fold_models import FoldModel
from training.report.document import Document, Heading, Notice, Part, Row, Table, Text
from training.report.markdown_page import markdown
from training.retraining.retraining import Retraining
from training.score_names import Score

_SHOWN = (Score.SPEARMAN, Score.SPEARMAN_ERODED, Score.DICE_HIGH_50, Score.DICE_LOW_50, Score.LOBAR_ERROR)


@dataclass(frozen=True, slots=True)
class SitePage:
    """What the page says of the bundle as a whole."""

    name: str
    version: str
    caveat: str
    trained_on: str
    signer: str
    key_id: str
    intended_use: str


def site_page(
    facts: SitePage, run: Retraining, models: Sequence[FoldModel], calibration: Mapping[str, Mapping[str, Any]]
) -> str:
    """The page as Markdown.

    Args:
        facts: of the bundle.
        run: that it is made from.
        models: its members.
        calibration: documents of the bundle by path.
    """
    document: Document = (
        Heading(f"{facts.name} {facts.version}", level=1),
        Notice(f"**Research only.** {facts.caveat} {_warning(run)}"),
        *_about(facts, run),
        *_technical(models),
        *_training(facts, run, models),
        *_evaluation(run, models, calibration),
        *_other(calibration),
    )
    return markdown(document, pictures="")


def _warning(run: Retraining) -> str:
    if run.plan.data == "in-silico":
        return "Every figure is of in-silico patients and cannot be compared with figures of patients."
    return "Figures are of one hospital's patients; nothing is known of other scanners, protocols or patients."


def _about(facts: SitePage, run: Retraining) -> tuple[Part, ...]:
    return (
        Heading("0 Card metadata"),
        _facts(
            ("Written by", "`perfnode train`, from the folder of its run; no figure by hand"),
            ("Recipe", f"{run.read.recipe.name}, `{run.read.sha256[:16]}`: {run.read.recipe.statement}"),
            ("Signed by", f"{facts.signer}, key `{facts.key_id}`"),
        ),
        Heading("1 Model basic information"),
        _facts(
            ("Name and version", f"{facts.name} {facts.version}"),
            ("Purpose", "relative perfusion of the lungs, as a perfusion SPECT would show it, from a planning CT"),
            ("Intended use", facts.intended_use),
            ("Not for", "decisions about patients; absolute perfusion; children; ventilation"),
            ("Regulatory state", "none: not a medical device, no clinical evidence"),
        ),
    )


def _technical(models: Sequence[FoldModel]) -> tuple[Part, ...]:
    card, first = models[0].card, models[0]
    return (
        Heading("2 Model technical specifications"),
        _facts(
            ("Architecture", f"{len(models)} x {card.network}, {first.parameters:,} parameters each; their mean"),
            ("Grid", f"{_numbers(card.input_spacing_mm)} mm; window {_numbers(card.window_size)} voxels"),
            ("Shown", f"{', '.join(card.channels)}; HU window {card.hu_window[0]:g} to {card.hu_window[1]:g}"),
            ("Weights", f"safetensors, {sum(len(model.weights) for model in models) / 1e6:.1f} MB"),
            ("Trained on", first.result.device),
            ("Software", ", ".join(f"{name} {number}" for name, number in sorted(first.result.versions.items()))),
        ),
    )


def _training(facts: SitePage, run: Retraining, models: Sequence[FoldModel]) -> tuple[Part, ...]:
    plan = run.read.recipe.optimisation
    rows = tuple(
        Row((str(model.job.fold), *_counts(model), str(model.result.best_step), _seconds(model))) for model in models
    )
    return (
        Heading("3 Training data, methodology, and information"),
        Text(
            f"{facts.trained_on} Every pair was accepted by a person. Lungs and lobes are those of the engine "
            f"`{run.read.recipe.input.lobes}`. {len(run.plan.held_out)} patients were held out (parts "
            f"{run.record.held_out} by hash): no training, no choice of a step and no interval has seen them."
        ),
        _facts(
            ("Starts from", run.record.start),
            ("What learns", run.read.recipe.learns),
            ("Optimiser", f"AdamW, {plan.steps} steps of {plan.batch_size}, peak rate {plan.learning_rate:g}"),
            ("Choice of the step", "Spearman R of validation patients on the eroded lungs"),
        ),
        Table(
            ("fold", "trained on", "step chosen by", "tested on", "step kept", "training (s)"),
            rows,
            "Pairs per fold. No patient is in two columns of one row. Step 0 is the start itself.",
        ),
    )


def _evaluation(
    run: Retraining, models: Sequence[FoldModel], calibration: Mapping[str, Mapping[str, Any]]
) -> tuple[Part, ...]:
    scored = [each["scores"] for model in models for each in model.result.scores.values()]
    parts: list[Part] = [Heading("4 Evaluation data, methodology, and results")]
    if scored:
        text = (
            f"{len(scored)} {run.plan.data} patients, each by the one network that has not seen it, against its SPECT."
        )
        rows = tuple(Row((score.label, _mean([each[score] for each in scored if score in each]))) for score in _SHOWN)
        parts += [Text(text), Table(("against SPECT", "mean ± SD"), rows)]
    else:
        parts.append(Text("One network without folds: nobody but the held-out patients is unseen by it."))
    interval = calibration.get(INTERVAL_FILE)
    parts.append(Text("No interval was calibrated." if interval is None else _interval(interval)))
    parts.append(Text("**Beside the model in use:** the document of `perfnode evaluate`, on held-out patients."))
    return tuple(parts)


def _interval(document: Mapping[str, Any]) -> str:
    return (
        f"**Interval.** In {document['level']:.0%} of patients like these, {document['voxel_share']:.0%} of the lung "
        f"voxels lie within the interval that the node gives; from {sum(document['patients'])} patients. It promises "
        "nothing for other patients."
    )


def _other(calibration: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    known = ", ".join(sorted(calibration[FINGERPRINT_FILE]["statistics"]))
    rows = (
        Row(("a map that looks right and is wrong", "every object says RESEARCH and the model; spread is shown")),
        Row(("a CT unlike the training", f"distance from the training patients as a finding; statistics: {known}")),
        Row(("patients can be told from the weights", "not examined: treat the model as data of the study")),
        Row(("a patient opts out later", "out of the store at once, and of this model by training a new one")),
    )
    return (Heading("5 Other considerations"), Table(("risk", "what is done about it"), rows, words=frozenset({0, 1})))


def _counts(model: FoldModel) -> tuple[str, str, str]:
    job = model.job
    return str(len(job.training)), str(len(job.validation)), str(len(job.test))


def _seconds(model: FoldModel) -> str:
    return f"{model.result.seconds.get('training', 0.0):.0f}"


def _mean(values: Sequence[float]) -> str:
    if not values:
        return ""
    return f"{fmean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def _facts(*rows: tuple[str, str]) -> Table:
    return Table(("", ""), tuple(Row(row) for row in rows), words=frozenset({0, 1}))


def _numbers(values: Sequence[float]) -> str:
    return " x ".join(f"{value:g}" for value in values)
