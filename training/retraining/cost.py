"""What a run will cost on this machine: measured by preparing one pair and by a few real steps, before all else.

Steps are those of the loop, with the network of the start at its size and batch and made-up voxels, whose values change
no time. Where several networks are trained at a time they share processors and memory, which one alone cannot tell:
the figures are of one process with its share of threads, and the time is an estimate.
"""

import resource
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.optim import AdamW

from inference.errors import InferenceError
from inference.networks import device_of
from training.augmentation import Batch
from training.case_files import case_file, kept_digest, write_case
from training.errors import TrainingError
from training.jobs import CASES
from training.losses import LungLoss
from training.retraining.errors import PairsUnusable
from training.retraining.pair_cases import pair_case
from training.retraining.retraining import Retraining
from training.stepping import EagerStepper
from training.transfer import fresh_network, parameter_groups, start

_STEPS = 3
"""Timed, after one that is not."""
_COPIES = 6
"""Of a network's numbers in a checkpoint (weights, average, best, two moments of Adam) and beside it."""
_MAPS = 2
"""Bytes of predictions of a case over those of the case, at most; in practice far less."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Expected, for what is not done yet."""

    pairs_to_prepare: int
    preparation_s: float
    steps: int
    """Over all networks."""
    step_s: float
    training_s: float
    """Of all steps; looks at validation patients and predictions come on top, usually less than a tenth."""
    at_once: int
    """Networks at a time."""
    memory_mb: float
    """Of one process; of the GPU where there is one."""
    disk_mb: float
    device: str


def measured_cost(run: Retraining, *, device: str, at_once: int, threads: int, workers: int) -> Cost:
    """Measure and add up.

    Args:
        run: planned.
        device: `auto`, `cpu` or `cuda`.
        at_once: networks that are trained at a time.
        threads: of each process.
        workers: processes that prepare.

    Raises:
        PairsUnusable: the pair that is prepared to measure cannot be; others may be unusable too.
    """
    digests = run.way.digests(run.plan.pairs)
    waiting = [p for p in run.plan.pairs if kept_digest(case_file(run.folder / CASES, p.name)) != digests[p.name]]
    since = time.perf_counter()
    pair = (waiting or list(run.plan.pairs))[0]
    try:
        case = pair_case(pair, run.way)
    except (InferenceError, TrainingError) as fault:
        raise PairsUnusable({pair.name: f"{fault.code}: {fault}"}) from fault
    each_s = time.perf_counter() - since
    with tempfile.TemporaryDirectory() as folder:
        write_case(Path(folder) / "case.npz", case)
        case_mb = (Path(folder) / "case.npz").stat().st_size / 1e6
    where = device_of(device)
    step_s, parameters = _step_seconds(run, where, threads)
    steps = sum(job.steps for job in run.fold_jobs)
    networks = len(run.fold_jobs)
    return Cost(
        pairs_to_prepare=len(waiting),
        preparation_s=each_s * len(waiting) / min(workers, max(len(waiting), 1)),
        steps=steps,
        step_s=step_s,
        training_s=steps * step_s / min(at_once, networks),
        at_once=min(at_once, networks),
        memory_mb=_peak_mb(where),
        disk_mb=case_mb * len(run.plan.pairs) * (1 + _MAPS) + networks * _COPIES * parameters * 4 / 1e6,
        device=where.type,
    )


def _step_seconds(run: Retraining, device: torch.device, threads: int) -> tuple[float, int]:
    """Seconds of one step, and how many numbers the network has."""
    plan, before = run.read.recipe.optimisation, torch.get_num_threads()
    network = fresh_network(run.start.card, 0)
    start(network, pretrained=None, learns=run.read.recipe.learns)
    network.to(device, memory_format=torch.channels_last_3d).train()  # type: ignore[call-overload]
    learning = [parameter for parameter in network.parameters() if parameter.requires_grad]
    groups = parameter_groups(network, encoder_rate_factor=1.0, weight_decay=plan.weight_decay)
    loss = LungLoss(plan.huber_delta, plan.pearson_weight, plan.rank_weight, plan.inner_margin_voxels)
    stepper = EagerStepper(network, AdamW(groups, lr=0.0), loss, learning, plan.gradient_norm, device, bfloat16=True)
    batch = _made_up(run, device)
    torch.set_num_threads(threads)
    try:
        stepper.step(batch).item()
        since = time.perf_counter()
        for _ in range(_STEPS):
            stepper.step(batch).item()  # which waits for a GPU
        return (time.perf_counter() - since) / _STEPS, sum(parameter.numel() for parameter in network.parameters())
    finally:
        torch.set_num_threads(before)


def _made_up(run: Retraining, device: torch.device) -> Batch:
    """A batch of the right size: two halves of lung, random values."""
    card, random = run.start.card, np.random.default_rng(0)
    shape = (run.read.recipe.optimisation.batch_size, len(card.channels), *card.window_size)
    channels = torch.from_numpy(random.random(shape, dtype=np.float32)).to(device)
    lungs = torch.zeros((shape[0], 1, *card.window_size), dtype=torch.bool, device=device)
    lungs[:, :, 1:-1, 1:-1, 1:-1] = True
    return Batch(channels, channels[:, :1] + 0.5, lungs)


def _peak_mb(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_reserved()) / 1e6
    unit = 1.0 if sys.platform == "darwin" else 1024.0
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
