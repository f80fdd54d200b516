"""Checks of the map and the regions cut from it: the promises of their types, and a spread that makes sense.

A map of an ensemble is also asked how far its networks disagree, and one of a model that knows its training how far the
CT is from it (`fingerprint`). Other maps have nothing to say to that and get no finding.
"""

from math import isnan

import numpy as np

from inference.execution import ExecutionRecord, Rung
from inference.fingerprint import Deviation
from inference.quality.findings import Findings, Severity
from inference.quality.policy import BY_THE_TABLE, QualityPolicy
from inference.volumes import FunctionRegions, LobeMap, PerfusionMap

PEAK_PERCENTILE = 99.9
MOST_NAMED = 3
"""Statistics that a finding names, the furthest first."""
HU = "[hnsf'U]"


def check_promises(perfusion: PerfusionMap, policy: QualityPolicy) -> Findings:
    """Finite, positive inside, zero outside, mean 1: the promises of a `PerfusionMap`."""
    values = perfusion.values
    broken = int(np.count_nonzero(~np.isfinite(values)))
    voxels = int(np.count_nonzero(perfusion.lungs))
    findings = policy.judge("MAP_NOT_FINITE", broken, f"The map has {broken} values that are not numbers.")
    findings += policy.judge("MAP_EMPTY", voxels, f"The map has {voxels} voxels of lung.")
    if findings:
        return findings
    inside = values[perfusion.lungs].astype(np.float64)
    mean, smallest = float(inside.mean()), float(inside.min())
    outside = float(np.max(np.abs(values), where=~perfusion.lungs, initial=0.0))
    if smallest <= 0.0:
        sentence = "The map is not above 0 everywhere inside the lungs."
        findings += policy.state("MAP_NOT_POSITIVE", smallest, 0.0, sentence)
    findings += policy.judge("MAP_OUTSIDE_LUNGS", outside, "The map is not 0 everywhere outside the lungs.")
    return findings + policy.judge("MAP_MEAN", mean, f"The mean of the map over both lungs is {mean:.4f} instead of 1.")


def check_spread(perfusion: PerfusionMap, policy: QualityPolicy) -> Findings:
    """Standard deviation and peak of a map that keeps its promises."""
    inside = perfusion.values[perfusion.lungs].astype(np.float64)
    mean = float(inside.mean())
    variation = float(inside.std()) / mean if mean > 0 else 0.0
    peak = float(np.percentile(inside, PEAK_PERCENTILE))
    sentence = f"The standard deviation of the map is {variation:.3g} of its mean."
    findings = policy.judge("MAP_VARIATION", variation, sentence)
    sentence = f"The map reaches {peak:.2f} times the lung mean; dense lung (ground glass, a lesion) can do that."
    return findings + policy.judge("MAP_PEAK", peak, sentence)


def check_domain(perfusion: PerfusionMap, policy: QualityPolicy) -> Findings:
    """How far the CT is from the training of the model, for a model that knows."""
    domain = perfusion.domain
    if domain is None:
        return ()
    leading = "; ".join(_deviation(deviation) for deviation in domain.deviations[:MOST_NAMED])
    sentence = (
        f"The CT is {domain.score:.2f} times as far as the limit from those that the model was trained on "
        f"({domain.trained_on.rstrip('.')}). Furthest: {leading}. Intervals calibrated there do not hold for it."
    )
    return policy.judge("OUT_OF_DOMAIN", domain.score, sentence)


def check_members(perfusion: PerfusionMap, policy: QualityPolicy) -> Findings:
    """How far the networks of an ensemble disagree, by what is usual for them."""
    uncertainty = perfusion.uncertainty
    if uncertainty is None or uncertainty.interval is None or not uncertainty.interval.usual_spread > 0.0:
        return ()
    usual = uncertainty.interval.usual_spread
    ratio = uncertainty.mean_spread / usual
    sentence = (
        f"The networks of the ensemble differ by {100.0 * uncertainty.mean_spread:.1f} % of the lung mean on average, "
        f"{ratio:.2f} times of what 95 % of the patients of their study do not exceed ({100.0 * usual:.1f} %)."
    )
    return policy.judge("MEMBERS_DISAGREE", ratio, sentence)


def _deviation(deviation: Deviation) -> str:
    name = deviation.name.replace("_", " ")
    unit = "" if deviation.unit == "1" else f" {deviation.unit.replace(HU, 'HU')}"
    got = "unknown" if isnan(deviation.measured) else f"{deviation.measured:.4g}{unit}"
    return f"{name} {got} (usual {deviation.low:.4g} to {deviation.high:.4g})"


def check_regions(
    lobes: LobeMap, perfusion: PerfusionMap, regions: FunctionRegions, policy: QualityPolicy = BY_THE_TABLE
) -> Findings:
    """Masks that are kept apart from the lobes: lungs of the map, high- and low-functional lung."""
    lungs = lobes.lungs
    different = int(np.count_nonzero(perfusion.lungs != lungs))
    both = int(np.count_nonzero(regions.high & regions.low))
    outside = int(np.count_nonzero((regions.high | regions.low) & ~lungs))
    empty = [name for name, region in (("high", regions.high), ("low", regions.low)) if not region.any()]
    sentence = f"{different} voxels are lung for the map or for the lobes and not for both."
    findings = policy.judge("MAP_LUNGS_DIFFER", different, sentence)
    findings += policy.judge("REGIONS_OVERLAP", both, f"{both} voxels are high- and low-functional at once.")
    sentence = f"{outside} voxels of functional regions lie outside the lungs."
    findings += policy.judge("REGIONS_OUTSIDE_LUNGS", outside, sentence)
    sentence = f"By this rule there is no {' and no '.join(empty)}-functional lung."
    return findings + policy.judge("REGION_EMPTY", len(empty), sentence)


def check_execution(records: tuple[ExecutionRecord, ...], policy: QualityPolicy = BY_THE_TABLE) -> Findings:
    """Networks that did not run as configured, because memory was short; a flag where the numbers may differ."""
    findings: Findings = ()
    for record in records:
        if record.rung != Rung.CONFIGURED:
            sentence = f"Memory ran out, so {record.network} ran with {_steps(record)}: {_effect(record)}."
            severity = Severity.FLAG if record.numbers_differ else Severity.NOTE
            findings += policy.state("RAN_ON_LESS_MEMORY", Rung(record.rung).depth, 0.0, sentence, severity)
    return findings


def _steps(record: ExecutionRecord) -> str:
    tile = " x ".join(str(side) for side in record.tile)
    return f"tiles of {tile} in {record.precision} on {record.device} (rung {record.rung})"


def _effect(record: ExecutionRecord) -> str:
    return "values may differ a little from those of a usual run" if record.numbers_differ else "no effect is expected"
