"""Checks of the lobes themselves: labels, volumes, order, pieces, density, and lobes or lungs that are not there.

A missing lung (pneumonectomy, or one so dense that no air shows) is a flag: what is said of the other lung holds, and
the reader must know that "both lungs" is one. Findings that would only repeat it (volume 0, share 100 %) are left out.
A missing lobe of a lung that is there is a flag for a network, which looks for each lobe (lobectomy, collapse), as
long as it is one; an atlas draws every lobe into every lung, so one that is missing there is a fault of the fit.
"""

import cc3d
import numpy as np

from inference.anatomy import Fissure, Lobe, Side, lobes_of
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings
from inference.quality.lobe_figures import DENSE_HU, LobeFigures
from inference.quality.policy import QualityPolicy
from inference.quality.table import NORMAL_SHARE_PERCENT
from inference.volumes import LobeMap

SIDE_NAMES = {Side.RIGHT: "right", Side.LEFT: "left"}
THIN_SLICE_MM = 3.0
"""Slices of up to this show the fissures of most patients (assumption, ours)."""
_PLAIN_PERCENT = 30.0
"""A CT that shows this much of one fissure can show the others. Ours, untuned on patients."""
_OFTEN_INCOMPLETE = "a healthy fissure may be incomplete"
_BESIDE = {
    Fissure.RIGHT_OBLIQUE: ("FISSURE_ABSENT", "RLL and RUL with RML", _OFTEN_INCOMPLETE),
    Fissure.LEFT_OBLIQUE: ("FISSURE_ABSENT", "LLL and LUL", _OFTEN_INCOMPLETE),
    Fissure.HORIZONTAL: ("HORIZONTAL_FISSURE_ABSENT", "RUL and RML", "many healthy people have no such fissure"),
}
"""Code of a fissure that is not there, lobes that it parts, and what else may be the reason."""
_UP, _BACK = 2, 1
_ORDER = (
    (Lobe.RUL, Lobe.RLL, _UP, "above"),
    (Lobe.LUL, Lobe.LLL, _UP, "above"),
    (Lobe.RUL, Lobe.RML, _UP, "above"),
    (Lobe.RML, Lobe.RLL, _BACK, "in front of"),
)
"""First lobe, second lobe, axis (of x, y, z) and word for how the first lies to the second."""


def check_labels(figures: LobeFigures, policy: QualityPolicy) -> Findings:
    """Five labels and no others. One label per voxel also means that lobes cannot overlap and fill the lungs."""
    sentence = f"{figures.unknown} voxels have a label that is no lobe."
    return policy.judge("LABELS_UNKNOWN", figures.unknown, sentence)


def check_missing(lobes: LobeMap, figures: LobeFigures, policy: QualityPolicy) -> Findings:
    """Lungs and lobes without a voxel."""
    lungs = figures.missing_lungs
    findings: Findings = ()
    for side in lungs:
        sentence = (
            f"No {SIDE_NAMES[side]} lung was found (removed, or so dense that it holds no air), so all figures relate "
            "to the other lung alone."
        )
        findings += policy.state("LUNG_MISSING", 1.0, 0.0, sentence)
    missing = [lobe for lobe in Lobe if lobe not in figures.present and lobe.side not in lungs]
    names = ", ".join(lobe.name for lobe in missing)
    if lobes.segmenter.weights_sha256:
        return findings + policy.judge("LOBE_MISSING", len(missing), f"No voxel was found for {names}.")
    sentence = f"No voxel was drawn for {names}, although the atlas draws every lobe into every lung."
    return findings + policy.judge("ATLAS_LOBE_MISSING", len(missing), sentence)


def check_volumes(figures: LobeFigures, policy: QualityPolicy) -> Findings:
    """Volume of both lungs, of each lung, and the share of the right one."""
    sides = [side for side in Side if side not in figures.missing_lungs]
    findings: Findings = ()
    for side in sides:
        volume_ml = figures.lung_ml(side)
        sentence = f"The {SIDE_NAMES[side]} lung has {volume_ml:.0f} ml."
        findings += policy.judge(f"{side.name}_LUNG_VOLUME", volume_ml, sentence)
    if len(sides) == 1:
        return findings
    total_ml = figures.ml(*Lobe)
    share = 100.0 * figures.lung_ml(Side.RIGHT) / total_ml if total_ml > 0 else 0.0
    return (
        *policy.judge("LUNG_VOLUME", total_ml, f"Both lungs together have {total_ml:.0f} ml."),
        *findings,
        *policy.judge("RIGHT_LUNG_SHARE", share, f"The right lung is {share:.0f} % of both."),
    )


