import shutil
from pathlib import Path

import pytest

from inference.model_card import ModelCard, ModelIdentity
from training.errors import RecipeError
from training.recipe import Arm, read_recipe

SHIPPED = Path(__file__).parents[2] / "configs" / "study"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the shipped study, to be spoiled."""
    return Path(shutil.copytree(SHIPPED, tmp_path / "study"))


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert text.count(old) == 1
    path.write_text(text.replace(old, new))


def problems(folder: Path) -> tuple[str, ...]:
    with pytest.raises(RecipeError) as refused:
        read_recipe(folder)
    return refused.value.problems


def test_the_shipped_study_has_the_cohort_of_the_paper_and_every_shipped_arm() -> None:
    recipe = read_recipe(SHIPPED)
    cohort = recipe.study.cohort
    assert (cohort.pretraining_cases, cohort.fine_tuning_cases, cohort.folds) == (137, 33, 3)
    assert [f"arm-{arm.name}.toml" for arm in recipe.arms] == sorted(path.name for path in SHIPPED.glob("arm-*.toml"))
    assert {"scratch", "pretrained-only", "full-fine-tuning"} <= {arm.name for arm in recipe.arms}
    assert len(list(SHIPPED.glob("*.toml"))) == len(recipe.arms) + 1


def test_the_network_of_the_shipped_study_can_be_built_and_its_window_fits() -> None:
    import torch

    from inference.networks import build_network

    plan = read_recipe(SHIPPED).study.network
    card = ModelCard(
        identity=ModelIdentity("shipped", "0"),
        network=plan.network,
        network_arguments=plan.arguments,
        input_spacing_mm=plan.input_spacing_mm,
        hu_window=plan.hu_window,
        window_size=plan.window_size,
        trained_on="Nothing.",
        intended_use="Tests.",
    )
    with torch.inference_mode():
        output = build_network(card).eval()(torch.zeros(1, 2, *plan.window_size))
    assert output.shape == (1, 1, *plan.window_size)


def test_arms_differ_from_one_another() -> None:
    def essence(arm: Arm) -> tuple[object, ...]:
        return arm.start, arm.learns, arm.optimisation

    arms = read_recipe(SHIPPED).arms
    assert len({essence(arm) for arm in arms}) == len(arms)


def test_all_mistakes_of_all_files_are_reported_together(folder: Path) -> None:
    spoil(folder / "study.toml", "folds = 3 ", "folds = 1 ")
    spoil(folder / "study.toml", "hu_window = [-1000.0, 100.0]", "hu_window = [-1000.0]")
    spoil(folder / "arm-scratch.toml", "learning_rate = 1e-3", "learning_rat = 1e-3")
    (folder / "arm-broken.toml").write_text("name = ")
    found = problems(folder)
    for part in (
        "study.toml: cohort.folds",
        "study.toml: network.hu_window",
        "arm-scratch.toml: optimisation.learning_rate:",
        "arm-scratch.toml: optimisation.learning_rat:",
        "arm-broken.toml: not valid TOML",
    ):
        assert any(problem.startswith(part) for problem in found), part
    assert len(found) == 5


@pytest.mark.parametrize(
    ("file", "old", "new", "reported"),
    [
        ("study.toml", "folds = 3 ", "folds = 34 ", "study.toml: cohort.folds: 34 folds of 33 patients"),
        ("study.toml", "seeds = [1, 2, 3]", "seeds = [1, 1]", "study.toml: cohort.seeds: a seed occurs twice"),
        ("study.toml", "[-1000.0, 100.0]", "[100.0, -1000.0]", "study.toml: network.hu_window"),
        ("arm-scratch.toml", 'name = "scratch"', 'name = "other"', "arm-scratch.toml: name: 'other' does not fit"),
        ("arm-scratch.toml", 'learns = "all"', 'learns = "decoder"', "arm-scratch.toml: learns: 'decoder' would leave"),
        ("arm-scratch.toml", "steps = 8000", "steps = 0", "arm-scratch.toml: optimisation.steps"),
        ("arm-scratch.toml", 'start = "random"', 'start = "magic"', "arm-scratch.toml: start"),
        (
            "arm-pretrained-only.toml",
            'learns = "nothing"',
            'learns = "all"',
            "arm-pretrained-only.toml: optimisation: must be there",
        ),
    ],
)
def test_a_contradiction_is_reported_with_its_file_and_key(
    folder: Path, file: str, old: str, new: str, reported: str
) -> None:
    spoil(folder / file, old, new)
    (problem,) = problems(folder)
    assert problem.startswith(reported)


def test_an_empty_folder_lacks_a_study_and_arms(tmp_path: Path) -> None:
    found = problems(tmp_path)
    assert found[0].startswith("study.toml: cannot be read")
    assert "no arm" in found[1]
