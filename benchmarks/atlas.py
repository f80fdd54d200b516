"""How well lungs and lobes are found without weights: on digital patients whose lobes are known, and on real CTs.

    make bench-atlas          (ATLAS="--patients 20" for a quick look)

Lobes: a hundred varied digital patients (`thorax_build.varied`), whose fissures, sizes, breath, noise and tumours were
drawn without knowledge of the atlas, on slices like those of a planning CT. The engine as it is served and the plain
atlas (no fissure looked at; what this engine was before) work on the same lungs. Every fourth patient once more with
fissures that do not show: what is left when there is nothing to see. Numbers from 0; the engine's own numbers were
chosen on patients 1000 to 1007.

Lungs: Dice with the reference labels of a real CT (`ct/cip` of the test data), and with the truth of the digital ones.

Cost: time and memory of a real CT (`ct/lungdx_A0001`), in a process of its own. lungmask has no place here: without
weights it gives nothing.
"""

import argparse
import os
import resource
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import psutil
import SimpleITK as sitk
from rich.console import Console
from rich.table import Table

from inference.anatomy import Fissure, Lobe, Side, lobes_of
from inference.atlas.atlas_lobes import AtlasLobes, draw_lobes
from inference.atlas.lungs import find_lungs
from inference.images import to_array, to_grid
from inference.phantom.build import ThoraxBuild, varied
from inference.phantom.thorax import draw_thorax
from inference.volumes import CtVolume, LobeMap, SeriesReference

DATA = Path(os.environ.get("PERFUSION_TEST_DATA", Path(__file__).parents[2] / "shared" / "data"))
WAYS = ("plain atlas", "atlas and fissures", "fissures invisible")
AIM_MEAN, AIM_RML, AIM_LUNG = 0.90, 0.75, 0.95


@dataclass(frozen=True)
class Patient:
    """What was found in one digital patient."""

    number: int
    dice: dict[str, dict[Lobe, float]]
    """Of each way, with the true lobes, errors of the lungs included."""
    lung_dice: dict[Side, float]
    seen: dict[Fissure, float]
    seen_invisible: dict[Fissure, float]
    """What the engine says it saw where there was nothing: should be 0."""
    elapsed_s: float
    """Of the engine; with other work on the machine this says little."""


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=100)
    parser.add_argument("--first", type=int, default=0, help="number of the first patient")
    parser.add_argument("--spacing", type=float, nargs=2, default=(3.0, 1.17), help="of slices and of pixels, mm")
    parser.add_argument("--invisible", type=int, default=4, help="every how manieth patient is drawn without fissures")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    console = Console(width=120)
    spacing_mm = (arguments.spacing[0], arguments.spacing[1], arguments.spacing[1])
    numbers = range(arguments.first, arguments.first + arguments.patients)
    console.print(f"{len(numbers)} digital patients, slices {spacing_mm[0]:g} mm, pixels {spacing_mm[1]:g} mm")
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        work = partial(examine, spacing_mm=spacing_mm, every=max(arguments.invisible, 1))
        patients = list(pool.map(work, numbers))
    console.print(lobe_table(patients))
    console.print(fissure_table(patients))
    console.print(lung_table(patients))
    console.print(worst(patients))
    if (DATA / "ct/lungdx_A0001").is_dir():
        console.print(cost_table())


