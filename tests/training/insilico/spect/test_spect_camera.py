"""Views and reconstruction by PyTomography, against what physics says of simple objects."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from inference.geometry import Grid
from tests.insilico_spect import (
    QUIET,
    VOXEL_MM,
    air,
    ball,
    middle_mm,
    needs_pytomography,
    rich,
    standing,
)
from training.insilico.draws import Draws
from training.insilico.spect.spect_field import SpectField
from training.insilico.spect.spect_protocol import CONVENTIONAL, RESOLUTION_RECOVERY, SpectProtocol
from training.insilico.spect.spect_source import SpectSource

needs_pytomography()

import torch  # noqa: E402

from training.insilico.spect.spect_camera import CollimatorBlur, KeptAttenuation, SpectCamera  # noqa: E402

DRAWS = Draws("test")
FWHM_PER_SD = 2.3548
WATER_PER_MM = 0.01538


def image_of(source: SpectSource, protocol: SpectProtocol) -> np.ndarray:
    camera = SpectCamera(source, protocol)
    return camera.reconstructed(camera.registered(DRAWS))


def disc(grid: Grid, radius_mm: float) -> np.ndarray:
    x, y, _ = grid.coordinates_mm()
    return np.broadcast_to(np.hypot(x, y) < radius_mm, grid.shape).astype(np.float32)


def width_mm(values: np.ndarray, grid: Grid, place_mm: tuple[float, float, float], reach_mm: float) -> np.ndarray:
    """FWHM along x, y and z of a single blob, from its second moments within a reach."""
    near = np.sqrt(sum((part - p) ** 2 for part, p in zip(grid.coordinates_mm(), place_mm, strict=True))) < reach_mm
    weights = np.where(near, values, 0.0).astype(np.float64)
    weights /= weights.sum()
    means = [float((weights * part).sum()) for part in grid.coordinates_mm()]
    squares = [float((weights * (part - m) ** 2).sum()) for part, m in zip(grid.coordinates_mm(), means, strict=True)]
    return FWHM_PER_SD * np.sqrt(squares)


def test_attenuation_and_blur_are_those_of_pytomography() -> None:
    from pytomography.metadata.SPECT import SPECTPSFMeta
    from pytomography.transforms.SPECT import SPECTAttenuationTransform, SPECTPSFTransform

    grid, empty = air(24, 18)
    source = standing(ball(grid, (20.0, -10.0, 8.0), 12.0), disc(grid, 50.0) * np.float32(WATER_PER_MM), grid, QUIET)
    camera = SpectCamera(source, QUIET)
    length, hole = QUIET.collimator.length_mm - 2.0 / QUIET.collimator.lead_attenuation_per_mm, QUIET.collimator.hole_mm
    cm = 1.0 / FWHM_PER_SD / 10.0
    theirs = SPECTPSFMeta(
        (hole / length / FWHM_PER_SD, hole * cm, QUIET.collimator.intrinsic_fwhm_mm * cm),
        sigma_fit=lambda r, a, b, c: np.sqrt((a * r + b) ** 2 + c**2),
        min_sigmas=4,
    )
    per_cm = torch.from_numpy(np.ascontiguousarray(10.0 * source.attenuation_per_mm.transpose(2, 1, 0)))
    ours = camera._system([KeptAttenuation(per_cm), CollimatorBlur(QUIET.collimator)])
    stock = camera._system([SPECTAttenuationTransform(per_cm), SPECTPSFTransform(theirs)])
    activity = torch.from_numpy(np.ascontiguousarray(source.activity_mbq.transpose(2, 1, 0)))
    with torch.no_grad():
        one, other = ours.forward(activity), stock.forward(activity)
        assert torch.allclose(one, other, rtol=2e-3, atol=2e-3 * float(other.max()))
        one, other = ours.backward(one), stock.backward(other)
    assert torch.allclose(one, other, rtol=5e-3, atol=5e-3 * float(other.max()))
    assert not empty.any()


def test_what_attenuates_outside_the_image_counts_as_much_as_inside() -> None:
    small, _ = air(20, 12)
    large, _ = air(44, 12)
    spot = ball(small, (15.0, -10.0, 0.0), 9.0)
    x, y, _ = large.coordinates_mm()
    body = np.broadcast_to((np.abs(x) < 85.0) & (y > -58.0) & (y < 40.0), large.shape).astype(np.float32)
    body *= np.float32(WATER_PER_MM)
    protocol = rich(QUIET)
    cut = replace(standing(spot, body, small, protocol), field=SpectField(small, large))
    whole = standing(np.pad(spot, ((0, 0), (12, 12), (12, 12))), body, large, protocol)
    # The same orbit for both, as it decides over the blur.
    views = [
        SpectCamera(replace(source, half_width_mm=90.0, half_depth_mm=90.0), protocol).registered(DRAWS).counts
        for source in (cut, whole)
    ]
    assert views[0].sum(axis=(1, 2)) == pytest.approx(views[1].sum(axis=(1, 2)), rel=5e-3)
    sums = views[0].sum(axis=(1, 2))
    assert sums.max() > 2.0 * sums.min()


def test_counts_are_activity_times_sensitivity_time_and_what_water_lets_through() -> None:
    grid, empty = air(32, 10)
    depth_mm = 60.0
    source = standing(ball(grid, (0.0, 0.0, 0.0), 6.0), disc(grid, depth_mm) * np.float32(WATER_PER_MM), grid, QUIET)
    through = SpectCamera(source, rich(QUIET)).registered(DRAWS).counts.sum()
    expected = QUIET.activity_mbq * QUIET.sensitivity_cps_per_mbq * QUIET.seconds_per_view * QUIET.views
    assert through == pytest.approx(expected * np.exp(-WATER_PER_MM * depth_mm), rel=0.03)
    in_air = SpectCamera(standing(ball(grid, (0.0, 0.0, 0.0), 6.0), empty, grid, QUIET), QUIET)
    # Turning a small ball by linear interpolation loses or gains some of it.
    assert in_air.registered(DRAWS).counts.sum() == pytest.approx(expected, rel=0.03)


def test_noise_is_that_of_counts() -> None:
    grid, empty = air(24, 24)
    camera = SpectCamera(standing(ball(grid, (0.0, 0.0, 0.0), 40.0), empty, grid, QUIET), QUIET)
    one, other = (camera.registered(DRAWS.of(name)).counts for name in ("one", "other"))
    pixels = (one + other) > 40
    ratio = ((one - other)[pixels] ** 2).sum() / (one + other)[pixels].sum()
    assert ratio == pytest.approx(1.0, abs=4.0 * (2.0 / pixels.sum()) ** 0.5)
    assert np.array_equal(one, np.round(one))


def test_scatter_is_its_share_of_the_counts_and_lies_wider() -> None:
    grid, empty = air(36, 30)
    with_scatter = rich(replace(QUIET, scatter_to_primary=0.4, scatter_fwhm_mm=40.0), 1000.0)
    source = standing(ball(grid, (0.0, 0.0, 0.0), 15.0), empty, grid, with_scatter)
    registered = SpectCamera(source, with_scatter).registered(DRAWS)
    assert registered.scatter.sum() / registered.counts.sum() == pytest.approx(0.4 / 1.4, rel=0.03)
    shares = [views[0, 14:26, 14:26].sum() / views[0].sum() for views in (registered.scatter, registered.counts)]
    assert shares[0] < 0.85 * shares[1]


@pytest.mark.parametrize("filter_mm", [0.1, 10.0])
def test_a_small_ball_comes_out_as_wide_as_collimator_and_filter_say(filter_mm: float) -> None:
    grid, empty = air(28, 21)
    settings = replace(QUIET.reconstruction, iterations=8, filter_fwhm_mm=filter_mm)
    protocol = rich(replace(QUIET, reconstruction=settings))
    source = standing(ball(grid, (0.0, 0.0, 0.0), 5.0), empty, grid, protocol)
    camera = SpectCamera(source, protocol)
    seen = width_mm(image_of(source, protocol), grid, (0.0, 0.0, 0.0), 40.0)
    own = FWHM_PER_SD * np.sqrt(5.0**2 / 5.0 + VOXEL_MM**2 / 12.0)
    expected = np.sqrt(protocol.collimator.fwhm_mm(camera.radii_mm[0]) ** 2 + own**2 + filter_mm**2)
    assert seen == pytest.approx([expected] * 3, rel=0.06)


def test_modelling_the_collimator_makes_the_ball_narrower() -> None:
    grid, empty = air(28, 21)
    widths = []
    for modelled in (False, True):
        settings = replace(QUIET.reconstruction, iterations=5, resolution_modelled=modelled, filter_fwhm_mm=6.0)
        protocol = rich(replace(QUIET, reconstruction=settings))
        source = standing(ball(grid, (0.0, 0.0, 0.0), 5.0), empty, grid, protocol)
        widths.append(width_mm(image_of(source, protocol), grid, (0.0, 0.0, 0.0), 40.0).mean())
    assert widths[1] < 0.8 * widths[0]


@pytest.mark.parametrize("corrected", [True, False])
def test_a_cylinder_is_flat_with_attenuation_correction_and_hollow_without(corrected: bool) -> None:
    grid, _ = air(44, 9)
    cylinder = disc(grid, 80.0)
    protocol = rich(QUIET)
    source = standing(cylinder, cylinder * np.float32(WATER_PER_MM), grid, protocol, corrected=corrected)
    plane = image_of(source, protocol)[4]
    x, y, _ = grid.coordinates_mm()
    away = np.hypot(x, y)[0]
    middle, ring = plane[away < 20.0].mean(), plane[(away > 50.0) & (away < 62.0)].mean()
    if corrected:
        assert middle / ring == pytest.approx(1.0, abs=0.04)
        assert plane[away < 62.0].std() / plane[away < 62.0].mean() < 0.05
    else:
        assert middle / ring < 0.8


def test_taking_scatter_into_the_model_empties_the_air_around() -> None:
    grid, _ = air(44, 15)
    cylinder = disc(grid, 60.0)
    outside = []
    for corrected in (False, True):
        settings = replace(QUIET.reconstruction, scatter_corrected=corrected)
        protocol = rich(replace(QUIET, scatter_to_primary=0.3, reconstruction=settings))
        plane = image_of(standing(cylinder, cylinder * np.float32(WATER_PER_MM), grid, protocol), protocol)[7]
        x, y, _ = grid.coordinates_mm()
        away = np.hypot(x, y)[0]
        outside.append(plane[(away > 72.0) & (away < 95.0)].mean() / plane[away < 40.0].mean())
    assert outside[0] > 0.01
    assert outside[1] < 0.5 * outside[0]


def test_a_spot_off_the_axis_comes_out_where_it_is() -> None:
    grid, _ = air(36, 24)
    place = (34.0, 25.0, 27.0)  # left, back and up: every flip and every exchange of axes moves it
    protocol = rich(QUIET)
    body = disc(grid, 75.0) * np.float32(WATER_PER_MM)
    image = image_of(standing(ball(grid, place, 9.0), body, grid, protocol), protocol)
    strong = np.where(image > 0.3 * image.max(), image, 0.0)
    assert middle_mm(strong, grid) == pytest.approx(place, abs=0.25 * VOXEL_MM)


def test_the_camera_keeps_closer_where_the_body_is_thin() -> None:
    grid, empty = air(40, 6)
    flat = replace(standing(disc(grid, 30.0), empty, grid, QUIET), half_width_mm=180.0, half_depth_mm=110.0)
    follows = replace(QUIET, orbit_follows_body=True, orbit_gap_mm=20.0)
    radii, circle = SpectCamera(flat, follows).radii_mm, SpectCamera(flat, replace(QUIET, orbit_gap_mm=20.0)).radii_mm
    assert set(circle) == {200.0}
    assert (radii.min(), radii.max()) == (130.0, 200.0)
    # The nearest views are those from the front and from the back: there a spot on the table is in the middle of a view
    # wherever it lies from front to back.
    spot = replace(flat, activity_mbq=standing(ball(grid, (0.0, 60.0, 0.0), 6.0), empty, grid, QUIET).activity_mbq)
    views = SpectCamera(spot, rich(follows, 100.0)).registered(DRAWS).counts.sum(axis=2)
    centre = (views * np.arange(views.shape[1])).sum(axis=1) / views.sum(axis=1) - 0.5 * (views.shape[1] - 1)
    assert np.abs(centre[radii == radii.min()]).max() < 2.0
    assert np.abs(centre[radii == radii.max()]).min() > 10.0


@pytest.mark.parametrize("protocol", [CONVENTIONAL, RESOLUTION_RECOVERY], ids=lambda protocol: protocol.name)
def test_equal_chance_gives_equal_bytes_whatever_the_threads(protocol: SpectProtocol) -> None:
    grid, _ = air(20, 10)
    body = disc(grid, 40.0)
    source = standing(body, body * np.float32(WATER_PER_MM), grid, protocol)
    threads = torch.get_num_threads()
    try:
        images = []
        for count in (1, 2):
            torch.set_num_threads(count)
            images.append(image_of(source, protocol).tobytes())
            assert torch.get_num_threads() == count
    finally:
        torch.set_num_threads(threads)
    assert images[0] == images[1]
    other = SpectCamera(source, protocol)
    assert other.reconstructed(other.registered(Draws("another"))).tobytes() != images[0]


def test_importing_the_library_silences_no_warnings() -> None:
    code = (
        "import warnings; before = list(warnings.filters); import training.insilico.spect.spect_camera; "
        "assert ('ignore', None, Warning, None, 0) not in [f for f in warnings.filters if f not in before]"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
