import re
import shutil
from pathlib import Path

import pytest

from tests.training.small_study import write_recipe
from training.errors import RecipeError
from training.recipe import Arm, read_recipe

SHIPPED = Path(__file__).parents[2] / "configs" / "study"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped study, to be spoiled."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "study"))


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    spoiled, times = re.subn(rf"^{old}$", new, text, flags=re.MULTILINE)
    assert times == 1, f"{old} occurs {times} times in {path.name}"
    path.write_text(spoiled)


def problems(folder: Path) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as refused:
        read_recipe(folder)
    return refused.value.problems


def test_the_shipped_study_has_the_cohort_of_the_paper_and_all_arms_and_peers_of_the_design() -> None:
    recipe = read_recipe(SHIPPED)
    cohort = recipe.study.cohort
    assert (cohort.pretraining_cases, cohort.fine_tuning_cases, cohort.folds) == (137, 33, 3)
    names = {arm.name for arm in recipe.arms}
    assert names >= {"pretrained-only", "scratch", "full-fine-tuning", "frozen-encoder", "graded-fine-tuning", "joint"}
    peers = {arm.network.network for arm in recipe.arms if arm.name.startswith("peer-")}
    assert peers >= {"UNet", "AttentionUnet", "SegResNet", "DynUNet"}
    assert len(list(SHIPPED.glob("*.toml"))) == len(recipe.arms) + len(recipe.networks) + 1


def test_every_network_of_the_shipped_study_can_be_built_and_divides_the_window() -> None:
    import torch

    from inference.networks import build_network
    from training.job_card import job_card
    from training.study import Patients, plan_study

    recipe = read_recipe(SHIPPED)
    names = {"NC": recipe.study.cohort.pretraining_cases, "LC": recipe.study.cohort.fine_tuning_cases}
    everyone = {key: tuple(f"{key}-{number:03d}" for number in range(1, count + 1)) for key, count in names.items()}
    jobs = {job.arm: job for job in plan_study(recipe, Patients(everyone["NC"], everyone["LC"], ""))}
    for network in recipe.networks:
        card = job_card(jobs[network.name])
        small = tuple(side // 2 for side in card.window_size)
        with torch.inference_mode():
            output = build_network(card).eval()(torch.zeros(1, len(card.channels), *small))
        assert output.shape == (1, 1, *small), network.name


def test_the_main_network_fits_three_times_into_the_model_that_is_shipped() -> None:
    from inference.networks import build_network
    from training.job_card import case_card

    recipe = read_recipe(SHIPPED)
    card = case_card(recipe)
    parameters = sum(parameter.numel() for parameter in build_network(card).parameters())
    assert 3 * 2 * parameters < 10e6  # float16


def test_peers_and_ablations_have_the_budget_of_the_main_arm() -> None:
    recipe = read_recipe(SHIPPED)
    main = recipe.arm(recipe.study.main_arm)
    likewise = [arm for arm in recipe.arms if arm.like is not None]
    assert likewise
    for arm in likewise:
        assert (arm.start, arm.learns, arm.trains_on, arm.optimisation) == (
            main.start,
            main.learns,
            main.trains_on,
            main.optimisation,
        )


def test_what_learns_without_pre_training_has_the_steps_of_both() -> None:
    recipe = read_recipe(SHIPPED)
    main = recipe.arm(recipe.study.main_arm).optimisation
    assert main is not None
    for name in ("scratch", "joint"):
        plan = recipe.arm(name).optimisation
        assert plan is not None
        assert plan.steps == recipe.study.pretraining.steps + main.steps


def test_arms_differ_from_one_another() -> None:
    def essence(arm: Arm) -> tuple[object, ...]:
        return arm.network.name, arm.start, arm.learns, arm.trains_on, arm.optimisation

    arms = read_recipe(SHIPPED).arms
    assert all(essence(one) != essence(other) for one in arms for other in arms if one is not other)


def test_arms_come_in_the_order_of_the_study(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path))
    assert [arm.name for arm in recipe.arms] == ["full-fine-tuning", "pretrained-only", "joint", "peer"]


