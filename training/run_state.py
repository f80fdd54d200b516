"""All that changes while a network is trained, as one thing that can be saved and put back.

Everything is put back in place, into the same tensors: a step that was recorded as a CUDA graph goes on reading and
writing them.
"""

import copy
import math
from collections.abc import Sequence
from dataclasses import asdict

import torch
from torch import Tensor, nn
from torch.optim import AdamW
from torch.optim.swa_utils import get_ema_multi_avg_fn

from training.checkpointing import Checkpoint, Tensors, on_cpu, put_into, tensors_of
from training.history import Look


class RunState:
    """Network, average of its weights, optimiser, the best so far, the learning curve."""

    def __init__(self, network: nn.Module, optimiser: AdamW) -> None:
        """The state before the first step.

        Args:
            network: on its device, with the weights to start from.
            optimiser: of those of its parameters that learn, new.
        """
        self.network = network
        self.optimiser = optimiser
        self.average = copy.deepcopy(network).eval().requires_grad_(False)
        """The network with the moving average of its weights; what is looked at and kept."""
        self.step = 0
        """Steps taken."""
        self.best: Tensors = on_cpu(tensors_of(network))
        self.best_step, self.best_score = 0, -math.inf
        self.lost = torch.zeros((), device=next(network.parameters()).device)
        """Sum of the losses of the steps since the last look."""
        self.history: tuple[Look, ...] = ()
        self.seconds = self.stepping_seconds = 0.0
        """Over all sittings: in all, and without looks and saving."""
        self._learning = tuple(parameter for group in optimiser.param_groups for parameter in group["params"])
        self._begin()

    @property
    def learning(self) -> Sequence[nn.Parameter]:
        """The parameters that learn."""
        return self._learning

    def take_into_average(self, decay: float) -> None:
        """Move the average towards the weights, and its running statistics towards theirs."""
        ours, theirs = tensors_of(self.average).values(), tensors_of(self.network).values()
        pairs = [(mine, new) for mine, new in zip(ours, theirs, strict=True) if mine.is_floating_point()]
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        average([mine for mine, _ in pairs], [new for _, new in pairs], None)

    def keep(self, score: float) -> None:
        """Make the average the best so far."""
        self.best, self.best_step, self.best_score = on_cpu(tensors_of(self.average)), self.step, score

    def checkpoint(self, job: str) -> Checkpoint:
        """A copy of everything, to be written."""
        tensors: Tensors = {"lost": self.lost}
        tensors |= {f"network.{name}": tensor for name, tensor in tensors_of(self.network).items()}
        tensors |= {f"average.{name}": tensor for name, tensor in tensors_of(self.average).items()}
        tensors |= {f"best.{name}": tensor for name, tensor in self.best.items()}
        tensors |= self._remembered()
        notes = {
            "step": self.step,
            "best_step": self.best_step,
            "best_score": self.best_score,
            "history": [asdict(look) for look in self.history],
            "seconds": self.seconds,
            "stepping_seconds": self.stepping_seconds,
        }
        return Checkpoint(job, notes, on_cpu(tensors))

    def restore(self, saved: Checkpoint | None) -> None:
        """Put everything back as it was saved, or as it was before the first step."""
        if saved is None:
            put_into(self.network, self.best)
            put_into(self.average, self.best)
            for tensor in self._remembered().values():
                tensor.zero_()
            return
        notes, tensors = saved.notes, saved.tensors
        put_into(self.network, _part(tensors, "network."))
        put_into(self.average, _part(tensors, "average."))
        self.best = _part(tensors, "best.")
        for name, tensor in self._remembered().items():
            tensor.copy_(tensors[name])
        self.lost.copy_(tensors["lost"])
        self.step, self.best_step, self.best_score = notes["step"], notes["best_step"], notes["best_score"]
        self.history = tuple(Look(**look) for look in notes["history"])
        self.seconds, self.stepping_seconds = notes["seconds"], notes["stepping_seconds"]

    def _begin(self) -> None:
        """What AdamW would make at its first step, so that there is something to put a saved state into."""
        for parameter in self._learning:
            self.optimiser.state[parameter] = {
                "step": torch.zeros((), device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }

    def _remembered(self) -> dict[str, Tensor]:
        """What the optimiser remembers of each parameter."""
        return {
            f"optimiser.{index}.{name}": tensor
            for index, parameter in enumerate(self._learning)
            for name, tensor in self.optimiser.state[parameter].items()
        }


def _part(tensors: Tensors, prefix: str) -> Tensors:
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}
