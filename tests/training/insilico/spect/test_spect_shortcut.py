"""The fast SPECT has the width, the counts and the noise that its protocol states."""

from dataclasses import replace

import numpy as np
import pytest

from tests.insilico_spect import QUIET, VOXEL_MM, air, ball, middle_mm, rich, standing
from training.insilico.draws import Draws
from training.insilico.spect.spect_shortcut import THROUGH_THE_CHEST, shortcut_image

DRAWS = Draws("test")
FWHM_PER_SD = 2.3548


def with_settings(**settings: float) -> object:
    return replace(QUIET, reconstruction=replace(QUIET.reconstruction, **settings))


@pytest.mark.parametrize("fwhm_mm", [12.0, 18.0])
def test_a_small_ball_is_as_wide_as_stated(fwhm_mm: float) -> None:
    grid, empty = air(31, 27)
    protocol = rich(with_settings(shortcut_fwhm_mm=fwhm_mm))  # type: ignore[arg-type]
    image, _ = shortcut_image(standing(ball(grid, (0.0, 0.0, 0.0), 4.0), empty, grid, protocol), protocol, DRAWS)
    weights = image.astype(np.float64) / image.sum(dtype=np.float64)
    seen = [FWHM_PER_SD * float((weights * part**2).sum()) ** 0.5 for part in grid.coordinates_mm()]
    own = FWHM_PER_SD**2 * (4.0**2 / 5.0 + VOXEL_MM**2 / 12.0)
    assert seen == pytest.approx([(fwhm_mm**2 + own) ** 0.5] * 3, rel=0.03)


def test_a_spot_stays_where_it_is() -> None:
    grid, empty = air(36, 30)
    place = (30.0, 22.0, 25.0)
    protocol = rich(QUIET)
    image, _ = shortcut_image(standing(ball(grid, place, 9.0), empty, grid, protocol), protocol, DRAWS)
    assert middle_mm(image, grid) == pytest.approx(place, abs=0.1)


def test_counts_follow_from_dose_time_and_what_leaves_the_chest() -> None:
    grid, empty = air(20, 20)
    protocol = replace(QUIET, scatter_to_primary=0.3)
    image, counts = shortcut_image(standing(ball(grid, (0.0, 0.0, 0.0), 30.0), empty, grid, protocol), protocol, DRAWS)
    seconds = protocol.views * protocol.seconds_per_view
    in_air = protocol.activity_mbq * protocol.sensitivity_cps_per_mbq * seconds
    assert counts == pytest.approx(in_air * THROUGH_THE_CHEST * 1.3, rel=1e-6)
    assert image.sum(dtype=np.float64) == pytest.approx(counts, rel=0.02)


@pytest.mark.parametrize("times", [1.0, 3.0])
def test_noise_is_that_of_counts_times_the_stated_gain(times: float) -> None:
    grid, empty = air(36, 36)
    protocol = with_settings(shortcut_noise=times, filter_fwhm_mm=0.1, shortcut_fwhm_mm=10.0)
    source = standing(ball(grid, (0.0, 0.0, 0.0), 70.0), empty, grid, protocol)  # type: ignore[arg-type]
    one, other = (shortcut_image(source, protocol, DRAWS.of(name))[0] for name in ("one", "other"))  # type: ignore[arg-type]
    inside = ball(grid, (0.0, 0.0, 0.0), 50.0) == 1.0
    variance, mean = 0.5 * (one - other)[inside].var(), 0.5 * (one + other)[inside].mean()
    assert (variance / mean) ** 0.5 == pytest.approx(times, rel=0.05)
