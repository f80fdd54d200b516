"""Kernels: the stated width of a line, the spectrum of the noise."""

import numpy as np
import pytest

from training.insilico.ct.reconstruction_kernel import ReconstructionKernel
from training.insilico.hospitals import LUNG, SMOOTH, SOFT, STANDARD

KERNELS = pytest.mark.parametrize("kernel", [SMOOTH, SOFT, STANDARD, LUNG], ids=lambda kernel: kernel.name)


@KERNELS
def test_a_thin_line_is_as_wide_as_stated(kernel: ReconstructionKernel) -> None:
    x = np.linspace(-10.0, 10.0, 20001)
    spread = sum(w / sd * np.exp(-0.5 * np.square(x / sd)) for w, sd in kernel.gaussians)
    above = x[spread >= 0.5 * spread.max()]
    assert above[-1] - above[0] == pytest.approx(kernel.fwhm_mm, abs=0.003)


@KERNELS
def test_even_regions_keep_their_number_and_fine_patterns_vanish(kernel: ReconstructionKernel) -> None:
    assert kernel.mtf(np.array([0.0, 5.0])) == pytest.approx([1.0, 0.0], abs=1e-3)


def test_only_edge_enhancement_lifts_patterns_above_what_they_are() -> None:
    frequency = np.linspace(0.0, 2.0, 400)
    assert SOFT.mtf(frequency).max() == pytest.approx(1.0)
    assert 1.1 < LUNG.mtf(frequency).max() < 1.5


def test_half_contrast_of_a_soft_kernel_lies_where_the_width_of_a_gaussian_puts_it() -> None:
    assert SOFT.mtf(np.array([2.0 * np.log(2.0) / (np.pi * SOFT.fwhm_mm)])) == pytest.approx([0.5], abs=1e-6)


def test_noise_of_a_lung_kernel_is_finer_and_stronger() -> None:
    frequency = np.linspace(0.0, 2.0, 2001)
    peaks = [float(frequency[kernel.noise_power(frequency).argmax()]) for kernel in (SMOOTH, SOFT, STANDARD, LUNG)]
    assert peaks == sorted(peaks)
    assert peaks[3] > 2.0 * peaks[1]
    assert LUNG.noise_strength > 2.5 * SOFT.noise_strength


def test_noise_grows_with_the_power_of_three_halves_of_sharpness() -> None:
    sharp = ReconstructionKernel("SHARP", 0.5 * SOFT.fwhm_mm)
    assert sharp.noise_strength / SOFT.noise_strength == pytest.approx(2.0**1.5, rel=1e-3)


def test_a_kernel_can_be_kept_from_being_too_sharp() -> None:
    assert SOFT.at_least(1.0) == SOFT
    assert LUNG.at_least(2.0) == ReconstructionKernel("LUNG", 2.0, LUNG.boost)
