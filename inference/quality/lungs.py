"""Checks of the lungs against the CT: inside the body, not in the airway, and where a plain threshold finds air.

The threshold (`threshold_lungs`) is right about aerated lung and blind to dense lung. So a low agreement is a flag and
never more by itself, whereas aerated lung that the engine left out is a fault of the engine.
"""

import cc3d
import numpy as np

from inference.anatomy import Side
from inference.quality.coarse_thorax import TISSUE_HU, CoarseThorax, Mask
from inference.quality.findings import Findings
from inference.quality.lobes import SIDE_NAMES
from inference.quality.patient import dome_heights_mm
from inference.quality.policy import QualityPolicy
from inference.quality.threshold_lungs import ThresholdLungs

LUMEN_HU = -900.0
"""Air in the airway without its wall."""
MEDIASTINUM_MM = 45.0
"""Nearer to the middle of the body sides are not compared."""
UPPER_MEDIASTINUM = (0.6, 0.95)
"""Shares of the height of the lungs between which both sides of the mediastinum are compared: above the heart."""
BESIDE_MEDIASTINUM_MM = 70.0
THICK_MM = 10.0
"""Radius of the ball that fits into a mass and not into a vessel, or a border that differs from side to side."""


def check_place(thorax: CoarseThorax, found: ThresholdLungs, policy: QualityPolicy) -> Findings:
    """Lung outside the body or in trachea and main bronchi."""
    outside_ml = thorax.ml(thorax.lungs & ~thorax.body)
    airway_ml = thorax.ml(thorax.lungs & found.airway & (thorax.hu < LUMEN_HU))
    return (
        *policy.judge("LUNG_OUTSIDE_BODY", outside_ml, f"{outside_ml:.0f} ml of lung lie outside the body."),
        *policy.judge("LUNG_IN_AIRWAY", airway_ml, f"{airway_ml:.0f} ml of lung lie in trachea and main bronchi."),
    )


def check_agreement(thorax: CoarseThorax, found: ThresholdLungs, policy: QualityPolicy) -> Findings:
    """Each lung against the threshold, and aerated lung that is in no lobe."""
    findings: Findings = ()
    for side in Side:
        lung, aerated = thorax.lung(side), found.side(side)
        if lung.any():
            dice = _dice(lung, aerated)
            sentence = (
                f"The {SIDE_NAMES[side]} lung and what a plain threshold takes for it agree by Dice {dice:.3f}: "
                f"{_why(lung, aerated, thorax)}."
            )
            findings += policy.judge(f"{side.name}_LUNG_AGREEMENT", dice, sentence)
    left_out_ml = thorax.ml(found.both & ~thorax.lungs)
    sentence = f"{left_out_ml:.0f} ml that look like aerated lung are in no lobe."
    return findings + policy.judge("LUNG_LEFT_OUT", left_out_ml, sentence)


def check_midline(thorax: CoarseThorax, policy: QualityPolicy) -> Findings:
    """How much of each lung lies on the other side of the middle of the body."""
    is_right = thorax.positions_mm(2) < thorax.midline_mm
    findings: Findings = ()
    for side in Side:
        lung = thorax.lung(side)
        if lung.any():
            across = 100.0 * np.count_nonzero(lung[..., is_right != (side is Side.RIGHT)]) / np.count_nonzero(lung)
            sentence = f"{across:.0f} % of the {SIDE_NAMES[side]} lung lie on the other side of the middle of the body."
            findings += policy.judge("LUNG_ACROSS_MIDLINE", across, sentence)
    return findings


