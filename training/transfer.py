"""What a network brings along from the task before: which weights, which of them learn on, and how fast.

An arm of the study says where weights come from (random or pre-trained) and what learns (all, the decoder, nothing);
its optimiser says by how much slower the encoder learns (`encoder_rate_factor`).

The encoder is what turns the CT into features, down to the coarsest level and with it; the decoder is what makes a map
of them: everything on the way up, attention gates and last layer included. MONAI names its modules by place, not by
role, so the split is a pattern of parameter names per network (`ENCODERS`).
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

import torch
from torch import nn

from inference.model_card import ModelCard
from inference.networks import PerfusionNetwork, build_network
from training.checkpointing import load_weights

ENCODERS: Mapping[str, re.Pattern[str]] = MappingProxyType(
    {
        "AttentionResidualUnet": re.compile(r"encoder\."),
        # head, then at each level `submodule.0` (or, at the bottom, `submodule.conv`) inside the level above
        "AttentionUnet": re.compile(r"model\.(0\.|1\.(submodule\.1\.)*submodule\.(0|conv)\.)"),
        "BasicUNet": re.compile(r"(conv_0|down_\d)\."),
        "DynUNet": re.compile(r"(input_block|downsamples|bottleneck)\."),
        "SegResNet": re.compile(r"(convInit|down_layers)\."),
        # each level is (down, what lies below, up); the innermost `submodule` is the bottom, which is no such triple
        "UNet": re.compile(r"model\.(1\.submodule\.)*(0\.|1\.submodule\.(?![012]\.))"),
    }
)
"""The names of parameters in the encoder, from their beginning, by class of the network."""

Learns = Literal["all", "decoder", "nothing"]


def fresh_network(card: ModelCard, seed: int) -> PerfusionNetwork:
    """The network of a card with random weights that follow from the seed; torch's own random state stays.

    Raises:
        InvalidModelCard: the card describes no network that can be built.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_network(card)


def start(network: PerfusionNetwork, *, pretrained: Path | None, learns: Learns) -> None:
    """Put a network into the state in which an arm begins.

    Args:
        network: with random weights.
        pretrained: weights of the task before, as `checkpointing.save_weights` writes them of a `PerfusionNetwork`.
        learns: what is trained from here on; the rest is frozen.

    Raises:
        WeightsUnusable: the weights do not fit.
    """
    if pretrained is not None:
        load_weights(pretrained, network)
    encoder = encoder_names(network) if learns == "decoder" else frozenset()
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(learns == "all" or (learns == "decoder" and name not in encoder))


def encoder_names(network: PerfusionNetwork) -> frozenset[str]:
    """Names of the parameters in the encoder of a network; all others are the decoder's.

    Raises:
        KeyError: no split is written down for this class of network.
    """
    pattern = ENCODERS[network.card.network]
    return frozenset(name for name, _ in network.named_parameters() if pattern.match(name.removeprefix("body.")))


def parameter_groups(network: nn.Module, *, encoder_rate_factor: float, weight_decay: float) -> list[dict[str, Any]]:
    """The parameters that learn, for an optimiser of torch, each with its `rate_factor` and `weight_decay`.

    Scales and shifts of norms and biases, which are vectors, do not decay, as is usual. Groups without parameters are
    left out.

    Args:
        network: what is frozen in it is in no group.
        encoder_rate_factor: rate of the encoder as a multiple of that of the decoder.
        weight_decay: of everything else than vectors.
    """
    encoder: frozenset[str] = frozenset()
    if encoder_rate_factor != 1.0 and isinstance(network, PerfusionNetwork):
        encoder = encoder_names(network)
    groups: dict[tuple[float, float], list[nn.Parameter]] = {}
    for name, parameter in network.named_parameters():
        if parameter.requires_grad:
            factor = encoder_rate_factor if name in encoder else 1.0
            decay = weight_decay if parameter.dim() > 1 else 0.0
            groups.setdefault((factor, decay), []).append(parameter)
    return [
        {"params": parameters, "rate_factor": factor, "weight_decay": decay}
        for (factor, decay), parameters in groups.items()
    ]


def hold_frozen(network: nn.Module) -> None:
    """Put modules whose parameters are all frozen into evaluation mode: their running statistics are frozen too."""
    for module in network.modules():
        parameters = list(module.parameters())
        if parameters and not any(parameter.requires_grad for parameter in parameters):
            module.eval()
