from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from inference.anatomy import Fissure, Lobe
from inference.atlas.atlas_lobes import AtlasLobes, draw_lobes
from inference.atlas.cheapest_surface import cheapest_surface
from inference.atlas.fissure_plates import find_cues
from inference.atlas.fissure_surface import CELL, STEP_MM, FissureSurface, expected_height, slab_along
from inference.atlas.lungs import Lungs, find_lungs
from inference.geometry import Grid
from inference.phantom.build import HorizontalFissure, ObliqueFissure, ThoraxBuild
from inference.phantom.thorax import DigitalThorax, draw_thorax

SPACING_MM = (3.0, 2.5, 2.5)
UNLIKE_THE_ATLAS = ThoraxBuild(
    right_oblique=ObliqueFissure(28.0, 0.95, bulge_mm=9.0),
    left_oblique=ObliqueFissure(-2.0, 1.25, wave_mm=6.0),
    horizontal=HorizontalFissure(height_mm=24.0, slope=0.2, tilt=0.08),
)
"""A patient whose fissures run one to two centimetres off the atlas."""
INVISIBLE = replace(
    UNLIKE_THE_ATLAS,
    right_oblique=replace(UNLIKE_THE_ATLAS.right_oblique, seen=0.0),
    left_oblique=replace(UNLIKE_THE_ATLAS.left_oblique, seen=0.0),
    horizontal=replace(UNLIKE_THE_ATLAS.horizontal, seen=0.0),
)


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


def mean_dice(labels: np.ndarray, truth: np.ndarray) -> float:
    return float(np.mean([dice(labels == lobe, truth == lobe) for lobe in Lobe]))


@cache
def patient(build: ThoraxBuild) -> tuple[DigitalThorax, Lungs]:
    thorax = draw_thorax(build.field_of_view(SPACING_MM), build=build)
    return thorax, find_lungs(thorax.ct)


@cache
def lobes_of_patient(build: ThoraxBuild) -> tuple[np.ndarray, dict[Fissure, float]]:
    thorax, lungs = patient(build)
    return draw_lobes(lungs, thorax.ct)


def slab_with(shape: str) -> np.ndarray:
    """A slab of lung at -850 HU with noise and one bright thing through its middle."""
    h, s, t = np.mgrid[-20:21, -30:31, -30:31] * STEP_MM
    tilted = (h - 0.4 * s) / np.hypot(1.0, 0.4)
    steep = (s - 0.4 * h) / np.hypot(1.0, 0.4)
    distance = {
        "plate": np.abs(tilted),
        "steep plate": np.abs(steep),
        "vessel": np.hypot(tilted, t),
        "nodule": np.sqrt(h**2 + s**2 + t**2) - 2.0,
        "nothing": np.full(h.shape, 99.0),
    }[shape]
    hu: np.ndarray = -850.0 + 150.0 * np.clip(1.5 - distance / STEP_MM, 0.0, 1.0)
    return (hu + np.random.default_rng(1).normal(0.0, 12.0, h.shape)).astype(np.float32)


def evidence_of(shape: str) -> float:
    """Evidence of plates where the thing is, in the inner part of the slab."""
    lung = np.ones((41, 61, 61), dtype=bool)
    cues = find_cues(slab_with(shape), lung, STEP_MM)
    clean = slab_with(shape) - slab_with("nothing") > 100.0
    where = clean if shape != "nothing" else lung
    where[:, :10] = where[:, -10:] = where[:, :, :10] = where[:, :, -10:] = False
    where[:8] = where[-8:] = False
    return float(cues.plates[where].mean())


def test_a_plate_along_the_slab_is_evidence_and_nothing_else_is() -> None:
    assert evidence_of("plate") > 0.7
    for shape in ("steep plate", "vessel", "nodule", "nothing"):
        assert evidence_of(shape) < 0.35, shape


def test_the_edge_of_an_emphysema_is_no_plate() -> None:
    hu = slab_with("nothing")
    h = np.arange(41)[:, None, None] * np.ones(hu.shape)
    hu[h > 20] -= 110.0
    cues = find_cues(hu, np.ones(hu.shape, dtype=bool), STEP_MM)
    assert float(cues.plates[16:26, 10:-10, 10:-10].mean(axis=(1, 2)).max()) < 0.4


def test_vessels_are_scarce_where_there_are_none() -> None:
    hu = slab_with("nothing")
    rng = np.random.default_rng(2)
    for _ in range(60):
        h, t = rng.integers(0, 41), rng.integers(0, 61)
        if abs(h - 20) > 4:
            hu[max(h - 1, 0) : h + 1, :, max(t - 1, 0) : t + 1] = 20.0
    cues = find_cues(hu, np.ones(hu.shape, dtype=bool), STEP_MM)
    profile = cues.vessels.mean(axis=(1, 2))
    assert 18 <= int(np.argmin(profile[5:-5])) + 5 <= 22


