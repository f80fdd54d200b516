"""Perfusion of one patient: our way from CT to map beside MONAI's transforms and sliding window, same network, in turn.

    make bench-inference        (INFERENCE="--rounds 3 --slices 200 --device cuda")

The patient is the digital thorax with 512 x 512 pixels; lungs and lobes are known and cost nothing. The network is ours
with random weights: time does not depend on them. Timed is everything from a CT in memory to a map on its grid, scaled
to the lung mean.

    ours         all sub-voxel channels, as the shipped network is fed
    ours, plain  CT number and lungs only, what the peer feeds it
    peer         as in MONAI's tutorials: Spacingd, ScaleIntensityRanged, CropForegroundd,
                 SlidingWindowInferer, Invertd

Each run is a process of its own that predicts `--repeats` times; the first time counts apart, because libraries choose
their algorithms in it. Memory is the most that a process held (with Python, torch and the CT), on a GPU what torch
reserved there too. The correlation says that peer and `ours, plain` compute the same: they differ in the way of
resampling only. Needs no SimpleITK and no DICOM, so that it also runs where there is nothing but torch and MONAI.
"""

import argparse
import json
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np
import torch
from jaxtyping import Float32
from monai.data import MetaTensor
from monai.inferers import SlidingWindowInferer
from monai.transforms import Compose, CropForegroundd, Invertd, ScaleIntensityRanged, Spacingd
from rich.console import Console
from rich.table import Table

from inference.channels import DEFAULT_CHANNELS, SUBVOXEL_CHANNELS
from inference.geometry import Grid
from inference.model_card import ModelCard, ModelIdentity
from inference.network_perfusion import OVERLAP, NetworkPerfusion
from inference.networks import PerfusionNetwork, build_network, device_of
from inference.perfusion import relative_to_lung_mean
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, draw_thorax
from inference.preprocessing import MARGIN_MM
from inference.volumes import CtVolume, LobeMap, SeriesReference

KINDS = ("ours", "ours, plain", "peer")
SPAN_MM = 330.0
"""Height of the digital thorax; its lungs are 272 mm high."""
MB = 1e6
Map = Float32[np.ndarray, "slices rows columns"]


