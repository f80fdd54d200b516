"""The networks of a finished study that become the model: those of the main arm and its first seed, one for each fold.

Which ones is fixed before a score is seen. Taking the best seed by its test scores would make the figures of the model
too good, and its conformal intervals too narrow (`training.conformal`).

Kernels are kept in 16 bits, which halves the model; vectors (norms, biases) stay in 32.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor

from inference.checkpoint import network_of
from inference.model_card import WEIGHTS_FILE, ModelCard
from inference.networks import PerfusionNetwork, build_network
from training.checkpointing import load_weights
from training.errors import StudyIncomplete
from training.job_card import job_card
from training.jobs import JOB_FILE, JOBS, RECIPE, RESULT_FILE, Job, Result, read_record
from training.recipe import Recipe
from training.recipe_copy import kept_recipe


@dataclass(frozen=True, slots=True, eq=False)
class FoldModel:
    """The network of one fold as it will lie in a bundle."""

    job: Job
    result: Result
    card: ModelCard
    weights: bytes
    """Of a safetensors file."""

    @property
    def parameters(self) -> int:
        """Numbers in the network."""
        return self.result.parameters

    def network(self) -> PerfusionNetwork:
        """The network with the weights of the bundle, rounded as they are, in evaluation mode on the CPU."""
        return network_of(self.card, self.weights)


@dataclass(frozen=True, slots=True, eq=False)
class FinishedStudy:
    """What a model is made from."""

    folder: Path
    recipe: Recipe
    models: tuple[FoldModel, ...]
    """By fold."""

    @property
    def seed(self) -> int:
        """Of all the models."""
        return self.models[0].job.seed

    @property
    def recipe_sha256(self) -> str:
        """Digest of the names and bytes of the recipe's files."""
        digest = hashlib.sha256()
        for path in sorted((self.folder / RECIPE).glob("*.toml")):
            digest.update(f"{path.name} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
        return digest.hexdigest()


def read_finished_study(folder: Path) -> FinishedStudy:
    """The recipe and the fold models of a study.

    Raises:
        StudyIncomplete: a job of the main arm is not done, belongs to another plan, or its weights are others.
        RecipeError: the copy of the recipe cannot be used.
        JobUnreadable: a record is missing or damaged.
        WeightsUnusable: weights do not fit their network.
    """
    recipe = kept_recipe(folder)
    arm = recipe.arm(recipe.study.main_arm)
    folds = range(recipe.study.cohort.folds)
    models = tuple(read_fold_model(folder, f"{arm.name}/fold{fold}/seed{arm.seeds[0]}") for fold in folds)
    if len({model.job.cases_sha256 for model in models}) > 1:
        raise StudyIncomplete(str(folder), "the folds were trained on different preparations of the patients")
    return FinishedStudy(folder, recipe, models)


def read_fold_model(study: Path, name: str) -> FoldModel:
    """The network that a job trained, as it will lie in a bundle.

    Raises:
        StudyIncomplete: the job is not done, belongs to another plan, or its weights are others.
        JobUnreadable: a record is missing or damaged.
        WeightsUnusable: weights do not fit their network.
    """
    folder = study / JOBS / name
    if not (folder / RESULT_FILE).is_file():
        raise StudyIncomplete(str(study), f"the job {name} is not done: perfnode study run goes on with it")
    job, result = read_record(folder / JOB_FILE, Job), read_record(folder / RESULT_FILE, Result)
    if result.digest != job.digest:
        raise StudyIncomplete(str(study), f"the result of {name} is of another plan")
    path = folder / WEIGHTS_FILE
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != result.weights_sha256:
        raise StudyIncomplete(str(study), f"the weights of {name} are not those of its result")
    card = job_card(job)
    network = build_network(card)
    load_weights(path, network)
    weights = shipped_weights(network.body.state_dict())
    identity = replace(card.identity, weights_sha256=hashlib.sha256(weights).hexdigest())
    return FoldModel(job, result, replace(card, identity=identity), weights)


def shipped_weights(state: Mapping[str, Tensor]) -> bytes:
    """Weights as a safetensors file: kernels in 16 bits where they fit, all else as it is."""
    return safetensors.torch.save({name: _rounded(tensor.detach().cpu()) for name, tensor in state.items()})


def _rounded(tensor: Tensor) -> Tensor:
    if tensor.dim() < 2 or not tensor.is_floating_point():
        return tensor.contiguous()
    half = tensor.to(torch.float16)
    return half.contiguous() if bool(torch.isfinite(half).all()) else tensor.contiguous()
