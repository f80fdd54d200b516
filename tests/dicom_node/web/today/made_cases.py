"""Cases of patients with unusual names, in several states: rows of the engine and files of the node."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dicom_node.durable_files import make_directory
from dicom_node.jobs.cases import CaseFolder, CaseRecord, CaseStore
from tests.finished_jobs import Output, delivered
from tests.small_ct import small_ct, write_file


@dataclass(frozen=True)
class MadeCase:
    """One case."""

    case_id: str
    patient_name: str
    patient_id: str
    accession_number: str = ""
    character_set: str = "ISO_IR 192"
    findings: tuple[str, ...] = ()
    """Severities."""
    header: dict[str, str] = field(default_factory=dict)
    """Other attributes."""


DELIVERED = MadeCase(
    "00000000000000d1",
    "Müller^Anna Maria",
    "PID-100",
    "ACC 77",
    findings=("note", "flag"),
    header={"StudyDate": "20260301"},
)
SCRIPT = MadeCase("00000000000000d2", "<script>alert(1)</script>^Bobby", 'x" onclick="y', "A_1%")
YAMADA = MadeCase("00000000000000d3", "Yamada^Tarou=山田^太郎=やまだ^たろう", "PID_200")
WAITING = MadeCase("00000000000000d4", "O'Neil^Zoë", "PID%300")
HELD = MadeCase("00000000000000d5", "", "")
CASES = (DELIVERED, SCRIPT, YAMADA, WAITING, HELD)
SECRETS = ("ller", "Anna", "PID", "ACC 77", "alert(1)", "Bobby", "onclick", "Yamada", "山田", "Neil", "Planning of")
"""Parts of what nobody may read who may not see patients."""

_AWAY: Output = {"result": "again", "code": "PEER_UNREACHABLE", "message": "Nobody answered.", "wait_s": 60.0}


def _made(case_id: str) -> dict[str, Output | None]:
    stages = ("read", "segment", "perfuse", "encode", "check")
    return {f"{case_id}:1:{stage}:1": {"result": "done", "destinations": ["pacs"]} for stage in stages}


ROWS: dict[str, Output | None] = {
    **_made(DELIVERED.case_id),
    **delivered(DELIVERED.case_id, "pacs"),
    f"{SCRIPT.case_id}:1:read:1": {"result": "rejected", "code": "NOT_A_CT", "message": "It is no CT."},
    f"{YAMADA.case_id}:1:read:1": {"result": "done"},
    f"{YAMADA.case_id}:1:segment:1": None,
    **_made(WAITING.case_id),
    f"{WAITING.case_id}:1:deliver.pacs:1": _AWAY,
    f"{WAITING.case_id}:1:deliver.pacs:2": None,
    **_made(HELD.case_id),
    f"{HELD.case_id}:1:deliver.pacs:1": {"result": "held", "code": "AWAITS_RELEASE", "message": "It waits."},
}


def write_case(cases: CaseStore, made: MadeCase) -> CaseFolder:
    """The files of a case: its record, one image, and facts of a result if it has findings."""
    folder = cases.folder(made.case_id)
    write_image(folder.received, made)
    folder.write_record(CaseRecord(made.case_id, "1.2.3", "digest", 1, "SCANNER", "planning-ct"))
    if made.findings:
        facts: dict[str, Any] = {
            "model": {"name": "densitometric", "version": "1"},
            "findings": [{"code": "SOMETHING", "severity": severity} for severity in made.findings],
        }
        folder.result.with_suffix(".json").write_text(json.dumps(facts))
    return folder


def write_image(folder: Path, made: MadeCase) -> Path:
    """The image alone."""
    make_directory(folder)
    image = small_ct(series="1.2.3")
    image.SpecificCharacterSet = made.character_set
    image.PatientName, image.PatientID, image.AccessionNumber = (
        made.patient_name,
        made.patient_id,
        made.accession_number,
    )
    image.SeriesDescription = "Planning of the lung"
    for keyword, value in made.header.items():
        setattr(image, keyword, value)
    return write_file(folder, image)
