"""Plausibility of input and output, as findings.

A check measures and compares; it does not print and does not stop anything. `engine` decides what a rejecting
finding means, the objects and pages show the rest.

Limits are wide on purpose: they are there to catch a wrong body part, a truncated scan, swapped labels or numbers
that are not HU, not to diagnose. Where a limit has a source it is named; the rest are ours and not yet tuned on
patients.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from jaxtyping import Bool

from inference.anatomy import Lobe, Side
from inference.execution import ExecutionRecord, Rung
from inference.geometry import Grid, Reorientation
from inference.volumes import CtVolume, LobeMap, PerfusionMap, require_same_grid


class Severity(StrEnum):
    """What a finding does."""

    NOTE = "note"
    """Worth knowing; travels with the result."""
    FLAG = "flag"
    """A person should look before using the result."""
    REJECT = "reject"
    """The result must not be sent."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One measured fact that a reader of the result must know."""

    code: str
    """Stable, upper case, for example `LUNG_TOUCHES_FIRST_SLICE`."""
    severity: Severity
    sentence: str
    """ASCII, one sentence a physicist understands."""
    measured: float
    limit: float
    unit: str
    """UCUM unit of `measured` and `limit`, for example `ml`, `%`, `[hnsf'U]`, `1`."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Two ranges of one quantity: outside `usual` a person looks, outside `possible` nothing is sent."""

    usual: tuple[float, float]
    possible: tuple[float, float]


CUT_CM2 = Limits(usual=(0.0, 1.0), possible=(0.0, 40.0))
"""Area of lung lying on one face of the volume. A section through mid-lung is some 200 cm2, so at 40 cm2 a part of
the lungs is missing that changes the mean to which the map is scaled."""

LUNGS_ML = Limits(usual=(1500.0, 9000.0), possible=(800.0, 14000.0))
"""Volume of both lungs; 4066 +- 1190 ml supine in 100 normals (Cressoni 2013)."""

LUNG_ML = Limits(usual=(500.0, 5500.0), possible=(100.0, 9000.0))
"""Volume of one lung."""

RIGHT_SHARE_PERCENT = Limits(usual=(40.0, 68.0), possible=(10.0, 90.0))
"""Right lung as share of both; 53.6 +- 1.5 % supine (PMC7490509, Table 3), widened for disease and surgery."""

LUNG_HU = Limits(usual=(-900.0, -550.0), possible=(-980.0, -300.0))
"""Mean CT number in the lungs; about -670 at mid-tidal breathing and -850 at full inspiration."""

PEAK_OF_MEAN = 2.0
"""Highest plausible relative perfusion at SPECT resolution: supine lung of 20 cm height differs by some 50 % from front
to back (2.6 % per cm, PMC4294417). Ours; seen to be passed by ground glass under the densitometric baseline."""

PEAK_PERCENTILE = 99.9

LOBE_PERCENT: dict[Lobe, tuple[float, float]] = {
    Lobe.RUL: (17.9, 2.4),
    Lobe.RML: (9.3, 1.6),
    Lobe.RLL: (26.5, 2.6),
    Lobe.LUL: (23.1, 2.1),
    Lobe.LLL: (23.2, 2.4),
}
"""Supine inspiratory volume of each lobe in percent of both lungs: mean and SD of 32 (PMC7490509, Table 3)."""

LOBE_SD = 4.0
"""Standard deviations of normal people at which a lobe is flagged; disease is wider than normal."""

VARIATION = Limits(usual=(0.05, 1.0), possible=(0.001, 5.0))
"""Standard deviation over mean of the map. Near 0 the map says nothing; above 1 a few spots hold all perfusion."""

MEAN_TOLERANCE = 0.001
"""How far the mean over both lungs may be from 1."""


def check_ct_and_lobes(ct: CtVolume, lobes: LobeMap) -> tuple[Finding, ...]:
    """Everything that is looked at before a map is predicted.

    Raises:
        GridMismatch: `lobes` is not on the grid of `ct`.
    """
    require_same_grid(ct.grid, lobes.grid)
    return (
        check_pixels(ct)
        + check_coverage(lobes)
        + check_volumes(lobes)
        + check_lobe_shares(lobes)
        + check_density(ct, lobes)
    )


