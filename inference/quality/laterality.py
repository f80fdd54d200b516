"""Right and left by heart and liver, back by the spine, up by the trachea: whatever the lobes are called.

A mirrored CT has perfect lobes on the wrong side, and no figure of them says so. What does is the rest of the body: the
heart reaches to the left, the liver lies under the right lung. A patient with situs inversus looks the same, and the
result would be as wrong: it is then the left lung that has three lobes. So when heart and liver both contradict the
sides, the result is rejected; when they contradict each other, a person should look.

Evidence, each from -1 to 1 and limits ours:

* heart: how far the middle of the gap between the lungs lies to the left of the middle of the body, in rows in front
  of the middle of the lungs, from the domes of the diaphragm up to half the height of the lungs; 12 mm count as 1;
* liver: half from how much higher the right dome of the diaphragm stands (15 mm count as 1), half from how much denser
  the tissue under the right lung is than that under the left (25 HU count as 1: stomach, bowel and fat are lighter than
  liver, the spleen is not).
"""

from dataclasses import dataclass
from math import fsum

import numpy as np
from jaxtyping import Bool

from inference.anatomy import Side
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings
from inference.quality.patient import blood_hu, dome_heights_mm
from inference.quality.policy import QualityPolicy
from inference.quality.threshold_lungs import ThresholdLungs

HEART_MM = 12.0
DOME_MM = 15.0
LIVER_HU = 25.0
_UNDER_MM = 40.0
_NARROWEST_GAP_MM = 30.0
_BONE_HU = 200.0
_ABOVE_BLOOD_HU = 100.0


@dataclass(frozen=True, slots=True)
class SideEvidence:
    """What heart and liver say; None where they cannot be seen."""

    heart_mm: float | None
    """How far the heart reaches to the left."""
    dome_mm: float | None
    """How much higher the right dome stands."""
    liver_hu: float | None
    """How much denser the tissue under the right lung is."""

    @property
    def heart(self) -> float:
        """-1 to 1, 0 where it is not seen."""
        return 0.0 if self.heart_mm is None else float(np.clip(self.heart_mm / HEART_MM, -1.0, 1.0))

    @property
    def liver(self) -> float:
        """-1 to 1, 0 where it is not seen."""
        parts = ((self.dome_mm, DOME_MM), (self.liver_hu, LIVER_HU))
        return fsum(0.5 * float(np.clip(found / whole, -1.0, 1.0)) for found, whole in parts if found is not None)

    @property
    def together(self) -> float:
        """-1 to 1: 1 is heart left and liver right."""
        return 0.5 * (self.heart + self.liver)

    def words(self) -> str:
        """What was measured, in words."""
        heart = "is not seen" if self.heart_mm is None else f"lies {_offset(self.heart_mm, 'left', 'right')}"
        dome = "" if self.dome_mm is None else f", the right dome {_offset(self.dome_mm, 'higher', 'lower')}"
        liver = "" if self.liver_hu is None else f", tissue under the right lung {self.liver_hu:+.0f} HU denser"
        return f"the heart {heart}{dome}{liver}"


def _offset(millimetres: float, forward: str, backward: str) -> str:
    return f"{abs(millimetres):.0f} mm {forward if millimetres >= 0 else backward}"


def check_sides(thorax: CoarseThorax, found: ThresholdLungs, policy: QualityPolicy) -> Findings:
    """Whether heart and liver lie where the coordinates of the CT say they should."""
    evidence = side_evidence(thorax, found)
    seen = max(abs(evidence.heart), abs(evidence.liver))
    where = (
        "Heart and liver lie on the wrong sides"
        if max(evidence.heart, evidence.liver) <= 0.0
        else "Heart and liver contradict each other"
    )
    sentence = (
        f"{where} ({evidence.words()}): the CT is mirrored, or the patient has situs inversus, and in either case "
        "right and left lobes are exchanged; or something has displaced them."
    )
    findings = policy.judge("MIRRORED", evidence.together, sentence)
    sentence = f"Whether right is right could not be seen ({evidence.words()})."
    return findings or policy.judge("SIDES_NOT_SEEN", seen, sentence)


