"""The page of a model for people, after AID-RT, the model card for radiotherapy.

Its six sections are those of Barragan-Montero et al., Phys Imaging Radiat Oncol 2026, doi:10.1016/j.phro.2026.100940:
card metadata, basic information, technical specifications, training data and methodology, evaluation (commissioning),
other considerations. The wording of their form could not be read, only its sections; what stands in each is ours.

Every figure is that of patients whom the network in question has not seen. No figure is of a real patient, and the page
says so before it shows one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

from inference.ensemble_perfusion import FINGERPRINT_FILE, INTERVAL_FILE
from training.fold_models import FinishedStudy, FoldModel
from training.jobs import JOBS, REFERENCES, RESULT_FILE, Result, read_record
from training.report.document import Document, Heading, Notice, Part, Row, Table, Text, Weight
from training.report.markdown_page import markdown
from training.score_names import BASELINES, CEILING, Against, Score
from training.scores import CaseScores, read_scores

TEMPLATE = "AID-RT, doi:10.1016/j.phro.2026.100940"
_SHOWN = (
    Score.SPEARMAN,
    Score.SPEARMAN_ERODED,
    Score.DICE_HIGH_50,
    Score.DICE_LOW_50,
    Score.PEARSON,
    Score.SSIM,
    Score.RMSE,
    Score.LOBAR_ERROR,
    Score.CALIBRATION_SLOPE,
)


@dataclass(frozen=True, slots=True)
class PageFacts:
    """What the page says of the bundle as a whole."""

    name: str
    version: str
    caveat: str
    intended_use: str
    trained_on: str
    signer: str
    key_id: str


def model_page(facts: PageFacts, study: FinishedStudy, calibration: Mapping[str, Mapping[str, Any]]) -> str:
    """The page as Markdown.

    Args:
        facts: of the bundle.
        study: that the model is made from.
        calibration: documents of the bundle by path; may be empty.
    """
    document: Document = (
        Heading(f"{facts.name} {facts.version}", level=1),
        Notice(
            f"**Research only.** {facts.caveat} Figures below are of in-silico patients; they cannot be compared with "
            "figures of patients, here or in papers."
        ),
        *_metadata(facts, study),
        *_basic(facts, study),
        *_technical(study),
        *_training(facts, study),
        *_evaluation(study, calibration),
        *_other(calibration),
    )
    return markdown(document, pictures="")


def _metadata(facts: PageFacts, study: FinishedStudy) -> tuple[Part, ...]:
    return (
        Heading("0 Card metadata"),
        _facts(
            ("Template", TEMPLATE),
            ("Written by", "`perfnode study export`, from the folder of results of the study; no figure by hand"),
            ("Study, arm, seed", f"{study.recipe.study.name}, {study.recipe.study.main_arm}, {study.seed}"),
            ("Digest of the recipe", f"`{study.recipe_sha256[:16]}`"),
            ("Signed by", f"{facts.signer}, key `{facts.key_id}`"),
        ),
    )


def _basic(facts: PageFacts, study: FinishedStudy) -> tuple[Part, ...]:
    return (
        Heading("1 Model basic information"),
        _facts(
            ("Name and version", f"{facts.name} {facts.version}"),
            ("Purpose", "relative perfusion of the lungs, as a perfusion SPECT would show it, from a planning CT"),
            ("Intended use", facts.intended_use),
            ("Not for", "decisions about patients; absolute perfusion; children; ventilation"),
            ("Intended users", "physicists and physicians who do research on functional lung avoidance"),
            ("Input", "planning CT of the thorax, patient supine, and its five lung lobes"),
            (
                "Output",
                "perfusion map, 1.0 = mean of both lungs; spread of the networks; interval; distance from training",
            ),
            ("Regulatory state", "none: not a medical device, no clinical evidence"),
            ("Licence", "Apache-2.0"),
        ),
    )


def _technical(study: FinishedStudy) -> tuple[Part, ...]:
    first = study.models[0]
    card = first.card
    megabytes = sum(len(model.weights) for model in study.models) / 1e6
    return (
        Heading("2 Model technical specifications"),
        _facts(
            ("Architecture", f"{len(study.models)} x {card.network}, {first.parameters:,} parameters each; their mean"),
            ("Arguments", f"`{dict(sorted(card.network_arguments.items()))}`"),
            ("Weights", f"safetensors, {megabytes:.1f} MB; kernels rounded to 16 bits after training"),
            ("Grid", f"{_numbers(card.input_spacing_mm)} mm; window {_numbers(card.window_size)} voxels"),
            ("Shown", f"{', '.join(card.channels)}; HU window {_numbers(card.hu_window)}"),
            ("Each lung alone", "yes, the left one mirrored" if card.lungwise else "no, both at once"),
            ("Trained on", first.result.device),
            ("Software", ", ".join(f"{name} {number}" for name, number in sorted(first.result.versions.items()))),
        ),
    )


def _training(facts: PageFacts, study: FinishedStudy) -> tuple[Part, ...]:
    cohort, plan = study.recipe.study.cohort, study.models[0].job.optimisation
    optimiser = (
        "nothing was optimised"
        if plan is None
        else (
            f"AdamW, {plan.steps} steps of {plan.batch_size} patients, peak rate {plan.learning_rate:g}, "
            f"encoder {plan.encoder_rate_factor:g} times that, weight decay {plan.weight_decay:g}; "
            "loss: Huber and 1 - Pearson"
        )
    )
    return (
        Heading("3 Training data, methodology, and information"),
        Text(
            f"{facts.trained_on} The cohort is made by `perfnode cohort make` (docs/cohort.md): anatomy, arteries, "
            "diseases, CT of two invented hospitals and SPECT with noise are all computed. Perfusion in it follows "
            "published physiology as far as that goes, and our assumptions beyond. **What the network has learned of "
            "lungs is what that cohort knows of them.**"
        ),
        _facts(
            (
                "Patients",
                f"{cohort.pretraining_cases} without lung cancer, {cohort.fine_tuning_cases} with",
            ),
            ("Reference", "SPECT on the grid of the network, over its mean in the lungs"),
            ("Pre-training", _pretraining(study)),
            ("Fine-tuning", f"what learns: {study.models[0].job.learns}. {optimiser}"),
            ("Choice of the step", "Spearman R of validation patients, taken out of the training folds"),
        ),
        Table(
            ("fold", "trained on", "step chosen by", "tested on", "step kept", "training (s)"),
            tuple(_fold_row(model) for model in study.models),
            "Patients per fold. Nobody is in two columns of one row.",
        ),
    )


def _pretraining(study: FinishedStudy) -> str:
    if study.models[0].job.needs is None:
        return "none"
    plan = study.recipe.study.pretraining
    return f"{plan.steps} steps of {plan.batch_size} patients without lung cancer, peak rate {plan.learning_rate:g}"


def _fold_row(model: FoldModel) -> Row:
    job, result = model.job, model.result
    step = "" if result.best_step is None else str(result.best_step)
    counts = (str(len(group)) for group in (job.training, job.validation, job.test))
    return Row((f"{job.fold}", *counts, step, f"{result.seconds.get('training', 0.0):.0f}"))


def _evaluation(study: FinishedStudy, calibration: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    scores = {patient: each for model in study.models for patient, each in read_scores(model.result.scores).items()}
    columns = [("this model", list(scores.values()))]
    for name, title in ((CEILING, "noise ceiling"), *((base, base.replace("-", " and ")) for base in BASELINES)):
        if found := _reference(study, name, scores):
            columns.append((title, found))
    return (
        Heading("4 Evaluation data, methodology, and results"),
        Text(
            f"{len(scores)} in-silico patients with lung cancer, each predicted by the one network that has not seen "
            "it, against its SPECT; mean and standard deviation over patients. These are the networks before rounding "
            "to 16 bits, one at a time; the node gives the mean of all. The noise ceiling is the score of the true "
            "perfusion at SPECT resolution. Intervals, tests, all arms and all seeds are in docs/study."
        ),
        Table(
            ("against SPECT", *(title for title, _ in columns)),
            tuple(
                Row((score.label, *(_mean(found, score) for _, found in columns)), _weight(score)) for score in _SHOWN
            ),
        ),
        Text(_interval(calibration.get(INTERVAL_FILE))),
        Text(
            "**Commissioning.** There is none: no clinic has tested this model. A site that wants to do research with "
            "it compares maps with SPECT of its own patients first, and looks at both."
        ),
    )


def _reference(study: FinishedStudy, name: str, scores: Mapping[str, CaseScores]) -> list[CaseScores]:
    path = study.folder / JOBS / REFERENCES / name / RESULT_FILE
    if not path.is_file():
        return []
    found = read_scores(read_record(path, Result).scores)
    return [found[patient] for patient in scores if patient in found]


def _mean(found: Sequence[CaseScores], score: Score) -> str:
    values = [
        each.against[Against.SPECT].scores[score] for each in found if score in each.against[Against.SPECT].scores
    ]
    if not values:
        return ""
    return f"{fmean(values):.3f} ± {stdev(values):.3f}" if len(values) > 1 else f"{values[0]:.3f}"


def _weight(score: Score) -> Weight:
    return Weight.STRONG if score in (Score.SPEARMAN, Score.SPEARMAN_ERODED) else Weight.PLAIN


def _interval(document: Mapping[str, Any] | None) -> str:
    if document is None:
        return "No interval was calibrated."
    widths = ", ".join(f"{width:.2f}" for width in document["voxels"])
    return (
        f"**Interval.** In {document['level']:.0%} of patients like these, {document['voxel_share']:.0%} of the lung "
        f"voxels lie within the interval that the node gives; its half-widths are {widths} of the lung mean, by "
        f"network. From {sum(document['patients'])} held-out patients. It promises nothing for other patients."
    )


def _other(calibration: Mapping[str, Mapping[str, Any]]) -> tuple[Part, ...]:
    fingerprint = calibration.get(FINGERPRINT_FILE)
    known = "none" if fingerprint is None else ", ".join(sorted(fingerprint["statistics"]))
    return (
        Heading("5 Other considerations"),
        Table(
            ("risk", "what is done about it"),
            (
                Row(
                    (
                        "a map that looks right and is wrong",
                        "every object says RESEARCH, the model and its training; spread and interval are shown",
                    )
                ),
                Row(
                    ("a CT unlike the training", f"distance from the training cohort as a finding; statistics: {known}")
                ),
                Row(
                    (
                        "disease that the cohort does not know",
                        "nothing: spread and distance need not rise. Only SPECT of real patients can tell",
                    )
                ),
                Row(
                    (
                        "bias by sex, age, origin",
                        "body sizes follow published ranges; whether all groups are served alike is unknown",
                    )
                ),
                Row(
                    ("a model that was changed", "every file is listed in a signed manifest; the node refuses to start")
                ),
                Row(
                    (
                        "drift of scanners and protocols",
                        "run time, findings and distance are in the node's metrics and audit trail",
                    )
                ),
            ),
            words=frozenset({0, 1}),
        ),
        Text(
            "**Ethics.** No patient data were used; none can be got out of the weights. **Monitoring.** Whoever runs "
            "it looks at the findings of each map and keeps the SPECT as the reference. **Retraining.** The same "
            "recipe and seeds give the same figures within the tolerance stated in docs/study."
        ),
    )


def _facts(*rows: tuple[str, str]) -> Table:
    return Table(("", ""), tuple(Row(row) for row in rows), words=frozenset({0, 1}))


def _numbers(values: Sequence[float]) -> str:
    return (
        " x ".join(f"{value:g}" for value in values)
        if len(values) == 3
        else " to ".join(f"{value:g}" for value in values)
    )
