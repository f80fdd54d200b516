"""Time, memory and size of the objects of one large CT, beside the libraries that others write them with.

    make bench-objects          (installs rt-utils in a folder of its own: it brings a package named `tests`)

The CT is the digital thorax on 200 slices of 512 x 512 pixels with its true lobes; perfusion is the densitometric
baseline's, high and low function follow the default rule. Ours and the peer take turns; figures are medians over the
rounds. Nothing here runs in parallel, so on a quiet machine elapsed and processor time are the same; on a busy one the
latter is the fairer.

* RT Structure Set against rt-utils: from label map and regions in memory to a saved file with ten ROIs.
* Parametric Map against plain highdicom: from float32 values in memory to a saved file, each in a process of its own.
  Memory is what its resident set grows by, sampled every 2 ms, after a small object has loaded the libraries' tables.
"""

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from io import StringIO
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import highdicom
import numpy as np
import psutil
from highdicom.sr import CodedConcept
from pydicom import dcmread
from pydicom.dataset import Dataset
from rich.console import Console
from rich.table import Table

from dicom_node.objects.identifiers import Identifiers
from dicom_node.objects.mr_twin import encode_mr_twin
from dicom_node.objects.object_file import write_object
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.provenance import Equipment, ResultContext
from dicom_node.objects.rois import Roi, function_rois, lobe_rois, lung_rois
from dicom_node.objects.segmentation import FUNCTION, LOBES, encode_segmentation
from dicom_node.objects.source_series import SourceSeries
from dicom_node.objects.structure_set import encode_structure_set
from inference.ct.instances import ct_instances
from inference.densitometric import DensitometricBaseline
from inference.function_regions import find_function_regions
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, draw_thorax
from inference.volumes import FunctionRegions, LobeMap, PerfusionMap

SHAPE = (200, 512, 512)
SPACING_MM = (1.5, 0.75, 0.75)
ORIGIN_MM = (-191.6, -189.6, -163.0)
MB = 1e6


@dataclass(frozen=True)
class Case:
    """A CT and its result in memory."""

    lobes: LobeMap
    perfusion: PerfusionMap
    regions: FunctionRegions
    context: ResultContext


