"""Predicting a whole volume tile by tile, in the way of nnU-Net's own predictor.

Tiles overlap and are spread evenly; each counts most in its middle, by a Gaussian. Sums are kept in 16 bits, as there:
25 classes of a large CT would take gigabytes in 32. Only the tile itself is ever on the GPU.
"""

from collections.abc import Callable
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from jaxtyping import Float32, UInt8

from inference.weights.nnunet_model import Triple

_SIGMA = 1 / 8
"""Of the Gaussian, in sides of a tile."""
_PEAK = 10.0
"""Of the Gaussian; keeps sums in the middle of what 16 bits can say."""


def class_numbers(
    network: Callable[[Any], Any],
    image: Float32[np.ndarray, "a b c"],
    *,
    tile: Triple,
    step: float,
    device: Any,
) -> UInt8[np.ndarray, "a b c"]:
    """The most likely class of every voxel.

    Args:
        network: maps (1, 1, *tile) to (1, classes, *tile); is on `device`.
        image: its input, along its own axes.
        tile: voxels of a tile.
        step: distance of neighbouring tiles, in sides of a tile; at most 1.
        device: where tiles go.
    """
    scores = mean_scores(network, image, tile=tile, step=step, device=device)
    numbers: UInt8[np.ndarray, "a b c"] = scores.argmax(dim=0).numpy().astype(np.uint8)
    return numbers


def mean_scores(
    network: Callable[[Any], Any],
    image: Float32[np.ndarray, "a b c"],
    *,
    tile: Triple,
    step: float,
    device: Any,
) -> Any:
    """Scores of every class, the weighted mean over tiles: a tensor (classes, a, b, c) of 16 bits on the CPU.

    An image smaller than a tile is padded with 0 on both sides, the odd voxel at the end.
    """
    import torch

    lacking = [max(side - length, 0) for side, length in zip(tile, image.shape, strict=True)]
    before = [lack // 2 for lack in lacking]
    padded = np.pad(image, [(first, lack - first) for first, lack in zip(before, lacking, strict=True)])
    whole = torch.from_numpy(padded)
    weights = torch.from_numpy(gaussian(tile)).half()
    sums: Any = None
    total = torch.zeros(padded.shape, dtype=torch.half)
    with torch.inference_mode():
        for starts in product(*(tile_starts(n, side, step) for n, side in zip(padded.shape, tile, strict=True))):
            place = tuple(slice(start, start + side) for start, side in zip(starts, tile, strict=True))
            scores = network(whole[place][None, None].to(device))[0].cpu().float()
            if sums is None:
                sums = torch.zeros((len(scores), *padded.shape), dtype=torch.half)
            sums[(slice(None), *place)] += scores * weights
            total[place] += weights
        sums /= total
        inside = tuple(slice(first, first + n) for first, n in zip(before, image.shape, strict=True))
        return sums[(slice(None), *inside)]


def tile_starts(length: int, side: int, step: float) -> list[int]:
    """Where tiles begin along an axis: evenly, at most `step` sides apart, the first and the last at the ends."""
    last = length - side
    count = ceil(last / (side * step)) + 1
    return [int(np.round(last / max(count - 1, 1) * number)) for number in range(count)]


def gaussian(tile: Triple) -> Float32[np.ndarray, "a b c"]:
    """How much each voxel of a tile counts; nowhere 0."""
    from scipy.ndimage import gaussian_filter

    peak = np.zeros(tile)
    peak[tuple(side // 2 for side in tile)] = 1.0
    weights = gaussian_filter(peak, [side * _SIGMA for side in tile], mode="constant")
    weights *= _PEAK / weights.max()
    halved = weights.astype(np.float16)
    halved[halved == 0] = halved[halved > 0].min()
    result: Float32[np.ndarray, "a b c"] = halved.astype(np.float32)
    return result
