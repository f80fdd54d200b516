"""lungmask's two networks: where their weights are, and how they run over the slices of a CT.

On a CPU they run as `lungmask_layers` lays them out. On a GPU lungmask's own module runs: with `exact` as lungmask runs
it, with `fast` under automatic mixed precision. Each slice is seen alone, so how many go at a time changes nothing but
time and memory.
"""

import hashlib
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float32, UInt8

from inference.errors import ModelError, ModelNotFound, StoredModelDamaged
from inference.execution import Device, Execution
from inference.lungmask.layers import UNetOnCpu
from inference.weights.lungmask_package import import_lungmask
from inference.weights.model_store import ModelStore

Precision = Literal["exact", "fast"]
_CLASSES = {"R231": 3, "LTRCLobes": 6}
"""Output channels: background and two lungs; background and five lobes."""
_STORED_AS = {"R231": "lungmask-r231", "LTRCLobes": "lungmask-ltrclobes"}
_NATIVE_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
"""Names under which `torch.cpu.get_capabilities` says that a CPU computes with bfloat16."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights and the digest of its bytes."""

    path: Path
    sha256: str

    @classmethod
    def read(cls, path: Path) -> "WeightsFile":
        """Take the digest of an existing file."""
        with path.open("rb") as file:
            return cls(path, hashlib.file_digest(file, "sha256").hexdigest())


def find_weights(network: str, named: Path | None, store: Path | None) -> WeightsFile:
    """The file that the configuration names, else that of the model store; nothing is ever downloaded.

    Raises:
        ModelNotFound: there is no such file, or the store has none.
        StoredModelDamaged: the stored file is not what was imported.
    """
    if named is not None:
        if not named.is_file():
            raise ModelNotFound(f"Weights {named} of lungmask's {network}", "Correct the path in the configuration.")
        return WeightsFile.read(named)
    models = ModelStore(store if store is not None else Path("models"))
    stored = models.find(_STORED_AS[network]) if store is not None else None
    if stored is None:
        raise models.absent(_STORED_AS[network])
    weights = WeightsFile.read(stored.path)
    if weights.sha256 != stored.sha256:
        raise StoredModelDamaged(stored.name, "the bytes of the file have changed")
    return weights


@dataclass(frozen=True, slots=True)
class Pace:
    """How networks are to run."""

    device: Device
    dtype: torch.dtype
    """Of the activations."""
    batch_size: int
    """Slices at a time."""


def dtype_of(precision: Precision, way: Execution) -> torch.dtype:
    """Activations in 16 bits where they are asked for or memory is short, and the device computes with them.

    A GPU takes float16, whose mantissa has three bits more, as the activations of a network with batch normalisation
    are far from its limits. A CPU takes bfloat16, and float32 where it would only imitate that, slower.
    """
    if precision == "exact" and not way.half_precision:
        return torch.float32
    if way.device != "cpu":
        return torch.float16
    capabilities = torch.cpu.get_capabilities()
    return torch.bfloat16 if any(capabilities.get(name) for name in _NATIVE_BFLOAT16) else torch.float32


class SliceNetwork:
    """One of the two networks, loaded; any number of patients may share it."""

    def __init__(self, name: str, weights: WeightsFile, *, only_on_cpu: torch.dtype | None = None) -> None:
        """Load a network.

        Args:
            name: `R231` or `LTRCLobes`.
            weights: its state dict.
            only_on_cpu: it will run on a CPU with these activations and nowhere else, so nothing else is kept.

        Raises:
            ModelError: the file is not a state dict of this network; swapped files are noticed.
        """
        try:
            self._module: Any = import_lungmask().get_model(name, str(weights.path))
        # torch.load and load_state_dict raise errors of many kinds for one fact: these bytes are not that network.
        except Exception as fault:
            raise ModelError(f"The weights of lungmask cannot be loaded ({type(fault).__name__}).") from fault
        classes = self._module.last.out_channels
        if classes != _CLASSES[name]:
            raise ModelError(
                f"The weights named for lungmask's {name} have {classes} classes, not {_CLASSES[name]}: "
                "are the two files swapped?"
            )
        self._on_cpu: dict[torch.dtype, UNetOnCpu] = {}
        if only_on_cpu is not None:
            self._on_cpu[only_on_cpu] = UNetOnCpu(self._module, only_on_cpu)
            self._module = None

    def labels(
        self,
        pixels: Float32[np.ndarray, "slices rows columns"],
        pace: Pace,
        wanted: Bool[np.ndarray, " slices"] | None = None,
    ) -> UInt8[np.ndarray, "slices rows columns"]:
        """The label with the highest score at each pixel.

        Args:
            pixels: slices as `lungmask_slices.prepare` makes them.
            pace: how to run.
            wanted: slices to look at; the others are background. None for all.
        """
        labels = np.zeros(pixels.shape, dtype=np.uint8)
        (indices,) = np.nonzero(np.ones(len(pixels), dtype=bool) if wanted is None else wanted)
        with torch.inference_mode():
            for start in range(0, len(indices), pace.batch_size):
                batch = indices[start : start + pace.batch_size]
                scores = self.scores(torch.from_numpy(pixels[batch])[:, None], pace)
                labels[batch] = torch.max(scores, dim=1)[1].to(torch.uint8).cpu().numpy()
        return labels

    def scores(self, slices: torch.Tensor, pace: Pace) -> torch.Tensor:
        """Logarithms of the probabilities (batch, classes, rows, columns) of slices (batch, 1, rows, columns)."""
        if pace.device == "cpu":
            if pace.dtype not in self._on_cpu:
                self._on_cpu[pace.dtype] = UNetOnCpu(self._module.to("cpu"), pace.dtype)
            # Softmax keeps the order, but rounds: labels of almost equal scores are lungmask's only after it.
            return torch.log_softmax(self._on_cpu[pace.dtype](slices).contiguous(), dim=1)
        return scores_by_module(self._module, slices, pace)


def scores_by_module(module: Any, slices: torch.Tensor, pace: Pace) -> torch.Tensor:
    """The scores by lungmask's own module on its device, under automatic mixed precision for 16 bits."""
    mixed: AbstractContextManager[object] = nullcontext()
    if pace.dtype != torch.float32:
        mixed = torch.autocast(pace.device, dtype=pace.dtype)
    with mixed:
        scores: torch.Tensor = module.to(pace.device)(slices.to(pace.device)).float()
    return scores