def check_pixels(ct: CtVolume) -> tuple[Finding, ...]:
    """Pixels that were once compressed with loss; a site may allow them, and then everybody shall know."""
    if ct.lossy is None:
        return ()
    how = ", ".join(part for part in (ct.lossy.method, f"ratio {ct.lossy.ratio:g}" if ct.lossy.ratio else "") if part)
    sentence = f"The CT was compressed with loss ({how or 'nobody knows how'}): its HU are not what was measured."
    return (Finding("LOSSY_COMPRESSION", Severity.FLAG, sentence, ct.lossy.ratio, 1.0, "1"),)


def check_coverage(lobes: LobeMap) -> tuple[Finding, ...]:
    """Lungs that reach a face of the volume, in patient directions: the scan may have cut them off."""
    turn = Reorientation.to_patient_axes(lobes.grid)
    lungs, grid = turn.apply(lobes.lungs), turn.grid(lobes.grid)
    findings = []
    for axis, (low_side, high_side) in enumerate((("BOTTOM", "TOP"), ("FRONT", "BACK"), ("RIGHT", "LEFT"))):
        for side, position in ((low_side, 0), (high_side, -1)):
            area_cm2 = float(np.count_nonzero(np.take(lungs, position, axis=axis))) * _face_cm2(grid, axis)
            sentence = f"Lung covers {area_cm2:.1f} cm2 of the {side.lower()} face of the scan: it may be cut off."
            findings += _outside(CUT_CM2, area_cm2, f"LUNG_TOUCHES_{side}", sentence, "cm2")
    return tuple(findings)


def check_volumes(lobes: LobeMap) -> tuple[Finding, ...]:
    """Volume of both lungs, of each lung, and the share of the right one."""
    side_ml = {side: float(np.count_nonzero(lobes.lung(side))) * lobes.grid.voxel_volume_ml for side in Side}
    total_ml = sum(side_ml.values())
    findings = _outside(LUNGS_ML, total_ml, "LUNG_VOLUME", f"Both lungs together have {total_ml:.0f} ml.", "ml")
    for side, volume_ml in side_ml.items():
        sentence = f"The {side.name.lower()} lung has {volume_ml:.0f} ml."
        findings += _outside(LUNG_ML, volume_ml, f"{side.name}_LUNG_VOLUME", sentence, "ml")
    share = 100.0 * side_ml[Side.RIGHT] / total_ml if total_ml > 0 else 0.0
    sentence = f"The right lung is {share:.0f} % of both."
    return (*findings, *_outside(RIGHT_SHARE_PERCENT, share, "RIGHT_LUNG_SHARE", sentence, "%"))


def check_lobe_shares(lobes: LobeMap) -> tuple[Finding, ...]:
    """Share of each lobe against supine norms; a lobe far off is often a misplaced or missing fissure."""
    voxels = np.bincount(lobes.labels[lobes.lungs], minlength=len(Lobe) + 1)
    findings: list[Finding] = []
    for lobe, (mean, sd) in LOBE_PERCENT.items():
        share = 100.0 * float(voxels[lobe]) / max(float(voxels.sum()), 1.0)
        limits = Limits(usual=(max(mean - LOBE_SD * sd, 0.5), mean + LOBE_SD * sd), possible=(0.0, 100.0))
        sentence = f"{lobe.name} is {share:.1f} % of the lungs; {mean:.1f} % is normal."
        findings += _outside(limits, share, f"{lobe.name}_SHARE", sentence, "%")
    return tuple(findings)


def check_density(ct: CtVolume, lobes: LobeMap) -> tuple[Finding, ...]:
    """Mean CT number in the lungs: numbers that are not HU, or an unusual depth of breath or dense lungs."""
    lungs = lobes.lungs
    mean_hu = float(ct.hu[lungs].mean(dtype=np.float64)) if lungs.any() else 0.0
    sentence = f"The mean CT number in the lungs is {mean_hu:.0f} HU."
    return tuple(_outside(LUNG_HU, mean_hu, "LUNG_DENSITY", sentence, "[hnsf'U]"))


