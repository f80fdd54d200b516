"""What a training run saves: weights, and the whole state from which a killed run goes on.

Files are safetensors, which hold tensors and no code; they are written under another name, flushed to the disk and
renamed, so that there is always a whole one. Nothing random is saved, because nothing random has a state: batches,
augmentation and dropout follow from the seed and the number of the step.

Each tensor is saved once. Networks that hold a module under two names (MONAI's DynUNet) have it under the first.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from inference.networks import PerfusionNetwork
from training.errors import ForeignCheckpoint, WeightsUnusable
from training.insilico.files.whole_folder import write_whole

CHECKPOINT_FILE = "checkpoint.safetensors"

Tensors = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The state of a run after some steps."""

    job: str
    """What makes this run differ from others, as a digest; a run goes on from its own only."""
    notes: Mapping[str, Any]
    """Step, learning curve and the like; plain JSON values."""
    tensors: Tensors
    """Everything else, on the CPU."""

    def write(self, path: Path) -> None:
        """Save it in place of what is there, all or nothing."""
        words = {"job": self.job, "notes": json.dumps(self.notes)}
        write_whole(path, safetensors.torch.save(self.tensors, words))

    @classmethod
    def read(cls, path: Path, job: str) -> "Checkpoint | None":
        """The state saved in a file, or None if there is no file.

        Raises:
            ForeignCheckpoint: it is the state of another job, or none.
        """
        if not path.is_file():
            return None
        try:
            with safe_open(path, framework="pt") as file:
                words = file.metadata() or {}
                if words.get("job") != job:
                    raise ForeignCheckpoint(str(path), "another plan, seed or network")
                notes = json.loads(words["notes"])
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  # no mapping
        except (SafetensorError, OSError, ValueError) as fault:
            raise ForeignCheckpoint(str(path), f"not a state: {fault}") from fault
        return cls(job, notes, tensors)


def tensors_of(network: nn.Module) -> Tensors:
    """Parameters and buffers of a network by name, each once, in a fixed order."""
    tensors: Tensors = {name: parameter.detach() for name, parameter in network.named_parameters()}
    return tensors | dict(network.named_buffers())


def save_weights(path: Path, network: nn.Module) -> None:
    """Write the weights of a network, in place of what is there; equal weights give equal bytes.

    Of a `PerfusionNetwork` those of its body are written, as `inference.checkpoint` reads them.
    """
    write_whole(path, safetensors.torch.save(on_cpu(tensors_of(_body(network)))))


def load_weights(path: Path, network: nn.Module) -> None:
    """Read weights into a network that has exactly these tensors.

    Raises:
        WeightsUnusable: the file is missing, or its tensors are not those of the network.
    """
    try:
        put_into(_body(network), safetensors.torch.load_file(path))
    except (SafetensorError, OSError, ValueError) as fault:
        raise WeightsUnusable(str(path), str(fault)) from fault


def put_into(network: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into those of a network, which keeps its device and stays the same object.

    Raises:
        ValueError: names or shapes differ.
    """
    own = tensors_of(network)
    if own.keys() != tensors.keys():
        some = sorted(own.keys() ^ tensors.keys())[:3]
        raise ValueError(f"the network and the weights differ in {len(own.keys() ^ tensors.keys())} tensors: {some}")
    for name, tensor in own.items():
        if tensor.shape != tensors[name].shape:
            raise ValueError(f"{name} is of shape {tuple(tensors[name].shape)}, wanted {tuple(tensor.shape)}")
        tensor.copy_(tensors[name])


def on_cpu(tensors: Mapping[str, Tensor]) -> Tensors:
    """Copies on the CPU that nothing changes later, in the plain order of memory."""
    return {
        name: tensor.detach().to("cpu", copy=True).contiguous(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }


def _body(network: nn.Module) -> nn.Module:
    return network.body if isinstance(network, PerfusionNetwork) else network