def test_the_cheapest_surface_follows_a_bent_valley_through_gaps() -> None:
    rng = np.random.default_rng(3)
    columns, rows = np.mgrid[:24, :20]
    valley = np.rint(15 + 4 * np.sin(columns / 6.0) + 0.2 * rows).astype(int)
    cost = rng.uniform(0.0, 0.5, (24, 20, 31)).astype(np.float32)
    np.put_along_axis(cost, valley[..., None], -1.0, axis=2)
    cost[10:14] = 0.25  # nothing to be seen here
    found = cheapest_surface(cost, 0.02)
    assert np.abs(found - valley).mean() < 0.2
    assert np.abs(np.diff(found, axis=0)).max() <= 2
    assert np.array_equal(cheapest_surface(cost[::-1], 0.02), found[::-1])
    assert np.array_equal(cheapest_surface(np.ascontiguousarray(cost.transpose(1, 0, 2)), 0.02), found.T)


def test_one_very_cheap_place_does_not_tear_the_surface() -> None:
    cost = np.zeros((20, 20, 31), dtype=np.float32)
    cost[:, :, 15] = -0.5
    cost[10, 10, 28] = -1.0
    assert np.array_equal(cheapest_surface(cost, 0.1), np.full((20, 20), 15))


def test_a_slab_holds_the_surface_that_is_expected() -> None:
    def above(points_mm: np.ndarray) -> np.ndarray:
        height: np.ndarray = points_mm[:, 2] - 10.0 - 0.9 * points_mm[:, 1]
        return height

    points = np.random.default_rng(4).uniform((-120, -80, -130), (-10, 80, 120), (5000, 3))
    slab = slab_along(above, points, slope=1.1, reach_mm=30.0, frame_of_reference_uid="1.2.3")
    height = expected_height(above, slab)
    assert (height.min() * STEP_MM, (slab.shape[0] - 1 - height.max()) * STEP_MM) >= (20.0, 20.0)
    at = np.stack(np.meshgrid(*(np.arange(0, n, CELL) + 1.0 for n in slab.shape[1:]), indexing="ij"), axis=-1)
    on_it = slab.to_patient_mm(np.concatenate([height[..., None], at], axis=-1).reshape(-1, 3))
    assert np.abs(above(on_it)).max() < 1e-6
    surface = FissureSurface(slab, height.astype(np.float32), np.ones(height.shape, bool), np.eye(*height.shape) > 0)
    assert np.abs(surface.above(on_it)).max() < 1e-3
    assert np.all(surface.above(points)[above(points) > 5.0] > 0)
    assert np.all(surface.above(points)[above(points) < -5.0] < 0)
    assert surface.seen_share == pytest.approx(min(height.shape) / height.size)


def test_fissures_that_show_are_followed_where_the_atlas_is_wrong() -> None:
    thorax, lungs = patient(UNLIKE_THE_ATLAS)
    labels, seen = lobes_of_patient(UNLIKE_THE_ATLAS)
    plain, nothing = draw_lobes(lungs)
    assert nothing == {}
    assert mean_dice(plain, thorax.lobes.labels) < 0.90
    assert mean_dice(labels, thorax.lobes.labels) > 0.95
    assert dice(labels == Lobe.RML, thorax.lobes.mask(Lobe.RML)) > 0.85
    assert set(seen) == set(Fissure)
    assert seen[Fissure.RIGHT_OBLIQUE] > 0.6
    assert seen[Fissure.LEFT_OBLIQUE] > 0.6


def test_fissures_that_do_not_show_leave_the_atlas_and_are_not_said_to_be_seen() -> None:
    thorax, lungs = patient(INVISIBLE)
    labels, seen = lobes_of_patient(INVISIBLE)
    plain, _ = draw_lobes(lungs)
    assert max(seen.values()) < 0.2
    assert mean_dice(labels, plain) > 0.9
    assert mean_dice(labels, thorax.lobes.labels) > mean_dice(plain, thorax.lobes.labels) - 0.03


def test_a_single_lung_has_the_fissures_of_its_side_only_and_the_same_ones_every_time() -> None:
    thorax, lungs = patient(UNLIKE_THE_ATLAS)
    labels, seen = draw_lobes(replace(lungs, right=np.zeros_like(lungs.right)), thorax.ct)
    both, seen_of_both = lobes_of_patient(UNLIKE_THE_ATLAS)
    assert seen == {Fissure.LEFT_OBLIQUE: seen_of_both[Fissure.LEFT_OBLIQUE]}
    assert np.array_equal(labels, np.where(lungs.left, both, 0))


def test_a_served_result_says_how_much_was_seen() -> None:
    grid = Grid.axial((40, 48, 48), (8.0, 8.0, 8.0), (-190.0, -184.0, -152.0), frame_of_reference_uid="1.2.3")
    lobes = AtlasLobes().segment(draw_thorax(grid).ct)
    assert set(np.unique(lobes.labels)) == {0, *Lobe}
    assert set(lobes.fissures_seen) == set(Fissure)
    assert all(0.0 <= share <= 1.0 for share in lobes.fissures_seen.values())
