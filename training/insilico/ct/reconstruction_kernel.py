"""What a reconstruction kernel does to edges and to noise in the plane of a slice.

A soft kernel smooths both; a lung kernel keeps sharp edges, with overshoot, and lets fine, strong noise through. One
curve gives both: edges are multiplied by the modulation transfer function (MTF), and filtered back-projection of white
detector noise gives a noise power spectrum of frequency times MTF squared (Riederer, Pelc and Chesler, Phys Med Biol
1978; 23:446). The shape of the curve is a difference of two Gaussians, an assumption of ours.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq

_FWHM_PER_SD = 2.0 * math.sqrt(2.0 * math.log(2.0))
_WIDE = 2.0
"""Width of the Gaussian that is taken off, in widths of the one it is taken from (assumption, ours)."""


@dataclass(frozen=True, slots=True)
class ReconstructionKernel:
    """A named kernel of an invented scanner."""

    name: str
    """Convolution Kernel (0018,1210)."""
    fwhm_mm: float
    """Full width at half maximum of the line spread in the plane of a slice."""
    boost: float = 0.0
    """Edge enhancement: weight of the wider Gaussian that is taken off; 0 none, 1 a lung kernel."""

    @property
    def gaussians(self) -> tuple[tuple[float, float], ...]:
        """Weight and standard deviation in mm of the Gaussians that add up to the line spread."""
        sd = self.fwhm_mm / _fwhm_of_unit_width(self.boost)
        return ((1.0 + self.boost, sd), (-self.boost, _WIDE * sd)) if self.boost else ((1.0, sd),)

    def mtf(self, frequency_per_mm: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """What is left of a pattern of some frequency, in any direction in the plane."""
        square = -2.0 * np.square(np.pi * frequency_per_mm)
        curve: np.ndarray = sum((w * np.exp(square * sd**2) for w, sd in self.gaussians), np.zeros_like(square))
        return curve

    def noise_power(self, frequency_per_mm: Float[np.ndarray, "*n"]) -> Float[np.ndarray, "*n"]:
        """Noise power at some frequency, in any unit: the ramp filter times MTF squared."""
        power: np.ndarray = frequency_per_mm * np.square(self.mtf(frequency_per_mm))
        return power

    @property
    def noise_strength(self) -> float:
        """Standard deviation of the noise at equal dose, in any unit: root of the spectrum's sum over the plane."""
        frequency = np.linspace(0.0, 4.0 / self.fwhm_mm, 400)
        return math.sqrt(float((frequency * self.noise_power(frequency)).sum()) * float(frequency[1]))

    def at_least(self, fwhm_mm: float) -> "ReconstructionKernel":
        """This kernel, or one like it that is just as wide as something that cannot be shown any sharper."""
        return self if self.fwhm_mm >= fwhm_mm else ReconstructionKernel(self.name, fwhm_mm, self.boost)


def _fwhm_of_unit_width(boost: float) -> float:
    """FWHM of the line spread whose narrower Gaussian has a standard deviation of 1."""

    def above_half(x: float) -> float:
        def spread(at: float) -> float:
            wide = math.exp(-0.5 * (at / _WIDE) ** 2) / _WIDE
            return (1.0 + boost) * math.exp(-0.5 * at**2) - boost * wide

        return spread(x) - 0.5 * spread(0.0)

    return 2.0 * brentq(above_half, 0.0, 0.5 * _FWHM_PER_SD + 0.1) if boost else _FWHM_PER_SD
