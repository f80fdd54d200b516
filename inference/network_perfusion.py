"""Perfusion by a trained network: windows over the lungs, blended, and put back on the CT.

The engine runs what a model folder holds and says in every object which
weights these were and what they were trained on. When memory runs out it runs in smaller windows, in half precision or
on the CPU (`execution`).
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float32
from monai.inferers import sliding_window_inference

from inference.checkpoint import load_network
from inference.execution import Execution, ExecutionRecord, Rung, ladder_of
from inference.geometry import Box
from inference.model_card import ModelCard, ModelIdentity
from inference.networks import PerfusionNetwork, device_of
from inference.perfusion import relative_to_lung_mean
from inference.preprocessing import NetworkInput, boxed_onto_ct, network_input
from inference.torch_memory import memory_guarded, precision_of
from inference.volumes import CtVolume, LobeMap, PerfusionMap, require_same_grid

OVERLAP = 0.5
"""Share by which neighbouring windows overlap; with Gaussian blending no window edges show in the map."""
_USUAL_REDUCTION = 16
"""By how much a network without `strides` in its card reduces its input at most (BasicUNet; SegResNet 8)."""


class NetworkPerfusion:
    """Perfusion engine with a network."""

    def __init__(self, network: PerfusionNetwork, *, device: str = "auto", execution: Execution | None = None) -> None:
        """Take a network into use; it goes to its device with the first patient.

        Args:
            network: with the card that says how to feed it.
            device: `cpu`, `cuda` or `auto`.
            execution: how to run it; by default as the card says.
        """
        self._network = network.eval()
        self._execution = execution or Execution(device_of(device).type)  # type: ignore[arg-type]

    @classmethod
    def load(cls, folder: Path, *, device: str = "auto") -> "NetworkPerfusion":
        """Load a model folder.

        Raises:
            ModelError: the folder holds no usable model.
        """
        return cls(load_network(folder), device=device)

    @property
    def identity(self) -> ModelIdentity:
        """The identity of the card."""
        return self._network.card.identity

    def ladder(self) -> tuple[Execution, ...]:
        """The ways to run this network on its device, see `execution`."""
        card = self._network.card
        return ladder_of(self._execution.device, has_smaller_tiles=smaller_window(card) != card.window_size)

    def on(self, execution: Execution) -> "NetworkPerfusion":
        """The same network, to run that way."""
        return NetworkPerfusion(self._network, execution=execution)

    def record(self, why: str) -> ExecutionRecord:
        """How it runs."""
        way = self._execution
        return ExecutionRecord(
            network=self.identity.name,
            device=way.device,
            precision="float16" if way.half_precision else "float32",
            tile=self._window(),
            rung=way.rung,
            why=why,
            numbers_differ=way.half_precision or self._window() != self._network.card.window_size,
        )

    def predict(self, ct: CtVolume, lobes: LobeMap) -> PerfusionMap:
        """Predict relative perfusion on the grid of `ct`.

        Equal input gives equal output on the same kind of machine; a GPU and a CPU differ in the last digits.

        Args:
            ct: HU, any spacing; resampled to that of the card.
            lobes: on the grid of `ct`.

        Raises:
            GridMismatch: `lobes` is not on the grid of `ct`.
            ImplausibleResult: the network's output is not finite.
            OutOfMemory: run this way, the network needs more memory than there is.
        """
        require_same_grid(ct.grid, lobes.grid)
        values = np.zeros(ct.grid.shape, dtype=np.float32)
        box, uptake = memory_guarded(lambda: self._predicted(ct, lobes))
        lungs = lobes.lungs
        values[box] = relative_to_lung_mean(uptake, lungs[box])
        return PerfusionMap(values, lungs, ct.grid, self.identity)

    def _predicted(self, ct: CtVolume, lobes: LobeMap) -> tuple[Box, Float32[np.ndarray, "s r c"]]:
        """Unscaled perfusion in a box of the CT that holds the lungs."""
        device = self._execution.device
        seen = network_input(ct, lobes, self._network.card, device)
        output = network_output(self._network, seen, self._execution, self._window())
        return seen.box, boxed_onto_ct(output, seen, ct.grid, device)

    def _window(self) -> tuple[int, int, int]:
        card = self._network.card
        return smaller_window(card) if self._execution.smaller_tiles else card.window_size


def network_output(
    network: PerfusionNetwork, seen: NetworkInput, execution: Execution, window: tuple[int, int, int]
) -> Float32[np.ndarray, "s r c"]:
    """What a network says of its input, unscaled, on the grid of the input.

    An input that is smaller than the window is padded with 0, in its middle (`preprocessing.window_padding`). A larger
    one is seen through several windows that overlap and are blended.

    Args:
        network: in evaluation mode; it goes to the device of `execution`.
        seen: with the channels of the card.
        execution: device and precision.
        window: slices, rows and columns that the network sees at once.
    """
    network = network.to(execution.device)
    is_configured = execution.rung is Rung.CONFIGURED
    channels = torch.from_numpy(seen.channels)[None]
    with torch.inference_mode(), precision_of(execution):
        output = sliding_window_inference(
            channels.to(execution.device) if is_configured else channels,
            roi_size=window,
            sw_batch_size=1,
            predictor=network,
            overlap=OVERLAP,
            mode="gaussian",
            sw_device=execution.device,
            device=execution.device if is_configured else "cpu",  # lower down a GPU holds one window at a time
        )
    values: Float32[np.ndarray, "s r c"] = output[0, 0].float().cpu().numpy()
    return values


def smaller_window(card: ModelCard) -> tuple[int, int, int]:
    """A window of half the side that the network can still halve as often as it does; the same if there is none."""
    reduction = _reduction(card.network_arguments)
    a, b, c = (
        max(side // 2 // steps * steps, min(side, steps)) if side % steps == 0 else side
        for side, steps in zip(card.window_size, reduction, strict=True)
    )
    return a, b, c


def _reduction(arguments: Mapping[str, Any]) -> tuple[int, ...]:
    """By how much the network reduces each axis, from the `strides` of its card."""
    strides = arguments.get("strides")
    if not strides:
        return (_USUAL_REDUCTION,) * 3
    steps = np.array([np.broadcast_to(stride, 3) for stride in strides])
    return tuple(int(product) for product in steps.prod(axis=0))