def examine(number: int, spacing_mm: tuple[float, float, float], every: int) -> Patient:
    """Draw a patient and look for the lobes in every way; without visible fissures for one patient of `every`."""
    build = varied(number)
    thorax = draw_thorax(build.field_of_view(spacing_mm), build=build)
    started = time.perf_counter()
    lobes = AtlasLobes().segment(thorax.ct)
    elapsed_s = time.perf_counter() - started
    plain, _ = draw_lobes(find_lungs(thorax.ct))
    found = {
        WAYS[0]: lobe_dice(plain, thorax.lobes.labels),
        WAYS[1]: lobe_dice(lobes.labels, thorax.lobes.labels),
    }
    lung = {side: dice(lobes.lung(side), thorax.lobes.lung(side)) for side in Side}
    patient = Patient(number, found, lung, dict(lobes.fissures_seen), {}, elapsed_s)
    if number % every:
        return patient
    hidden = draw_thorax(build.field_of_view(spacing_mm), build=without_fissures(build))
    blind = AtlasLobes().segment(hidden.ct)
    found[WAYS[2]] = lobe_dice(blind.labels, hidden.lobes.labels)
    return replace(patient, seen_invisible=dict(blind.fissures_seen))


def without_fissures(build: ThoraxBuild) -> ThoraxBuild:
    """The same patient, whose fissures leave no trace in the CT."""
    return replace(
        build,
        right_oblique=replace(build.right_oblique, seen=0.0),
        left_oblique=replace(build.left_oblique, seen=0.0),
        horizontal=replace(build.horizontal, seen=0.0),
    )


def dice(a: np.ndarray, b: np.ndarray) -> float:
    """Overlap, 1 for equal masks."""
    return 2.0 * float(np.count_nonzero(a & b)) / max(float(np.count_nonzero(a) + np.count_nonzero(b)), 1.0)


def lobe_dice(labels: np.ndarray, truth: np.ndarray) -> dict[Lobe, float]:
    """Overlap of every lobe."""
    return {lobe: dice(labels == lobe, truth == lobe) for lobe in Lobe}


def lobe_table(patients: list[Patient]) -> Table:
    """Mean, spread and worst of each lobe, for each way."""
    table = Table("lobe Dice", *(lobe.name for lobe in Lobe), "all lobes", "patients below 0.90", title="Lobes")
    for way in WAYS:
        found = [patient.dice[way] for patient in patients if way in patient.dice]
        if not found:
            continue
        columns = [np.array([dices[lobe] for dices in found]) for lobe in Lobe]
        means = np.mean(columns, axis=0)
        cells = [_spread(column) for column in (*columns, means)]
        table.add_row(way, *cells, f"{np.count_nonzero(means < AIM_MEAN)} of {len(found)}")
    table.caption = f"mean +- SD (lowest); aim: mean {AIM_MEAN}, RML {AIM_RML}"
    return table


def _spread(values: np.ndarray) -> str:
    return f"{values.mean():.3f} +- {values.std():.3f} ({values.min():.3f})"


def fissure_table(patients: list[Patient]) -> Table:
    """What the engine says it saw of each fissure."""
    table = Table("share seen", *(fissure.value for fissure in Fissure), title="Fissures")
    for name, shares in (
        ("as drawn", [patient.seen for patient in patients]),
        ("invisible", [patient.seen_invisible for patient in patients if patient.seen_invisible]),
    ):
        if not shares:
            continue
        columns = [np.array([share.get(fissure, 0.0) for share in shares]) for fissure in Fissure]
        table.add_row(name, *(_spread(column) for column in columns))
    table.caption = "mean +- SD (lowest); where fissures are invisible every share should be 0"
    return table


def lung_table(patients: list[Patient]) -> Table:
    """Lung Dice on digital patients and against the labels of a real CT."""
    table = Table("lung Dice", "right", "left", title="Lungs")
    drawn = {side: np.array([patient.lung_dice[side] for patient in patients]) for side in Side}
    table.add_row(f"{len(patients)} digital patients", _spread(drawn[Side.RIGHT]), _spread(drawn[Side.LEFT]))
    if (DATA / "ct/cip/ct-64.nrrd").is_file():
        found = dict(reference_dice())
        table.add_row("ct/cip, 4 mm voxels", f"{found[Side.RIGHT]:.3f}", f"{found[Side.LEFT]:.3f}")
    table.caption = f"aim on ct/cip: {AIM_LUNG}"
    return table


