from pathlib import Path

from dicom_node.audit.trail import SUCCESS, AuditSettings, AuditTrail
from dicom_node.network.addresses import AeAddress
from dicom_node.network.delivery import Destination, InstanceDelivery
from dicom_node.sending.delivery_audit import studies_in, tell_delivery
from tests.audit_messages import Line, read_lines
from tests.small_ct import small_ct, write_file

PACS = Destination("pacs", AeAddress("PACS", "10.0.0.5", 104))


def written(folder: Path, count: int) -> dict[str, Path]:
    folder.mkdir()
    datasets = [small_ct(number) for number in range(1, count + 1)]
    return {str(dataset.SOPInstanceUID): write_file(folder, dataset) for dataset in datasets}


def said(uid: str, status: int) -> InstanceDelivery:
    return InstanceDelivery("1.2.840.10008.5.1.4.1.1.2", uid, status)


def counts(line: Line) -> tuple[str, str]:
    return line.value("EventIdentification/@EventOutcomeIndicator"), line.value("//SOPClass/@NumberOfInstances")


def test_files_are_counted_by_study_and_class(tmp_path: Path) -> None:
    due = written(tmp_path / "ct", 3)
    (study,) = studies_in(due.values())
    assert list(study.sop_classes.values()) == [3]
    assert study.patient_id == str(small_ct(1).PatientID)


def test_what_arrived_and_what_did_not_are_two_messages(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit", "PERFNODE", AuditSettings(plain_identifiers=True))
    due = written(tmp_path / "ct", 3)
    first, second, third = due
    instances = [said(first, 0x0000), said(second, 0xB000), said(third, 0xA900)]
    tell_delivery(trail, PACS, due, instances, "STORE_REFUSED")
    arrived, missing = read_lines(trail.log_file)
    assert (counts(arrived), counts(missing)) == (("0", "2"), ("4", "1"))
    assert missing.value("EventIdentification/EventOutcomeDescription") == "STORE_REFUSED"
    assert arrived.value("ActiveParticipant[2]/@AlternativeUserID") == "AETITLES=PACS"


def test_a_whole_delivery_is_one_message(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path / "audit", "PERFNODE")
    due = written(tmp_path / "ct", 2)
    tell_delivery(trail, PACS, due, [said(uid, 0) for uid in due], SUCCESS)
    assert [counts(line) for line in read_lines(trail.log_file)] == [("0", "2")]
