"""One run of lungmask over one CT in a process of its own, for `benchmarks.lobes`; prints what it cost as JSON.

    python -m benchmarks.lobes_run stock|exact|fast WEIGHTS CT.npz LABELS.npy

Stock is lungmask's `LMInferer` with its own defaults. Time is that of finding labels, without starting Python, loading
weights, or reading the CT; memory is the most that the whole process held.
"""

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from inference.geometry import Grid
from inference.images import to_image
from inference.lungmask.lungmask_lobes import LungmaskLobes, LungmaskSettings
from inference.weights.lungmask_package import import_lungmask

MB = 1e6


def main() -> None:
    """Run once."""
    kind, weights, ct, found = sys.argv[1:]
    with np.load(ct) as arrays:
        hu, affine = arrays["hu"], arrays["affine"]
    grid = Grid(hu.shape, affine, "1.2.3")
    started = time.perf_counter()
    run = _stock(Path(weights)) if kind == "stock" else _ours(Path(weights), kind)
    loaded, processor = time.perf_counter(), time.process_time()
    labels = run(hu, grid)
    ended = time.perf_counter()
    np.save(found, labels)
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB
    figures = {
        "load_s": loaded - started,
        "elapsed_s": ended - loaded,
        "processor_s": time.process_time() - processor,
        "peak_mb": peak_mb,
    }
    print(json.dumps(figures))


def _stock(weights: Path) -> Callable[[np.ndarray, Grid], np.ndarray]:
    inferer = import_lungmask().LMInferer(
        modelname="LTRCLobes",
        modelpath=str(weights / "ltrclobes.pth"),
        fillmodel="R231",
        fillmodel_path=str(weights / "r231.pth"),
        tqdm_disable=True,
    )
    return lambda hu, grid: inferer.apply(to_image(hu, grid))


def _ours(weights: Path, precision: str) -> Callable[[np.ndarray, Grid], np.ndarray]:
    lobes = LungmaskLobes(
        LungmaskSettings(
            r231_weights=weights / "r231.pth",
            ltrclobes_weights=weights / "ltrclobes.pth",
            precision=precision,  # type: ignore[arg-type]
        )
    )
    return lambda hu, grid: lobes.found(hu)


if __name__ == "__main__":
    main()
