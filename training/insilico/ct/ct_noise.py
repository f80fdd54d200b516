"""Noise of a CT: photons counted behind the patient, seen through the reconstruction kernel.

Rays lose photons on their way through the body, so the variance that a ray brings grows with exp(mu x length) of water
on its way (Beer, Poisson). Two families of rays stand for all: those from side to side carry noise that changes from
front to back, and the other way round. So noise is strongest in the middle of the body, and the long way through the
shoulders draws streaks from side to side. In a round body both families together give isotropic noise with the
kernel's power spectrum. Neighbouring slices share noise as far as their profiles overlap.

Not modelled: electronic noise, the bow-tie filter, iterative reconstruction, streaks of metal.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Float32
from scipy import fft
from scipy.ndimage import gaussian_filter1d

from inference.geometry import Grid
from training.insilico.ct.ct_sampling import share_below
from training.insilico.ct.reconstruction_kernel import ReconstructionKernel

WATER_PER_MM = 0.0195
"""Attenuation of water for the beam of a CT, some 70 keV (NIST XCOM: 0.0206/mm at 60 keV, 0.0184/mm at 80 keV)."""
REFERENCE_MM = 260.0
"""Diameter of the water cylinder in whose middle a scanner's noise is stated. Water-equivalent diameters (AAPM report
220) of adult chests are of that order; the number is ours."""
_OBLIQUE_MM = 15.0
"""Oblique rays join neighbouring rows: standard deviation of that mixing (assumption, ours)."""
_FOLDS = (-2, -1, 0, 1, 2)

Plane = Float32[np.ndarray, "rows columns"]
HalfPlane = Float[np.ndarray, "rows half_columns"]


@dataclass(frozen=True, slots=True, eq=False)
class NoiseTexture:
    """Noise of standard deviation 1 on the pixels of a CT, in two parts: one for each family of rays."""

    side_to_side: Float32[np.ndarray, "rows half_columns"]
    """Amplitudes over the half plane of frequencies (as `rfft2`) of what rays from side to side bring."""
    front_to_back: Float32[np.ndarray, "rows half_columns"]
    columns: int
    shares: tuple[float, ...]
    """Of draws that run on from slice to slice; the squares add up to 1."""

    @classmethod
    def on(cls, slices: Grid, kernel: ReconstructionKernel, thickness_mm: float) -> "NoiseTexture":
        """The texture of one kernel and slice thickness on the pixels and slices of a CT."""
        _, rows, columns = slices.shape
        side, front = _power(slices, kernel)
        counted = np.full(side.shape, 2.0)
        real = [0, columns // 2] if columns % 2 == 0 else [0]
        counted[:, real] = 1.0
        scale = (rows * columns) ** 2 / (2.0 * float((counted * (side + front)).sum()))
        boost = np.where(counted == 1.0, 2.0 * scale, scale)  # there, the inverse transform drops the imaginary half
        amplitudes = [np.sqrt(boost * part).astype(np.float32) for part in (side, front)]
        return cls(amplitudes[0], amplitudes[1], columns, _shares(thickness_mm, slices.spacing_mm[0]))

    def planes(self, generator: np.random.Generator) -> Iterator[tuple[Plane, Plane]]:
        """Both parts of the noise, slice after slice without end."""
        draws = [self._draw(generator) for _ in self.shares]
        while True:
            side, front = (
                np.add.reduce([np.float32(share) * draw[k] for share, draw in zip(self.shares, draws, strict=True)])
                for k in (0, 1)
            )
            yield side, front
            draws = [*draws[1:], self._draw(generator)]

    def _draw(self, generator: np.random.Generator) -> tuple[Plane, Plane]:
        return self._part(generator, self.side_to_side), self._part(generator, self.front_to_back)

    def _part(self, generator: np.random.Generator, amplitudes: HalfPlane) -> Plane:
        white = generator.standard_normal((*amplitudes.shape, 2), dtype=np.float32)
        spectrum = white.view(np.complex64)[..., 0] * amplitudes
        plane: np.ndarray = fft.irfft2(spectrum, s=(amplitudes.shape[0], self.columns))
        return plane


@dataclass(frozen=True, slots=True, eq=False)
class RayNoise:
    """How strong each part of the noise is in one slice, 1 in the middle of the reference cylinder."""

    rows: Float32[np.ndarray, " rows"]
    """Of what rays from side to side bring to each row of pixels."""
    columns: Float32[np.ndarray, " columns"]
    """Of what rays from front to back bring to each column."""

    @classmethod
    def behind(cls, plane: Plane, body: Grid, slices: Grid, current_modulation: float) -> "RayNoise":
        """Noise behind one slice of the body.

        Args:
            plane: HU of the body's pixels; what lies outside the CT's field of view takes photons too.
            body: grid of `plane`.
            slices: grid of the CT.
            current_modulation: share of the difference in size to the reference that the tube current makes up for.
        """
        water = np.maximum(plane * np.float32(0.001) + np.float32(1.0), 0.0)
        _, row_mm, column_mm = body.spacing_mm
        side, front = water.sum(axis=1) * column_mm, water.sum(axis=0) * row_mm
        diameter_mm = 2.0 * np.sqrt(float(water.sum(dtype=np.float64)) * row_mm * column_mm / np.pi)
        made_up = current_modulation * (diameter_mm - REFERENCE_MM)
        parts = []
        for axis, length_mm in ((1, side), (2, front)):
            variance = np.exp(WATER_PER_MM * (length_mm - REFERENCE_MM - made_up))
            mixed = gaussian_filter1d(variance, _OBLIQUE_MM / body.spacing_mm[axis], mode="nearest")
            parts.append(np.sqrt(np.interp(_positions(body, slices, axis), np.arange(mixed.size), mixed)))
        return cls(parts[0].astype(np.float32), parts[1].astype(np.float32))

    def over(self, side: Plane, front: Plane) -> Plane:
        """Noise of a slice from the two parts of its texture."""
        noise: np.ndarray = self.rows[:, np.newaxis] * side + self.columns * front
        return noise


def _positions(body: Grid, slices: Grid, axis: int) -> Float[np.ndarray, " samples"]:
    """Pixels of the CT as indices of the body's grid."""
    index = np.zeros((slices.shape[axis], 3))
    index[:, axis] = np.arange(slices.shape[axis])
    positions: np.ndarray = body.to_index(slices.to_patient_mm(index))[:, axis]
    return positions


