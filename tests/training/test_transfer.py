"""What is carried over, what is frozen, and what learns at which rate."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from inference.model_card import ModelCard, ModelIdentity
from inference.networks import ALLOWED_NETWORKS, PerfusionNetwork
from training.checkpointing import load_weights, save_weights, tensors_of
from training.errors import WeightsUnusable
from training.transfer import ENCODERS, encoder_names, fresh_network, hold_frozen, parameter_groups, start

ARGUMENTS: dict[str, dict[str, Any]] = {
    "AttentionResidualUnet": {"channels": [2, 4, 6], "strides": [2, 2]},
    "AttentionUnet": {"channels": [2, 4, 6, 8], "strides": [2, 2, 2]},
    "BasicUNet": {"features": [2, 2, 4, 4, 6, 2]},
    "DynUNet": {
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [2, 4, 6],
    },
    "SegResNet": {"init_filters": 8},
    "UNet": {"channels": [2, 4, 6, 8], "strides": [2, 2, 2], "num_res_units": 2},
}
MODULES: dict[str, tuple[set[str], set[str]]] = {
    # modules of the encoder and of the decoder, by a name that occurs in their parameters
    "AttentionResidualUnet": ({"encoder.0", "encoder.2"}, {"decoder.0", "decoder.1", "head"}),
    "AttentionUnet": (
        {"model.0.conv", "model.1.submodule.0.conv", "model.1.submodule.1.submodule.1.submodule.conv"},
        {"model.2", "model.1.upconv", "model.1.attention", "model.1.submodule.1.submodule.1.merge"},
    ),
    "BasicUNet": ({"conv_0", "down_1", "down_4"}, {"upcat_1", "upcat_4", "final_conv"}),
    "DynUNet": ({"input_block", "downsamples.0", "bottleneck"}, {"upsamples.0", "upsamples.1", "output_block"}),
    "SegResNet": ({"convInit", "down_layers.3"}, {"up_layers", "up_samples", "conv_final"}),
    "UNet": (
        {"model.0.", "model.1.submodule.0.", "model.1.submodule.1.submodule.1.submodule."},
        {"model.2.", "model.1.submodule.2.", "model.1.submodule.1.submodule.2."},
    ),
}


def _network(name: str, seed: int = 1) -> PerfusionNetwork:
    card = ModelCard(
        identity=ModelIdentity("test", "1"),
        network=name,
        network_arguments=ARGUMENTS[name],
        input_spacing_mm=(4.8, 4.8, 4.8),
        hu_window=(-1000.0, 100.0),
        window_size=(32, 32, 32),
        trained_on="nothing",
        intended_use="test",
    )
    return fresh_network(card, seed)


def test_every_network_that_may_be_used_has_a_split() -> None:
    assert set(ENCODERS) == set(ALLOWED_NETWORKS)


@pytest.mark.parametrize("name", ALLOWED_NETWORKS)
def test_the_encoder_is_the_way_down_and_the_decoder_the_way_up(name: str) -> None:
    network = _network(name)
    encoder = {parameter.removeprefix("body.") for parameter in encoder_names(network)}
    decoder = {parameter.removeprefix("body.") for parameter, _ in network.named_parameters()} - encoder
    for module in MODULES[name][0]:
        assert any(parameter.startswith(module) for parameter in encoder), module
        assert not any(parameter.startswith(module) for parameter in decoder), module
    for module in MODULES[name][1]:
        assert any(parameter.startswith(module) for parameter in decoder), module
        assert not any(parameter.startswith(module) for parameter in encoder), module


@pytest.mark.parametrize("name", ALLOWED_NETWORKS)
def test_weights_are_carried_over_and_the_encoder_is_frozen(name: str, tmp_path: Path) -> None:
    before = _network(name, seed=1)
    save_weights(tmp_path / "weights", before)
    network = _network(name, seed=2)
    start(network, pretrained=tmp_path / "weights", learns="decoder")
    assert all(torch.equal(tensor, tensors_of(network)[key]) for key, tensor in tensors_of(before).items())
    frozen = {key for key, parameter in network.named_parameters() if not parameter.requires_grad}
    assert frozen == encoder_names(network)
    hold_frozen(network.train())
    batch = torch.rand((2, 2, 32, 32, 32))
    statistics = {key: tensor.clone() for key, tensor in network.named_buffers()}
    network(batch)
    encoder = ENCODERS[name]
    for key, tensor in network.named_buffers():
        if encoder.match(key.removeprefix("body.")):
            assert torch.equal(tensor, statistics[key]), key


def test_the_same_seed_gives_the_same_network_and_leaves_the_random_state_alone() -> None:
    state = torch.random.get_rng_state()
    one, same, other = _network("UNet", 1), _network("UNet", 1), _network("UNet", 2)
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = [(a, b, c) for a, b, c in zip(*(tensors_of(n).values() for n in (one, same, other)), strict=True)]
    assert all(torch.equal(a, b) for a, b, _ in pairs)
    assert not all(torch.equal(a, c) for a, _, c in pairs)


def test_rates_and_decay_by_part() -> None:
    network = _network("AttentionResidualUnet")
    start(network, pretrained=None, learns="all")
    groups = parameter_groups(network, encoder_rate_factor=0.1, weight_decay=0.5)
    names = {id(parameter): name for name, parameter in network.named_parameters()}
    encoder = encoder_names(network)
    seen = 0
    for group in groups:
        for parameter in group["params"]:
            assert group["rate_factor"] == (0.1 if names[id(parameter)] in encoder else 1.0)
            assert group["weight_decay"] == (0.5 if parameter.dim() > 1 else 0.0)
            seen += 1
    assert seen == len(names)


def test_what_is_frozen_is_in_no_group() -> None:
    network = _network("UNet")
    start(network, pretrained=None, learns="decoder")
    groups = parameter_groups(network, encoder_rate_factor=1.0, weight_decay=0.0)
    assert sum(len(group["params"]) for group in groups) == len(list(network.parameters())) - len(
        encoder_names(network)
    )
    start(network, pretrained=None, learns="nothing")
    assert parameter_groups(network, encoder_rate_factor=1.0, weight_decay=0.0) == []


def test_weights_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_weights(tmp_path / "weights", _network("UNet"))
    with pytest.raises(WeightsUnusable, match="differ in"):
        load_weights(tmp_path / "weights", _network("SegResNet"))
    save_weights(tmp_path / "wide", nn.Conv3d(2, 1, 3))
    with pytest.raises(WeightsUnusable, match="shape"):
        load_weights(tmp_path / "wide", nn.Conv3d(2, 1, 1))
    with pytest.raises(WeightsUnusable):
        load_weights(tmp_path / "nowhere", _network("UNet"))
