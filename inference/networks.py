"""The CT-to-perfusion network: an architecture from an allow-list, made positive.

Which architecture, with which arguments, stands in the model card. `AttentionResidualUnet` is ours, in the spirit of
Ren et al. 2022 (10.3389/fonc.2022.883516), whose layers could not be read and whose code is not public; all others are
MONAI's. Every hyper-parameter is ours, and none is claimed to be the paper's.

The body is wrapped in softplus. Perfusion cannot be negative, and unlike ReLU softplus leaves no voxel without a
gradient or with exactly 0. Scaling to the lung mean comes later, in `perfusion`.
"""

from typing import Any

import torch
from monai.networks import nets
from torch import Tensor, nn

from inference.attention_residual_unet import AttentionResidualUnet
from inference.channels import Channel
from inference.errors import InvalidModelCard
from inference.lung_by_lung import LungByLung
from inference.model_card import ModelCard

OURS = "AttentionResidualUnet"
ALLOWED_NETWORKS = (OURS, "AttentionUnet", "BasicUNet", "DynUNet", "SegResNet", "UNet")
"""What a card may name, ours and classes of `monai.networks.nets`: a card is data and must not choose arbitrary code.

SwinUNETR is left out: it needs einops, which nothing else here does.
"""


class PerfusionNetwork(nn.Module):
    """Input of `preprocessing` to unscaled perfusion, above 0 everywhere."""

    def __init__(self, card: ModelCard, body: nn.Module) -> None:
        super().__init__()
        self.card = card
        self.body = body
        """The network itself; its state dict is what is saved, so weights of a MONAI network fit plain MONAI too."""

    def forward(self, channels: Tensor) -> Tensor:
        """Map a batch of shape (batch, channels, slices, rows, columns) to (batch, 1, slices, rows, columns)."""
        if not self.card.lungwise:
            return nn.functional.softplus(self.body(channels))
        lungs = LungByLung(self.card.channels)
        return nn.functional.softplus(lungs.joined(self.body(lungs.split(channels)), channels))


def build_network(card: ModelCard) -> PerfusionNetwork:
    """The network of a card, with fresh weights from torch's current random state.

    Raises:
        InvalidModelCard: the class is not allowed, its arguments do not fit, or it does not map the channels of the
            card to one.
    """
    if card.network not in ALLOWED_NETWORKS:
        raise InvalidModelCard(f"network {card.network!r} is not one of {', '.join(ALLOWED_NETWORKS)}")
    arguments: dict[str, Any] = dict(card.network_arguments)
    shown = _shown(card)
    wanted = {"spatial_dims": 3, "in_channels": len(shown), "out_channels": 1}
    if card.network == OURS:
        if Channel.LUNGS not in shown:
            raise InvalidModelCard(f"{OURS} attends to the lungs and needs the channel {Channel.LUNGS.value!r}")
        wanted["lungs_channel"] = shown.index(Channel.LUNGS)
    for name, value in wanted.items():
        if arguments.setdefault(name, value) != value:
            raise InvalidModelCard(f"{name} is {arguments[name]!r}, this node needs {value}")
    if arguments.get("deep_supervision"):
        raise InvalidModelCard("deep_supervision gives several outputs, this node needs one")
    try:
        made = AttentionResidualUnet if card.network == OURS else getattr(nets, card.network)
        body = made(**arguments)
    except Exception as fault:  # MONAI checks arguments with errors of many types
        raise InvalidModelCard(f"{card.network} refuses its arguments: {fault}") from fault
    return PerfusionNetwork(card, body)


def _shown(card: ModelCard) -> tuple[str, ...]:
    """The channels that the body of a network meets."""
    if not card.lungwise:
        return card.channels
    if missing := {Channel.LUNGS.value, Channel.LEFT.value} - set(card.channels):
        raise InvalidModelCard(f"a lung-wise network needs the channels {', '.join(sorted(missing))}")
    return LungByLung(card.channels).shown


def device_of(name: str) -> torch.device:
    """The device for `cpu`, `cuda` or `auto` (a GPU when there is one)."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)
