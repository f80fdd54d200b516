"""What a transfer-learning study is made of, read from `configs/study/`.

The design is that of Ren et al. 2022 (10.3389/fonc.2022.883516): a network is pre-trained on 137 patients without lung
cancer and fine-tuned on 33 with lung cancer, in three folds. Only these numbers come from the paper. Its
architecture details and hyper-parameters could not be read: every other value here is ours, and no data of that study
are available, so results cannot be compared with its figures.

`study.toml` holds what all arms share; each `arm-NAME.toml` holds one way of transfer, so that arms differ in what
their file says and in nothing else.
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pydantic.dataclasses import dataclass

from training.errors import RecipeError
from training.toml_files import STRICT, Count, Name, NotNegative, Positive, Text, parsed

STUDY_FILE = "study.toml"


@dataclass(frozen=True, slots=True, config=STRICT)
class CohortPlan:
    """How many patients, and how they are divided. The first three numbers are the paper's."""

    pretraining_cases: Count
    """Patients without lung cancer."""
    fine_tuning_cases: Count
    """Patients with lung cancer; each is tested exactly once."""
    folds: Annotated[int, Field(ge=2, strict=True)]
    """Parts of the fine-tuning patients, split by patient: each is the test set once."""
    validation_fraction: Annotated[float, Field(gt=0, lt=1)]
    """Share of the training patients that choose the best step and are never trained on; ours."""
    seeds: Annotated[tuple[int, ...], Field(min_length=1)]
    """Each fold is trained once per seed, so that chance is told from differences between arms; ours."""


@dataclass(frozen=True, slots=True, config=STRICT)
class NetworkPlan:
    """Architecture and input; all ours."""

    network: Text
    """Class of `monai.networks.nets`, from the allow-list in `inference.networks`."""
    arguments: dict[str, Any]
    """Its keyword arguments; channels and dimensions are filled in."""
    input_spacing_mm: tuple[Positive, Positive, Positive]
    """Slice, row and column spacing; near SPECT voxels (about 4 to 5 mm), as finer detail is not in the reference."""
    hu_window: tuple[float, float]
    """HU mapped to 0 ... 1: from air to soft tissue, so that parenchyma uses most of the range."""
    window_size: tuple[Count, Count, Count]
    """Slices, rows and columns of a training patch and of a sliding window; divisible by the network's strides."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Optimisation:
    """One run of the optimiser (AdamW, cosine schedule); all ours."""

    steps: Count
    """Optimiser steps; the best one by validation is kept."""
    batch_size: Count
    """Patches per step."""
    learning_rate: Positive
    """At the peak, after warm-up."""
    encoder_rate_factor: NotNegative = 1.0
    """Learning rate of the encoder as a multiple of `learning_rate`; below 1 keeps more of what was learned before."""
    weight_decay: NotNegative = 0.0
    """Decoupled weight decay."""
    warmup_steps: Annotated[int, Field(ge=0, strict=True)] = 0
    """Steps over which the rate rises from 0."""
    validate_every_steps: Count = 100
    """Steps between two looks at the validation patients."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Arm:
    """One way of transfer under study."""

    name: Name
    """Equal to the NAME of its file `arm-NAME.toml`; names result folders."""
    statement: Text
    """What is done and what it tells, in one sentence."""
    start: Literal["random", "pretrained"]
    """Weights before fine-tuning."""
    learns: Literal["all", "decoder", "nothing"]
    """Which part is trained on the fine-tuning patients."""
    optimisation: Optimisation | None = None
    """Absent exactly when nothing learns."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Study:
    """What all arms share: the content of `study.toml`."""

    name: Name
    """Names the folder of results."""
    statement: Text
    """What the study asks, and what it cannot answer."""
    cohort: CohortPlan
    network: NetworkPlan
    pretraining: Optimisation


@dataclass(frozen=True, slots=True)
class Recipe:
    """A whole study: what is shared, and its arms in order of their names."""

    study: Study
    arms: tuple[Arm, ...]


def read_recipe(folder: Path) -> Recipe:
    """Read `study.toml` and every `arm-*.toml` of a folder.

    Raises:
        RecipeError: with every mistake of every file, each with the file and the key.
    """
    problems: list[str] = []
    study = parsed(folder / STUDY_FILE, Study, problems)
    files = sorted(folder.glob("arm-*.toml"))
    arms = [(path, parsed(path, Arm, problems)) for path in files]
    if not files:
        problems.append("no arm: a study needs at least one arm-NAME.toml")
    if study is not None:
        problems += [f"{STUDY_FILE}: {fault}" for fault in _study_contradictions(study)]
    for path, arm in arms:
        if arm is not None:
            problems += [f"{path.name}: {fault}" for fault in _arm_contradictions(arm, path)]
    if study is None or problems:
        raise RecipeError(str(folder), tuple(problems))
    return Recipe(study, tuple(arm for _, arm in arms if arm is not None))


def _study_contradictions(study: Study) -> list[str]:
    faults = []
    if study.cohort.folds > study.cohort.fine_tuning_cases:
        faults.append(f"cohort.folds: {study.cohort.folds} folds of {study.cohort.fine_tuning_cases} patients")
    if len(set(study.cohort.seeds)) < len(study.cohort.seeds):
        faults.append("cohort.seeds: a seed occurs twice")
    if not study.network.hu_window[0] < study.network.hu_window[1]:
        faults.append(f"network.hu_window: {study.network.hu_window} is empty")
    return faults


def _arm_contradictions(arm: Arm, path: Path) -> list[str]:
    faults = []
    if path.name != f"arm-{arm.name}.toml":
        faults.append(f"name: {arm.name!r} does not fit the file name")
    if arm.start == "random" and arm.learns != "all":
        faults.append(f"learns: {arm.learns!r} would leave random weights in the network")
    if (arm.learns == "nothing") != (arm.optimisation is None):
        faults.append("optimisation: must be there exactly when something learns")
    return faults
