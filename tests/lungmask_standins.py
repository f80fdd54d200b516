"""Stand-in weights for lungmask's networks: the right architecture, and no patient's lungs.

`bands` tells apart bands of HU: all weights are zero but one path, by which HU pass through the first block and the
topmost skip connection to the last layer, whose scores are straight lines over HU. The line that is highest at a given
HU names the class, so the answer is known by construction.

`blobs` has all its weights at work, drawn at random, with statistics of batch normalisation far from 0 and 1. What it
finds has no meaning: hundreds of parts with holes, of every label.
"""

from pathlib import Path
from typing import Any

import torch

from inference.weights.lungmask_package import import_lungmask


def network(classes: int) -> Any:
    """A network of lungmask with fresh weights."""
    import_lungmask()
    from lungmask.resunet import UNet

    return UNet(n_classes=classes, padding=True, depth=5, up_mode="upsample", batch_norm=True).eval()


def bands(hu_of_class: tuple[float, ...]) -> dict[str, torch.Tensor]:
    """Weights that name the class whose HU is nearest."""
    state = {
        name: value if "running" in name or name.endswith("tracked") else torch.zeros_like(value)
        for name, value in network(len(hu_of_class)).state_dict().items()
    }
    for block, first_input in (("down_path.0.block", 0), ("up_path.3.conv_block.block", 64)):
        state[f"{block}.0.weight"][0, first_input, 1, 1] = 1
        state[f"{block}.3.weight"][0, 0, 1, 1] = 1
        state[f"{block}.2.weight"][0] = 1
        state[f"{block}.5.weight"][0] = 1
    for label, hu in enumerate(hu_of_class):
        level = (hu + 1024) / 1624
        state["last.weight"][label, 0] = 2 * level
        state["last.bias"][label] = -(level**2)
    return state


def blobs(classes: int, seed: int, background: float = 0.0) -> dict[str, torch.Tensor]:
    """Random weights; `background` is added to the score of label 0."""
    random = torch.Generator().manual_seed(seed)
    state = network(classes).state_dict()
    for name, value in state.items():
        if name.endswith("running_var"):
            value.copy_(0.3 + torch.rand(value.shape, generator=random))
        elif name.endswith("running_mean") or (value.ndim == 1 and "bias" in name):
            value.copy_(0.2 * torch.randn(value.shape, generator=random))
        elif value.ndim == 4:
            inputs = value[0].numel()
            value.copy_(torch.randn(value.shape, generator=random) * (2.0 / inputs) ** 0.5)
        elif value.ndim == 1:
            value.copy_(1.0 + 0.3 * torch.randn(value.shape, generator=random))
    state["last.weight"] *= 20
    state["last.bias"][0] += background
    return state


def save(state: dict[str, torch.Tensor], path: Path) -> Path:
    """Write weights as lungmask's own are written."""
    torch.save(state, path)
    return path
