"""Whether a file holds the weights that its name promises: the published bytes, and the network they should be.

The order matters. Digits first, since they cost nothing to compare; then the file is read, as tensors only.
"""

from collections.abc import Mapping
from pathlib import Path

from inference.errors import UnusableWeights, WeightsDigestMismatch
from inference.weights.published_weights import PublishedWeights


def check_weights(weights: PublishedWeights, path: Path, sha256: str) -> None:
    """See that a file is the published one, and the network that it should be.

    Args:
        weights: what it should be.
        path: the file.
        sha256: of its bytes.

    Raises:
        WeightsDigestMismatch: the digits that the publisher put into the name are others.
        UnusableWeights: it is no state dict of the network.
    """
    if weights.kind == "nnunet":
        return  # no digits were published, and `pack` has read it as the network that it is
    if not sha256.startswith(weights.sha256_start):
        raise WeightsDigestMismatch(weights.name, weights.sha256_start, sha256)
    from inference.weights.lungmask_package import import_lungmask
    from inference.weights.pickled_tensors import read_pickled_tensors

    torch = import_lungmask().torch
    from lungmask.resunet import UNet

    state = read_pickled_tensors(weights.name, path)
    with torch.device("meta"):
        network = UNet(n_classes=weights.classes, padding=True, depth=5, up_mode="upsample", batch_norm=True)
    wanted = {key: tuple(value.shape) for key, value in network.state_dict().items()}
    tensors = isinstance(state, Mapping) and all(isinstance(value, torch.Tensor) for value in state.values())
    if not tensors or {key: tuple(value.shape) for key, value in state.items()} != wanted:
        raise UnusableWeights(weights.name, f"it is no state dict of lungmask's U-Net with {weights.classes} classes")
