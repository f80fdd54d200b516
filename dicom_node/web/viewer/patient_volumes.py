"""CT and result of a case in patient axes, mapped from the files of its stages: nothing is read before it is used.

Arrays are in index order (slice to the head, row to the back, column to the patient's left), however the series was
stored, so that nothing after this has to think of directions. No value is interpolated.
"""

import json
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float32, Int, UInt8

from dicom_node.jobs.cases import CaseFolder
from dicom_node.web.viewer.mapped_arrays import mapped_array
from inference.anatomy import Side, lobes_of
from inference.geometry import Box, Grid, Reorientation


@dataclass(frozen=True)
class PatientCt:
    """The CT of a case."""

    hu: Float32[np.ndarray, "s p l"]
    grid: Grid

    @classmethod
    def of(cls, case: CaseFolder) -> "PatientCt":
        """The CT as stage `read` left it.

        Raises:
            FileNotFoundError: it is not there yet, or not any more.
        """
        turn, grid = _turned(case.ct)
        return cls(turn.apply(mapped_array(case.ct, "hu")), grid)


@dataclass(frozen=True)
class PatientResult:
    """Lobes, map and regions of a case."""

    labels: UInt8[np.ndarray, "s p l"]
    perfusion: Float32[np.ndarray, "s p l"]
    grid: Grid
    _turn: Reorientation
    _path: Path

    @classmethod
    def of(cls, case: CaseFolder) -> "PatientResult":
        """The result as stage `perfuse` left it.

        Raises:
            FileNotFoundError: it is not there yet, or not any more.
        """
        turn, grid = _turned(case.result)
        labels, perfusion = (turn.apply(mapped_array(case.result, name)) for name in ("labels", "perfusion"))
        return cls(labels, perfusion, grid, turn, case.result)

    def region(self, name: str) -> Bool[np.ndarray, "s p l"]:
        """The mask `high` or `low`."""
        bits = np.unpackbits(mapped_array(self._path, name), count=self.labels.size)
        stored = tuple(self.labels.shape[k] for k in np.argsort(self._turn.permutation))
        return self._turn.apply(bits.reshape(stored).view(bool))

    @cached_property
    def lung_box(self) -> Box:
        """Where there is lung; all of the grid if there is none."""
        counts = self._counts[:3]
        if not counts[0].any():
            return slice(0, self.grid.shape[0]), slice(0, self.grid.shape[1]), slice(0, self.grid.shape[2])
        ends = [np.flatnonzero(count)[[0, -1]] for count in counts]
        z, y, x = (slice(int(first), int(last) + 1) for first, last in ends)
        return z, y, x

    @cached_property
    def fullest(self) -> tuple[int, int, int]:
        """Index of the slice, row and column that show most lung, the column through the right lung if there is one.

        The same cuts as on the summary page.
        """
        slices, rows, columns, right = self._counts
        return int(np.argmax(slices)), int(np.argmax(rows)), int(np.argmax(right if right.any() else columns))

    @cached_property
    def _counts(self) -> tuple[Int[np.ndarray, " n"], ...]:
        """Voxels of lung in every slice, row and column, and those of the right lung in every column."""
        slices, rows, columns = (np.zeros(n, np.int64) for n in self.grid.shape)
        right, of_right = np.zeros_like(columns), lobes_of(Side.RIGHT)
        for k, labels in enumerate(self.labels):
            lungs = labels > 0
            along = np.count_nonzero(lungs, axis=1)
            slices[k] = along.sum()
            if slices[k]:
                rows += along
                columns += np.count_nonzero(lungs, axis=0)
                right += np.count_nonzero(lungs & (labels <= max(of_right)), axis=0)
        return slices, rows, columns, right


def _turned(path: Path) -> tuple[Reorientation, Grid]:
    facts: dict[str, Any] = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))["grid"]
    grid = Grid(tuple(facts["shape"]), np.array(facts["affine"]), facts["frame_of_reference_uid"])
    turn = Reorientation.to_patient_axes(grid)
    return turn, turn.grid(grid)
