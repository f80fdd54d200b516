"""How a hospital retrains and how the result is judged: one TOML file, written before anything is trained.

`configs/retraining/retraining.toml` is the one that comes with the program. What the network is, which grid it works on
and what it is shown are not in it: these are those of the model that training starts from. Every number is ours unless
its line says otherwise, and none has been tried on patients.
"""

import hashlib
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from training.errors import RecipeError
from training.insilico.files.whole_folder import write_whole
from training.jobs import RECIPE
from training.recipe import Optimisation
from training.retraining.split import SplitRule
from training.score_names import Score
from training.toml_files import STRICT, Count, Name, NotNegative, Positive, Text, parsed

RECIPE_FILE = "retraining.toml"
SHIPPED_RECIPE = Path(__file__).parents[2] / "configs" / "retraining"
Needed = Literal["better", "not worse", "reported"]


@dataclass(frozen=True, slots=True, config=STRICT)
class PatientsPlan:
    """How many patients are wanted, and how they are dealt; each by a hash of that patient alone."""

    fewest: Count
    """Patients with an accepted pair below which nothing is trained."""
    fewest_held_out: Annotated[int, Field(ge=2, strict=True)]
    """Held-out patients below which nothing is trained or compared."""
    parts: Annotated[int, Field(ge=2, strict=True)]
    """Patients are dealt into so many parts (`training.folds.part_of`)."""
    held_out_parts: Count
    """The first so many of them are never trained on, in this run and in any later one."""
    folds: Count
    """The other parts are dealt to so many folds; one network for each. 1 gives one network and no interval."""
    validation_parts: Annotated[int, Field(ge=2, strict=True)]
    """One in so many patients of a training chooses its best step and is not trained on."""


@dataclass(frozen=True, slots=True, config=STRICT)
class InputPlan:
    """How pairs become cases."""

    lobes: Literal["atlas", "lungmask", "totalsegmentator"]
    """The node's engine that draws lungs and lobes; take the one of the site."""
    spect_fwhm_mm: Positive
    """Resolution of the SPECT with breathing, full width at half maximum: margin of the eroded lungs."""


@dataclass(frozen=True, slots=True, config=STRICT)
class FigureRule:
    """One figure of the evaluation and what the new model must reach in it."""

    score: Score
    needed: Needed
    """`better`: the 95 % interval of the mean difference lies on the good side of zero. `not worse` (non-inferiority):
    no end of it lies further than `margin` on the bad side. `reported`: for readers."""
    margin: NotNegative = 0.0
    """In the unit of the score."""


@dataclass(frozen=True, slots=True, config=STRICT)
class EvaluationPlan:
    """What is compared on held-out patients."""

    spacing_mm: tuple[Positive, Positive, Positive]
    """Slices, rows and columns of the voxels on which maps are compared with the SPECT, whatever a model's own are."""
    figures: Annotated[tuple[FigureRule, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True, config=STRICT)
class RetrainingRecipe:
    """The whole file."""

    name: Annotated[Name, Field(max_length=31)]
    """Of the model."""
    statement: Text
    """What this run is for; stands on the model's page."""
    learns: Literal["all", "decoder"]
    """Which part of the network is trained."""
    seed: Annotated[int, Field(ge=0, strict=True)]
    """Of all that is random."""
    patients: PatientsPlan
    input: InputPlan
    optimisation: Optimisation
    evaluation: EvaluationPlan

    @property
    def split(self) -> SplitRule:
        """Who is held out."""
        return SplitRule(self.patients.parts, self.patients.held_out_parts)


@plain_dataclass(frozen=True, slots=True)
class ReadRecipe:
    """A recipe and the bytes it was read from."""

    recipe: RetrainingRecipe
    content: bytes

    @property
    def sha256(self) -> str:
        """Of the file."""
        return hashlib.sha256(self.content).hexdigest()


def read_retraining_recipe(path: Path) -> ReadRecipe:
    """Read a recipe.

    Args:
        path: the file, or the folder of a `retraining.toml`.

    Raises:
        RecipeError: with every mistake.
    """
    file = path / RECIPE_FILE if path.is_dir() else path
    problems: list[str] = []
    recipe = parsed(file, RetrainingRecipe, problems)
    if recipe is not None:
        problems += [f"{file.name}: {fault}" for fault in _contradictions(recipe)]
    if recipe is None or problems:
        raise RecipeError(str(path), tuple(problems))
    return ReadRecipe(recipe, file.read_bytes())


def keep_retraining_recipe(run: Path, read: ReadRecipe) -> None:
    """Keep the file beside what is trained by it.

    Raises:
        OSError: the file system refuses.
    """
    (run / RECIPE).mkdir(parents=True, exist_ok=True)
    write_whole(run / RECIPE / RECIPE_FILE, read.content)


def _contradictions(recipe: RetrainingRecipe) -> list[str]:
    plan, figures = recipe.patients, recipe.evaluation.figures
    faults = []
    if plan.held_out_parts + plan.folds > plan.parts:
        faults.append(
            f"patients: {plan.held_out_parts} held-out parts and {plan.folds} folds do not fit into {plan.parts} parts"
        )
    if plan.fewest_held_out >= plan.fewest:
        faults.append("patients: fewest_held_out must be below fewest")
    scores = [figure.score for figure in figures]
    if len(set(scores)) < len(scores):
        faults.append("evaluation.figures: a score occurs twice")
    if all(figure.needed == "reported" for figure in figures):
        faults.append("evaluation.figures: none decides anything")
    strange = [s for s in scores if s in (Score.CALIBRATION_SLOPE, Score.CALIBRATION_INTERCEPT)]
    return faults + [f"evaluation.figures: {score.value!r} is neither better high nor low" for score in strange]
