"""Kinds of predictors in a study, with the colour that each has in all pictures, and what an arm is called."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType

from training.recipe import Recipe
from training.score_names import BASELINES, CEILING, SPECT_MAP


class Family(StrEnum):
    """What kind of thing made a prediction; in the order of tables and pictures."""

    CEILING = "Noise ceiling"
    TRANSFER = "Our network"
    ABLATION = "Our network, less input"
    PEER = "Peer networks, same budget, fine-tuned"
    BASELINE = "Trivial predictors"


COLOURS: Mapping[Family, str] = MappingProxyType(
    {
        Family.CEILING: "#1f2933",
        Family.TRANSFER: "#0072b2",
        Family.ABLATION: "#a0568a",
        Family.PEER: "#d55e00",
        Family.BASELINE: "#7a828c",
    }
)
"""After Okabe and Ito; every picture also names them in words."""

_LABELS: Mapping[str, str] = MappingProxyType(
    {
        CEILING: "truth at SPECT resolution",
        SPECT_MAP: "the SPECT itself",
        "full-fine-tuning": "fine-tuned, all of it",
        "graded-fine-tuning": "fine-tuned, encoder slower",
        "frozen-encoder": "fine-tuned, encoder frozen",
        "pretrained-only": "pre-trained only",
        "joint": "both cohorts at once",
        "scratch": "from scratch",
        "hu-only": "without sub-voxel channels",
        "shape": "shape",
        "shape-gravity": "shape + gravity",
        "density": "density",
        "density-gravity": "density × gravity",
    }
)
"""In the order of tables; an arm that is not here has its own name and comes last in its family."""


def label(name: str, recipe: Recipe) -> str:
    """What an arm or a reference map is called in tables and pictures."""
    if name in _LABELS:
        return _LABELS[name]
    if name in (arm.name for arm in recipe.arms) and family(name, recipe) is Family.PEER:
        return f"MONAI {recipe.arm(name).network.network}"
    return name.replace("-", " ")


def network_label(name: str, recipe: Recipe) -> str:
    """What a network is called where its pre-training is told."""
    main = recipe.study.main_network
    users = [arm.name for arm in recipe.arms if arm.network.name == name and arm.like is not None]
    return "our network" if name == main or not users else label(users[0], recipe)


def family(name: str, recipe: Recipe) -> Family:
    """The kind of an arm or of a reference map.

    Raises:
        KeyError: the recipe has no such arm.
    """
    if name in BASELINES:
        return Family.BASELINE
    if name in (CEILING, SPECT_MAP):
        return Family.CEILING
    arm = recipe.arm(name)
    if arm.like is None:
        return Family.TRANSFER
    main = recipe.arm(recipe.study.main_arm).network
    return Family.ABLATION if arm.network.network == main.network else Family.PEER


def in_order(names: Mapping[str, object], recipe: Recipe) -> tuple[str, ...]:
    """Names in the order of tables: by family, the main arm first, then as listed, then by name."""
    listed = list(_LABELS)

    def place(name: str) -> tuple[int, bool, int, str]:
        rank = listed.index(name) if name in listed else len(listed)
        return list(Family).index(family(name, recipe)), name != recipe.study.main_arm, rank, name

    return tuple(sorted(names, key=place))
