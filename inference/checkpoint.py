"""Weights on disk: read only when they are the ones the model card names.

The file is read once; the bytes that are hashed are the bytes that are parsed, so nothing can be exchanged between
check and use. The format is safetensors, which holds tensors and no code; pickles are never read.
"""

import hashlib
from dataclasses import replace
from pathlib import Path

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor

from inference.errors import CheckpointMismatch, InvalidModelCard, ModelNotFound
from inference.model_card import WEIGHTS_FILE, ModelCard
from inference.networks import PerfusionNetwork, build_network


def load_network(folder: Path) -> PerfusionNetwork:
    """The network of a model folder, in evaluation mode on the CPU, with its card as `network.card`.

    Raises:
        ModelNotFound: card or weights are absent.
        InvalidModelCard: the card is unusable, or does not describe these weights tensor by tensor.
        CheckpointMismatch: the weights have another SHA-256 than the card says; no tensor was read.
    """
    card = ModelCard.read(folder)
    return network_of(card, _verified_bytes(folder / WEIGHTS_FILE, card.identity.weights_sha256))


def network_of(card: ModelCard, content: bytes) -> PerfusionNetwork:
    """The network of a card with its weights, in evaluation mode on the CPU.

    Args:
        card: what the network is.
        content: of a safetensors file whose digest was compared already. Numbers of 16 bits become 32 here.

    Raises:
        InvalidModelCard: the card does not describe these weights tensor by tensor.
    """
    network = build_network(card)
    try:
        tensors = safetensors.torch.load(content)
        if differing := tensors.keys() ^ _tensors(network).keys():
            raise InvalidModelCard(f"the weights do not fit {card.network}: {sorted(differing)[:3]} differ")
        network.body.load_state_dict(tensors, strict=False)
    except (SafetensorError, RuntimeError) as fault:
        raise InvalidModelCard(f"the weights do not fit {card.network}: {fault}") from fault
    return network.eval()


def save_model(folder: Path, network: PerfusionNetwork) -> ModelCard:
    """Write a network's weights and its card, with the hash filled in, into a folder.

    Equal weights give equal bytes. The card is written last, so an interrupted save leaves no usable model behind.

    Args:
        folder: made if absent; a model in it is replaced.
        network: its card says everything but the hash.

    Returns:
        The card as written.
    """
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in _tensors(network).items()}
    content = safetensors.torch.save(state)
    identity = replace(network.card.identity, weights_sha256=hashlib.sha256(content).hexdigest())
    card = replace(network.card, identity=identity)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / WEIGHTS_FILE).write_bytes(content)
    card.write(folder)
    return card


def _tensors(network: PerfusionNetwork) -> dict[str, Tensor]:
    """Parameters and buffers by name, each once: some MONAI networks have the same block under two names."""
    return {**dict(network.body.named_parameters()), **dict(network.body.named_buffers())}


def _verified_bytes(path: Path, expected_sha256: str) -> bytes:
    if not path.is_file():
        raise ModelNotFound(f"Weights {path}", "A model folder holds model_card.json and weights.safetensors.")
    content = path.read_bytes()
    got_sha256 = hashlib.sha256(content).hexdigest()
    if got_sha256 != expected_sha256:
        raise CheckpointMismatch(expected_sha256, got_sha256)
    return content
