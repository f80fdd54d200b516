"""Cases as the pipeline and the engine leave them, at a node whose pages somebody reads."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dicom_node.jobs.cases import CaseFolder
from dicom_node.settings.config import NodeSettings
from inference.fingerprint import Deviation, DomainDistance
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.phantom.thorax import DigitalThorax
from inference.uncertainty import ConformalInterval, RegionUncertainty, Uncertainty
from inference.volumes import PerfusionMap
from tests.dicom_node.web.case import stories
from tests.dicom_node.web.case.made_case import MadeCase, make_case, put_case
from tests.finished_jobs import write_rows

SECRETS = ("Ottilie", "OT-4711", "19511224", "1951-12-24", "script>alert")
"""What nobody reads who may not see patients."""
AddCase = Callable[..., CaseFolder]


@pytest.fixture(scope="session")
def made_case(tmp_path_factory: pytest.TempPathFactory, thorax: DigitalThorax) -> MadeCase:
    """A case that tests copy from."""
    return make_case(tmp_path_factory.mktemp("made"), thorax)


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
        folder = put_case(made_case, node_settings.cases(), case_id, *without, **record)
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
