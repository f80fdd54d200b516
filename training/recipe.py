"""What a transfer-learning study is made of, read from `configs/study/`.

The design is that of Ren et al. 2022 (10.3389/fonc.2022.883516): a network is pre-trained on 137 patients without lung
cancer and fine-tuned on 33 with lung cancer, in three folds. Only these numbers come from the paper. Its
architecture details and hyper-parameters could not be read: every other value here is ours, and no data of that study
are available, so results cannot be compared with its figures.

    study.toml           what all arms share: cohort, input, pre-training, main arm, comparisons asked beforehand
    network-NAME.toml    one architecture: ours, ours without sub-voxel channels, peers
    arm-NAME.toml        one way of transfer; arms differ in what their file says and in nothing else

A peer's arm says `like = "NAME"`: start, what learns and the whole optimiser are then those of the arm named, so that
the budget cannot differ by oversight.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass as plain_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import Field
from pydantic.dataclasses import dataclass

from training.comparisons import Aim, Comparison, contradictions
from training.errors import RecipeError
from training.score_names import REFERENCE_MAPS
from training.toml_files import STRICT, Count, Name, NotNegative, Positive, Text, parsed

STUDY_FILE = "study.toml"
Seeds = Annotated[tuple[Annotated[int, Field(ge=0, strict=True)], ...], Field(min_length=1)]
T = TypeVar("T")


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
    seeds: Seeds
    """Each fold is trained once per seed, so that chance is told from differences between arms; ours."""


@dataclass(frozen=True, slots=True, config=STRICT)
class InputPlan:
    """What a network is fed, and on which grid it predicts; all ours. The words are those of the model card."""

    spacing_mm: tuple[Positive, Positive, Positive]
    """Slices, rows and columns; near SPECT voxels (about 4 to 5 mm), as finer detail is not in the reference."""
    hu_window: tuple[float, float]
    """HU mapped to 0 ... 1: from air to soft tissue, so that parenchyma uses most of the range."""
    window_size: tuple[Count, Count, Count]
    """Slices, rows and columns that a network sees at once; divisible by its strides. Larger than most lungs."""
    channels: Annotated[tuple[Text, ...], Field(min_length=1)]
    """Names of what a case holds, in order; see `inference.subvoxel_channels`."""
    lungwise: bool = False
    """Each lung alone, the left one mirrored onto the right, or both at once."""


@dataclass(frozen=True, slots=True, config=STRICT)
class NetworkPlan:
    """One architecture: the content of `network-NAME.toml`; all ours."""

    name: Name
    """Equal to the NAME of its file; names the folder of its pre-training."""
    statement: Text
    """What it is, and why it takes part."""
    network: Text
    """From the allow-list in `inference.networks`."""
    arguments: dict[str, Any]
    """Its keyword arguments; channels and dimensions are filled in."""
    channels: Annotated[tuple[Text, ...], Field(min_length=1)] | None = None
    """Those of the study that it is shown; all when absent."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Optimisation:
    """One run of the optimiser (AdamW, cosine schedule); all ours."""

    steps: Count
    """Optimiser steps; the best one by validation is kept."""
    batch_size: Count
    """Patients per step."""
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
    checkpoint_every_steps: Count = 100
    """Steps between two saved states; a killed job loses no more than these."""
    huber_delta: Positive = 0.5
    """Error at which the loss turns from quadratic to linear, in multiples of the lung mean (`training.losses`)."""
    pearson_weight: NotNegative = 1.0
    """Weight of 1 - Pearson's R beside the Huber loss."""
    rank_weight: NotNegative = 1.0
    """Weight of 1 - Pearson's R of ranks in the inner lungs."""
    inner_margin_voxels: Annotated[int, Field(ge=0, strict=True)] = 3
    """How far the inner lungs of that term lie within the lungs: about the resolution of the SPECT."""
    gradient_norm: Positive = 1.0
    """Longer gradients are shortened to this norm."""
    average_decay: Annotated[float, Field(ge=0, lt=1)] = 0.98
    """Weights that are validated and kept are a moving average; about 1 / (1 - decay) steps count. 0 for none."""


