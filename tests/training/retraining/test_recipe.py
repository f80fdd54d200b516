"""The shipped recipe is one, and mistakes of others are told."""

from pathlib import Path

import pytest

from tests.training.retraining.small_start import write_recipe
from training.errors import RecipeError
from training.retraining.recipe import SHIPPED_RECIPE, read_retraining_recipe
from training.retraining.split import SplitRule
from training.score_names import Score


def test_the_shipped_recipe_says_what_must_be_reached_before_anything_is_trained() -> None:
    recipe = read_retraining_recipe(SHIPPED_RECIPE).recipe
    assert recipe.split == SplitRule(10, 3)
    rules = {rule.score: (rule.needed, rule.margin) for rule in recipe.evaluation.figures}
    assert rules[Score.SPEARMAN] == ("better", 0.0)
    assert all(margin > 0 for needed, margin in rules.values() if needed == "not worse")
    assert {Score.SPEARMAN_ERODED, Score.DICE_HIGH_50, Score.DICE_LOW_50, Score.LOBAR_ERROR} <= set(rules)


def test_a_file_and_its_folder_are_the_same_recipe(tmp_path: Path) -> None:
    folder = write_recipe(tmp_path / "recipe")
    assert read_retraining_recipe(folder) == read_retraining_recipe(folder / "retraining.toml")
    other = read_retraining_recipe(write_recipe(tmp_path / "other", steps=7))
    assert other.sha256 != read_retraining_recipe(folder).sha256


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"held_out_parts": 2}, "do not fit into 3 parts"),
        ({"fewest_held_out": 6}, "fewest_held_out must be below fewest"),
        ({"fewest_held_out": 1}, "greater than or equal to 2"),
        ({"steps": 0}, "optimisation.steps"),
        ({"learns": '"nothing"'}, "learns"),
        ({"spect_fwhm_mm": "inf"}, "spect_fwhm_mm"),
    ],
)
def test_a_recipe_that_contradicts_itself_is_refused(tmp_path: Path, changes: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        read_retraining_recipe(write_recipe(tmp_path, **changes))


def test_a_score_without_a_better_side_decides_nothing(tmp_path: Path) -> None:
    path = write_recipe(tmp_path) / "retraining.toml"
    text = path.read_text()
    path.write_text(text.replace('"lobar-error"', '"calibration-slope"'))
    with pytest.raises(RecipeError, match="neither better high nor low"):
        read_retraining_recipe(path)
    path.write_text(text.replace('"not worse"', '"reported"'))
    with pytest.raises(RecipeError, match="none decides anything"):
        read_retraining_recipe(path)
    path.write_text(text.replace('"dice-low-50"', '"dice-high-50"'))
    with pytest.raises(RecipeError, match="occurs twice"):
        read_retraining_recipe(path)
