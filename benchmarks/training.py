"""Samples per second of our training loop beside a plain MONAI loop, same network, same samples, in turn.

    make bench-training        (by hand: python -m benchmarks.training --steps 12 --rounds 3)

The peer is what MONAI's tutorials show: CacheDataset with dictionary transforms, DataLoader with workers, float32,
AdamW. It alters samples as ours does (one affine transform, noise) and has the same loss. Cases are drawn from noise,
of the size of a patient, and lie in memory for both: neither reads a disk. Ours runs as the study does, through
`training.loop.train`, in each way that the device knows. Where there is a GPU, its busy share is what NVML tells.
"""

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import psutil
import torch
from monai.data import CacheDataset, DataLoader
from monai.transforms import Compose, RandAffined, RandGaussianNoised, ResizeWithPadOrCropd, ToTensord
from rich.console import Console
from rich.table import Table
from torch import nn

from inference.channels import SUBVOXEL_CHANNELS
from inference.geometry import Grid
from inference.model_card import ModelCard, ModelIdentity
from training.augmentation import AugmentationPlan
from training.case_batches import CaseBatches
from training.loop import device_for, train
from training.losses import Loss, LungLoss
from training.recipe import Optimisation
from training.running import Running
from training.study_case import BASELINES, CaseFacts, StudyCase
from training.transfer import fresh_network
from training.validation import ValidationScore

WINDOW, SPACING_MM, BATCH = (48, 32, 48), 6.0, 2
"""As in configs/study."""
CASE_SHAPE = (43, 30, 47)
"""Of a usual patient: 26 × 18 × 28 cm."""
CASES = 12
WARM_UP = 3 if torch.cuda.is_available() else 1
console = Console(width=120)


@dataclass(frozen=True, slots=True)
class Rate:
    """What one turn measured."""

    samples_per_second: float
    gpu_busy_percent: float | None
    peak_mb: float


def main() -> None:
    """Measure and print."""
    chosen = _arguments()
    torch.set_num_threads(chosen.threads)
    cases = [_noise_case(number) for number in range(CASES)]
    loops: dict[str, Callable[[], Rate]] = {"MONAI, float32": lambda: _monai(cases, chosen)}
    for name, running in _ways().items():
        loops[f"ours, {name}"] = lambda running=running: _ours(cases, running, chosen)
    rates: dict[str, list[Rate]] = {name: [] for name in loops}
    for number in range(chosen.rounds):
        for name, loop in loops.items():
            rates[name].append(loop())
            last = rates[name][-1]
            console.print(f"round {number + 1}, {name}: {last.samples_per_second:.2f} samples/s", highlight=False)
    console.print(_table(rates))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=100 if torch.cuda.is_available() else 8)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--network", default="AttentionResidualUnet")
    parser.add_argument("--threads", type=int, default=psutil.cpu_count(logical=False) or 2)
    parser.add_argument("--workers", type=int, default=min(8, psutil.cpu_count() or 2), help="of MONAI's DataLoader")
    return parser.parse_args()


def _ways() -> dict[str, Running]:
    """How ours can run on this machine, slowest first."""
    plain = Running(bfloat16=False, channels_last=False)
    ways = {
        "float32": plain,
        "bfloat16": replace(plain, bfloat16=True),
        "bfloat16, channels last": Running(),
    }
    if torch.cuda.is_available():
        ways["bfloat16, channels last, graph"] = Running(graphs=True)
    return ways


class _NoValidation:
    def score(self, network: nn.Module, loss: Loss, *, bfloat16: bool) -> ValidationScore:
        return ValidationScore(0.0, 0.0)


def _ours(cases: list[StudyCase], running: Running, chosen: argparse.Namespace) -> Rate:
    steps = chosen.steps + WARM_UP
    device = device_for(running)
    clock = _Clock(device, steps)
    batches = CaseBatches(cases, device, WINDOW, batch_size=BATCH, augmentation=AugmentationPlan())
    plan = Optimisation(
        steps=steps,
        batch_size=BATCH,
        learning_rate=1e-3,
        validate_every_steps=steps,
        checkpoint_every_steps=10 * steps,
    )
    with tempfile.TemporaryDirectory() as folder, _busy(device) as busy:
        train(
            _network(chosen), batches, _NoValidation(), plan, folder=Path(folder), seed=1, running=running,
            tell=clock.tell,
        )  # fmt: skip
    return clock.rate(busy)


def _monai(cases: list[StudyCase], chosen: argparse.Namespace) -> Rate:
    device = device_for(Running())
    steps = chosen.steps + WARM_UP
    loader = _monai_loader(cases, steps, chosen.workers)
    network = _network(chosen).to(device).train()
    optimiser, loss = torch.optim.AdamW(network.parameters(), lr=1e-3), LungLoss()
    clock = _Clock(device, steps)
    with _busy(device) as busy:
        for step, batch in enumerate(loader, start=1):
            channels, target, lungs = (batch[key].to(device) for key in ("channels", "target", "lungs"))
            optimiser.zero_grad()
            loss(network(channels), target, lungs > 0.5).mean().backward()
            optimiser.step()
            clock.tell(step)
    return clock.rate(busy)


