"""A perfusion SPECT of an invented patient, from true perfusion to the image that a hospital would have."""

import numpy as np
from jaxtyping import Float32

from inference.geometry import Grid
from training.errors import PyTomographyMissing
from training.insilico.draws import Draws
from training.insilico.people.breathing import Breathing
from training.insilico.spect.spect_protocol import SpectMethod, SpectProtocol
from training.insilico.spect.spect_shortcut import shortcut_image
from training.insilico.spect.spect_source import SpectSource, spect_source
from training.insilico.spect.spect_volume import SpectVolume


def scan_spect(
    perfusion: Float32[np.ndarray, "a b c"],
    hu: Float32[np.ndarray, "a b c"],
    grid: Grid,
    breathing: Breathing,
    protocol: SpectProtocol,
    draws: Draws,
    *,
    method: SpectMethod = SpectMethod.PYTOMOGRAPHY,
) -> SpectVolume:
    """Scan one patient.

    Args:
        perfusion: true relative perfusion, above 0 in the lungs, 0 outside.
        hu: CT numbers of the whole body, which attenuate.
        grid: grid of both: axial, head first, supine.
        breathing: how the patient breathes during the scan.
        protocol: how the hospital does it.
        draws: source of misalignment and counts; equal draws give an equal image.
        method: by PyTomography, or the shortcut.

    Raises:
        ValueError: there are no lungs, or the grid is not axial.
        PyTomographyMissing: the method needs PyTomography, and it is not installed.
    """
    x, y, z = (draws.normal(f"misalignment {axis}", 0.0, protocol.misalignment_sd_mm) for axis in "xyz")
    source = spect_source(perfusion, hu, grid, breathing, protocol, (x, y, z))
    match method:
        case SpectMethod.PYTOMOGRAPHY:
            values, counts = _camera_image(source, protocol, draws)
        case SpectMethod.FAST:
            values, counts = shortcut_image(source, protocol, draws)
    return SpectVolume(values, source.field.grid, (x, y, z), counts, protocol, method)


def _camera_image(
    source: SpectSource, protocol: SpectProtocol, draws: Draws
) -> tuple[Float32[np.ndarray, "slices rows columns"], int]:
    """The image and the counts of all views."""
    try:
        from training.insilico.spect.spect_camera import SpectCamera
    except ModuleNotFoundError as missing:
        raise PyTomographyMissing(str(missing)) from missing
    camera = SpectCamera(source, protocol)
    registered = camera.registered(draws)
    return camera.reconstructed(registered), round(float(registered.counts.sum()))
