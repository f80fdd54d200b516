"""The SPECT shortcut beside PyTomography: how far the fast option is from projections and OSEM, and what it saves.

    make bench-spect          (SPECT="--patients 2" for a quick look)

Agreement: in-silico patients on a coarse body, scanned in both ways by the protocols of both hospitals, without
misalignment. Spearman's R and the error (root of the mean square, in percent of the mean) are over the voxels of the
lungs. "Truth" is true perfusion on the voxels of the SPECT. Two scans by PyTomography that differ in chance alone tell
how much of the difference between the two ways is noise.

Width and noise: a digital chest that does not breathe (`training.insilico.realism.spect_phantom`). The shortcut's own
numbers, `shortcut_fwhm_mm` and `shortcut_noise` of `spect_protocol`, were set so that these two agree.

Time: CPU time of one scan on one thread.
"""

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from statistics import mean

import numpy as np
import torch
from jaxtyping import Float32
from rich.console import Console
from rich.table import Table

from inference.geometry import Grid
from training.insilico.arteries.artery_image import paint_vessels
from training.insilico.cohort_name import CohortName
from training.insilico.cohort_plan import InsilicoPlan, read_plan
from training.insilico.draws import Draws
from training.insilico.generation import perfused_lungs
from training.insilico.hospitals import HOSPITALS, Hospital
from training.insilico.patient_id import PatientId
from training.insilico.people.breathing import Breathing
from training.insilico.people.person import BreathingState, draw_person
from training.insilico.realism.spect_phantom import measure_protocol
from training.insilico.spect.spect_field import averaged_onto
from training.insilico.spect.spect_protocol import SpectMethod, SpectProtocol
from training.insilico.spect.spect_scanner import scan_spect
from training.insilico.spect.spect_volume import SpectVolume
from training.metrics import rmse, spearman

PLAN = Path(__file__).parents[1] / "configs" / "cohort" / "full.toml"
TERRITORIES = 1500
FULL, FAST = SpectMethod.PYTOMOGRAPHY, SpectMethod.FAST


@dataclass(frozen=True)
class Comparison:
    """One patient under one protocol."""

    full_and_truth: float
    """Spearman's R, as the next three."""
    fast_and_truth: float
    fast_and_full: float
    full_and_full: float
    """Two scans that differ in chance alone."""
    fast_error: float
    """Share of the mean, as the next."""
    full_error: float
    full_s: float
    fast_s: float


def main() -> None:
    """Print the tables."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--patients", type=int, default=6, help="in-silico patients")
    options.add_argument("--spacing", type=float, default=3.0, help="voxels of the body, mm")
    given = options.parse_args()
    torch.set_num_threads(1)
    plan = read_plan(PLAN)
    plan = replace(plan, body=replace(plan.body, spacing_mm=given.spacing, territories=TERRITORIES))
    found: dict[Hospital, list[Comparison]] = {hospital: [] for hospital in HOSPITALS}
    for number in range(given.patients):
        cohort = list(CohortName)[number % len(CohortName)]
        for hospital, comparison in _compared(plan, PatientId(cohort, 1 + number // len(CohortName))):
            found[hospital].append(comparison)
    console = Console(width=120)
    console.print(_agreement(found))
    console.print(_quality(HOSPITALS))


def _compared(plan: InsilicoPlan, patient: PatientId) -> Iterable[tuple[Hospital, Comparison]]:
    """One patient in both hospitals, in both ways."""
    draws = plan.draws(patient)
    person = draw_person(draws.of("person"), state=BreathingState.FREE)
    lungs = perfused_lungs(plan, patient, person, draws)
    tissue = lungs.tissue
    hu = paint_vessels(tissue.hu, tissue.lobes, lungs.arteries, tissue.grid, lungs.lumen)
    for hospital in HOSPITALS:
        still = replace(hospital.spect, misalignment_sd_mm=0.0)
        scan = partial(_scan, lungs.perfusion, hu, tissue.grid, person.breathing, still, draws)
        other, _ = scan("other", FULL)  # first, so that imports count nowhere
        (full, full_s), (fast, fast_s) = scan("one", FULL), scan("one", FAST)
        truth = averaged_onto(lungs.perfusion, tissue.grid, full.grid)
        inside = averaged_onto((tissue.lobes > 0).astype("float32"), tissue.grid, full.grid) > 0.5
        yield (
            hospital,
            Comparison(
                full_and_truth=spearman(full.values, truth, inside),
                fast_and_truth=spearman(fast.values, truth, inside),
                fast_and_full=spearman(fast.values, full.values, inside),
                full_and_full=spearman(other.values, full.values, inside),
                fast_error=rmse(fast.values, full.values, inside),
                full_error=rmse(other.values, full.values, inside),
                full_s=full_s,
                fast_s=fast_s,
            ),
        )


def _scan(
    perfusion: Float32[np.ndarray, "a b c"],
    hu: Float32[np.ndarray, "a b c"],
    grid: Grid,
    breathing: Breathing,
    protocol: SpectProtocol,
    draws: Draws,
    name: str,
    method: SpectMethod,
) -> tuple[SpectVolume, float]:
    """A scan with the chance of a name, and its CPU time."""
    started = time.process_time()
    scanned = scan_spect(perfusion, hu, grid, breathing, protocol, draws.of(name), method=method)
    return scanned, time.process_time() - started


def _agreement(found: dict[Hospital, list[Comparison]]) -> Table:
    table = Table(title="In-silico patients: mean (least agreeing)")
    table.add_column("")
    rows = {
        "Spearman R: PyTomography and truth": ("full_and_truth", min, 1.0, "{:.3f}"),
        "Spearman R: shortcut and truth": ("fast_and_truth", min, 1.0, "{:.3f}"),
        "Spearman R: shortcut and PyTomography": ("fast_and_full", min, 1.0, "{:.3f}"),
        "Spearman R: PyTomography twice": ("full_and_full", min, 1.0, "{:.3f}"),
        "error: shortcut and PyTomography, %": ("fast_error", max, 100.0, "{:.1f}"),
        "error: PyTomography twice, %": ("full_error", max, 100.0, "{:.1f}"),
        "CPU time: PyTomography, s": ("full_s", max, 1.0, "{:.1f}"),
        "CPU time: shortcut, s": ("fast_s", max, 1.0, "{:.1f}"),
    }
    for hospital, comparisons in found.items():
        table.add_column(f"{hospital.name}, {hospital.spect.name} (n = {len(comparisons)})", justify="right")
    for title, (field, worst, scale, form) in rows.items():
        cells = []
        for comparisons in found.values():
            values = [scale * getattr(comparison, field) for comparison in comparisons]
            cells.append(f"{form.format(mean(values))} ({form.format(worst(values))})")
        table.add_row(title, *cells)
    return table


def _quality(hospitals: Iterable[Hospital]) -> Table:
    table = Table(title="Digital chest at rest")
    for column in ("protocol", "way", "point FWHM, mm", "noise in the lungs, %", "counts, million"):
        table.add_column(column, justify="right")
    for hospital in hospitals:
        for method in (FULL, FAST):
            quality = measure_protocol(hospital.spect, method=method)
            figures = f"{quality.point_fwhm_mm:.1f}", f"{quality.noise_percent:.1f}", f"{quality.counts / 1e6:.1f}"
            table.add_row(hospital.spect.name, method.value, *figures)
    return table


if __name__ == "__main__":
    main()
