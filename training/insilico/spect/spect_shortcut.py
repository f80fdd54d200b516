"""The fast SPECT: blur, Poisson counts, filter. No rays, no attenuation, no iterations.

It has the resolution and the noise of the full method on average, and lacks what is uneven in it: blur that grows with
depth, noise that grows towards the middle, artefacts of attenuation correction. `make bench-spect` measures the
difference.
"""

import math

import numpy as np
from jaxtyping import Float32
from scipy import ndimage

from training.insilico.draws import Draws
from training.insilico.spect.spect_protocol import SpectProtocol
from training.insilico.spect.spect_source import SpectSource

FWHM_PER_SD = math.sqrt(8.0 * math.log(2.0))
THROUGH_THE_CHEST = 0.37
"""Share of the photons from lungs that leave the chest: one by the correction factors of 2.3 to 3.5 that
paperexplained read for Tc-99m in the lungs, in the middle."""


def shortcut_image(
    source: SpectSource, protocol: SpectProtocol, draws: Draws
) -> tuple[Float32[np.ndarray, "slices rows columns"], int]:
    """The image and the counts that a scan of `protocol` would have registered.

    Args:
        source: what the camera stands before.
        protocol: supplies counts, widths and the noise of its reconstruction.
        draws: source of the Poisson noise.
    """
    settings = protocol.reconstruction
    seconds = protocol.views * protocol.seconds_per_view
    share = source.activity_mbq / source.activity_mbq.sum(dtype=np.float64)
    unscattered = protocol.activity_mbq * protocol.sensitivity_cps_per_mbq * seconds * THROUGH_THE_CHEST
    expected = unscattered * (1.0 + protocol.scatter_to_primary)
    first = math.sqrt(max(settings.shortcut_fwhm_mm**2 - settings.filter_fwhm_mm**2, 0.0))
    blurred = _blurred(share.astype(np.float32), first / protocol.pixel_mm)
    # Noise of k times the standard deviation is that of k² times fewer counts.
    thinned = blurred * np.float32(expected / settings.shortcut_noise**2)
    noisy = draws.generator("counts").poisson(np.maximum(thinned, 0.0)).astype(np.float32)
    noisy *= np.float32(settings.shortcut_noise**2)
    return _blurred(noisy, settings.filter_fwhm_mm / protocol.pixel_mm), round(expected)


def _blurred(values: Float32[np.ndarray, "a b c"], fwhm_voxels: float) -> Float32[np.ndarray, "a b c"]:
    blurred: np.ndarray = ndimage.gaussian_filter(values, fwhm_voxels / FWHM_PER_SD, mode="constant")
    return blurred
