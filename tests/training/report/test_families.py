"""Arms are told apart by what the recipe says of them."""

from pathlib import Path

import pytest

from training.recipe import Recipe, read_recipe
from training.report.families import Family, family, in_order, label, network_label
from training.score_names import REFERENCE_MAPS


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return read_recipe(Path(__file__).parents[3] / "configs" / "study")


def test_every_shipped_arm_has_its_family(recipe: Recipe) -> None:
    found = {arm.name: family(arm.name, recipe) for arm in recipe.arms}
    assert {name for name, kind in found.items() if kind is Family.PEER} == {
        name for name in found if name.startswith("peer-")
    }
    assert found["hu-only"] is Family.ABLATION
    for name in ("full-fine-tuning", "scratch", "pretrained-only", "joint"):
        assert found[name] is Family.TRANSFER
    assert {family(name, recipe) for name in REFERENCE_MAPS} == {Family.CEILING, Family.BASELINE}
    with pytest.raises(KeyError):
        family("no-such-arm", recipe)


def test_every_shipped_arm_has_a_name_of_its_own(recipe: Recipe) -> None:
    names = [*REFERENCE_MAPS, *(arm.name for arm in recipe.arms)]
    assert len({label(name, recipe) for name in names}) == len(names)
    assert label("peer-unet", recipe) == "MONAI UNet"
    assert len({network_label(network.name, recipe) for network in recipe.networks}) == len(recipe.networks)
    assert network_label(recipe.study.main_network, recipe) == "our network"


def test_the_ceiling_comes_first_then_the_main_arm_and_trivial_predictors_last(recipe: Recipe) -> None:
    names = dict.fromkeys(("shape", "scratch", "peer-unet", "hu-only", recipe.study.main_arm, "ceiling", "joint"))
    assert in_order(names, recipe) == (
        "ceiling",
        recipe.study.main_arm,
        "joint",
        "scratch",
        "hu-only",
        "peer-unet",
        "shape",
    )
