"""A small run of the loop as a process of its own, to be killed, and to be started by `torchrun`.

python -m tests.training.training_run FOLDER [--die-at STEP | --no-dropout]
"""

import os
import signal
import sys
from pathlib import Path

import torch
from accelerate import PartialState
from torch import nn

from tests.training.drawn_cases import SHAPE, drawn_case
from training.augmentation import AugmentationPlan
from training.case_batches import CaseBatches
from training.history import Trained
from training.loop import device_for, train
from training.recipe import Optimisation
from training.running import Running
from training.validation import CaseValidation

PLAN = Optimisation(
    steps=10,
    batch_size=2,
    learning_rate=0.01,
    warmup_steps=2,
    weight_decay=1e-2,
    validate_every_steps=4,
    checkpoint_every_steps=3,
    inner_margin_voxels=1,
)


def small_network(*, dropout: float = 0.2) -> nn.Module:
    """With dropout, whose draws a run that goes on must repeat, and no batch normalisation."""
    torch.manual_seed(5)
    return nn.Sequential(
        nn.Conv3d(2, 4, 3, padding=1, bias=False), nn.InstanceNorm3d(4, affine=True), nn.ReLU(), nn.Dropout(dropout),
        nn.Conv3d(4, 1, 3, padding=1), nn.Softplus(),
    )  # fmt: skip


def small_run(folder: Path, network: nn.Module | None = None, *, seed: int = 3, **options: object) -> Trained:
    """Three patients to learn from, one that chooses."""
    running = Running("cpu")
    device = device_for(running)
    cases = [drawn_case(f"LC-00{number}", seed=number) for number in range(1, 5)]
    batches = CaseBatches(
        cases[:3], device, SHAPE, batch_size=2 // PartialState().num_processes, augmentation=AugmentationPlan()
    )
    validation = CaseValidation(cases[3:], device, SHAPE)
    network = network or small_network()
    return train(network, batches, validation, PLAN, folder=folder, seed=seed, running=running, **options)  # type: ignore[arg-type]


def main() -> None:
    """Run; die as by `kill -9` after a step, if one is named."""
    torch.set_num_threads(1)
    die_at = int(sys.argv[3]) if "--die-at" in sys.argv else None

    def tell(step: int) -> None:
        if step == die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    network = small_network(dropout=0.0) if "--no-dropout" in sys.argv else None
    small_run(Path(sys.argv[1]), network, tell=tell)


if __name__ == "__main__":
    main()
