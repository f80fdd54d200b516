"""Plausibility of input and output, as findings: the checks in the order in which they are made.

    CT ─▶ lobes:    pixels · coverage · slices · labels · missing · volumes · shares · order · fissures · density
                    then on a coarse thorax: pieces · place · agreement · opacities · mediastinum · midline · sides ·
                    axes · patient
    map ─▶ regions: promises · spread · domain · members · regions
    networks:       execution

A check measures and compares; it does not print and does not stop anything. What is measured, limits and severities
stand in `quality_table`, what a site changes in `quality_policy`; docs/quality.md shows both. `engine` decides what a
rejecting finding means, the objects and pages show the rest.
"""

from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.coverage import check_circle, check_coverage, check_slices
from inference.quality.findings import Finding, Findings, Severity
from inference.quality.laterality import check_axes, check_sides
from inference.quality.lobe_figures import LobeFigures
from inference.quality.lobes import (
    check_density,
    check_fissures,
    check_labels,
    check_missing,
    check_order,
    check_pieces,
    check_shares,
    check_volumes,
)
from inference.quality.lungs import check_agreement, check_mediastinum, check_midline, check_opacities, check_place
from inference.quality.maps import (
    check_domain,
    check_execution,
    check_members,
    check_promises,
    check_regions,
    check_spread,
)
from inference.quality.patient import (
    check_breath,
    check_contrast,
    check_gas,
    check_metal,
    check_noise,
    check_position,
    check_size,
)
from inference.quality.policy import BY_THE_TABLE, QualityPolicy
from inference.quality.threshold_lungs import ThresholdLungs
from inference.volumes import CtVolume, LobeMap, PerfusionMap, require_same_grid

__all__ = [
    "BY_THE_TABLE",
    "Finding",
    "QualityPolicy",
    "Severity",
    "check_ct_and_lobes",
    "check_execution",
    "check_map",
    "check_regions",
]


def check_ct_and_lobes(ct: CtVolume, lobes: LobeMap, policy: QualityPolicy = BY_THE_TABLE) -> Findings:
    """Everything that is looked at before a map is predicted.

    Raises:
        GridMismatch: `lobes` is not on the grid of `ct`.
    """
    require_same_grid(ct.grid, lobes.grid)
    figures = LobeFigures.of(ct, lobes)
    findings = check_pixels(ct, policy) + check_labels(figures, policy)
    if not lobes.labels.any():
        return findings + check_volumes(figures, policy)
    return (
        *findings,
        *check_coverage(lobes, policy),
        *check_circle(ct, lobes, policy),
        *check_slices(lobes, policy),
        *check_missing(lobes, figures, policy),
        *check_volumes(figures, policy),
        *check_shares(figures, policy),
        *check_order(figures, policy),
        *check_fissures(lobes, policy),
        *check_density(figures, policy),
        *check_metal(ct, lobes, policy),
        *check_noise(ct, policy),
        *_check_coarse(CoarseThorax.of(ct, lobes), ct, policy),
    )


def _check_coarse(thorax: CoarseThorax, ct: CtVolume, policy: QualityPolicy) -> Findings:
    found = ThresholdLungs.of(thorax)
    return (
        *check_pieces(thorax, policy),
        *check_place(thorax, found, policy),
        *check_agreement(thorax, found, policy),
        *check_opacities(thorax, found, policy),
        *check_mediastinum(thorax, found, policy),
        *check_midline(thorax, policy),
        *check_sides(thorax, found, policy),
        *check_axes(thorax, found, policy),
        *check_position(thorax, ct.grid, policy),
        *check_size(thorax, policy),
        *check_breath(thorax, found, policy),
        *check_gas(thorax, policy),
        *check_contrast(thorax, found, policy),
    )


def check_pixels(ct: CtVolume, policy: QualityPolicy) -> Findings:
    """Pixels that were once compressed with loss; a site may allow them, and then everybody shall know."""
    if ct.lossy is None:
        return ()
    how = ", ".join(part for part in (ct.lossy.method, f"ratio {ct.lossy.ratio:g}" if ct.lossy.ratio else "") if part)
    sentence = f"The CT was compressed with loss ({how or 'nobody knows how'}): its HU are not what was measured."
    return policy.state("LOSSY_COMPRESSION", ct.lossy.ratio, 1.0, sentence)


def check_map(perfusion: PerfusionMap, policy: QualityPolicy = BY_THE_TABLE) -> Findings:
    """Everything that is looked at before a map is cut into regions."""
    findings = check_promises(perfusion, policy)
    if any(finding.code in ("MAP_NOT_FINITE", "MAP_EMPTY") for finding in findings):
        return findings
    return (
        *findings,
        *check_spread(perfusion, policy),
        *check_domain(perfusion, policy),
        *check_members(perfusion, policy),
    )
