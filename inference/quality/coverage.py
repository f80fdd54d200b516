"""Checks of what the scan holds: lungs that it cuts off, and slices that do not follow from their neighbours."""

from itertools import pairwise

import numpy as np
from jaxtyping import Float

from inference.geometry import Grid, Reorientation
from inference.lung_box import lung_box
from inference.quality.findings import Findings
from inference.quality.policy import QualityPolicy
from inference.volumes import CtVolume, LobeMap

PADDING_HU = -1024.0
"""What the reader of series makes of pixels outside the reconstruction circle."""
_CORNER = 3
_RIM = 2
"""Pixels from the circle inwards that count as lying on it."""
_FACES = (("BOTTOM", "TOP"), ("FRONT", "BACK"), ("RIGHT", "LEFT"))


def check_coverage(lobes: LobeMap, policy: QualityPolicy) -> Findings:
    """Lungs that reach a face of the volume, in patient directions: the scan may have cut them off."""
    turn = Reorientation.to_patient_axes(lobes.grid)
    labels, grid = turn.apply(lobes.labels), turn.grid(lobes.grid)
    findings: Findings = ()
    for axis, sides in enumerate(_FACES):
        for side, position in zip(sides, (0, -1), strict=True):
            area_cm2 = float(np.count_nonzero(np.take(labels, position, axis=axis))) * _face_cm2(grid, axis)
            sentence = f"Lung covers {area_cm2:.1f} cm2 of the {side.lower()} face of the scan: it may be cut off."
            findings += policy.judge(f"LUNG_TOUCHES_{side}", area_cm2, sentence)
    return findings


def check_circle(ct: CtVolume, lobes: LobeMap, policy: QualityPolicy) -> Findings:
    """Lungs that reach the circle outside of which the scanner reconstructed nothing."""
    rows, columns = ct.grid.shape[1:]
    middle = ct.hu[ct.grid.shape[0] // 2]
    corners = [
        middle[r, c]
        for r in (slice(0, _CORNER), slice(-_CORNER, None))
        for c in (slice(0, _CORNER), slice(-_CORNER, None))
    ]
    if min(rows, columns) < 16 * _RIM or any(np.any(corner != PADDING_HU) for corner in corners):
        return ()
    spacing_mm = min(ct.grid.spacing_mm[1:])
    row, column = np.ogrid[:rows, :columns]
    from_centre = np.hypot(row - (rows - 1) / 2.0, column - (columns - 1) / 2.0)
    rim = from_centre > min(rows, columns) / 2.0 - _RIM
    voxels = sum(int(np.count_nonzero(section[rim])) for section in lobes.labels)
    area_cm2 = 1000.0 * voxels * ct.grid.voxel_volume_ml / (_RIM * spacing_mm) / 100.0
    sentence = f"Lung covers {area_cm2:.1f} cm2 of the rim of the field of view: it may be cut off."
    return policy.judge("LUNG_TOUCHES_CIRCLE", area_cm2, sentence)


def check_slices(lobes: LobeMap, policy: QualityPolicy) -> Findings:
    """Slices whose lungs do not follow from those of their neighbours."""
    if not lobes.labels.any():
        return ()
    lungs = lobes.labels[lung_box(lobes.lungs, lobes.grid)] > 0
    if len(lungs) < 5:
        return ()
    largest = float(np.count_nonzero(lungs, axis=(1, 2)).max())
    before = [lungs[k] != lungs[k + 1] for k in range(len(lungs) - 1)]
    changed = np.array([np.count_nonzero(change) for change in before]) / largest
    odd = np.array([np.count_nonzero(a & b) for a, b in pairwise(before)]) / largest
    first = int(np.flatnonzero(lobes.labels.any(axis=(1, 2)))[0])
    worst = int(odd.argmax())
    findings = policy.judge(
        "SLICE_STANDS_OUT",
        100.0 * float(odd[worst]),
        f"In slice {first + worst + 2} {100.0 * odd[worst]:.0f} % of the lungs lie otherwise than in the slices before "
        "and after it: it may be misplaced, repeated or moved.",
    )
    excess = _excess(changed)
    step = int(excess.argmax())
    return findings + policy.judge(
        "LUNG_AREA_JUMP",
        100.0 * float(excess[step]),
        f"Between slices {first + step + 1} and {first + step + 2} the lungs change by {100.0 * excess[step]:.0f} % of "
        "their largest section more than nearby: slices may be missing, or the patient moved.",
    )


def _excess(changed: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    """How far each change lies above the second largest of the changes around it, two to either side.

    The second largest, because a single odd slice makes two large changes side by side.
    """
    padded = np.pad(changed, 2, constant_values=0.0)
    around = np.stack([padded[shift : shift + len(changed)] for shift in (0, 1, 3, 4)])
    excess: Float[np.ndarray, " n"] = np.maximum(changed - np.sort(around, axis=0)[-2], 0.0)
    return excess


def _face_cm2(grid: Grid, axis: int) -> float:
    first, second = (spacing for other, spacing in enumerate(grid.spacing_mm) if other != axis)
    return first * second / 100.0