Start = Literal["random", "pretrained"]
Learns = Literal["all", "decoder", "nothing"]
TrainsOn = Literal["fine-tuning", "both"]


@dataclass(frozen=True, slots=True, config=STRICT)
class ArmFile:
    """The content of `arm-NAME.toml`, before what it leaves open is filled in."""

    name: Name
    statement: Text
    network: Name | None = None
    like: Name | None = None
    start: Start | None = None
    learns: Learns | None = None
    trains_on: TrainsOn | None = None
    seeds: Seeds | None = None
    optimisation: Optimisation | None = None


@plain_dataclass(frozen=True, slots=True)
class Arm:
    """One way of transfer under study."""

    name: str
    """Equal to the NAME of its file `arm-NAME.toml`; names result folders."""
    statement: str
    """What is done and what it tells, in one sentence."""
    network: NetworkPlan
    """The study's main network unless the file says otherwise."""
    start: Start
    """Weights before training."""
    learns: Learns
    """Which part is trained."""
    trains_on: TrainsOn
    """The fine-tuning patients of the fold, or the pre-training patients as well, all at once."""
    seeds: tuple[int, ...]
    """Those of the study unless the file names fewer, which its statement must say."""
    like: str | None
    """The arm whose budget this one has; of peers and ablations."""
    optimisation: Optimisation | None
    """Absent exactly when nothing learns."""


@dataclass(frozen=True, slots=True, config=STRICT)
class Study:
    """What all arms share: the content of `study.toml`."""

    name: Name
    """Names the study in reports and the model made from it."""
    statement: Text
    """What the study asks, and what it cannot answer."""
    main_arm: Name
    """The arm that peers are compared with and whose fold networks become the model."""
    main_network: Name
    """The network of every arm that names none."""
    arms: Annotated[tuple[Name, ...], Field(min_length=1)]
    """All arms, the most important first: they are done in this order, so that none is missing in silence."""
    cohort: CohortPlan
    input: InputPlan
    pretraining: Optimisation
    comparisons: tuple[Comparison, ...] = ()
    """Pairs of arms that are tested against each other; asked here, so before the study runs."""
    aims: tuple[Aim, ...] = ()
    """What the study sets out to reach; likewise."""


@plain_dataclass(frozen=True, slots=True)
class Recipe:
    """A whole study: what is shared, its networks, and its arms in the order of the study."""

    study: Study
    networks: tuple[NetworkPlan, ...]
    arms: tuple[Arm, ...]

    def arm(self, name: str) -> Arm:
        """An arm by its name.

        Raises:
            KeyError: there is none of this name.
        """
        return {arm.name: arm for arm in self.arms}[name]

    def channels(self, network: NetworkPlan) -> tuple[str, ...]:
        """What a network is shown, in order."""
        return network.channels or self.study.input.channels


def read_recipe(folder: Path) -> Recipe:
    """Read `study.toml` and every `network-*.toml` and `arm-*.toml` of a folder.

    Raises:
        RecipeError: with every mistake of every file, each with the file and the key.
    """
    problems: list[str] = []
    study = parsed(folder / STUDY_FILE, Study, problems)
    networks = _all_of(folder, "network", NetworkPlan, lambda plan: plan.name, problems)
    files = _all_of(folder, "arm", ArmFile, lambda arm: arm.name, problems)
    if study is None or problems:
        raise RecipeError(str(folder), tuple(problems))
    problems += [f"{STUDY_FILE}: {fault}" for fault in _study_contradictions(study, networks, files)]
    for name, plan in networks.items():
        strange = [channel for channel in plan.channels or () if channel not in study.input.channels]
        problems += [f"network-{name}.toml: channels: {channel!r} is not one of the study" for channel in strange]
    arms = []
    for name, file in files.items():
        faults = _arm_contradictions(file, study, networks, files)
        problems += [f"arm-{name}.toml: {fault}" for fault in faults]
        if not faults and not problems:
            arms.append(_resolved(file, study, networks, files))
    if problems:
        raise RecipeError(str(folder), tuple(problems))
    return Recipe(study, tuple(networks.values()), tuple(sorted(arms, key=lambda arm: study.arms.index(arm.name))))


