from pathlib import Path

from dicom_node.audit.reading import read_entries
from dicom_node.audit.trail import AuditSettings, AuditTrail, StudyTransfer


def test_entries_say_in_short_what_the_messages_say(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "PERFNODE", AuditSettings(plain_identifiers=True))
    trail.instances_received(
        "10.1.2.3", "CT1", "0123456789", [StudyTransfer("1.2.3", "PAT1", {"1.2.4": 7, "1.2.5": 1})]
    )
    trail.association_refused("10.9.9.9", "EVIL", "PERFNODE", "UNKNOWN_CALLING_AE")
    received, refused = read_entries(trail.log_file)
    assert (received.event, received.outcome) == ("DICOM Instances Transferred", "0")
    assert received.participants[0] == "CT1@10.1.2.3"
    assert (received.studies, received.patients, received.instances) == (("1.2.3",), ("PAT1",), 8)
    assert (refused.kind, refused.outcome) == ("Node Authentication", "4 UNKNOWN_CALLING_AE")
    assert refused.detail == "UNKNOWN_CALLING_AE: EVIL at 10.9.9.9 called PERFNODE"
    assert set(refused.fields()) >= {"time", "event", "detail"}


def test_lines_that_are_cut_or_spoiled_are_passed_over(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "PERFNODE")
    trail.node_started()
    trail.node_stopped()
    lines = trail.log_file.read_bytes().splitlines(keepends=True)
    spoiled = lines[0].replace(b"<EventIdentification", b"<Event Identification")
    trail.log_file.write_bytes(spoiled + lines[1] + lines[0][:200])
    assert [entry.kind for entry in read_entries(trail.log_file)] == ["Application Stop"]
