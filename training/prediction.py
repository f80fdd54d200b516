"""What a trained network says of a case, and how that is kept: in 16 bits, the voxels of the lungs only.

A network predicts here as it does in the node (`inference.network_perfusion`): the lungs in one window where they fit,
in several blended ones where they do not. A map is relative: 1 is the mean over the lungs.
"""

import io
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float32

from inference.execution import Execution
from inference.network_perfusion import network_output
from inference.networks import PerfusionNetwork
from inference.preprocessing import NetworkInput
from training.errors import PredictionUnusable
from training.insilico.files.whole_folder import write_whole
from training.study_case import StudyCase

Map = Float32[np.ndarray, "slices rows columns"]


def predicted(network: PerfusionNetwork, case: StudyCase, device: torch.device) -> Map:
    """The map of a network for a case, in multiples of its mean over the lungs; 0 outside.

    Args:
        network: trained, in evaluation mode, on `device`.
        case: with the channels that the card names, and perhaps others.
        device: of the network.
    """
    channels = np.stack([case.channel(name) for name in network.card.channels])
    whole = (slice(0, case.grid.shape[0]), slice(0, case.grid.shape[1]), slice(0, case.grid.shape[2]))
    seen = NetworkInput(channels, case.lungs.astype(np.float32), case.grid, whole)
    way = Execution(device.type)  # type: ignore[arg-type]
    output = network_output(network, seen, way, network.card.window_size)
    values: Map = np.where(case.lungs, output, np.float32(0.0))
    return values / np.float32(values[case.lungs].mean(dtype=np.float64))


def write_prediction(path: Path, values: Map, case: StudyCase) -> None:
    """Write a map.

    Args:
        path: of the file; its folder must exist.
        values: on the grid of `case`.
        case: whose lungs are kept.

    Raises:
        OSError: the file system refuses.
    """
    file = io.BytesIO()
    np.savez_compressed(file, values=values[case.lungs].astype(np.float16))
    write_whole(path, file.getvalue())


def read_prediction(path: Path, case: StudyCase) -> Map:
    """A map as it was written, on the grid of its case.

    Raises:
        PredictionUnusable: the file is missing, damaged, or of another case.
    """
    try:
        with np.load(path) as arrays:
            inside = arrays["values"].astype(np.float32)
    except (OSError, ValueError, KeyError) as fault:
        raise PredictionUnusable(str(path), str(fault)) from fault
    if inside.shape != (int(case.lungs.sum()),):
        raise PredictionUnusable(str(path), f"it has {inside.size} voxels, {case.patient} has {int(case.lungs.sum())}")
    values = np.zeros(case.lungs.shape, np.float32)
    values[case.lungs] = inside
    return values
