"""One step of the optimiser: forward, loss, backward, update. Eagerly, or on a GPU as one recorded graph.

A step of this small network is about a thousand short operations. A GPU does each in microseconds and would wait for
Python in between; recorded once as a CUDA graph, a step is one launch. The numbers are the same. The recording needs
batches of one shape, which they are, and a network that asks the host nothing, which holds for all of them.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.optim import AdamW

from training.losses import Loss

_WARM_UP_STEPS = 3
"""Before a recording, so that libraries have chosen their algorithms; torch's notes on CUDA graphs say 3."""


class TrainingBatch(Protocol):
    """What a step learns from, on the device of the network."""

    @property
    def channels(self) -> Float[Tensor, "samples channels slices rows columns"]:
        """Input of the network."""

    @property
    def target(self) -> Float[Tensor, "samples 1 slices rows columns"]:
        """Wanted relative perfusion."""

    @property
    def lungs(self) -> Bool[Tensor, "samples 1 slices rows columns"]:
        """Where the loss is taken."""


class Stepper(Protocol):
    """Something that takes steps."""

    def step(self, batch: TrainingBatch) -> Float[Tensor, ""]:
        """Take a step and return its loss, still on the device."""


@dataclass(frozen=True, slots=True)
class EagerStepper:
    """A step, one operation at a time; runs on every device and over several processes."""

    network: nn.Module
    """In training mode; wrapped for several processes where there are such."""
    optimiser: AdamW
    loss: Loss
    learning: Sequence[nn.Parameter]
    gradient_norm: float
    """Longer gradients are shortened to this."""
    device: torch.device
    bfloat16: bool

    def step(self, batch: TrainingBatch) -> Float[Tensor, ""]:
        """See `Stepper`."""
        self.optimiser.zero_grad(set_to_none=True)
        # Without the cache of cast weights, as a graph must not hold on to tensors of an earlier step.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.bfloat16, cache_enabled=False):
            predicted = self.network(batch.channels)
        loss = self.loss(predicted.float(), batch.target, batch.lungs).mean()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.learning, self.gradient_norm)
        self.optimiser.step()
        return loss.detach()


@dataclass(frozen=True, slots=True)
class _Fixed:
    """The places in memory that a recorded step reads its batch from."""

    channels: Tensor
    target: Tensor
    lungs: Tensor


class GraphStepper:
    """A step, recorded once. Recording takes real steps: weights and state must be put back to the start after it."""

    def __init__(self, eager: EagerStepper, example: TrainingBatch) -> None:
        """Record a step.

        Args:
            eager: what is recorded; its optimiser must be `capturable`, its rates tensors.
            example: a batch of the shape of all.

        Raises:
            RuntimeError: the step cannot be recorded.
        """
        self._fixed = _Fixed(example.channels.clone(), example.target.clone(), example.lungs.clone())
        aside = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(_WARM_UP_STEPS):
                eager.step(self._fixed)
        torch.cuda.current_stream().wait_stream(aside)
        eager.optimiser.zero_grad(set_to_none=True)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            self._loss = eager.step(self._fixed)

    def step(self, batch: TrainingBatch) -> Float[Tensor, ""]:
        """See `Stepper`."""
        self._fixed.channels.copy_(batch.channels, non_blocking=True)
        self._fixed.target.copy_(batch.target, non_blocking=True)
        self._fixed.lungs.copy_(batch.lungs, non_blocking=True)
        self._graph.replay()
        return self._loss


def recorded(eager: EagerStepper, example: TrainingBatch) -> Stepper:
    """The step as a graph, or as it was with a warning where it cannot be recorded."""
    try:
        return GraphStepper(eager, example)
    except RuntimeError as fault:
        torch.cuda.synchronize()
        eager.optimiser.zero_grad(set_to_none=True)
        warnings.warn(f"no CUDA graph, one operation at a time instead: {fault}", RuntimeWarning, stacklevel=2)
        return eager