def check_opacities(thorax: CoarseThorax, found: ThresholdLungs, policy: QualityPolicy) -> Findings:
    """Tissue where the other lung, mirrored, has air; and fluid at the back of the chest.

    What neither the engine nor the threshold takes for lung can still be lung: consolidated, collapsed, under fluid.
    Each side is compared with the mirror image of the other, plane by plane about the middle of both lungs, above the
    diaphragm and beside the mediastinum. A disease of both sides alike is not seen.
    """
    from inference.atlas.chest_wall import effusion_ml

    domes = dome_heights_mm(thorax, found)
    findings: Findings = ()
    if domes is not None:
        chest = (thorax.hu > TISSUE_HU) & thorax.body & ~found.both
        chest[thorax.positions_mm(0) <= max(domes.values())] = False
        chest[..., np.abs(thorax.positions_mm(2) - thorax.midline_mm) < MEDIASTINUM_MM] = False
        for side, other in ((Side.RIGHT, Side.LEFT), (Side.LEFT, Side.RIGHT)):
            opaque_ml = thorax.ml(chest & _mirrored(found.side(other), found.both))
            sentence = (
                f"{opaque_ml:.0f} ml of the {SIDE_NAMES[side]} side of the chest hold tissue where the other side has "
                "aerated lung (fluid, consolidation, a mass, a collapsed lobe, or a wide heart)."
            )
            findings += policy.judge(f"{side.name}_LUNG_OPAQUE", opaque_ml, sentence)
    lungs = {side: found.side(side) for side in Side}
    fluid_ml = effusion_ml(thorax.hu, thorax.body, lungs, thorax.grid, thorax.midline_mm)
    for side, volume_ml in fluid_ml.items():
        sentence = f"Some {volume_ml:.0f} ml of fluid or airless lung seem to lie behind the {SIDE_NAMES[side]} lung."
        findings += policy.judge("PLEURAL_FLUID", volume_ml, sentence)
    return findings


def check_mediastinum(thorax: CoarseThorax, found: ThresholdLungs, policy: QualityPolicy) -> Findings:
    """Thick tissue beside the upper mediastinum that is in no lobe and where the other lung, mirrored, has air.

    A mass that lies on the mediastinum is left out of the lung by every engine that looks for air. Above the heart both
    sides of the mediastinum are alike enough for a comparison: vessels are thinner than the ball that must fit in.
    Below, and for a mass that the mirror image of the heart or of the aorta would hide, nothing is said.
    """
    from inference.atlas.balls import opened  # scipy; the node's own processes know the checks by their types

    if not found.right.any() or not found.left.any():
        return ()
    levels = thorax.positions_mm(0)[found.both.any(axis=(1, 2))]
    height = (thorax.positions_mm(0) - levels[0]) / max(float(levels[-1] - levels[0]), 1.0)
    from_middle_mm = thorax.positions_mm(2) - thorax.midline_mm
    tissue = (thorax.hu > TISSUE_HU) & thorax.body & ~found.both & ~found.airway & ~thorax.lungs
    tissue[(height < UPPER_MEDIASTINUM[0]) | (height > UPPER_MEDIASTINUM[1])] = False
    findings: Findings = ()
    for side, other, outwards in ((Side.RIGHT, Side.LEFT, -1.0), (Side.LEFT, Side.RIGHT, 1.0)):
        beside = (outwards * from_middle_mm > 0.0) & (outwards * from_middle_mm < BESIDE_MEDIASTINUM_MM)
        mass = opened(tissue & beside & _mirrored(found.side(other), found.both), THICK_MM, thorax.grid)
        largest_ml = thorax.ml(cc3d.largest_k(mass, k=1, connectivity=6, binary_image=True) > 0) if mass.any() else 0.0
        sentence = (
            f"{largest_ml:.0f} ml of thick tissue beside the upper mediastinum on the {SIDE_NAMES[side]} are in no "
            "lobe, where the other side has aerated lung (a mass, lymph nodes, fluid, a lobe without air)."
        )
        findings += policy.judge(f"{side.name}_MASS_AT_MEDIASTINUM", largest_ml, sentence)
    return findings


def _mirrored(lung: Mask, both: Mask) -> Mask:
    """A lung mirrored plane by plane about the middle between the outer borders of both."""
    mirrored = np.zeros_like(lung)
    columns = np.arange(lung.shape[2])
    for k in range(lung.shape[0]):
        ends = np.flatnonzero(both[k].any(axis=0))
        if len(ends):
            source = ends[0] + ends[-1] - columns
            inside = (source >= 0) & (source < len(columns))
            mirrored[k][:, inside] = lung[k][:, source[inside]]
    return mirrored


def _dice(first: Mask, second: Mask) -> float:
    together = int(np.count_nonzero(first)) + int(np.count_nonzero(second))
    return 2.0 * int(np.count_nonzero(first & second)) / max(together, 1)


def _why(lung: Mask, aerated: Mask, thorax: CoarseThorax) -> str:
    dense_ml, left_out_ml = thorax.ml(lung & ~aerated), thorax.ml(aerated & ~lung)
    return f"{dense_ml:.0f} ml of it look dense, {left_out_ml:.0f} ml of air lie beside it"
