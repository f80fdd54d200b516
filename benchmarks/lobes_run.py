"""One run of lungmask over one CT in a process of its own, for `benchmarks.lobes`; prints what it cost as JSON.

    python -m benchmarks.lobes_run stock|exact|fast|exact-cpu|exact-again|exact-short WEIGHTS CT.npz LABELS.npy

Stock is lungmask's `LMInferer` with its own defaults. Time is that of finding labels, without starting Python, loading
weights, or reading the CT; memory is the most that the whole process held. Where there is a GPU, all but `exact-cpu`
use it, after one small product that wakes it up.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from inference.execution import Descent, climb_down
from inference.geometry import Grid
from inference.images import to_image
from inference.lungmask.lungmask_lobes import LungmaskLobes, LungmaskSettings
from inference.torch_memory import memory_guarded
from inference.weights.lungmask_package import import_lungmask

MB = 1e6
SHORT_OF_MEMORY = 0.02
"""Share of the GPU's memory that `exact-short` may take: of 80 GB too little for 20 slices, enough for one."""
Run = Callable[[np.ndarray, Grid], tuple[np.ndarray, str]]


def main() -> None:
    """Run once."""
    kind, weights, ct, found = sys.argv[1:]
    with np.load(ct) as arrays:
        hu, affine = arrays["hu"], arrays["affine"]
    grid = Grid(hu.shape, affine, "1.2.3")
    if torch.cuda.is_available():
        torch.ones((8, 8), device="cuda").matmul(torch.ones((8, 8), device="cuda")).sum().item()
    if kind == "exact-short":
        torch.cuda.set_per_process_memory_fraction(SHORT_OF_MEMORY)
    started = time.perf_counter()
    run = _stock(Path(weights)) if kind == "stock" else _ours(Path(weights), *kind.split("-"))
    loaded, processor = time.perf_counter(), time.process_time()
    labels, way = run(hu, grid)
    ended = time.perf_counter()
    np.save(found, labels)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    figures = {
        "load_s": loaded - started,
        "elapsed_s": ended - loaded,
        "processor_s": time.process_time() - processor,
        "peak_mb": peak_mb,
        "gpu_mb": torch.cuda.max_memory_allocated() / MB if torch.cuda.is_available() else 0.0,
        "way": way,
    }
    print(json.dumps(figures))


def _stock(weights: Path) -> Run:
    inferer = import_lungmask().LMInferer(
        modelname="LTRCLobes",
        modelpath=str(weights / "ltrclobes.pth"),
        fillmodel="R231",
        fillmodel_path=str(weights / "r231.pth"),
        tqdm_disable=True,
    )
    return lambda hu, grid: (inferer.apply(to_image(hu, grid)), f"{inferer.device}, {inferer.batch_size} at a time")


def _ours(weights: Path, precision: str, where: str = "") -> Run:
    lobes = LungmaskLobes(
        LungmaskSettings(
            r231_weights=weights / "r231.pth",
            ltrclobes_weights=weights / "ltrclobes.pth",
            precision=precision,  # type: ignore[arg-type]
            device="cpu" if where == "cpu" else "auto",
        )
    )

    def run(hu: np.ndarray, grid: Grid) -> tuple[np.ndarray, str]:
        labels, records = climb_down(lobes, lambda way: memory_guarded(lambda: way.found(hu)), Descent())
        record = records[0]
        fallen = f", {record.rung} after {record.why}" if record.why else ""
        return labels, f"{record.device}, {record.precision}, {record.tile[0]} at a time{fallen}"

    return run


if __name__ == "__main__":
    main()