def check_shares(figures: LobeFigures, policy: QualityPolicy) -> Findings:
    """Share of each lobe against supine norms; a lobe far off is often a misplaced or missing fissure.

    Where one lung is missing the other is taken as if it had its normal share of both.
    """
    findings: Findings = ()
    for lobe in figures.present:
        mean = NORMAL_SHARE_PERCENT[lobe]
        if figures.missing_lungs:
            normal = sum(NORMAL_SHARE_PERCENT[other] for other in lobes_of(lobe.side))
            share, of_what = normal * figures.ml(lobe) / figures.lung_ml(lobe.side), "the lungs, were both there"
        else:
            share, of_what = 100.0 * figures.ml(lobe) / figures.ml(*Lobe), "the lungs"
        sentence = f"{lobe.name} is {share:.1f} % of {of_what}; {mean:.1f} % is normal."
        findings += policy.judge(f"{lobe.name}_SHARE", share, sentence)
    return findings


def check_order(figures: LobeFigures, policy: QualityPolicy) -> Findings:
    """Whether the centres of lungs and lobes lie to each other as they should."""
    findings: Findings = ()
    if not figures.missing_lungs:
        right, left = (figures.centre_mm(*lobes_of(side)) for side in (Side.RIGHT, Side.LEFT))
        to_left_mm = float(left[0] - right[0])
        sentence = f"The centre of the left lung lies {to_left_mm:.0f} mm to the left of that of the right lung."
        findings += policy.judge("LUNG_SIDES", to_left_mm, sentence)
    for first, second, axis, word in _ORDER:
        if first in figures.present and second in figures.present:
            ahead_mm = float(figures.centre_mm(first)[axis] - figures.centre_mm(second)[axis])
            ahead_mm = -ahead_mm if axis == _BACK else ahead_mm
            sentence = f"The centre of {first.name} lies {ahead_mm:.0f} mm {word} that of {second.name}."
            findings += policy.judge("LOBE_ORDER", ahead_mm, sentence)
    return findings


def check_fissures(lobes: LobeMap, policy: QualityPolicy) -> Findings:
    """Fissures that an engine looked for and did not see; the lobes beside them are drawn from the atlas.

    An engine that draws every lobe into every lung cannot leave one empty. After a lobectomy or a collapse the fissure
    beside that lobe is gone, and so is what could tell this engine that the lobe it draws is an invention. Where the CT
    should show fissures, because its slices are thin or because it shows another one, that is a flag for every fissure
    which is absent. Many healthy people have no horizontal fissure, or a part of an oblique one, and are flagged as
    well: the border is no less invented in them. Where the CT could not show one it is a note.
    """
    percent = {fissure: 100.0 * share for fissure, share in lobes.fissures_seen.items()}
    if not percent:
        return ()
    seen = ", ".join(f"{fissure} {share:.0f} %" for fissure, share in percent.items())
    can_show = round(max(lobes.grid.spacing_mm), 2) <= THIN_SLICE_MM or max(percent.values()) > _PLAIN_PERCENT
    findings: Findings = ()
    for fissure, share in percent.items():
        code, beside, otherwise = _BESIDE[fissure]
        sentence = (
            f"The CT shows {share:.0f} % of the {fissure} fissure, so the border between {beside} is drawn from the "
            f"atlas; if a lobe was taken out or has collapsed, one of them is invented ({otherwise})."
        )
        findings += policy.judge(code, share, sentence) if can_show else ()
    if findings:
        return findings
    sentence = f"Of the fissures little could be seen ({seen}), so lobes lie there where an average patient has them."
    return policy.judge("FISSURES_NOT_SEEN", min(percent.values()), sentence)


def check_pieces(thorax: CoarseThorax, policy: QualityPolicy) -> Findings:
    """Whether each lobe is one piece; parts smaller than a block of the coarse grid are not seen."""
    parts, count = cc3d.connected_components(thorax.labels, connectivity=26, return_N=True)
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    label_of = np.zeros(count + 1, dtype=np.uint8)
    label_of[parts.ravel()] = thorax.labels.ravel()
    findings: Findings = ()
    for lobe in Lobe:
        own = sizes[label_of == lobe.value]
        if own.size:
            largest = 100.0 * float(own.max()) / float(own.sum())
            sentence = f"The largest connected part of {lobe.name} is {largest:.1f} % of it."
            findings += policy.judge("LOBE_IN_PIECES", largest, sentence)
    return findings


def check_density(figures: LobeFigures, policy: QualityPolicy) -> Findings:
    """Mean HU of lungs and lobes, and how much of a lobe holds no air."""
    mean_hu = figures.mean_hu(*Lobe)
    findings = policy.judge("LUNG_DENSITY", mean_hu, f"The mean CT number in the lungs is {mean_hu:.0f} HU.")
    for lobe in figures.present:
        lobe_hu, dense = figures.mean_hu(lobe), figures.dense_percent(lobe)
        findings += policy.judge("LOBE_DENSITY", lobe_hu, f"The mean CT number in {lobe.name} is {lobe_hu:.0f} HU.")
        sentence = f"{dense:.0f} % of {lobe.name} is denser than {DENSE_HU:.0f} HU (tumour, consolidation, vessels)."
        findings += policy.judge("LOBE_CONSOLIDATED", dense, sentence)
    return findings
