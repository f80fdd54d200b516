"""Training of one network: a plain loop over steps, with what is needed to be killed and go on.

    for each step:  batch (by seed and number) ─▶ network ─▶ loss in the lungs ─▶ AdamW ─▶ moving average of weights
    now and then:   the averaged weights meet the validation patients; the best are kept
                    everything is saved; a killed run goes on from there

The loop stands on Hugging Face accelerate: started by `torchrun` or `accelerate launch` it runs on as many processes
and hosts as there are, which take turns at batches of their share; started plainly it runs on one GPU or CPU. The
samples of each step are the same. On a CPU, a run that was killed and went on ends with the same bits as one that was
not. On a GPU it ends the same in all but the last digits, and so it does over another number of processes, if the
network has no batch normalisation, which sees the part of one process only.

The rate rises linearly over the warm-up and falls as a cosine to 0.
"""

import hashlib
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol

import torch
from accelerate import Accelerator, PartialState
from torch import nn
from torch.optim import AdamW

from training.checkpointing import CHECKPOINT_FILE, Checkpoint, load_weights, put_into, save_weights, tensors_of
from training.errors import TrainingDiverged, TrainingStopped
from training.history import WEIGHTS_FILE, Look, Trained, read_trained, write_history, write_trained
from training.losses import Loss, LungLoss
from training.recipe import Optimisation
from training.run_state import RunState
from training.running import Running
from training.stepping import EagerStepper, Stepper, TrainingBatch, recorded
from training.transfer import hold_frozen, parameter_groups
from training.validation import Validation


class TrainingBatches(Protocol):
    """Where the loop takes batches from."""

    def batch(self, number: int, seed: int) -> TrainingBatch:
        """A batch that follows from its number within the run and the seed, on the device of the network."""


def device_for(running: Running) -> torch.device:
    """The device that `train` will use in this process, for patients to be put on."""
    return torch.device(PartialState(cpu=_on_cpu(running)).device)


def is_main_process() -> bool:
    """Whether this process writes files; always, where there is one only. To be asked after `device_for`."""
    return bool(PartialState().is_main_process)


def train(
    network: nn.Module,
    batches: TrainingBatches,
    validation: Validation,
    optimisation: Optimisation,
    *,
    folder: Path,
    seed: int,
    running: Running | None = None,
    tell: Callable[[int], None] = lambda step: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trained:
    """Train a network, or go on with it, until the last step; of a finished run the result is read.

    Args:
        network: with the weights to start from, and what is frozen marked so (`transfer.start`). Afterwards it is in
            evaluation mode on the device of the run, with the weights that were kept.
        batches: of as many samples as `optimisation.batch_size`, divided by the number of processes.
        validation: chooses the step that is kept.
        optimisation: the plan.
        folder: of this job alone; made if absent. Afterwards it holds the kept weights and the learning curve.
        seed: of batches and dropout.
        running: device, precision and the like.
        tell: is told the number of steps taken, after each.
        should_stop: asked after each step; True saves the state and ends.

    Raises:
        ForeignCheckpoint: the folder holds the state of another job.
        TrainingDiverged: the loss is infinite or NaN.
        TrainingStopped: as `should_stop` wanted.
    """
    folder.mkdir(parents=True, exist_ok=True)
    running = running or Running()
    job = _digest(network, optimisation, seed)
    trained = read_trained(folder, job)
    if trained is None:
        run = _run(network, batches, validation, optimisation, folder=folder, seed=seed, running=running, job=job)
        run.finish(tell, should_stop)
        trained = read_trained(folder, job)
        assert trained is not None  # noqa: S101  # the main process has just written it
    load_weights(trained.weights, network)
    network.to(device_for(running)).eval()
    return trained


def rate_at(step: int, optimisation: Optimisation) -> float:
    """The learning rate of a step, counted from 0: a linear rise, then a cosine that would be 0 one after the last."""
    peak, warmup = optimisation.learning_rate, optimisation.warmup_steps
    if step < warmup:
        return peak * (step + 1) / (warmup + 1)
    return peak * 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(optimisation.steps - warmup, 1)))


def decay_at(step: int, decay: float) -> float:
    """How much of the average of weights stays at a step: little at first, while weights move far."""
    return min(decay, (1.0 + step) / (10.0 + step))