def test_a_network_is_shown_the_channels_it_asks_for(tmp_path: Path) -> None:
    recipe = read_recipe(write_recipe(tmp_path, channels=("hu", "lungs", "spread")))
    shown = {network.name: recipe.channels(network) for network in recipe.networks}
    assert shown == {"small": ("hu", "lungs", "spread"), "plain": ("hu", "lungs")}


def test_all_mistakes_of_all_files_are_reported_together(folder: Path) -> None:
    spoil(folder / "study.toml", "folds = 3 .*", "folds = 1")
    spoil(folder / "study.toml", r"hu_window = .*", "hu_window = [-1000.0]")
    spoil(folder / "arm-scratch.toml", "learning_rate = (.*)", r"learning_rat = \1")
    (folder / "arm-broken.toml").write_text("name = ")
    found = problems(folder)
    for part in (
        "study.toml: cohort.folds",
        "study.toml: input.hu_window",
        "arm-scratch.toml: optimisation.learning_rate:",
        "arm-scratch.toml: optimisation.learning_rat:",
        "arm-broken.toml: not valid TOML",
    ):
        assert any(problem.startswith(part) for problem in found), part
    assert len(found) == 5


@pytest.mark.parametrize(
    ("file", "old", "new", "reported"),
    [
        ("study.toml", "folds = 2", "folds = 5", "study.toml: cohort.folds: 5 folds of 4 patients"),
        ("study.toml", r"seeds = \[5\]", "seeds = [5, 5]", "study.toml: cohort.seeds: a seed occurs twice"),
        ("study.toml", r"hu_window = .*", "hu_window = [100.0, -1000.0]", "study.toml: input.hu_window"),
        ("study.toml", r"channels = .*", 'channels = ["hu", "lungs", "hu"]', "study.toml: input.channels: a channel"),
        ("study.toml", "main_arm = .*", 'main_arm = "best"', "study.toml: main_arm: there is no arm-best.toml"),
        ("study.toml", "main_network = .*", 'main_network = "a"', "study.toml: main_network: there is no network-a"),
        (
            "study.toml",
            "arms = .*",
            'arms = ["full-fine-tuning", "pretrained-only", "joint"]',
            "study.toml: arms: 'peer' is not named there",
        ),
        ("network-plain.toml", "channels = .*", 'channels = ["spread"]', "network-plain.toml: channels: 'spread'"),
        ("network-plain.toml", "name = .*", 'name = "other"', "network-plain.toml: name: 'other' does not fit"),
        ("arm-joint.toml", "learns = .*", 'learns = "decoder"', "arm-joint.toml: learns: 'decoder' would leave"),
        ("arm-joint.toml", "start = .*", 'start = "pretrained"', "arm-joint.toml: trains_on: what was pre-trained"),
        ("arm-joint.toml", "start = .*", 'start = "magic"', "arm-joint.toml: start"),
        ("arm-joint.toml", "start = .*", "", "arm-joint.toml: start, learns: both must be said"),
        ("arm-joint.toml", "steps = 6", "steps = 0", "arm-joint.toml: optimisation.steps"),
        ("arm-pretrained-only.toml", "learns = .*", 'learns = "all"', "arm-pretrained-only.toml: optimisation: must"),
        ("arm-peer.toml", "network = .*", 'network = "none"', "arm-peer.toml: network: there is no network-none"),
        ("arm-peer.toml", "network = .*", "seeds = [6]", "arm-peer.toml: seeds: (6,) are not all seeds"),
        ("arm-peer.toml", "network = .*", 'learns = "all"', "arm-peer.toml: learns: is that of 'full-fine-tuning'"),
        ("arm-peer.toml", "like = .*", 'like = "peer"', "arm-peer.toml: like: there is no arm 'peer' that says all"),
    ],
)
def test_a_contradiction_is_reported_with_its_file_and_key(
    tmp_path: Path, file: str, old: str, new: str, reported: str
) -> None:
    spoil(write_recipe(tmp_path) / file, old, new)
    found = problems(tmp_path)
    assert any(problem.startswith(reported) for problem in found), found


def test_an_empty_folder_lacks_a_study_and_all_else(tmp_path: Path) -> None:
    found = problems(tmp_path)
    assert found[0].startswith("study.toml: cannot be read")
    assert any("no network" in problem for problem in found)
    assert any("no arm" in problem for problem in found)
