"""The CT-to-perfusion network: a MONAI architecture from an allow-list, made positive.

Which architecture, with which arguments, stands in the model card. The published one (a 3D attention residual network,
Ren et al. 2022, 10.3389/fonc.2022.883516) has no public code and its layers could not be read, so none of these
claims to be it; `AttentionUnet` is nearest in spirit.

The body is wrapped in softplus. Perfusion cannot be negative, and unlike ReLU softplus leaves no voxel without a
gradient or with exactly 0. Scaling to the lung mean comes later, in `perfusion`.
"""

from typing import Any

import torch
from monai.networks import nets
from torch import Tensor, nn

from inference.errors import InvalidModelCard
from inference.model_card import ModelCard

ALLOWED_NETWORKS = ("AttentionUnet", "BasicUNet", "DynUNet", "SegResNet", "UNet")
"""Classes of `monai.networks.nets` that a card may name: a card is data and must not choose arbitrary code.

SwinUNETR is left out: it needs einops, which nothing else here does.
"""

INPUT_CHANNELS = 2
"""Windowed HU and lung mask, in this order (see `preprocessing`)."""


class PerfusionNetwork(nn.Module):
    """Input of `preprocessing` to unscaled perfusion, above 0 everywhere."""

    def __init__(self, card: ModelCard, body: nn.Module) -> None:
        super().__init__()
        self.card = card
        self.body = body
        """The MONAI network; its state dict is what is saved, so weights fit plain MONAI too."""

    def forward(self, channels: Tensor) -> Tensor:
        """Map a batch of shape (batch, 2, slices, rows, columns) to (batch, 1, slices, rows, columns)."""
        return nn.functional.softplus(self.body(channels))


def build_network(card: ModelCard) -> PerfusionNetwork:
    """The network of a card, with fresh weights from torch's current random state.

    Raises:
        InvalidModelCard: the class is not allowed, its arguments do not fit, or it does not map two channels to one.
    """
    if card.network not in ALLOWED_NETWORKS:
        raise InvalidModelCard(f"network {card.network!r} is not one of {', '.join(ALLOWED_NETWORKS)}")
    arguments: dict[str, Any] = dict(card.network_arguments)
    wanted = {"spatial_dims": 3, "in_channels": INPUT_CHANNELS, "out_channels": 1}
    for name, value in wanted.items():
        if arguments.setdefault(name, value) != value:
            raise InvalidModelCard(f"{name} is {arguments[name]!r}, this node needs {value}")
    if arguments.get("deep_supervision"):
        raise InvalidModelCard("deep_supervision gives several outputs, this node needs one")
    try:
        body = getattr(nets, card.network)(**arguments)
    except Exception as fault:  # MONAI checks its arguments with errors of many types
        raise InvalidModelCard(f"{card.network} refuses its arguments: {fault}") from fault
    return PerfusionNetwork(card, body)


def device_of(name: str) -> torch.device:
    """The device for `cpu`, `cuda` or `auto` (a GPU when there is one)."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