def check_axes(thorax: CoarseThorax, found: ThresholdLungs, policy: QualityPolicy) -> Findings:
    """Whether the spine is at the back and the trachea above."""
    lungs = found.both
    if not lungs.any():
        return ()
    z_lungs, y_lungs, _ = thorax.centre_mm(lungs)
    findings: Findings = ()
    levels = np.asarray(lungs.any(axis=(1, 2)))[:, np.newaxis, np.newaxis]
    near = np.abs(thorax.positions_mm(2) - thorax.midline_mm) < 50.0
    # Above blood with contrast medium too, which would pull the middle of bone into the heart.
    bone_hu = max(_BONE_HU, (blood_hu(thorax, found) or 0.0) + _ABOVE_BLOOD_HU)
    bone = (thorax.hu > bone_hu) & thorax.body & levels & near
    if thorax.ml(bone) > 20.0:
        behind_mm = thorax.centre_mm(bone)[1] - y_lungs
        sentence = f"The spine lies {_offset(behind_mm, 'behind', 'in front of')} the middle of the lungs."
        findings += policy.judge("BACK_TO_FRONT", behind_mm, sentence)
    if found.airway.any():
        above_mm = thorax.centre_mm(found.airway)[0] - z_lungs
        sentence = f"The trachea lies {_offset(above_mm, 'above', 'below')} the middle of the lungs."
        findings += policy.judge("UPSIDE_DOWN", above_mm, sentence)
    return findings


def side_evidence(thorax: CoarseThorax, found: ThresholdLungs) -> SideEvidence:
    """Measure heart, domes and tissue under the lungs; a missing lung hides all of them."""
    if not (found.right.any() and found.left.any()):
        return SideEvidence(None, None, None)
    domes = dome_heights_mm(thorax, found)
    return SideEvidence(
        _heart_mm(thorax, found, None if domes is None else max(domes.values())),
        None if domes is None else domes[Side.RIGHT] - domes[Side.LEFT],
        _liver_hu(thorax, found),
    )


def _heart_mm(thorax: CoarseThorax, found: ThresholdLungs, dome_mm: float | None) -> float | None:
    """Middle of the widest gap between the lungs against the middle of the body, weighted by its width.

    Below the higher dome the liver would widen the gap on its side.
    """
    lungs, z_mm, x_mm = found.both, thorax.positions_mm(0), thorax.positions_mm(2)
    levels = np.flatnonzero(lungs.any(axis=(1, 2)))
    levels = levels[: max(len(levels) // 2, 1)]
    rows = np.flatnonzero(thorax.positions_mm(1) < thorax.centre_mm(lungs)[1])
    step_mm, weights, offsets = thorax.grid.spacing_mm[2], [], []
    for k in (k for k in levels if dome_mm is None or z_mm[k] > dome_mm):
        for row in rows:
            gap = _widest_gap(lungs[k, row])
            if gap is not None and (gap[1] - gap[0]) * step_mm >= _NARROWEST_GAP_MM:
                weights.append((gap[1] - gap[0]) * step_mm)
                offsets.append(0.5 * (x_mm[gap[0]] + x_mm[gap[1]]) - thorax.midline_mm)
    return float(np.average(offsets, weights=weights)) if len(weights) >= 10 else None


def _widest_gap(row: Bool[np.ndarray, " columns"]) -> tuple[int, int] | None:
    """Last lung before and first lung after the longest run without lung that has lung on both sides."""
    inside = np.flatnonzero(row)
    if len(inside) < 2:
        return None
    steps = np.diff(inside)
    widest = int(steps.argmax())
    return (int(inside[widest]), int(inside[widest + 1])) if steps[widest] > 1 else None


def _liver_hu(thorax: CoarseThorax, found: ThresholdLungs) -> float | None:
    """Mean HU of the tissue right under the right lung, less that under the left; fat to contrast medium count."""
    means = {}
    planes = max(round(_UNDER_MM / thorax.grid.spacing_mm[0]), 1)
    for side in Side:
        lung = found.side(side)
        bottom = lung.argmax(axis=0)
        rows, columns = np.nonzero(lung.any(axis=0) & (bottom > planes))
        if len(rows) * thorax.grid.spacing_mm[1] * thorax.grid.spacing_mm[2] < 1000.0:
            return None
        # From one block below the lung on, whose HU are half lung.
        depths = bottom[rows, columns][:, np.newaxis] - 2 - np.arange(planes - 1)
        under = thorax.hu[depths, rows[:, np.newaxis], columns[:, np.newaxis]]
        inside = thorax.body[depths, rows[:, np.newaxis], columns[:, np.newaxis]] & (under < 300.0)
        means[side] = float(np.clip(under[inside], -200.0, 200.0).mean()) if inside.any() else 0.0
    return means[Side.RIGHT] - means[Side.LEFT]
