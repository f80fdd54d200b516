"""What the quality checks say of CTs that should give no alarm, and of mirrored and turned ones that must.

    make quality-figures          (QUALITY="--patients 10 --atlas 2 --mirrored 5" for a quick look)

Healthy digital patients (`phantom.build.varied`, voxels of 5 x 3 x 3 mm) once with their true lobes, which shows false
alarms of the checks alone, and some of them with the lobes of the atlas engine. Mirrored, as a file that was flipped on
its way: right and left by heart and liver. The two real CTs of the test data as they are, mirrored, turned about the
body's length, and upside down. No figure here is a clinical one.
"""

import argparse
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import numpy as np
import SimpleITK as sitk
from rich.console import Console
from rich.table import Table

from benchmarks.atlas import DATA, read_a0001, read_image
from inference.atlas.atlas_lobes import AtlasLobes
from inference.phantom.build import varied
from inference.phantom.thorax import DigitalThorax, draw_thorax
from inference.quality.checks import check_ct_and_lobes
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings, Severity
from inference.quality.laterality import check_axes, check_sides, side_evidence
from inference.quality.policy import BY_THE_TABLE
from inference.quality.threshold_lungs import ThresholdLungs
from inference.volumes import CtVolume, LobeMap

SPACING_MM = (5.0, 3.0, 3.0)
TURNS = {"as it is": (), "mirrored": (2,), "turned by half": (1, 2), "upside down": (0,)}
"""Axes (slice to superior, row to posterior, column to left) along which a volume is flipped, its geometry kept."""


def main() -> None:
    """Look at all of them and print tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, default=80, help="with their true lobes")
    parser.add_argument("--atlas", type=int, default=20, help="of these also with the lobes of the atlas engine")
    parser.add_argument("--mirrored", type=int, default=40, help="of these also mirrored")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    console = Console(width=120)
    with ProcessPoolExecutor(arguments.workers, mp_context=get_context("spawn")) as pool:
        true = list(pool.map(with_true_lobes, range(arguments.patients)))
        drawn = list(pool.map(with_atlas_lobes, range(arguments.atlas)))
        sides = list(pool.map(sides_of, range(arguments.mirrored)))
    console.print(alarm_table({"true lobes": true, "atlas lobes": drawn}))
    console.print(side_table(sides))
    console.print(real_table())


def patient(number: int) -> DigitalThorax:
    """A healthy digital patient."""
    build = varied(number)
    return draw_thorax(build.field_of_view(SPACING_MM), build=build)


def with_true_lobes(number: int) -> Findings:
    """What the checks say of a patient and the true lobes."""
    thorax = patient(number)
    return check_ct_and_lobes(thorax.ct, thorax.lobes)


def with_atlas_lobes(number: int) -> Findings:
    """What they say of the same patient and the lobes of the engine without weights."""
    thorax = patient(number)
    return check_ct_and_lobes(thorax.ct, AtlasLobes().segment(thorax.ct))


def sides_of(number: int) -> dict[str, tuple[float, bool]]:
    """Evidence of heart and liver (-1 to 1), and whether it rejects, as the patient is and mirrored."""
    thorax = patient(number)
    coarse = CoarseThorax.of(thorax.ct, thorax.lobes)
    return {turn: _side(flipped(coarse, TURNS[turn])) for turn in ("as it is", "mirrored")}


def _side(thorax: CoarseThorax) -> tuple[float, bool]:
    found = ThresholdLungs.of(thorax)
    rejected = any(f.severity is Severity.REJECT for f in check_sides(thorax, found, BY_THE_TABLE))
    return side_evidence(thorax, found).together, rejected


def flipped(thorax: CoarseThorax, axes: tuple[int, ...]) -> CoarseThorax:
    """The voxels flipped under a geometry that says nothing of it."""
    return CoarseThorax(np.flip(thorax.hu, axes).copy(), np.flip(thorax.labels, axes).copy(), thorax.grid)


def alarm_table(findings_of: dict[str, list[Findings]]) -> Table:
    """Patients in whom each code was found."""
    table = Table("code", "severity", *(f"{name}, of {len(found)}" for name, found in findings_of.items()))
    table.title = "Healthy digital patients with a finding"
    counts = [
        Counter(kind for found in patients for kind in {(finding.code, finding.severity) for finding in found})
        for patients in findings_of.values()
    ]
    for code, severity in sorted(set().union(*counts)):
        table.add_row(code, severity, *(str(count[code, severity]) for count in counts))
    table.add_row("none", "", *(str(sum(not found for found in patients)) for patients in findings_of.values()))
    return table


def side_table(sides: list[dict[str, tuple[float, bool]]]) -> Table:
    """How far apart patients and their mirror images lie."""
    table = Table("", "MIRRORED, lowest", "highest", "rejected", title=f"Right and left of {len(sides)} patients")
    for turn in ("as it is", "mirrored"):
        values = [found[turn][0] for found in sides]
        rejected = sum(found[turn][1] for found in sides)
        table.add_row(turn, f"{min(values):.2f}", f"{max(values):.2f}", f"{rejected} of {len(sides)}")
    return table


def real_table() -> Table:
    """Findings of real CTs as they are, and of their places when they are flipped."""
    table = Table("", *TURNS, title="Real CTs")
    for name, ct in real_cts():
        lobes = AtlasLobes().segment(ct)
        coarse = CoarseThorax.of(ct, LobeMap(np.zeros(ct.grid.shape, np.uint8), ct.grid, AtlasLobes.identity))
        turned = (flipped(coarse, axes) for turn, axes in TURNS.items() if turn != "as it is")
        table.add_row(name, _words(check_ct_and_lobes(ct, lobes)), *(_words(_place(thorax)) for thorax in turned))
    return table


def real_cts() -> Iterator[tuple[str, CtVolume]]:
    """Those of the test data that are there."""
    if (DATA / "ct/lungdx_A0001").is_dir():
        yield "A0001", read_a0001()
    if (DATA / "ct/cip/ct-64.nrrd").is_file():
        yield "ct/cip", read_image(sitk.ReadImage(str(DATA / "ct/cip/ct-64.nrrd"), sitk.sitkFloat32))


def _place(thorax: CoarseThorax) -> Findings:
    found = ThresholdLungs.of(thorax)
    return check_sides(thorax, found, BY_THE_TABLE) + check_axes(thorax, found, BY_THE_TABLE)


def _words(findings: Findings) -> str:
    return "\n".join(f"{f.severity} {f.code} {f.measured:.3g} {f.unit}" for f in findings) or "nothing"


if __name__ == "__main__":
    main()