def reference_dice() -> Iterator[tuple[Side, float]]:
    """Overlap with the lungs that were drawn into a real CT by others.

    The low byte of a label is the region in the convention of the Chest Imaging Platform: 9 to 11 are thirds of the
    left lung, 12 to 14 of the right one.
    """
    ct = read_image(sitk.ReadImage(str(DATA / "ct/cip/ct-64.nrrd"), sitk.sitkFloat32))
    region = to_array(sitk.ReadImage(str(DATA / "ct/cip/lm-64.nrrd"))) & 0xFF
    lungs = find_lungs(ct)
    for side, first in ((Side.LEFT, 9), (Side.RIGHT, 12)):
        yield side, dice(lungs.side(side), (region >= first) & (region <= first + 2))


def read_image(image: sitk.Image) -> CtVolume:
    """A CT volume of an image; its UIDs are invented."""
    grid = to_grid(image, frame_of_reference_uid="2.25.1")
    uids = tuple(f"2.25.2.{k}" for k in range(grid.shape[0]))
    return CtVolume(to_array(image), grid, SeriesReference("2.25.3", "2.25.4", "2.25.1", uids))


def read_a0001() -> CtVolume:
    """The real CT, by SimpleITK."""
    names = sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(DATA / "ct/lungdx_A0001"))
    return read_image(sitk.ReadImage(names, sitk.sitkFloat32))


def worst(patients: list[Patient], count: int = 5) -> Table:
    """The patients that were found worst, to be looked at."""
    table = Table("patient", "mean Dice", *(lobe.name for lobe in Lobe), "seen of the fissures", title="Worst")
    ranked = sorted(patients, key=lambda patient: _mean(patient.dice[WAYS[1]].values()))
    for patient in ranked[:count]:
        lobes = patient.dice[WAYS[1]]
        seen = ", ".join(f"{fissure} {share:.2f}" for fissure, share in patient.seen.items())
        table.add_row(str(patient.number), f"{_mean(lobes.values()):.3f}", *(f"{d:.3f}" for d in lobes.values()), seen)
    return table


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))


# Cost

Cost = tuple[float, float, float, str]


def cost_table(rounds: int = 3) -> Table:
    """Time and memory of one real CT, the engine and the plain atlas in turn."""
    table = Table("A0001", "elapsed, s", "processor, s", "peak memory above the CT, MB", "lobes, % of the lungs")
    table.title = "Cost"
    runs: dict[str, list[Cost]] = {WAYS[0]: [], WAYS[1]: []}
    with ProcessPoolExecutor(1, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        for _ in range(rounds):
            for way, figures in runs.items():
                figures.append(pool.submit(measure_a0001, fissures=way == WAYS[1]).result())
    for way, figures in runs.items():
        elapsed, processor, memory, shares = zip(*figures, strict=True)
        table.add_row(way, f"{median(elapsed):.1f}", f"{median(processor):.1f}", f"{median(memory):.0f}", shares[0])
    table.caption = f"medians of {rounds}; aim: less than 20 s on two cores"
    return table


def measure_a0001(*, fissures: bool) -> Cost:
    """Elapsed and processor time, growth of the resident set in MB, and the shares of the lobes."""
    ct = read_a0001()
    before = psutil.Process().memory_info().rss
    elapsed, processor = time.perf_counter(), time.process_time()
    if fissures:
        lobes = AtlasLobes().segment(ct)
    else:
        lobes = LobeMap(draw_lobes(find_lungs(ct))[0], ct.grid, AtlasLobes.identity)
    elapsed, processor = time.perf_counter() - elapsed, time.process_time() - processor
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    total = sum(lobes.volume_ml(lobe) for side in Side for lobe in lobes_of(side))
    shares = " ".join(f"{lobe.name} {100.0 * lobes.volume_ml(lobe) / total:.1f}" for lobe in Lobe)
    return elapsed, processor, (peak - before) / 1e6, shares


if __name__ == "__main__":
    main()
