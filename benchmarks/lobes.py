"""lungmask as it comes beside our way of running the same networks: time, memory, and every label compared.

    make bench-lobes CT=/folder/of/a/series      (without CT: the digital thorax only)

lungmask's `LMInferer` (LTRCLobes filled by R231, its own defaults), ours in mode `exact` and ours in mode `fast` take
turns, each run in a process of its own, on the series and on a digital thorax of 512 x 512 pixels. The weights are
stand-ins (`benchmarks.lobes_weights`), made at the first call and kept in the folder of weights. Labels are compared
before our own checks. Times are medians of the rounds, memory is the most of them.

On a machine with a GPU, stock and ours run there, and three kinds more: `exact-cpu` tells how far the labels of CPU and
GPU are apart, `exact-again` whether the GPU says the same twice, and `exact-short` is given so little of the GPU's
memory that it must climb down the ladder (`inference.execution`).
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from benchmarks.lobes_weights import SECONDS, make_weights
from dicom_node.offline import dicom_files
from inference.ct.series import read_ct_files
from inference.geometry import Grid, Reorientation
from inference.lungmask.lungmask_lobes import LOBE_OF_LUNGMASK
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, draw_thorax
from inference.volumes import CtVolume

KINDS = ("stock", "exact", "fast")
GPU_KINDS = ("exact-cpu", "exact-again", "exact-short")
"""More on a machine with a GPU."""
SPAN_MM = 330.0
"""Height of the digital thorax; its lungs are 272 mm high."""


@dataclass(frozen=True, slots=True)
class Figures:
    """What the runs of one kind cost."""

    elapsed_s: float
    processor_s: float
    peak_mb: float
    gpu_mb: float
    """Most of the GPU's memory in tensors at a time; 0 on a CPU."""
    way: str
    """Device, precision and slices at a time."""


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--ct", type=Path, help="folder of a series")
    parser.add_argument("--weights", type=Path, default=Path("bench-output/lobes"), help="folder of stand-in weights")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="to teach for, if none are there")
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--slices", type=int, default=150, help="of the digital thorax; 0 for none")
    arguments = parser.parse_args()
    console = Console(width=150)
    make_weights(arguments.weights, arguments.seconds, arguments.ct)
    for name, ct in _cases(arguments.ct, arguments.slices):
        with TemporaryDirectory(prefix="bench-lobes-") as scratch:
            for table in compared(name, ct, arguments.weights, arguments.rounds, Path(scratch)):
                console.print(table)


def _cases(ct_folder: Path | None, slices: int) -> Iterator[tuple[str, CtVolume]]:
    if ct_folder is not None:
        yield ct_folder.name, read_ct_files(dicom_files(ct_folder))
    if slices:
        spacing_mm = (SPAN_MM / slices, 0.75, 0.75)
        grid = Grid.axial(
            (slices, 512, 512), spacing_mm, (-191.6, -189.6, -178.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
        )
        yield "digital thorax", draw_thorax(grid).ct


def compared(name: str, ct: CtVolume, weights: Path, rounds: int, scratch: Path) -> tuple[Table, Table]:
    """Run all kinds in turn on a CT; their costs, and their labels beside those of stock."""
    axes = Reorientation.to_patient_axes(ct.grid)
    hu, grid = np.ascontiguousarray(axes.apply(ct.hu)), axes.grid(ct.grid)
    np.savez(scratch / "ct.npz", hu=hu, affine=grid.affine)
    kinds = (*KINDS, *GPU_KINDS) if torch.cuda.is_available() else KINDS
    runs: dict[str, list[dict[str, Any]]] = {kind: [] for kind in kinds}
    for _ in range(rounds):
        for kind in kinds:
            runs[kind].append(run_once(kind, weights, scratch))
    labels = {kind: np.load(scratch / f"{kind}.npy") for kind in kinds}
    title = f"{name}, {' x '.join(map(str, hu.shape))}, {rounds} round(s)"
    return cost_table(title, {kind: _figures(each) for kind, each in runs.items()}), label_table(title, labels)


def run_once(kind: str, weights: Path, scratch: Path) -> dict[str, Any]:
    """One run in a process of its own."""
    program = [sys.executable, "-W", "ignore", "-m", "benchmarks.lobes_run"]
    done = subprocess.run(
        [*program, kind, str(weights), str(scratch / "ct.npz"), str(scratch / f"{kind}.npy")],
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _figures(runs: list[dict[str, Any]]) -> Figures:
    return Figures(
        median(run["elapsed_s"] for run in runs),
        median(run["processor_s"] for run in runs),
        max(run["peak_mb"] for run in runs),
        max(run["gpu_mb"] for run in runs),
        runs[-1]["way"],
    )


def cost_table(title: str, figures: dict[str, Figures]) -> Table:
    """Time and memory, and how many times those of stock are ours."""
    columns = ("elapsed, s", "ratio", "processor, s", "ratio", "peak memory, MB", "ratio", "GPU, MB", "way")
    table = Table("", *columns, title=title)
    stock = figures["stock"]
    for kind, cost in figures.items():
        table.add_row(
            kind,
            f"{cost.elapsed_s:.1f}",
            f"{stock.elapsed_s / cost.elapsed_s:.2f}",
            f"{cost.processor_s:.1f}",
            f"{stock.processor_s / cost.processor_s:.2f}",
            f"{cost.peak_mb:.0f}",
            f"{stock.peak_mb / cost.peak_mb:.2f}",
            f"{cost.gpu_mb:.0f}",
            cost.way,
        )
    return table


def label_table(title: str, labels: dict[str, np.ndarray]) -> Table:
    """Voxels that agree with stock, Dice of lungs and lobes, and between which labels voxels moved."""
    names = {0: "none", **{label: lobe.name for label, lobe in LOBE_OF_LUNGMASK.items()}}
    lobes = [names[label] for label in sorted(LOBE_OF_LUNGMASK)]
    table = Table("against stock", "voxels that differ", "lungs", *lobes, "moved, from stock's label", title=title)
    stock = labels["stock"]
    volumes = [f"{np.count_nonzero(stock == label):,}" for label in sorted(LOBE_OF_LUNGMASK)]
    table.add_row("stock, voxels", "", f"{np.count_nonzero(stock):,}", *volumes, "")
    for kind, ours in labels.items():
        if kind == "stock":
            continue
        moved = np.flatnonzero(stock != ours)
        pairs, counts = np.unique(stock.ravel()[moved].astype(np.int64) * 256 + ours.ravel()[moved], return_counts=True)
        ranked = sorted(zip(counts, pairs, strict=True), reverse=True)[:4]
        table.add_row(
            kind,
            f"{len(moved):,}",
            _dice(stock > 0, ours > 0),
            *(_dice(stock == label, ours == label) for label in sorted(LOBE_OF_LUNGMASK)),
            ", ".join(f"{names[pair // 256]}-{names[pair % 256]} {count:,}" for count, pair in ranked),
        )
    return table


def _dice(a: np.ndarray, b: np.ndarray) -> str:
    total = np.count_nonzero(a) + np.count_nonzero(b)
    return f"{2 * np.count_nonzero(a & b) / total:.6f}" if total else "absent"


if __name__ == "__main__":
    main()
