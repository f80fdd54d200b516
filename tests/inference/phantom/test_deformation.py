"""The bending of a digital patient: smooth, known everywhere, and never folded."""

import math
from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid, Reorientation
from inference.phantom.anatomy import lobe_labels
from inference.phantom.build import ThoraxBuild
from inference.phantom.deformation import MOST_STRAIN, Deformation, Wave
from inference.phantom.thorax import draw_thorax
from tests.conftest import COARSE

SMALL = COARSE.with_spacing((12.0, 8.0, 8.0))
WAVES = (
    Wave((0.0, 3.0, 5.0), (0.02, 0.0, 0.01), 0.3),
    Wave((4.0, -1.0, 0.0), (0.005, 0.018, -0.01), 2.0),
    Wave((-2.0, 2.0, 2.0), (0.0, 0.01, 0.03), 4.0),
)
BENT = Deformation(WAVES)
STRONG = Deformation((Wave((0.0, 0.0, 6.0), (0.0, 0.0, 0.08), 1.0),))
"""Close to the limit, and along its own wave vector, where a fold would be."""


def test_without_waves_nothing_moves() -> None:
    place = np.array([3.0]), np.array([-4.0]), np.array([5.0])
    assert all(a is b for a, b in zip(Deformation().moved(*place), place, strict=True))
    assert Deformation().unmoved((3.0, -4.0, 5.0)) == (3.0, -4.0, 5.0)


def test_a_wave_is_its_amplitude_times_the_sine_of_its_phase() -> None:
    x, y, z = Deformation((Wave((1.0, 2.0, 3.0), (0.01, 0.02, -0.03), 0.4),)).moved(
        np.array([10.0]), np.array([20.0]), np.array([30.0])
    )
    height = math.sin(0.1 + 0.4 - 0.9 + 0.4)
    assert (x[0], y[0], z[0]) == pytest.approx((10 + height, 20 + 2 * height, 30 + 3 * height))


def test_coordinates_that_broadcast_give_the_same_as_full_ones() -> None:
    lazy = SMALL.coordinates_mm()
    full = [np.broadcast_to(p, SMALL.shape) for p in lazy]
    for a, b in zip(BENT.moved(*lazy), BENT.moved(*full), strict=True):
        assert np.abs(a - b).max() < 1e-9


@pytest.mark.parametrize("deformation", [BENT, STRONG], ids=["bent", "strong"])
def test_volume_is_stretched_within_the_bound_and_never_turned_inside_out(deformation: Deformation) -> None:
    grid = Grid.axial((24, 24, 24), (5.0, 5.0, 5.0), (-60.0, -60.0, -60.0), frame_of_reference_uid="1.2")
    moved = np.stack([np.broadcast_to(p, grid.shape) for p in deformation.moved(*grid.coordinates_mm())])
    slopes = np.stack([np.gradient(moved, 5.0, axis=axis) for axis in (3, 2, 1)], axis=1)
    determinant = np.linalg.det(np.moveaxis(slopes, (0, 1), (-2, -1)))
    assert determinant.min() > (1 - deformation.strain) ** 3
    assert determinant.max() < (1 + deformation.strain) ** 3
    assert determinant.std() > 0.02


def test_waves_that_could_fold_are_refused() -> None:
    with pytest.raises(ValueError, match=r"0\.56.*fold"):
        Deformation((Wave((0.0, 0.0, 7.0), (0.0, 0.0, 0.08), 0.0),))
    assert STRONG.strain < MOST_STRAIN


@pytest.mark.parametrize("deformation", [BENT, STRONG], ids=["bent", "strong"])
def test_the_way_back_ends_where_it_began(deformation: Deformation) -> None:
    build = ThoraxBuild(width=1.1, depth=0.9, bend_mm=9.0, mirrored=True, deformation=deformation)
    straight = replace(build, deformation=Deformation())
    assert math.dist(build.to_patient((0.0, 0.0, 0.0)), straight.to_patient((0.0, 0.0, 0.0))) > 1.0
    for place in [(-61.0, 33.0, 47.0), (0.0, 0.0, 0.0), (120.0, -90.0, -130.0)]:
        back = build.to_reference(*(np.array([c]) for c in build.to_patient(place)))
        assert [float(c[0]) for c in back] == pytest.approx(place, abs=1e-6)


def test_a_deformed_patient_is_the_same_on_swapped_axes_and_another_than_the_straight_one() -> None:
    build = ThoraxBuild(noise_hu=0.0, deformation=BENT)
    encode = Reorientation((1, 2, 0), (True, False, True))
    thorax, other = draw_thorax(SMALL, build=build), draw_thorax(encode.grid(SMALL), build=build)
    assert np.mean(encode.apply(thorax.lobes.labels) != other.lobes.labels) < 1e-4
    straight = draw_thorax(SMALL, build=ThoraxBuild(noise_hu=0.0))
    assert np.mean(thorax.lobes.labels != straight.lobes.labels) > 0.01
    assert thorax.ct.source.series_instance_uid != straight.ct.source.series_instance_uid


def test_what_is_drawn_moves_with_the_waves() -> None:
    lift = Deformation((Wave((0.0, 0.0, 8.0), (0.0, 0.0, 0.0), math.pi / 2),))
    x, y, z = SMALL.coordinates_mm()
    lifted = ThoraxBuild(deformation=lift)
    here = lobe_labels(lifted, *lifted.to_reference(x, y, z))
    above = lobe_labels(ThoraxBuild(), x, y, z + 8.0)
    assert (here > 0).any()
    assert np.array_equal(here, above)
