"""The U-net laid out for a CPU has the scores of lungmask's own."""

from typing import Any

import numpy as np
import pytest

from tests import lungmask_standins

torch = pytest.importorskip("torch")

from inference.lungmask import layers as lungmask_layers  # noqa: E402
from inference.lungmask.layers import UNetOnCpu  # noqa: E402

SIDE = 64
"""Small, and as wide as it is high; the network halves it four times."""


@pytest.fixture(scope="module")
def network() -> Any:
    network = lungmask_standins.network(6)
    network.load_state_dict(lungmask_standins.blobs(6, seed=1))
    return network


@pytest.fixture(scope="module")
def slices() -> Any:
    return torch.from_numpy(np.random.default_rng(2).random((2, 1, SIDE, SIDE), dtype=np.float32))


def scores(network: Any, slices: Any) -> Any:
    with torch.inference_mode():
        return torch.log_softmax(network(slices), dim=1)


def test_scores_are_those_of_lungmasks_module_but_for_the_last_digits(network: Any, slices: Any) -> None:
    expected, got = scores(network, slices), scores(UNetOnCpu(network), slices)
    assert got.shape == expected.shape == (2, 6, SIDE, SIDE)
    # At the borders too, where convolution meets padding: no pixel is left out.
    assert float((got - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_without_onednn_scores_are_the_same(network: Any, slices: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lungmask_layers, "has_onednn", lambda: False)
    expected, got = scores(network, slices), scores(UNetOnCpu(network), slices)
    assert float((got - expected).abs().max()) < 1e-4 * float(expected.abs().max())


def test_slices_together_have_the_scores_of_slices_alone(network: Any, slices: Any) -> None:
    layers = UNetOnCpu(network)
    both = scores(layers, slices)
    for k in range(2):
        alone = scores(layers, slices[k : k + 1])
        assert float((alone - both[k : k + 1]).abs().max()) < 1e-4 * float(both.abs().max())


def test_the_same_slice_has_the_same_bits_each_time(network: Any, slices: Any) -> None:
    layers = UNetOnCpu(network)
    first = scores(layers, slices)
    assert all(torch.equal(scores(layers, slices), first) for _ in range(3))


def test_sixteen_bits_give_scores_nearby(network: Any, slices: Any) -> None:
    """Weights rounded each for itself, or normalisation with rounded factors, miss by 0.017."""
    expected, got = scores(network, slices), scores(UNetOnCpu(network, torch.bfloat16), slices)
    assert got.dtype == torch.float32
    error, spread = float((got - expected).abs().mean()), float(expected.std())
    assert 0 < error < 0.015 * spread


def test_rounded_weights_keep_the_sum_of_each_kernel() -> None:
    weight = torch.randn((5, 4, 3, 3), generator=torch.Generator().manual_seed(3))
    rounded = lungmask_layers.rounded(weight, torch.bfloat16)
    assert rounded.dtype == torch.bfloat16
    last_place = 2.0**-8 * weight.abs().amax(dim=(2, 3))
    each_alone = (weight.bfloat16().float() - weight).sum(dim=(2, 3)).abs()
    together = (rounded.float() - weight).sum(dim=(2, 3)).abs()
    assert bool((together <= last_place).all())
    assert float(together.mean()) < 0.5 * float(each_alone.mean())
    assert bool(((rounded.float() - weight).abs().amax(dim=(2, 3)) <= 2 * last_place).all())


def test_blocks_of_full_resolution_keep_32_bits(network: Any, slices: Any) -> None:
    """What passes through the first and the last block alone is exact, as in `lungmask_standins.bands`."""
    bands = lungmask_standins.network(3)
    bands.load_state_dict(lungmask_standins.bands((-1000.0, -800.0, 0.0)))
    expected, got = scores(bands, slices), scores(UNetOnCpu(bands, torch.bfloat16), slices)
    assert float((got - expected).abs().max()) < 1e-5