def _monai_loader(cases: list[StudyCase], steps: int, workers: int) -> DataLoader:
    keys = ["channels", "target", "lungs"]
    plan = AugmentationPlan()
    transforms = Compose(
        [
            ResizeWithPadOrCropd(keys, WINDOW),
            RandAffined(
                keys,
                prob=1.0,
                rotate_range=(np.deg2rad(plan.rotation_degrees),) * 3,
                scale_range=(plan.scale,) * 3,
                translate_range=(plan.shift_mm / SPACING_MM,) * 3,
                mode=["bilinear", "bilinear", "nearest"],
                padding_mode="zeros",
            ),
            RandGaussianNoised(["channels"], prob=1.0, std=0.01),
            ToTensord(keys, track_meta=False),
        ]
    )
    items = [
        {"channels": case.channels, "target": case.target[None], "lungs": case.lungs[None].astype(np.float32)}
        for case in cases
    ]
    repeated = (items * (steps * BATCH // len(items) + 1))[: steps * BATCH]
    dataset = CacheDataset(repeated, transforms, cache_num=len(items), progress=False)
    return DataLoader(dataset, batch_size=BATCH, shuffle=True, num_workers=workers)


class _Clock:
    """Seconds between the end of warming up and the last step, everything done that was ordered."""

    def __init__(self, device: torch.device, steps: int) -> None:
        self._device, self._steps = device, steps
        self._began = self._seconds = 0.0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)

    def tell(self, step: int) -> None:
        if step in (WARM_UP, self._steps):
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
            self._seconds, self._began = time.perf_counter() - self._began, time.perf_counter()

    def rate(self, busy: list[float]) -> Rate:
        on_gpu = self._device.type == "cuda"
        peak = torch.cuda.max_memory_allocated(self._device) if on_gpu else psutil.Process().memory_info().rss
        return Rate(
            samples_per_second=(self._steps - WARM_UP) * BATCH / self._seconds,
            gpu_busy_percent=median(busy) if busy else None,
            peak_mb=peak / 1e6,
        )


@contextmanager
def _busy(device: torch.device) -> Iterator[list[float]]:
    """What NVML says, ten times a second, of the share of time in which the GPU had work."""
    seen: list[float] = []
    ended = threading.Event()
    watcher = threading.Thread(target=_watch, args=(device, seen, ended), daemon=True)
    watcher.start()
    try:
        yield seen
    finally:
        ended.set()
        watcher.join()


def _watch(device: torch.device, seen: list[float], ended: threading.Event) -> None:
    if device.type != "cuda":
        return
    with suppress(ImportError):
        import pynvml  # of the extra `gpu`

        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(device.index or 0)
        while not ended.wait(0.1):
            seen.append(float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu))
        pynvml.nvmlShutdown()


def _network(chosen: argparse.Namespace) -> nn.Module:
    card = ModelCard(
        identity=ModelIdentity("benchmark", "1"),
        network=chosen.network,
        network_arguments={},
        input_spacing_mm=(SPACING_MM,) * 3,
        hu_window=(-1000.0, 100.0),
        window_size=WINDOW,
        trained_on="nothing",
        intended_use="benchmark",
        channels=SUBVOXEL_CHANNELS,
    )
    return fresh_network(card, 1)


def _noise_case(number: int) -> StudyCase:
    random = np.random.default_rng(number)
    lungs = np.zeros(CASE_SHAPE, dtype=bool)
    lungs[2:-2, 3:-3, 3:23] = lungs[2:-2, 3:-3, 27:-3] = True
    maps: dict[str, Any] = {name: np.where(lungs, random.random(CASE_SHAPE), 0) for name in ("target", "truth")}
    return StudyCase(
        patient=f"NC-{number:03d}",
        cohort="non-cancer",
        channel_names=SUBVOXEL_CHANNELS,
        channels=random.random((len(SUBVOXEL_CHANNELS), *CASE_SHAPE), dtype=np.float32),
        lungs=lungs,
        eroded=lungs,
        lobes=lungs.astype(np.uint8),
        defects=np.zeros(CASE_SHAPE, dtype=np.uint8),
        **{name: values.astype(np.float32) for name, values in maps.items()},
        baselines=np.zeros((len(BASELINES), *CASE_SHAPE), dtype=np.float32),
        grid=Grid.axial(CASE_SHAPE, (SPACING_MM,) * 3, (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3"),
        facts=CaseFacts("A", "free breathing", (), {}, 15.0, 1, {}, (2.0, 1.0, 1.0), 1000.0, "true lobes"),
    )


def _table(rates: dict[str, list[Rate]]) -> Table:
    table = Table(title=f"Training, batches of {BATCH} at {WINDOW}, {_device_name()}, medians", title_justify="left")
    for column in ("loop", "samples/s", "times MONAI", "s/step", "GPU busy %", "peak MB"):
        table.add_column(column, justify="left" if column == "loop" else "right")
    peer = median(rate.samples_per_second for rate in next(iter(rates.values())))
    for name, turns in rates.items():
        speed = median(rate.samples_per_second for rate in turns)
        shares = [rate.gpu_busy_percent for rate in turns if rate.gpu_busy_percent is not None]
        table.add_row(
            name,
            f"{speed:.2f}",
            f"{speed / peer:.2f}",
            f"{BATCH / speed:.4f}",
            f"{median(shares):.0f}" if shares else "-",
            f"{max(rate.peak_mb for rate in turns):.0f}",
        )
    return table


def _device_name() -> str:
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"CPU, {torch.get_num_threads()} threads"


if __name__ == "__main__":
    main()