def main() -> None:
    """Run the benchmark and print its tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    rounds = parser.parse_args().rounds
    console = Console(width=110)
    console.print(f"drawing the thorax on {SHAPE} voxels; this takes most of a minute")
    case = draw_case()
    with TemporaryDirectory(prefix="bench-objects-") as scratch:
        console.print(structure_set_table(case, Path(scratch), rounds))
        console.print(map_table(case, Path(scratch), rounds))
        console.print(other_table(case, Path(scratch), rounds))


def draw_case() -> Case:
    """The digital thorax, its densitometric map and its function regions."""
    grid = Grid.axial(SHAPE, SPACING_MM, ORIGIN_MM, frame_of_reference_uid=FRAME_OF_REFERENCE_UID)
    thorax = draw_thorax(grid)
    perfusion = DensitometricBaseline().predict(thorax.ct, thorax.lobes)
    headers = ct_instances(thorax.ct)
    for header in headers:
        del header.PixelData
    context = ResultContext(
        source=SourceSeries.of(headers, thorax.ct.source),
        equipment=Equipment("0"),
        identifiers=Identifiers("benchmark", "0", ("benchmark",), "benchmark"),
        segmenter=thorax.lobes.segmenter,
        perfusion_model=perfusion.model,
    )
    return Case(thorax.lobes, perfusion, find_function_regions(perfusion), context)


@dataclass(frozen=True)
class Duration:
    """How long a piece of work took."""

    elapsed_s: float
    processor_s: float
    """User and system time of the process."""


def timed(work: Callable[[], object]) -> Duration:
    """Do a piece of work."""
    elapsed, processor = time.perf_counter(), time.process_time()
    work()
    return Duration(time.perf_counter() - elapsed, time.process_time() - processor)


def medians(durations: list[Duration]) -> Duration:
    """The median of each figure."""
    return Duration(median(d.elapsed_s for d in durations), median(d.processor_s for d in durations))


def cells(durations: list[Duration]) -> tuple[str, str]:
    """Medians for a table."""
    middle = medians(durations)
    return f"{middle.elapsed_s:.2f}", f"{middle.processor_s:.2f}"


def comparison(ours: list[Duration], peer: list[Duration]) -> str:
    """The ratio of medians in words."""
    mine, other = medians(ours), medians(peer)
    return (
        f"the peer takes {other.elapsed_s / mine.elapsed_s:.1f} x our elapsed and "
        f"{other.processor_s / mine.processor_s:.1f} x our processor time"
    )


# RT Structure Set


def structure_set_table(case: Case, scratch: Path, rounds: int) -> Table:
    """Ours and rt-utils in turn: time, size, contours and points of the files they write."""
    paths = {"ours": scratch / "ours.dcm", "rt-utils": scratch / "rt-utils.dcm"}
    times: dict[str, list[Duration]] = {name: [] for name in paths}
    for _ in range(rounds):
        times["ours"].append(timed(lambda: structure_set_ours(case, paths["ours"])))
        times["rt-utils"].append(timed(lambda: structure_set_rt_utils(case, paths["rt-utils"])))
    table = Table(
        "RT Structure Set", "elapsed, s", "processor, s", "MB", "ROIs", "contours", "points: median", "most", "all"
    )
    for name, path in paths.items():
        rois = dcmread(path).ROIContourSequence
        points = [int(contour.NumberOfContourPoints) for roi in rois for contour in roi.ContourSequence]
        figures = (len(rois), len(points), f"{median(points):.0f}", max(points), sum(points))
        table.add_row(name, *cells(times[name]), f"{path.stat().st_size / MB:.1f}", *map(str, figures))
    table.caption = comparison(times["ours"], times["rt-utils"])
    return table


def structure_set_ours(case: Case, path: Path) -> None:
    """Write all ROIs with this node."""
    write_object(encode_structure_set(case.lobes, case.regions, case.context), path)


def structure_set_rt_utils(case: Case, path: Path) -> None:
    """Write the same masks with rt-utils as it comes, without its reading of the CT from disk."""
    sys.path.append(str(Path(sys.prefix) / "peers"))
    from rt_utils import ds_helper
    from rt_utils.rtstruct import RTStruct

    headers = list(case.context.source.headers)
    structures = RTStruct(headers, ds_helper.create_rtstruct_dataset(headers))
    for roi in _rois(case):
        structures.add_roi(np.moveaxis(roi.mask, 0, -1), name=roi.name)
    with redirect_stdout(StringIO()):
        structures.save(str(path))


def _rois(case: Case) -> Iterator[Roi]:
    yield from lung_rois(case.lobes)
    yield from lobe_rois(case.lobes)
    yield from function_rois(case.regions, case.context)


# Parametric Map


def map_table(case: Case, scratch: Path, rounds: int) -> Table:
    """Ours and plain highdicom in turn: time and memory, each in processes of their own."""
    np.save(scratch / "values.npy", case.perfusion.values)
    np.save(scratch / "lungs.npy", case.perfusion.lungs)
    encoders = {"ours": map_ours, "highdicom": map_highdicom}
    runs: dict[str, list[tuple[Duration, float]]] = {name: [] for name in encoders}
    for _ in range(rounds):
        for name, encoder in encoders.items():
            runs[name].append(_in_a_process(encoder, scratch, case))
    table = Table("Parametric Map", "elapsed, s", "processor, s", "peak memory, MB", "x pixel data")
    for name, figures in runs.items():
        peak_mb = max(peak for _, peak in figures)
        times = cells([duration for duration, _ in figures])
        table.add_row(name, *times, f"{peak_mb:.0f}", f"{peak_mb * MB / case.perfusion.values.nbytes:.2f}")
    table.caption = comparison(*([duration for duration, _ in figures] for figures in runs.values()))
    return table


def _in_a_process(
    encoder: Callable[[PerfusionMap, ResultContext, Path], None], scratch: Path, case: Case
) -> tuple[Duration, float]:
    """Time and greatest growth of memory in MB of one encoder."""
    spawn = get_context("spawn")  # a fork would start with the memory of this process
    here, there = spawn.Pipe()
    child = spawn.Process(
        target=_encode_map, args=(there, encoder, scratch, case.perfusion.grid, case.perfusion.model, case.context)
    )
    child.start()
    here.recv()
    process = psutil.Process(child.pid)
    before = peak = process.memory_info().rss
    here.send(None)
    while not here.poll(0.002):
        peak = max(peak, process.memory_info().rss)
    duration: Duration = here.recv()
    child.join()
    return duration, (peak - before) / MB


def _encode_map(
    pipe: Connection,
    encoder: Callable[[PerfusionMap, ResultContext, Path], None],
    scratch: Path,
    grid: Grid,
    model: ModelIdentity,
    context: ResultContext,
) -> None:
    values, lungs = np.load(scratch / "values.npy"), np.load(scratch / "lungs.npy")
    two = slice(len(values) // 2, len(values) // 2 + 2)
    small_grid = grid.cropped((two, slice(0, grid.shape[1]), slice(0, grid.shape[2])))
    small_context = replace(context, source=SourceSeries(context.source.headers[two]))
    encoder(PerfusionMap(values[two], lungs[two], small_grid, model), small_context, scratch / "map.dcm")
    perfusion = PerfusionMap(values, lungs, grid, model)
    pipe.send("ready")
    pipe.recv()
    pipe.send(timed(lambda: encoder(perfusion, context, scratch / "map.dcm")))


def map_ours(perfusion: PerfusionMap, context: ResultContext, path: Path) -> None:
    """Write the map with this node."""
    write_object(encode_parametric_map(perfusion, context), path)


def map_highdicom(perfusion: PerfusionMap, context: ResultContext, path: Path) -> None:
    """Write the same values with highdicom as it comes, from the same headers, as a fraction of the mean."""
    mapping = highdicom.pm.RealWorldValueMapping(
        lut_label="1",
        lut_explanation="fraction of the mean",
        unit=CodedConcept("1", "UCUM", "no units"),
        value_range=(0.0, 100.0),
        slope=1.0,
        intercept=0.0,
    )
    dataset: Dataset = highdicom.pm.ParametricMap(
        source_images=list(context.source.headers),
        pixel_array=perfusion.values,
        series_instance_uid=highdicom.UID(),
        series_number=1,
        sop_instance_uid=highdicom.UID(),
        instance_number=1,
        manufacturer="benchmark",
        manufacturer_model_name="benchmark",
        software_versions="0",
        device_serial_number="0",
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[mapping],
        voi_lut_transformations=[highdicom.VOILUTTransformation(window_center=1.0, window_width=2.0)],
    )
    dataset.save_as(path)


# Objects without a peer


def other_table(case: Case, scratch: Path, rounds: int) -> Table:
    """Segmentations and MR twin: time and size."""
    table = Table("other objects", "elapsed, s", "processor, s", "files", "MB")
    for name, write in {"2 segmentations": _segmentations, "MR twin": _mr_twin}.items():
        folder = scratch / name
        folder.mkdir()
        times = [timed(lambda write=write, folder=folder: write(case, folder)) for _ in range(rounds)]
        sizes = [path.stat().st_size for path in folder.iterdir()]
        table.add_row(name, *cells(times), str(len(sizes)), f"{sum(sizes) / MB:.1f}")
    return table


def _segmentations(case: Case, folder: Path) -> None:
    for role in (LOBES, FUNCTION):
        write_object(encode_segmentation(case.lobes, case.regions, case.context, role), folder / f"{role}.dcm")


def _mr_twin(case: Case, folder: Path) -> None:
    for dataset in encode_mr_twin(case.perfusion, case.context):
        write_object(dataset, folder / f"{dataset.InstanceNumber}.dcm")


if __name__ == "__main__":
    main()
