"""Tiles: they cover everything, their borders are not seen, and a small image is padded on both sides."""

import numpy as np
import pytest
import torch

from inference.totalsegmentator.nnunet_tiles import class_numbers, gaussian, mean_scores, tile_starts

CPU = torch.device("cpu")


def three_classes(batch: torch.Tensor) -> torch.Tensor:
    """Scores that say below 0, around 1, and above 2."""
    return torch.cat([-batch, 1 - (batch - 1).abs(), batch - 2], dim=1)


@pytest.mark.parametrize(
    ("length", "side", "step", "starts"),
    [
        (110, 64, 0.5, [0, 23, 46]),  # the example in nnU-Net's own comment
        (128, 128, 0.8, [0]),
        (129, 128, 0.8, [0, 1]),
        (230, 128, 0.8, [0, 102]),
        (231, 128, 0.8, [0, 52, 103]),
    ],
)
def test_tiles_are_spread_evenly_and_reach_both_ends(length: int, side: int, step: float, starts: list[int]) -> None:
    assert tile_starts(length, side, step) == starts


def test_what_a_pointwise_network_says_does_not_depend_on_tiles() -> None:
    """But at the outermost corners, where a Gaussian in 16 bits is next to nothing, in nnU-Net as here."""
    image = np.random.default_rng(3).uniform(-1, 3, (23, 17, 30)).astype(np.float32)
    image[(np.abs(image) < 0.05) | (np.abs(image - 2) < 0.05)] = 1  # away from where two classes are equal
    found = class_numbers(three_classes, image, tile=(8, 10, 12), step=0.6, device=CPU)
    expected = three_classes(torch.from_numpy(image)[None, None])[0].argmax(dim=0).numpy()
    inside = (slice(1, -1), slice(1, -1), slice(1, -1))
    assert np.array_equal(found[inside], expected[inside])
    assert set(np.unique(found)) == {0, 1, 2}
    assert found.dtype == np.uint8


def test_a_small_image_is_padded_with_0_on_both_sides_and_keeps_its_place() -> None:
    seen = []

    def network(batch: torch.Tensor) -> torch.Tensor:
        seen.append(batch.clone())
        return batch.repeat(1, 2, 1, 1, 1)

    image = np.arange(1, 28, dtype=np.float32).reshape(3, 3, 3)
    scores = mean_scores(network, image, tile=(8, 3, 4), step=0.5, device=CPU)
    assert scores.shape == (2, 3, 3, 3)
    (batch,) = seen
    assert np.array_equal(batch[0, 0, 2:5, :, :3].numpy(), image)
    assert np.allclose(scores[1].numpy(), image, rtol=2e-3)
    assert float(batch.abs().sum()) == image.sum()


def test_the_middle_of_a_tile_counts_most_and_nothing_counts_0() -> None:
    weights = gaussian((32, 32, 16))
    assert np.unravel_index(weights.argmax(), weights.shape) == (16, 16, 8)
    assert weights.max() == 10.0
    assert weights.min() > 0


def test_more_classes_than_fit_are_not_mixed_up() -> None:
    image = np.full((6, 6, 6), 24.0, dtype=np.float32)

    def network(batch: torch.Tensor) -> torch.Tensor:
        return -(batch - torch.arange(25.0).reshape(1, 25, 1, 1, 1)).abs()

    assert (class_numbers(network, image, tile=(4, 4, 4), step=0.5, device=CPU) == 24).all()
