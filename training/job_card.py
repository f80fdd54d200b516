"""The model card of a job's network: what it is, how it is fed, what it was taught with."""

from inference.model_card import ModelCard, ModelIdentity
from training.jobs import Job
from training.recipe import Recipe

VERSION = "1"
CAVEAT = "Trained on in-silico patients only, not validated on any real patient."
RETRAINED_CAVEAT = "Fine-tuned on pairs of one study store; research only, not validated in any clinical trial."
_DATA = {
    "pretraining": "in-silico patients without lung cancer",
    "fine-tuning": "in-silico patients with lung cancer",
    "both": "in-silico patients with and without lung cancer",
}


def case_card(recipe: Recipe) -> ModelCard:
    """What cases are prepared for: grid, window of HU and all channels of a study, of no network yet."""
    plan = recipe.study.input
    return ModelCard(
        identity=ModelIdentity(f"insilico-{recipe.study.name}", VERSION, caveat=CAVEAT),
        network=recipe.arm(recipe.study.main_arm).network.network,
        network_arguments={},
        input_spacing_mm=plan.spacing_mm,
        hu_window=plan.hu_window,
        window_size=plan.window_size,
        trained_on="Nothing yet.",
        intended_use="Research. Preparation of in-silico cases.",
        channels=plan.channels,
        lungwise=plan.lungwise,
    )


def job_card(job: Job) -> ModelCard:
    """The card of a job's network, before its weights are known.

    Raises:
        ValueError: the job has no network.
    """
    if job.network is None or job.input is None:
        raise ValueError(f"{job.name} has no network")
    is_retrained = job.kind == "retraining"
    name, caveat = ("site", RETRAINED_CAVEAT) if is_retrained else ("insilico", CAVEAT)
    return ModelCard(
        identity=ModelIdentity(f"{name}-{job.name.replace('/', '-')}", VERSION, caveat=caveat),
        network=job.network.network,
        network_arguments=job.network.arguments,
        input_spacing_mm=job.input.spacing_mm,
        hu_window=job.input.hu_window,
        window_size=job.input.window_size,
        trained_on=_trained_on(job),
        intended_use="Research. No clinical use." if is_retrained else "Research. Trained in silico; no clinical use.",
        channels=job.input.channels,
        lungwise=job.input.lungwise,
    )


def _trained_on(job: Job) -> str:
    if job.kind == "retraining":
        return f"{len(job.training)} pairs of a study store, after the model of {job.needs} (job {job.name})."
    kind = "pretraining" if job.kind == "pretraining" else job.trains_on
    taught = f"{len(job.training)} {_DATA[kind]}" if job.training else "nothing further"
    before = " after pre-training on in-silico patients without lung cancer" if job.needs else ""
    return f"{taught}{before} (job {job.name})."
