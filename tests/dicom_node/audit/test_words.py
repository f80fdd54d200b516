"""Audit messages as sentences."""

from pathlib import Path

from dicom_node.audit import codes
from dicom_node.audit.people import AtPage
from dicom_node.audit.reading import read_entries
from dicom_node.audit.trail import AuditTrail, StudyTransfer
from dicom_node.audit.words import sentence


def test_every_event_has_a_sentence(tmp_path: Path) -> None:
    trail, studies, who = (
        AuditTrail(tmp_path, "PERFNODE"),
        [StudyTransfer("1.2", "P1", {"1.3": 2})],
        AtPage("ann", "10.0.0.7"),
    )
    trail.node_started()
    trail.instances_received("10.1.2.3", "CT1", "a1", studies)
    trail.instances_sent("PACS@10.4.5.6:104", studies, "STORE_REFUSED")
    trail.association_refused("10.9.9.9", "EVIL", "PERFNODE", "UNKNOWN_CALLING_AE")
    trail.operator_action("release", "case:00aa12cd34ef56ab", by="ann")
    trail.case_seen(who, "00aa12cd34ef56ab", studies)
    trail.signed_in(who)
    trail.query("PACS@10.4.5.6:104", "1.2.840", "ff")
    trail.log_used(who, trail.pseudonym("P1"))
    trail.log_used(who)
    trail.cases_listed(who, {"00aa12cd34ef56ab": "P1"})
    trail.cases_listed(who, {"00aa12cd34ef56ab": "P1", "00ab": ""})
    said = [sentence(entry) for entry in read_entries(trail.log_file)]
    assert said[0].startswith("Application Start by PERFNODE@")
    assert said[1].startswith("2 instances went from CT1@10.1.2.3 to PERFNODE@")
    assert said[2].startswith("2 instances went from PERFNODE@")
    assert said[2].endswith("to PACS@10.4.5.6; it failed (STORE_REFUSED)")
    assert said[3] == "UNKNOWN_CALLING_AE: EVIL at 10.9.9.9 called PERFNODE"
    assert said[4] == "release of case:00aa12cd34ef56ab by ann"
    assert said[5] == "ann@10.0.0.7 looked at the patient's data"
    assert said[6].startswith(f"{codes.LOGIN.meaning} by ann@10.0.0.7")
    assert said[7].endswith("asked PACS@10.4.5.6")
    assert said[8] == "ann@10.0.0.7 read this patient's messages"
    assert said[9] == "ann@10.0.0.7 read the audit trail"
    assert said[10] == "ann@10.0.0.7 saw the patient in a list of 1 case"
    assert said[11] == "ann@10.0.0.7 saw the patient in a list of 2 cases"


def test_only_messages_that_name_somebody_are_read(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "PERFNODE")
    for patient in ("P1", "P2"):
        trail.instances_received("10.1.2.3", "CT1", "a1", [StudyTransfer("1.2", patient, {"1.3": 2})])
    trail.operator_action("release", "case:00aa12cd34ef56ab")
    trail.operator_action("release", "case:00bb12cd34ef56ab")
    found = list(read_entries(trail.log_file, [trail.pseudonym("P2"), "00aa12cd34ef56ab"]))
    assert [(entry.patients, entry.subjects) for entry in found] == [
        ((trail.pseudonym("P2"),), ()),
        ((), ("case:00aa12cd34ef56ab",)),
    ]
