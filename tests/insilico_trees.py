"""Pulmonary arteries for tests: those of one coarse body, and trees that can be worked out by hand."""

from functools import lru_cache

import numpy as np

from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID
from training.insilico.arteries.arterial_tree import ArterialTree
from training.insilico.arteries.arteries import grow_arteries
from training.insilico.draws import Draws
from training.insilico.people.body import Body, make_body
from training.insilico.people.person import draw_person

DRAWS = Draws("tests of arteries")
TERRITORIES = 400


@lru_cache(maxsize=1)
def coarse_body() -> Body:
    return make_body(draw_person(DRAWS), 6.0)


@lru_cache(maxsize=1)
def grown() -> ArterialTree:
    return grow_arteries(coarse_body(), DRAWS, territories=TERRITORIES)


def with_lobes(lobes: np.ndarray) -> Body:
    body = coarse_body()
    return Body(body.grid, lobes.astype(np.uint8), body.hu, body.airway, body.skin, body.hilum_mm)


def tree_of(parents: list[int], *, radius_mm: float = 2.0, length_mm: float = 10.0, lobe: int = 1) -> ArterialTree:
    """A tree of equal straight segments; those without children end in territories, in their order."""
    leaf = np.array([k not in parents for k in range(len(parents))])
    depth = np.zeros(len(parents))
    for k, parent in enumerate(parents[1:], start=1):
        depth[k] = depth[parent] + 1
    start = np.stack([depth * length_mm, np.zeros(len(parents)), np.zeros(len(parents))], axis=1)
    return ArterialTree(
        start_mm=start,
        end_mm=start + np.array([length_mm, 0.0, 0.0]),
        parent=np.array(parents, dtype=np.int32),
        radius_mm=np.full(len(parents), radius_mm),
        lobe=np.full(len(parents), lobe, dtype=np.int32),
        end=np.where(leaf, np.cumsum(leaf) - 1, -1).astype(np.int32),
    )


def tube(start_mm: tuple[float, float, float], end_mm: tuple[float, float, float], radius_mm: float) -> ArterialTree:
    """A trunk and a main artery of no length, and then one straight artery of RUL."""
    at, end = np.array(start_mm), np.array(end_mm)
    return ArterialTree(
        start_mm=np.array([at, at, at]),
        end_mm=np.array([at, at, end]),
        parent=np.array([-1, 0, 1], dtype=np.int32),
        radius_mm=np.array([0.01, 0.01, radius_mm]),
        lobe=np.array([1, 1, 1], dtype=np.int32),
        end=np.array([-1, -1, 0], dtype=np.int32),
    )


def cube(side: int, spacing_mm: float) -> Grid:
    return Grid.axial(
        (side, side, side), (spacing_mm,) * 3, (-10.0, 20.0, 30.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
    )