@dataclass(frozen=True, slots=True, eq=False)
class _Run:
    """One run from its start or its checkpoint to its last step."""

    accelerator: Accelerator
    state: RunState
    stepper: Stepper
    batches: TrainingBatches
    validation: Validation
    loss: Loss
    optimisation: Optimisation
    folder: Path
    seed: int
    running: Running
    job: str

    def finish(self, tell: Callable[[int], None], should_stop: Callable[[], bool]) -> None:
        """Take all steps that are left; the main process then writes what came out."""
        plan, state = self.optimisation, self.state
        began = time.perf_counter() - state.seconds
        if not state.history:
            self._look(began)
        since = time.perf_counter()
        while state.step < plan.steps:
            self._take_step()
            tell(state.step)
            looks = state.step == plan.steps or state.step % plan.validate_every_steps == 0
            stops = self._anybody(should_stop())
            saves = stops or state.step % plan.checkpoint_every_steps == 0
            if looks or saves:
                state.stepping_seconds += self._waited(since)
                if looks:
                    self._look(began)
                state.seconds = time.perf_counter() - began
                if saves and self.accelerator.is_main_process:
                    state.checkpoint(self.job).write(self.folder / CHECKPOINT_FILE)
                since = time.perf_counter()
            if stops and state.step < plan.steps:
                raise TrainingStopped(state.step)
        if self.accelerator.is_main_process:
            self._conclude()
        self.accelerator.wait_for_everyone()

    def _take_step(self) -> None:
        state, turn = self.state, self.accelerator.process_index
        number = state.step * self.accelerator.num_processes + turn
        torch.manual_seed(self.seed * 1_000_003 + number)  # of dropout: it needs no state either
        rate = rate_at(state.step, self.optimisation)
        for group in state.optimiser.param_groups:
            _set_rate(group, rate * group["rate_factor"])
        state.lost += self.stepper.step(self.batches.batch(number, self.seed))
        state.take_into_average(decay_at(state.step, self.optimisation.average_decay))
        state.step += 1

    def _look(self, began: float) -> None:
        """Show the averaged weights to the validation patients, and keep them if they are the best so far."""
        state = self.state
        steps = state.step - (state.history[-1].step if state.history else 0)
        lost = state.lost.item() / steps if steps else None
        state.lost.zero_()
        if not self.accelerator.is_main_process:
            return
        if lost is not None and not math.isfinite(lost):
            raise TrainingDiverged(state.step)
        score = self.validation.score(state.average, self.loss, bfloat16=self.running.bfloat16)
        if score.spearman > state.best_score:
            state.keep(score.spearman)
        look = Look(
            step=state.step,
            training_loss=lost,
            validation_loss=score.loss,
            validation_spearman=score.spearman,
            learning_rate=rate_at(max(state.step - 1, 0), self.optimisation),
            seconds=time.perf_counter() - began,
        )
        state.history += (look,)
        write_history(self.folder, state.history)

    def _waited(self, since: float) -> float:
        """Seconds since then, when all that was ordered of a GPU is done."""
        if self.accelerator.device.type == "cuda":
            torch.cuda.synchronize(self.accelerator.device)
        return time.perf_counter() - since

    def _anybody(self, wants: bool) -> bool:
        """Whether this process or any other wants it."""
        if self.accelerator.num_processes == 1:
            return wants
        votes = self.accelerator.reduce(torch.tensor(float(wants), device=self.accelerator.device), "sum")
        return bool(votes.item() > 0)

    def _conclude(self) -> None:
        """Write the kept weights and, last, that the run is finished."""
        state = self.state
        put_into(state.average, state.best)
        save_weights(self.folder / WEIGHTS_FILE, state.average)
        patients = state.step * self.optimisation.batch_size
        trained = Trained(
            best_step=state.best_step,
            best_spearman=state.best_score,
            steps=state.step,
            history=state.history,
            weights=self.folder / WEIGHTS_FILE,
            seconds=state.seconds,
            samples_per_second=patients / max(state.stepping_seconds, 1e-9),
            running=asdict(self.running)
            | {
                "device": self.accelerator.device.type,
                "processes": self.accelerator.num_processes,
                "graphs": not isinstance(self.stepper, EagerStepper),
            },
        )
        write_trained(self.folder, trained, self.job)
        for saved in self.folder.glob(f"*{CHECKPOINT_FILE}*"):  # half-written ones of killed sittings too
            saved.unlink()


def _run(
    network: nn.Module,
    batches: TrainingBatches,
    validation: Validation,
    plan: Optimisation,
    *,
    folder: Path,
    seed: int,
    running: Running,
    job: str,
) -> _Run:
    accelerator = _accelerator(running)
    device = accelerator.device
    network.to(device)
    if running.channels_last:
        network.to(memory_format=torch.channels_last_3d)  # type: ignore[call-overload]
    hold_frozen(network.train())
    records = running.graphs and device.type == "cuda" and accelerator.num_processes == 1
    groups = parameter_groups(network, encoder_rate_factor=plan.encoder_rate_factor, weight_decay=plan.weight_decay)
    for group in groups:
        group["lr"] = torch.zeros((), device=device) if records else 0.0
    state = RunState(network, AdamW(groups, fused=True, capturable=records))
    loss = LungLoss(plan.huber_delta, plan.pearson_weight, plan.rank_weight, plan.inner_margin_voxels)
    whole: nn.Module = accelerator.prepare_model(network)
    eager = EagerStepper(
        whole, state.optimiser, loss, state.learning, plan.gradient_norm, device, bfloat16=running.bfloat16
    )
    stepper: Stepper = recorded(eager, batches.batch(0, seed)) if records else eager
    state.restore(Checkpoint.read(folder / CHECKPOINT_FILE, job))
    return _Run(accelerator, state, stepper, batches, validation, loss, plan, folder, seed, running, job)


def _accelerator(running: Running) -> Accelerator:
    accelerator = Accelerator(cpu=_on_cpu(running), mixed_precision="no")
    if running.device == "cuda" and accelerator.device.type != "cuda":
        raise ValueError("a GPU is wanted and there is none")
    return accelerator


def _on_cpu(running: Running) -> bool:
    """Said outright where there is no GPU: accelerate starts several processes on CPUs only when told."""
    return running.device == "cpu" or not torch.accelerator.is_available()


def _set_rate(group: dict[str, object], rate: float) -> None:
    """As a number, or in place where a recorded step reads it."""
    if isinstance(group["lr"], torch.Tensor):
        group["lr"].fill_(rate)
    else:
        group["lr"] = rate


def _digest(network: nn.Module, optimisation: Optimisation, seed: int) -> str:
    """Of all that makes this run differ from others: the plan, the seed, what learns, the weights at the start."""
    digest = hashlib.sha256(json.dumps([asdict(optimisation), seed], sort_keys=True).encode())
    learns = {name for name, parameter in network.named_parameters() if parameter.requires_grad}
    for name, tensor in tensors_of(network).items():
        digest.update(f"{name} {tuple(tensor.shape)} {name in learns}".encode())
        digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