def main() -> None:
    """Run the benchmark and print its table, or one run of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="cpu, cuda or auto")
    parser.add_argument("--rounds", type=int, default=2, help="processes of each kind, in turn")
    parser.add_argument("--repeats", type=int, default=4, help="predictions in each process")
    parser.add_argument("--slices", type=int, default=200)
    parser.add_argument("--run", choices=KINDS, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.run:
        print(json.dumps(run_once(arguments.run, arguments.folder, arguments.device, arguments.repeats)))
        return
    with TemporaryDirectory(prefix="bench-inference-") as scratch:
        Console(width=120).print(compared(arguments, Path(scratch)))


def compared(arguments: argparse.Namespace, folder: Path) -> Table:
    """Run all kinds in turn on one patient."""
    grid = _grid(arguments.slices)
    thorax = draw_thorax(grid)
    np.savez(folder / "patient.npz", hu=thorax.ct.hu, labels=thorax.lobes.labels)
    runs: dict[str, list[dict[str, float]]] = {kind: [] for kind in KINDS}
    for _ in range(arguments.rounds):
        for kind in KINDS:
            command = [sys.executable, "-W", "ignore", "-m", "benchmarks.inference", "--run", kind]
            command += ["--folder", str(folder), "--device", arguments.device, "--repeats", str(arguments.repeats)]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
            runs[kind].append(json.loads(done.stdout.splitlines()[-1]))
    inside = thorax.lobes.lungs
    plain, peer = (np.load(folder / f"{kind}.npy")[inside] for kind in KINDS[1:])
    where = "x".join(map(str, grid.shape))
    title = f"{where} on {_device_name(arguments.device)}, {arguments.rounds} x {arguments.repeats} predictions"
    return _table(f"{title}; R of peer and ours, plain: {np.corrcoef(plain, peer)[0, 1]:.4f}", runs)


def run_once(kind: str, folder: Path, device: str, repeats: int) -> dict[str, float]:
    """Predict the same patient several times in this process."""
    with np.load(folder / "patient.npz") as arrays:
        hu, labels = arrays["hu"], arrays["labels"]
    grid = _grid(len(hu))
    source = SeriesReference("1.2", "1.3", grid.frame_of_reference_uid, tuple(f"1.4.{k}" for k in range(len(hu))))
    ct, lobes = CtVolume(hu, grid, source), LobeMap(labels, grid, ModelIdentity("digital", "1"))
    predict = _predictor(kind, device_of(device))
    seconds, processor = [], []
    for _ in range(repeats):
        started, used = time.perf_counter(), time.process_time()
        values = predict(ct, lobes)
        seconds.append(time.perf_counter() - started)
        processor.append(time.process_time() - used)
    np.save(folder / f"{kind}.npy", values)
    return {
        "first_s": seconds[0],
        "elapsed_s": median(seconds[1:]),
        "processor_s": median(processor[1:]),
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / MB,
        "gpu_mb": torch.cuda.max_memory_reserved() / MB if torch.cuda.is_available() else 0.0,
    }


def _predictor(kind: str, device: torch.device) -> Callable[[CtVolume, LobeMap], Map]:
    torch.manual_seed(1)
    network = build_network(_card(SUBVOXEL_CHANNELS if kind == "ours" else DEFAULT_CHANNELS))
    if kind == "peer":
        peer = network.eval().to(device)
        return lambda ct, lobes: by_monai(peer, ct, lobes, device)
    ours = NetworkPerfusion(network, device=device.type)
    return lambda ct, lobes: ours.predict(ct, lobes).values


def by_monai(network: PerfusionNetwork, ct: CtVolume, lobes: LobeMap, device: torch.device) -> Map:
    """What MONAI's tutorials do, on its own transforms. The CT lies in patient axes, so none turns it."""
    card = network.card
    low, high = card.hu_window
    keys = ["ct", "lungs"]
    before = Compose(
        [
            Spacingd(keys, pixdim=card.input_spacing_mm, mode="bilinear"),
            ScaleIntensityRanged("ct", low, high, 0.0, 1.0, clip=True),
            CropForegroundd(keys, source_key="lungs", margin=round(MARGIN_MM / card.input_spacing_mm[0])),
        ]
    )
    affine = np.diag([*ct.grid.spacing_mm, 1.0])
    data = {
        name: MetaTensor(torch.tensor(values[None], dtype=torch.float32, device=device), affine=affine)
        for name, values in (("ct", ct.hu), ("lungs", lobes.lungs))
    }
    data = before(data)
    infer = SlidingWindowInferer(card.window_size, sw_batch_size=1, overlap=OVERLAP, mode="gaussian")
    with torch.inference_mode():
        data["map"] = infer(torch.cat([data[key] for key in keys])[None], network)[0]
    data["map"] = MetaTensor(data["map"], meta=data["ct"].meta, applied_operations=data["ct"].applied_operations)
    inverted = Invertd("map", before, orig_keys="ct", nearest_interp=False, to_tensor=True, device=device)(data)
    return relative_to_lung_mean(inverted["map"][0].cpu().numpy(), lobes.lungs)


def _card(channels: tuple[str, ...]) -> ModelCard:
    return ModelCard(
        identity=ModelIdentity("benchmark", "0", weights_sha256="0" * 64),
        network="AttentionResidualUnet",
        network_arguments={},
        input_spacing_mm=(6.0, 6.0, 6.0),
        hu_window=(-1000.0, 100.0),
        window_size=(48, 32, 48),
        trained_on="Nothing; random weights.",
        intended_use="Benchmark.",
        channels=channels,
    )


def _grid(slices: int) -> Grid:
    corner = (-191.6, -189.6, -178.0)
    spacing_mm = (SPAN_MM / slices, 0.75, 0.75)
    return Grid.axial((slices, 512, 512), spacing_mm, corner, frame_of_reference_uid=FRAME_OF_REFERENCE_UID)


def _device_name(device: str) -> str:
    return (
        torch.cuda.get_device_name() if device_of(device).type == "cuda" else f"{torch.get_num_threads()} CPU threads"
    )


def _table(title: str, runs: dict[str, list[dict[str, float]]]) -> Table:
    """Time and memory, and how many times those of the peer are ours."""
    table = Table(
        "", "elapsed, s", "peer / this", "first time, s", "processor, s", "memory, MB", "GPU, MB", title=title
    )
    peer_s = median(run["elapsed_s"] for run in runs["peer"])
    for kind, each in runs.items():
        elapsed_s = median(run["elapsed_s"] for run in each)
        table.add_row(
            kind,
            f"{elapsed_s:.2f}",
            f"{peer_s / elapsed_s:.1f}",
            f"{median(run['first_s'] for run in each):.2f}",
            f"{median(run['processor_s'] for run in each):.2f}",
            f"{max(run['peak_mb'] for run in each):.0f}",
            f"{max(run['gpu_mb'] for run in each):.0f}",
        )
    return table


if __name__ == "__main__":
    main()
