"""A small patient whose every corner is known, as a finished case, stored in any direction that scanners use."""

import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dicom_node.durable_files import make_directory
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.results.result_files import write_ct, write_result
from dicom_node.settings.config import NodeSettings
from inference.anatomy import Lobe
from inference.engine import PerfusionResult
from inference.function_regions import DEFAULT_RULE
from inference.geometry import Grid, Reorientation
from inference.lobar import lobar_perfusion
from inference.model_card import ModelIdentity
from inference.quality.findings import Finding, Severity
from inference.volumes import CtVolume, FunctionRegions, LobeMap, PerfusionMap, SeriesReference
from tests.finished_jobs import write_rows

FRAME = "1.2.826.0.1.3680043.8.498.77"
PATIENT = Grid.axial((40, 64, 64), (4.0, 3.0, 3.0), (-95.0, -120.0, -310.0), frame_of_reference_uid=FRAME)
"""In patient axes: slices to the head, rows to the back, columns to the left."""
STORED = {
    "HFS": Reorientation((0, 1, 2), (False, False, False)),
    "FFS": Reorientation((0, 1, 2), (True, False, True)),
    "HFP": Reorientation((0, 1, 2), (False, True, True)),
    "FFP": Reorientation((0, 1, 2), (True, True, False)),
    "HFDR": Reorientation((0, 2, 1), (False, True, False)),
}
"""How each patient position is stored: from the axes of the series to patient axes."""
LUNG_HU, BODY_HU, AIR_HU, BONE_HU = -800.0, 40.0, -1000.0, 900.0
HOT, COLD, USUAL = 1.8, 0.2, 1.0
HOT_MM, COLD_MM = (-35.0, -63.0, -182.0), (37.0, 12.0, -278.0)
"""Middle of the hot corner: right, front, head; and of the cold corner: left, back, feet. LPS."""
BONE_MM = (79.0, -24.0, -174.0)
"""Middle of a bone in the left wall of the chest, high up."""
MODEL = ModelIdentity("stand-in-map", "3", caveat="Invented for tests.")
WORST = Finding(
    "LUNG_TOUCHES_TOP", Severity.FLAG, "Lung reaches the first slice; part of it may be missing.", 1.0, 0.0, "1"
)
NOTE = Finding("THICK_SLICES", Severity.NOTE, "Slices are thick.", 4.0, 3.0, "mm")


@dataclass(frozen=True, slots=True, eq=False)
class Patient:
    """Arrays in patient axes."""

    hu: np.ndarray
    labels: np.ndarray
    perfusion: np.ndarray


def patient() -> Patient:
    """Two lungs in a body, a bone at the left, a hot and a cold corner."""
    z, y, x = np.ogrid[:40, :64, :64]
    hu = np.where(((y - 32) / 28.0) ** 2 + ((x - 32) / 31.0) ** 2 <= 1, BODY_HU, AIR_HU) + 0.0 * z
    labels = np.zeros(hu.shape, np.uint8)
    labels[6:36, 14:50, 10:30] = Lobe.RLL
    labels[6:22, 14:30, 10:30] = Lobe.RML
    labels[22:36, 14:50, 10:30] = Lobe.RUL
    labels[6:36, 14:50, 36:54] = Lobe.LLL
    labels[20:36, 14:50, 36:54] = Lobe.LUL
    hu[labels > 0] = LUNG_HU
    hu[30:39, 28:37, 56:61] = BONE_HU
    perfusion = np.where(labels > 0, USUAL, 0.0)
    perfusion[28:36, 14:25, 14:27] = HOT
    perfusion[6:11, 39:50, 39:50] = COLD
    perfusion[labels == 0] = 0.0
    return Patient(hu.astype(np.float32), labels, perfusion.astype(np.float32))


def stored_grid(turn: Reorientation, grid: Grid = PATIENT) -> Grid:
    """The grid of the series that becomes `grid` in patient axes."""
    columns = np.zeros((3, 3))
    origin = grid.affine[:3, 3].copy()
    shape = [0, 0, 0]
    for axis, (source, flip) in enumerate(zip(turn.permutation, turn.flips, strict=True)):
        column = grid.affine[:3, axis]
        columns[:, source] = -column if flip else column
        shape[source] = grid.shape[axis]
        if flip:
            origin += column * (grid.shape[axis] - 1)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = columns, origin
    return Grid(tuple(shape), affine, grid.frame_of_reference_uid)  # type: ignore[arg-type]


def write_arrays(case: CaseFolder, stored: str = "HFS", *, findings: tuple[Finding, ...] = (NOTE, WORST)) -> None:
    """CT and result of the patient, as the stages leave them."""
    turn, body = STORED[stored], patient()
    grid = stored_grid(turn)
    hu, labels, perfusion = (np.ascontiguousarray(turn.undo(a)) for a in (body.hu, body.labels, body.perfusion))
    source = SeriesReference("1.2.3", "1.2.3.4", FRAME, tuple(f"1.2.3.4.{k}" for k in range(grid.shape[0])))
    write_ct(case.ct, CtVolume(hu, grid, source))
    lobes = LobeMap(labels, grid, ModelIdentity("stand-in-lobes", "1", caveat="Invented for tests."))
    regions = FunctionRegions(perfusion == np.float32(HOT), perfusion == np.float32(COLD), grid, DEFAULT_RULE)
    values = PerfusionMap(perfusion, lobes.lungs, grid, MODEL)
    table = lobar_perfusion(values, lobes, regions)
    write_result(case.result, PerfusionResult(source, lobes, values, regions, table, findings))


def write_case(settings: NodeSettings, stored: str = "HFS", **more: Any) -> CaseFolder:
    """A case of the patient that has come to its result and waits for a person."""
    case = begin_case(settings)
    write_arrays(case, stored, **more)
    return case


def begin_case(settings: NodeSettings) -> CaseFolder:
    """A case that nothing has been made of."""
    case = settings.cases().folder(uuid.uuid4().hex[:16])
    make_directory(case.received)
    case.write_record(CaseRecord(case.case_id, "1.2.3.4", "", 40, "SCANNER"))
    return case


def write_held(data_dir: Path, *cases: CaseFolder) -> None:
    """The rows of cases whose deliveries wait for a person."""
    rows: dict[str, Any] = {}
    for case in cases:
        for stage in ("read", "check"):
            rows[f"{case.case_id}:1:{stage}:1"] = {"result": "done", "destinations": ["pacs"]}
        rows[f"{case.case_id}:1:deliver.pacs:1"] = {"result": "held", "code": "HOLD", "message": "Waits for a person."}
    write_rows(data_dir, rows)
