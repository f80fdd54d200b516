"""Our network: its three parts do what they are there for, and it learns."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save

from inference.attention_residual_unet import AttentionResidualUnet
from inference.channels import SUBVOXEL_CHANNELS
from inference.errors import InvalidModelCard
from inference.model_card import ModelCard, ModelIdentity
from inference.networks import build_network

CARD = ModelCard(
    identity=ModelIdentity("ours", "0"),
    network="AttentionResidualUnet",
    network_arguments={},
    input_spacing_mm=(4.8, 4.8, 4.8),
    hu_window=(-1000.0, 100.0),
    window_size=(80, 64, 80),
    trained_on="Nothing; random weights.",
    intended_use="Tests.",
    channels=SUBVOXEL_CHANNELS,
)


def small(**arguments: object) -> AttentionResidualUnet:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        wanted = {"in_channels": 2, "channels": (4, 6, 8), "strides": (2, 2), **arguments}
        return AttentionResidualUnet(**wanted)  # type: ignore[arg-type]


def test_three_networks_fit_into_ten_megabytes_of_16_bits() -> None:
    state = build_network(CARD).body.state_dict()
    assert 3 * len(save({name: values.half() for name, values in state.items()})) <= 10e6
    assert sum(values.numel() for values in state.values()) <= 1.5e6


def test_before_training_it_predicts_about_the_mean() -> None:
    network = build_network(replace(CARD, network_arguments={"channels": [4, 8], "strides": [2]})).eval()
    with torch.inference_mode():
        output = network(torch.rand(1, len(SUBVOXEL_CHANNELS), 8, 8, 8))
    assert 0.3 < float(output.mean()) < 3.0


def test_skips_bring_detail_from_the_lungs_only() -> None:
    """What comes down to the coarsest level is cut off; then nothing outside the lungs changes the output near it."""
    network = small().eval()
    lungs = torch.zeros(1, 1, 16, 16, 16)
    lungs[..., 8:] = 1.0
    hu = torch.rand(1, 1, 16, 16, 16)
    other = torch.where(lungs > 0, hu, torch.rand(1, 1, 16, 16, 16))
    with torch.inference_mode():
        first, second = (network(torch.cat([values, lungs], dim=1)) for values in (hu, other))
        assert not torch.allclose(first, second)  # the coarser levels still see what surrounds the lungs
        for level in network.decoder:
            level.up.deconv.weight.zero_()
        first, second = (network(torch.cat([values, lungs], dim=1)) for values in (hu, other))
    # A skip at the lung's edge has seen its neighbours through one convolution at the finest level and more below.
    assert not torch.allclose(first[..., 8:10], second[..., 8:10])
    torch.testing.assert_close(first[..., :5], second[..., :5])


def test_gates_can_close_a_skip() -> None:
    network = small().eval()
    channels = torch.rand(1, 2, 16, 16, 16)
    with torch.inference_mode():
        before = network(channels)
        for level in network.decoder:
            level.gate.psi[1].bias.fill_(-1e4)  # the sigmoid says 0
        closed = network(channels)
        for level in network.decoder:
            level.gate.register_forward_hook(lambda module, given, got: torch.zeros_like(got))
        without = network(channels)
    torch.testing.assert_close(closed, without)
    assert not torch.allclose(before, closed)


def test_lungs_may_be_any_channel_and_sides_need_not_be_equal() -> None:
    network = small(in_channels=3, lungs_channel=2, strides=(2, 1)).eval()
    with torch.inference_mode():
        assert network(torch.rand(1, 3, 8, 6, 10)).shape == (1, 1, 8, 6, 10)


def test_it_learns_a_local_and_a_distant_cause() -> None:
    """Perfusion is the density here times what a marker in a corner says: both must be found within a few steps."""
    network = small(channels=(8, 12, 16))
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-2)
    generator = torch.Generator().manual_seed(2)
    losses = []
    for _ in range(60):
        density = torch.rand(4, 1, 8, 8, 8, generator=generator)
        marked = (torch.arange(4) % 2).float()[:, None, None, None, None]
        density[:, :, 0, 0, 0] = 3.0 * marked[:, :, 0, 0, 0]
        wanted = density * (1.0 + marked)
        output = network(torch.cat([density, torch.ones_like(density)], dim=1))
        loss = ((output - wanted)[:, :, 2:, 2:, 2:] ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert np.mean(losses[-5:]) < 0.04  # density alone leaves 0.25 * mean(density²) = 0.08


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"channels": ("hu", "height")}, "needs the channel 'lungs'"),
        ({"network_arguments": {"channels": [4, 8, 16], "strides": [2]}}, "3 levels need 2 strides, got 1"),
        ({"network_arguments": {"lungs_channel": 4}}, "lungs_channel is 4, this node needs 1"),
    ],
)
def test_a_card_that_does_not_fit_says_why(changes: dict[str, object], reason: str) -> None:
    with pytest.raises(InvalidModelCard, match=reason):
        build_network(replace(CARD, **changes))  # type: ignore[arg-type]
