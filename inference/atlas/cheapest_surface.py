"""The cheapest smooth surface through a volume of costs.

One height per column. The sum of the cost at the chosen heights and of a penalty for steps between neighbouring
columns is made small by semi-global matching (Hirschmüller, IEEE TPAMI 30:328, 2008): the best path into every column
from eight directions, each found exactly by dynamic programming, added up.
"""

import numpy as np
from jaxtyping import Float32, Int

Cost = Float32[np.ndarray, "columns rows heights"]

_STEPS = 2
"""Furthest step of a surface between neighbours, in heights."""
_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (1, -1), (-1, 1), (-1, -1))


def cheapest_surface(cost: Cost, bend: float) -> Int[np.ndarray, "columns rows"]:
    """The index of the chosen height in every column.

    Args:
        cost: of each height in each column.
        bend: penalty for a step of one height between neighbours; it grows with the square of the step.
    """
    total = sum(_path_cost(cost, direction, bend) for direction in _DIRECTIONS)
    chosen: Int[np.ndarray, "columns rows"] = np.argmin(total, axis=2)
    return chosen


def _path_cost(cost: Cost, direction: tuple[int, int], bend: float) -> Cost:
    """Cost of the cheapest path that comes along a direction and ends at each height of each column."""
    along, across = direction
    if along == 0:
        return np.ascontiguousarray(_path_cost(cost.transpose(1, 0, 2), (across, 0), bend).transpose(1, 0, 2))
    path = cost.copy()
    order = range(len(cost)) if along > 0 else range(len(cost) - 1, -1, -1)
    before = None
    for k in order:
        if before is not None:
            path[k] += _cheapest_step(_moved(before, across), bend)
        before = path[k]
    return path


def _moved(line: Float32[np.ndarray, "rows heights"], across: int) -> Float32[np.ndarray, "rows heights"]:
    if across == 0:
        return line
    moved = np.zeros_like(line)
    if across > 0:
        moved[1:] = line[:-1]
    else:
        moved[:-1] = line[1:]
    return moved


def _cheapest_step(before: Float32[np.ndarray, "rows heights"], bend: float) -> Float32[np.ndarray, "rows heights"]:
    padded = np.pad(before, ((0, 0), (_STEPS, _STEPS)), constant_values=np.float32(np.inf))
    width = before.shape[1]
    best: Float32[np.ndarray, "rows heights"] = np.min(
        [padded[:, k : k + width] + np.float32(bend * (k - _STEPS) ** 2) for k in range(2 * _STEPS + 1)], axis=0
    )
    best -= best.min(axis=1, keepdims=True)
    return best
