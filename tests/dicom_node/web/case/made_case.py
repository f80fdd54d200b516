"""What the pipeline makes of the digital thorax, to be put into nodes of tests."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dicom_node.jobs.cases import CaseFolder, CaseRecord, CaseStore
from dicom_node.jobs.stages import Stage
from dicom_node.pipeline import STAGES
from dicom_node.settings.config import parse_settings
from dicom_node.structures.subtraction import SubtractionRule
from inference.ct.instances import CtAcquisition, PhantomPatient, ct_instances
from inference.phantom.thorax import DigitalThorax
from tests.dicom_node.web.case import stories
from tests.rt_structures import cylinder, structure_set, written

OTTILIE = PhantomPatient(
    name="<script>alert(1)</script>^Ottilie",
    patient_id="<b>OT-4711</b>",
    birth_date="19511224",
    study_description="Planning of Ottilie",
    series_description="Thorax of Ottilie",
)
"""A patient whose name would be a program, were it not shown as text."""


@dataclass(frozen=True)
class MadeCase:
    """A case folder that tests copy from."""

    path: Path
    record: CaseRecord


def make_case(folder: Path, thorax: DigitalThorax) -> MadeCase:
    """What the pipeline made of the digital thorax of Ottilie, with a tumour that a planner drew."""
    kinds = ["parametric-map", "structure-set", "mr-twin", "segmentation", "report", "summary-pdf"]
    peer = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "objects": kinds}
    settings = parse_settings({"inference": {"perfusion": "densitometric"}, "destinations": [peer]})
    settings = replace(settings, subtraction=SubtractionRule(("gtv.*",)))
    case = CaseFolder(folder / "data" / "cases" / "made", tell=lambda doing: None)
    scanner = CtAcquisition(protocol="Thorax of Ottilie", kernel="B31f", slice_thickness_mm=5.0)
    for number, dataset in enumerate(ct_instances(thorax.ct, patient=OTTILIE, acquisition=scanner)):
        written(dataset, case.received / f"{number:04d}.dcm")
    drawn = structure_set(thorax.ct.grid, thorax.ct.source, {"GTV": cylinder(range(18, 26), 48.0, 30.0, 6.0)})
    written(drawn, case.structures / "0000.dcm")
    for stage in stories.MADE:
        STAGES[Stage(stage)](case, settings)
    uid = thorax.ct.source.series_instance_uid
    return MadeCase(case.path, CaseRecord("", uid, "d1", 48, "TPS", "planning-ct", arrived_at_s=1_700_000_000.0))


def put_case(made: MadeCase, cases: CaseStore, case_id: str, *without: str, **record: Any) -> CaseFolder:
    """A copy in the folder of a node, without some of its files, with other fields of its record."""
    folder = cases.folder(case_id)
    shutil.copytree(made.path, folder.path, ignore=shutil.ignore_patterns(*without))
    folder.write_record(replace(made.record, case_id=case_id, **record))
    return folder
