"""A stage of one case without images or networks: `python -m tests.upgrades.stage STAGE CASE SITE PARENT…`.

It stands where `dicom_node.work.child` stands. What it makes follows from the id of the case alone, so the previous
version of the node and this one make the same objects of the same case. Each stage wants what the one before has made.
"""

import hashlib
import sys
from pathlib import Path

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import (
    ExplicitVRLittleEndian,
)

from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.cases import CaseFolder

KINDS = {"parametric-map": "1.2.840.10008.5.1.4.1.1.30", "structure-set": "1.2.840.10008.5.1.4.1.1.481.3"}
NOTICE = "refusal-notice"
SECONDARY_CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
STORAGE = (*KINDS.values(), SECONDARY_CAPTURE)
_STUDY = "2.25.1"


def object_uid(case_id: str, kind: str) -> str:
    """SOP Instance UID of an object of a case."""
    return f"2.25.{int.from_bytes(hashlib.sha256(f'{case_id}:{kind}'.encode()).digest()[:15], 'big')}"


def run(stage: str, case: CaseFolder) -> None:
    """Do what a stage does, as far as files are concerned; `infer` is what two stages were once."""
    match stage:
        case "read":
            assert case.instances(), "nothing was received"
            case.ct.write_text("ct")
        case "segment":
            assert case.ct.exists()
        case "infer" | "perfuse":
            assert case.ct.exists()
            case.result.write_text("result")
        case "encode":
            assert case.result.exists()
            make_directory(case.objects)
            for kind, sop_class in KINDS.items():
                _write(case.object(kind), sop_class, object_uid(case.case_id, kind))
            write_json(case.contents, {"ordered": list(KINDS), "result": {"result_id": case.case_id, "objects": {}}})
        case "check":
            assert {path.stem for path in case.object_paths()} == set(KINDS)
        case "notice":
            make_directory(case.notice)
            _write(case.notice / f"{NOTICE}.dcm", SECONDARY_CAPTURE, object_uid(case.case_id, NOTICE))


def _write(path: Path, sop_class: str, uid: str) -> None:

    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = sop_class, uid
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = _STUDY, f"{uid}1"
    dataset.PatientID = "NOBODY"
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.save_as(path, enforce_file_format=True)


if __name__ == "__main__":
    if sys.argv[1] != "selftest":
        run(sys.argv[1], CaseFolder(Path(sys.argv[2])))
