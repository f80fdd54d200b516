"""A case whose structure set has known geometry, and what a planner might send back of it."""

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
from pydicom.dataset import Dataset

from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.results.ledger import PublishedResult
from dicom_node.results.result_files import write_ct
from inference.geometry import Grid
from inference.volumes import CtVolume, SeriesReference
from tests.rt_structures import Contours, circle, structure_set, written

GRID = Grid.axial((70, 72, 74), (1.0, 1.0, 1.0), (-40.0, -50.0, -30.0), frame_of_reference_uid="1.2.3")
SOURCE = SeriesReference("1.2.7", "1.2.8", "1.2.3", tuple(f"1.2.9.{k}" for k in range(70)))
RADIUS_MM = 30.0
OUR_UID = "2.25.777"
CENTRE = (35, 36.0, 37.0)


def sphere(radius_mm: float) -> Contours:
    """A sphere in the middle of `GRID`, one circle on each slice."""
    slices = range(int(CENTRE[0] - radius_mm) + 1, int(CENTRE[0] + radius_mm))
    radii = {k: np.sqrt(radius_mm**2 - (k - CENTRE[0]) ** 2) for k in slices}
    return {k: [circle(CENTRE[1], CENTRE[2], radius, 240)] for k, radius in radii.items()}


def our_set(*names: str) -> Dataset:
    """A structure set as this node writes it, with the sphere under each name."""
    dataset = structure_set(GRID, SOURCE, dict.fromkeys(names, sphere(RADIUS_MM)), uid=OUR_UID)
    dataset.Manufacturer, dataset.StructureSetLabel = "perfusion-node", "PERF RESEARCH"
    return dataset


def came_back(rois: dict[str, Contours], source: SeriesReference = SOURCE) -> Dataset:
    """A structure set of a planning system."""
    return structure_set(GRID, source, rois, uid="1.2.826.0.1.3680043.8.498.900")


def naming(dataset: Dataset, uid: str) -> Dataset:
    """The same set, which says that it was made from another one."""
    item = Dataset()
    item.ReferencedSOPClassUID, item.ReferencedSOPInstanceUID = dataset.SOPClassUID, uid
    dataset.PredecessorStructureSetSequence = [item]
    return dataset


def case_with(cases: Path, ours: Dataset, *, number: int = 1, arrived_at_s: float = 1.0) -> CaseFolder:
    """A case that has made this structure set."""
    case = CaseFolder(cases / f"{number:016x}")
    make_directory(case.objects)
    written(ours, case.object("structure-set"))
    write_ct(case.ct, CtVolume(np.zeros(GRID.shape, dtype=np.float32), GRID, SOURCE))
    published = PublishedResult(f"result-{number}", "", {}, 70)
    write_json(case.contents, {"ordered": ["structure-set"], "result": asdict(published)})
    record = CaseRecord(case.case_id, SOURCE.series_instance_uid, "", 70, "CT", arrived_at_s=arrived_at_s)
    case.write_record(replace(record, rule="test"))
    return case