def _power(slices: Grid, kernel: ReconstructionKernel) -> tuple[HalfPlane, HalfPlane]:
    """Noise power of both families of rays; what is finer than the pixels is folded back, as in a real CT."""
    _, rows, columns = slices.shape
    _, row_mm, column_mm = slices.spacing_mm
    side, front = np.zeros((2, rows, columns // 2 + 1))
    for up in _FOLDS:
        for along in _FOLDS:
            down = (np.fft.fftfreq(rows, row_mm) + up / row_mm)[:, np.newaxis]
            across = np.fft.rfftfreq(columns, column_mm) + along / column_mm
            frequency = np.hypot(down, across)
            density = kernel.noise_power(frequency) / np.maximum(np.square(frequency), 1e-12)
            side += density * np.square(down)
            front += density * np.square(across)
    return side, front


def _shares(thickness_mm: float, spacing_mm: float) -> tuple[float, ...]:
    """Weights of a running sum over slices whose noise correlates as overlapping slice profiles do."""
    fine_mm = spacing_mm / 16.0
    faces = np.arange(-512, 513) * fine_mm
    profile = np.fft.rfft(np.diff(share_below(faces, thickness_mm)))
    overlap = np.fft.irfft(np.abs(profile) ** 2)[::16]
    taps = np.fft.irfft(np.sqrt(np.maximum(np.fft.rfft(overlap).real, 0.0)))
    half = [float(tap) for tap in taps[: taps.size // 2] / taps[0]]
    last = max(k for k, tap in enumerate(half) if abs(tap) > 0.03)
    whole = np.array([*half[last:0:-1], *half[: last + 1]])
    return tuple(float(share) for share in whole / np.sqrt(np.square(whole).sum()))
