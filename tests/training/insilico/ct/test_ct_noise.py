"""Noise: the stated strength, the kernel's spectrum, neighbouring slices, and where the body is thick."""

from itertools import islice

import numpy as np
import pytest

from inference.geometry import Grid
from training.insilico.ct.ct_noise import REFERENCE_MM, NoiseTexture, RayNoise
from training.insilico.ct.reconstruction_kernel import ReconstructionKernel
from training.insilico.hospitals import LUNG, SOFT

UID = "2.25.1"


def grid(pixels: int = 128, pixel_mm: float = 0.8, spacing_mm: float = 3.0) -> Grid:
    origin = -0.5 * (pixels - 1) * pixel_mm
    return Grid.axial(
        (1, pixels, pixels), (spacing_mm, pixel_mm, pixel_mm), (origin, origin, 0.0), frame_of_reference_uid=UID
    )


def noise(kernel: ReconstructionKernel, *, thickness_mm: float = 3.0, slices: int = 40) -> np.ndarray:
    texture = NoiseTexture.on(grid(), kernel, thickness_mm)
    planes = islice(texture.planes(np.random.Generator(np.random.PCG64(7))), slices)
    return np.stack([side + front for side, front in planes])


def spectrum(planes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean power over rings of equal frequency, per mm."""
    power = np.mean(np.abs(np.fft.fft2(planes)) ** 2, axis=0)
    frequency = np.hypot(*np.meshgrid(*[np.fft.fftfreq(128, 0.8)] * 2, indexing="ij"))
    ring = np.minimum((frequency / 0.02).astype(int), 40)
    return 0.02 * (np.arange(41) + 0.5), np.bincount(ring.ravel(), power.ravel(), 41) / np.bincount(ring.ravel())


@pytest.mark.parametrize("kernel", [SOFT, LUNG], ids=["soft", "lung"])
def test_texture_has_standard_deviation_one_and_mean_zero(kernel: ReconstructionKernel) -> None:
    planes = noise(kernel)
    assert planes.std() == pytest.approx(1.0, abs=0.02)
    assert planes.mean() == pytest.approx(0.0, abs=0.01)


def test_power_follows_frequency_times_mtf_squared() -> None:
    frequency, power = spectrum(noise(SOFT, slices=60))
    seen = frequency < 0.5
    expected = SOFT.noise_power(frequency)
    ratio = (power / expected)[seen & (expected > 0.2 * expected.max())]
    assert ratio / ratio.mean() == pytest.approx(np.ones(ratio.size), abs=0.1)
    assert power[0] < 0.3 * power.max()  # ramp: hardly any noise over long distances


def test_the_lung_kernel_has_its_peak_above_the_soft_one() -> None:
    peaks = [float(f[p.argmax()]) for f, p in (spectrum(noise(kernel)) for kernel in (SOFT, LUNG))]
    assert peaks[1] > 1.5 * peaks[0]


def test_noise_is_the_same_in_all_directions_for_equal_rays() -> None:
    power = np.mean(np.abs(np.fft.fft2(noise(SOFT, slices=60))) ** 2, axis=0)
    along_rows, down_columns = power[0, 10:40].sum(), power[10:40, 0].sum()
    diagonal = np.mean([power[k, k] for k in range(8, 28)])
    assert along_rows / down_columns == pytest.approx(1.0, abs=0.2)
    assert diagonal / (along_rows / 30.0) == pytest.approx(1.0, abs=0.3)


def test_rays_from_side_to_side_make_streaks_from_side_to_side() -> None:
    texture = NoiseTexture.on(grid(), SOFT, 3.0)
    side, _ = next(texture.planes(np.random.Generator(np.random.PCG64(3))))
    assert np.abs(np.diff(side, axis=1)).mean() < 0.7 * np.abs(np.diff(side, axis=0)).mean()


def likeness(planes: np.ndarray, away: int) -> float:
    return float(np.corrcoef(planes[away:].ravel(), planes[:-away].ravel())[0, 1])


def test_overlapping_slices_share_noise_and_distant_ones_do_not() -> None:
    apart, overlapping = noise(SOFT, thickness_mm=3.0), noise(SOFT, thickness_mm=6.0)
    assert likeness(apart, 1) < 0.2
    assert likeness(overlapping, 1) == pytest.approx(0.60, abs=0.04)  # of two rounded boxes of 6 mm, 3 mm apart
    assert abs(likeness(overlapping, 4)) < 0.05
    assert overlapping.std() == pytest.approx(1.0, abs=0.03)


def cylinder(diameter_mm: float, wide: float = 1.0) -> tuple[np.ndarray, Grid]:
    body = grid(120, 4.0)
    x, y, _ = body.coordinates_mm()
    inside = np.hypot(x / wide, y)[0] < 0.5 * diameter_mm
    return np.where(inside, 0.0, -1000.0).astype(np.float32), body


def test_the_reference_cylinder_has_strength_one_in_its_middle() -> None:
    plane, body = cylinder(REFERENCE_MM)
    strength = RayNoise.behind(plane, body, grid(65, 8.0), 0.0)
    assert strength.rows[32] == pytest.approx(1.0, abs=0.05)
    assert strength.columns[32] == pytest.approx(1.0, abs=0.05)
    assert strength.rows[20] < 0.9


def test_forty_millimetres_of_water_more_cost_a_third_of_the_signal_to_noise() -> None:
    plane, body = cylinder(REFERENCE_MM + 40.0)
    fixed, modulated, equal = (RayNoise.behind(plane, body, grid(65, 8.0), m).rows[32] for m in (0.0, 0.5, 1.0))
    assert fixed == pytest.approx(np.exp(0.0195 * 20.0), rel=0.06)
    assert modulated == pytest.approx(np.sqrt(fixed), rel=0.06)
    assert equal == pytest.approx(1.0, abs=0.06)


def test_wide_shoulders_streak_from_side_to_side() -> None:
    plane, body = cylinder(200.0, wide=2.0)
    strength = RayNoise.behind(plane, body, grid(65, 8.0), 0.0)
    assert strength.rows[32] > 3.0 * strength.columns[32]
