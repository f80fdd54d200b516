"""Cases whose objects are made already, for tests of what comes after: deliveries are queued, no stage is run."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydicom.uid import MRImageStorage

from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.jobs.jobs import JobBook
from dicom_node.network.addresses import AeAddress
from dicom_node.processes.roles import Role
from dicom_node.serving.job_engine import JobEngine
from dicom_node.settings.config import NodeSettings
from tests.small_ct import small_ct, write_file


def destination(name: str, address: AeAddress, **more: Any) -> dict[str, Any]:
    """A destination that gets one small object of every case and is not asked whether it kept it."""
    return {
        "name": name,
        "ae_title": address.ae_title,
        "host": address.host,
        "port": address.port,
        "objects": ["mr-twin"],
        "verify": "none",
        **more,
    }


def object_uid(case_id: str) -> str:
    """SOP Instance UID of the only object of a case."""
    return f"2.25.{int(case_id, 16)}"


def prepare_case(settings: NodeSettings, number: int, *, priority: str = "normal") -> CaseFolder:
    """A case with one object; cases arrive in the order in which they are prepared."""
    case = settings.cases().folder(f"{number:016x}")
    make_directory(case.objects)
    dataset = small_ct(series="2.25.20")
    dataset.SOPClassUID, dataset.SOPInstanceUID = MRImageStorage, object_uid(case.case_id)
    write_file(case.objects, dataset).rename(case.objects / "mr-twin-0001.dcm")
    write_json(case.contents, {"ordered": ["mr-twin"], "result": ""})
    arrived_at_s = settings.cases().next_arrival_s()
    case.write_record(CaseRecord(case.case_id, "2.25.20", "", 1, "CT", "test", "", priority, arrived_at_s))
    return case


def queue_deliveries(settings: NodeSettings, cases: Sequence[CaseFolder], name: str, stage: str = "deliver") -> None:
    """Queue the first delivery of each case to a destination."""
    with JobBook(settings.database, settings.cases()) as book:
        for case in cases:
            book.start_unit(case.case_id, f"{stage}.{name}")


@contextmanager
def engine(settings: NodeSettings, *roles: Role) -> Iterator[JobEngine]:
    """A running engine in this process; without a role it only makes the database."""
    running = JobEngine(settings, roles, "test:1")
    make_directory(settings.data_dir)
    running.launch()
    try:
        yield running
    finally:
        running.close()


def site_text(folder: Path, destinations: Sequence[dict[str, Any]], work: str = "") -> str:
    """A site file in TOML."""
    tables = []
    for fields in destinations:
        lines = [f"{key} = {_toml(value)}" for key, value in fields.items()]
        tables.append("[[destinations]]\n" + "\n".join(lines))
    head = f'[node]\ndata_dir = "{folder / "data"}"\nminimum_free_mb = 100\n[log]\nformat = "json"\n[work]\n{work}\n'
    return head + "\n".join(tables) + "\n"


def _toml(value: Any) -> str:
    return repr(value).replace("'", '"') if not isinstance(value, bool) else str(value).lower()
