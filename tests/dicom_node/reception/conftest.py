"""A spool, a journal and an intake as the node has them, without the node."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from dbos import run_dbos_database_migrations
from pydicom import Dataset

from dicom_node.jobs.attempts import Case
from dicom_node.jobs.cases import CaseFolder, CaseStore
from dicom_node.jobs.job_database import JobDatabase
from dicom_node.jobs.jobs import JobBook
from dicom_node.reception.arrivals import Arrival, Arrivals
from dicom_node.reception.intake import Intake
from dicom_node.reception.spool import Spool
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.structures.received import ReceivedStructures
from dicom_node.structures.structure_sets import StructureStore
from tests.small_ct import SERIES, received, small_ct

SPACING_MM = 3.0
Ask = Callable[[str, str], int | None]
PATIENT = {"PatientID": "4711", "PatientName": "Real^Person", "SeriesDescription": "Thorax 3.0"}


def chest_slice(number: int, *, series: str = SERIES, z_mm: float | None = None, **attributes: Any) -> Dataset:
    """One axial slice; `attributes` are written over it."""
    dataset = small_ct(number, series=series)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, SPACING_MM * number if z_mm is None else z_mm]
    dataset.SliceThickness = SPACING_MM
    for keyword, value in {**PATIENT, **attributes}.items():
        setattr(dataset, keyword, value)
    return dataset


@dataclass
class FrontDoor:
    """What stands between the receiver and the engine."""

    data_dir: Path
    settings: NodeSettings
    spool: Spool
    jobs: JobBook
    intake: Intake

    def send(self, *datasets: Dataset, release: bool = True, association: str = "") -> None:
        """What one association brings; without a release it is cut off."""
        association = association or f"a{len(list(self.data_dir.rglob('associations/*')))}"
        self.spool.association_opened(association)
        for dataset in datasets:
            self.spool.keep(received(dataset, association))
        if release:
            self.spool.association_released(association)
        self.spool.association_ended(association)

    def look(self) -> list[str]:
        """One look of the intake at everything; the cases it made."""
        return self.intake.take_complete()

    def arrivals(self) -> list[Arrival]:
        return Arrivals.under(self.data_dir, self.spool).all()

    def only(self) -> Arrival:
        (arrival,) = self.arrivals()
        return arrival

    def restart(self, ask: Ask | None = None) -> None:
        """What a new process knows: the files, and nothing else."""
        self.spool = Spool(self.spool.root, minimum_free_mb=1)
        self.intake = _intake(self.settings, self.spool, self.jobs, ask)
        self.intake.recover()

    def folder(self, case_id: str) -> CaseFolder:
        return CaseStore.under(self.data_dir).folder(case_id)

    def cases(self) -> list[Case]:
        return self.jobs.cases()


def _intake(settings: NodeSettings, spool: Spool, jobs: JobBook, ask: Ask | None) -> Intake:
    structures = ReceivedStructures(StructureStore.under(settings.data_dir), settings.subtraction)
    return Intake.of(
        settings.data_dir, settings.cases(), spool, jobs, settings.rules, settings.completeness, ask, structures
    )


@pytest.fixture(scope="session")
def empty_journal(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The durable engine's database with nothing in it."""
    folder = tmp_path_factory.mktemp("journal")
    database = JobDatabase.under(folder)
    run_dbos_database_migrations(database.url)
    assert database.path is not None
    return database.path


@pytest.fixture
def front_door(tmp_path: Path, empty_journal: Path) -> Any:
    """Makes front doors: settings as tables of the site file, and whom to ask for counts."""
    opened: list[JobBook] = []

    def make(
        ask: Ask | None = None, rules: Sequence[Any] = (), site: dict[str, Any] | None = None, **completeness: Any
    ) -> FrontDoor:
        shutil.copy(empty_journal, tmp_path / empty_journal.name)
        node = {"data_dir": str(tmp_path), "quiet_period_s": 0.1}
        tables = {"node": node, "completeness": completeness, "rules": list(rules), **(site or {})}
        settings = parse_settings(tables)
        opened.append(JobBook(settings.database, settings.cases()))
        spool = Spool(tmp_path / "spool", minimum_free_mb=1)
        return FrontDoor(tmp_path, settings, spool, opened[-1], _intake(settings, spool, opened[-1], ask))

    yield make
    for book in opened:
        book.__exit__()