def _all_of(
    folder: Path, kind: str, content: type[T], name_of: Callable[[T], str], problems: list[str]
) -> dict[str, T]:
    found = {}
    paths = sorted(folder.glob(f"{kind}-*.toml"))
    if not paths:
        problems.append(f"no {kind}: a study needs at least one {kind}-NAME.toml")
    for path in paths:
        each = parsed(path, content, problems)
        if each is None:
            continue
        if path.name != f"{kind}-{name_of(each)}.toml":
            problems.append(f"{path.name}: name: {name_of(each)!r} does not fit the file name")
        found[name_of(each)] = each
    return found


def _study_contradictions(study: Study, networks: Collection[str], arms: Collection[str]) -> list[str]:
    faults = []
    if study.cohort.folds > study.cohort.fine_tuning_cases:
        faults.append(f"cohort.folds: {study.cohort.folds} folds of {study.cohort.fine_tuning_cases} patients")
    if len(set(study.cohort.seeds)) < len(study.cohort.seeds):
        faults.append("cohort.seeds: a seed occurs twice")
    if not study.input.hu_window[0] < study.input.hu_window[1]:
        faults.append(f"input.hu_window: {study.input.hu_window} is empty")
    if len(set(study.input.channels)) < len(study.input.channels):
        faults.append("input.channels: a channel occurs twice")
    if study.main_network not in networks:
        faults.append(f"main_network: there is no network-{study.main_network}.toml")
    if study.main_arm not in arms:
        faults.append(f"main_arm: there is no arm-{study.main_arm}.toml")
    faults += [f"arms: there is no arm-{name}.toml" for name in study.arms if name not in arms]
    faults += [f"arms: {name!r} is not named there" for name in arms if name not in study.arms]
    if len(set(study.arms)) < len(study.arms):
        faults.append("arms: an arm occurs twice")
    return faults + contradictions(study.comparisons, study.aims, {*study.arms, *REFERENCE_MAPS})


def _arm_contradictions(
    arm: ArmFile, study: Study, networks: Collection[str], arms: Mapping[str, ArmFile]
) -> list[str]:
    faults = []
    if arm.network is not None and arm.network not in networks:
        faults.append(f"network: there is no network-{arm.network}.toml")
    if arm.seeds is not None and not set(arm.seeds) <= set(study.cohort.seeds):
        faults.append(f"seeds: {arm.seeds} are not all seeds of the study, {study.cohort.seeds}")
    if arm.like is not None:
        said = [name for name in ("start", "learns", "trains_on", "optimisation") if getattr(arm, name) is not None]
        faults += [f"{name}: is that of {arm.like!r}, which it is to be like" for name in said]
        if arm.like not in arms or arms[arm.like].like is not None:
            faults.append(f"like: there is no arm {arm.like!r} that says all itself")
        return faults
    if arm.start is None or arm.learns is None:
        return [*faults, "start, learns: both must be said, or `like`"]
    if arm.start == "random" and arm.learns != "all":
        faults.append(f"learns: {arm.learns!r} would leave random weights in the network")
    if arm.start == "pretrained" and arm.trains_on == "both":
        faults.append("trains_on: what was pre-trained has seen the pre-training patients already")
    if (arm.learns == "nothing") != (arm.optimisation is None):
        faults.append("optimisation: must be there exactly when something learns")
    return faults


def _resolved(file: ArmFile, study: Study, networks: Mapping[str, NetworkPlan], files: Mapping[str, ArmFile]) -> Arm:
    model = files[file.like] if file.like is not None else file
    if model.start is None or model.learns is None:
        raise AssertionError("checked before")
    return Arm(
        name=file.name,
        statement=file.statement,
        network=networks[file.network or study.main_network],
        start=model.start,
        learns=model.learns,
        trains_on=model.trains_on or "fine-tuning",
        seeds=file.seeds or study.cohort.seeds,
        like=file.like,
        optimisation=model.optimisation,
    )
