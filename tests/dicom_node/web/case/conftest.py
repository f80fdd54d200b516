"""Cases as the pipeline and the engine leave them, at a node whose pages somebody reads."""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.jobs.stages import Stage
from dicom_node.pipeline import STAGES
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.structures.subtraction import SubtractionRule
from inference.ct.instances import CtAcquisition, PhantomPatient, ct_instances
from inference.fingerprint import Deviation, DomainDistance
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.phantom.thorax import DigitalThorax
from inference.uncertainty import ConformalInterval, RegionUncertainty, Uncertainty
from inference.volumes import PerfusionMap
from tests.dicom_node.web.case import stories
from tests.finished_jobs import write_rows
from tests.rt_structures import cylinder, structure_set, written

OTTILIE = PhantomPatient(
    name="<script>alert(1)</script>^Ottilie",
    patient_id="<b>OT-4711</b>",
    birth_date="19511224",
    study_description="Planning of Ottilie",
    series_description="Thorax of Ottilie",
)
"""A patient whose name would be a program, were it not shown as text."""
SECRETS = ("Ottilie", "OT-4711", "19511224", "1951-12-24", "script>alert")
"""What nobody reads who may not see patients."""
AddCase = Callable[..., CaseFolder]


@dataclass(frozen=True)
class MadeCase:
    """A case folder that tests copy from."""

    path: Path
    record: CaseRecord


@pytest.fixture(scope="session")
def made_case(tmp_path_factory: pytest.TempPathFactory, thorax: DigitalThorax) -> MadeCase:
    """What the pipeline made of the digital thorax of Ottilie, with a tumour that a planner drew."""
    kinds = ["parametric-map", "structure-set", "mr-twin", "segmentation", "report", "summary-pdf"]
    peer = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104, "objects": kinds}
    settings = parse_settings({"inference": {"perfusion": "densitometric"}, "destinations": [peer]})
    settings = replace(settings, subtraction=SubtractionRule(("gtv.*",)))
    case = CaseFolder(tmp_path_factory.mktemp("made") / "data" / "cases" / "made", tell=lambda doing: None)
    scanner = CtAcquisition(protocol="Thorax of Ottilie", kernel="B31f", slice_thickness_mm=5.0)
    for number, dataset in enumerate(ct_instances(thorax.ct, patient=OTTILIE, acquisition=scanner)):
        written(dataset, case.received / f"{number:04d}.dcm")
    drawn = structure_set(thorax.ct.grid, thorax.ct.source, {"GTV": cylinder(range(18, 26), 48.0, 30.0, 6.0)})
    written(drawn, case.structures / "0000.dcm")
    for stage in stories.MADE:
        STAGES[Stage(stage)](case, settings)
    uid = thorax.ct.source.series_instance_uid
    return MadeCase(case.path, CaseRecord("", uid, "d1", 48, "TPS", "planning-ct", arrived_at_s=1_700_000_000.0))


@pytest.fixture(scope="session")
def database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The database of a node that has had every story."""
    folder = tmp_path_factory.mktemp("rows")
    write_rows(folder, stories.rows())
    return folder


@pytest.fixture
def add_case(node_settings: NodeSettings, made_case: MadeCase, database: Path) -> AddCase:
    """Put the case of a story into the node, without some of its files, with other fields of its record."""

    def add(case_id: str, *without: str, **record: Any) -> CaseFolder:
        folder = node_settings.cases().folder(case_id)
        shutil.copytree(made_case.path, folder.path, ignore=shutil.ignore_patterns(*without))
        folder.write_record(replace(made_case.record, case_id=case_id, **record))
        for path in database.glob("node.sqlite*"):
            shutil.copy(path, node_settings.data_dir)
        return folder

    return add


@pytest.fixture(scope="session")
def ensemble_map() -> PerfusionMap:
    """A tiny map as an ensemble leaves it: with its spread, calibrated ranges, and a CT unlike the training."""
    grid = Grid.axial((2, 2, 2), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    zeros = np.zeros(grid.shape, dtype=np.float32)
    interval = ConformalInterval(0.9, 0.9, (20,), (0.3,), {"Lung_RUL": (0.25,)}, 0.2, "in-silico patients")
    known = Uncertainty(zeros, zeros, zeros, grid, 0.08, {"Lung_RUL": RegionUncertainty(0.1, 0.2, 0.3)}, interval)
    far = Deviation("noise", float("nan"), 5.0, 20.0, "[hnsf'U]", 1.4)
    domain = DomainDistance(1.4, (far,), "in-silico patients")
    return PerfusionMap(zeros, zeros > 0, grid, ModelIdentity("ensemble", "1"), known, domain)