def check_map(perfusion: PerfusionMap) -> tuple[Finding, ...]:
    """The promises of a `PerfusionMap` (finite, positive inside, zero outside, mean 1) and its spread."""
    inside = perfusion.values[perfusion.lungs].astype(np.float64)
    broken = int(np.count_nonzero(~np.isfinite(perfusion.values)))
    if broken or not inside.size:
        sentence = f"The map has {broken} values that are not numbers and {inside.size} voxels of lung."
        return (Finding("MAP_NOT_FINITE", Severity.REJECT, sentence, float(broken), 0.0, "1"),)
    findings = []
    mean, smallest = float(inside.mean()), float(inside.min())
    outside = _largest_outside(perfusion.values, perfusion.lungs)
    if smallest <= 0.0:
        sentence = "The map is not above 0 everywhere inside the lungs."
        findings.append(Finding("MAP_NOT_POSITIVE", Severity.REJECT, sentence, smallest, 0.0, "1"))
    if outside > 0.0:
        sentence = "The map is not 0 everywhere outside the lungs."
        findings.append(Finding("MAP_OUTSIDE_LUNGS", Severity.REJECT, sentence, outside, 0.0, "1"))
    if abs(mean - 1.0) > MEAN_TOLERANCE:
        sentence = f"The mean of the map over both lungs is {mean:.4f} instead of 1."
        findings.append(Finding("MAP_MEAN", Severity.REJECT, sentence, mean, 1.0, "1"))
    variation = float(inside.std()) / mean if mean > 0 else 0.0
    sentence = f"The map varies by {100.0 * variation:.1f} % (standard deviation over mean)."
    findings += _outside(VARIATION, variation, "MAP_VARIATION", sentence, "1")
    peak = float(np.percentile(inside, PEAK_PERCENTILE))
    if peak > PEAK_OF_MEAN:
        sentence = (
            f"The map reaches {100.0 * peak:.0f} % of the lung mean; dense lung (ground glass, a lesion) can do that."
        )
        findings.append(Finding("MAP_PEAK", Severity.FLAG, sentence, peak, PEAK_OF_MEAN, "1"))
    return tuple(findings)


def check_execution(records: tuple[ExecutionRecord, ...]) -> tuple[Finding, ...]:
    """Networks that did not run as configured, because memory was short; a flag where the numbers may differ."""
    return tuple(
        Finding(
            "RAN_ON_LESS_MEMORY",
            Severity.FLAG if record.numbers_differ else Severity.NOTE,
            f"Memory ran out, so {record.network} ran with {_steps(record)}: {_effect(record)}.",
            float(Rung(record.rung).depth),
            0.0,
            "1",
        )
        for record in records
        if record.rung != Rung.CONFIGURED
    )


def _steps(record: ExecutionRecord) -> str:
    tile = " x ".join(str(side) for side in record.tile)
    return f"tiles of {tile} in {record.precision} on {record.device} (rung {record.rung})"


def _effect(record: ExecutionRecord) -> str:
    return "values may differ a little from those of a usual run" if record.numbers_differ else "no effect is expected"


def _outside(limits: Limits, measured: float, code: str, sentence: str, unit: str) -> list[Finding]:
    """One finding if a quantity lies outside its ranges, with the limit it crossed; none otherwise."""
    for (low, high), severity in ((limits.possible, Severity.REJECT), (limits.usual, Severity.FLAG)):
        if measured < low:
            return [Finding(code, severity, f"{sentence} Expected at least {low:g}.", measured, low, unit)]
        if measured > high:
            return [Finding(code, severity, f"{sentence} Expected at most {high:g}.", measured, high, unit)]
    return []


def _face_cm2(grid: Grid, axis: int) -> float:
    first, second = (spacing for other, spacing in enumerate(grid.spacing_mm) if other != axis)
    return first * second / 100.0


def _largest_outside(values: np.ndarray, lungs: Bool[np.ndarray, "s r c"]) -> float:
    return float(np.max(np.abs(values), where=~lungs, initial=0.0))
