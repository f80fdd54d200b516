import base64
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from dicom_node.audit.chain import verify
from dicom_node.audit.people import AtPage
from dicom_node.audit.trail import AuditSettings, AuditTrail, NoAuditTrail, StudyTransfer
from tests.audit_messages import Line, read_lines

STUDY, PATIENT = "1.2.826.0.1.3680043.8.498.77", "CANARY^PATIENT"
STUDIES = [StudyTransfer(STUDY, PATIENT, {"1.2.840.10008.5.1.4.1.1.2": 120})]


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit", "PERFNODE")


def tell_everything(trail: AuditTrail) -> None:
    trail.node_started()
    trail.association_refused("10.9.9.9", "STRANGER", "PERFNODE", "UNKNOWN_CALLING_AE")
    trail.instances_received("10.1.2.3", "CT1", "0123456789abcdef", STUDIES)
    trail.query("PACS@10.0.0.5:104", "1.2.840.10008.5.1.4.1.2.2.1", "ab" * 32)
    trail.instances_sent("PACS@10.0.0.5:104", STUDIES)
    trail.instances_sent("PACS@10.0.0.5:104", STUDIES, "STORE_REFUSED")
    trail.operator_action("retry", "case-0123")
    trail.cases_listed(AtPage("ann"), {"0123": PATIENT})
    trail.log_used()
    trail.node_stopped()


def test_every_event_is_one_valid_line_of_an_unbroken_chain(trail: AuditTrail) -> None:
    tell_everything(trail)
    lines = read_lines(trail.log_file)
    assert [line.event for line in lines] == [
        "Application Activity",
        "Security Alert",
        "DICOM Instances Transferred",
        "Query",
        "DICOM Instances Transferred",
        "DICOM Instances Transferred",
        "Security Alert",
        "Query",
        "Audit Log Used",
        "Application Activity",
    ]
    assert [line.priority for line in lines] == [85, 84, 85, 85, 85, 84, 85, 85, 85, 85]  # failures are warnings
    assert {(line.message_id, line.process) for line in lines} == {("DICOM+RFC3881", os.getpid())}
    assert verify(trail.log_file).fault == ""


def _patient(line: Line) -> str:
    return line.value("ParticipantObjectIdentification[@ParticipantObjectTypeCode='1']/@ParticipantObjectID")


def test_no_identifier_of_a_patient_stands_in_the_trail(trail: AuditTrail) -> None:
    tell_everything(trail)
    for path in trail.log_file.parent.iterdir():
        content = path.read_bytes()
        for identifier in (STUDY.encode(), PATIENT.encode(), b"CANARY"):
            assert identifier not in content
            assert base64.b64encode(identifier)[:-4] not in content


def test_all_events_of_a_patient_are_found_by_the_pseudonym(trail: AuditTrail, tmp_path: Path) -> None:
    tell_everything(trail)
    again = AuditTrail(tmp_path / "audit", "PERFNODE")  # after a restart
    found = [line for line in read_lines(trail.log_file) if _patient(line) == again.pseudonym(PATIENT)]
    assert len(found) == 4


def test_a_site_may_have_plain_identifiers(tmp_path: Path) -> None:
    trail = AuditTrail(tmp_path, "PERFNODE", AuditSettings("node-1", "hospital", plain_identifiers=True))
    trail.instances_received("10.1.2.3", "CT1", "0123456789abcdef", STUDIES)
    (line,) = read_lines(trail.log_file)
    assert _patient(line) == PATIENT
    assert line.value("ParticipantObjectIdentification/@ParticipantObjectID") == STUDY
    assert line.value("AuditSourceIdentification/@AuditSourceID") == "node-1"
    assert line.value("AuditSourceIdentification/@AuditEnterpriseSiteID") == "hospital"


def test_a_flood_of_refusals_is_counted_and_not_written_a_thousand_times(trail: AuditTrail) -> None:
    for number in range(1000):
        trail.association_refused("10.9.9.9", f"TITLE{number}", "PERFNODE", "UNKNOWN_CALLING_AE")
    trail.flush()
    first, rest = read_lines(trail.log_file)
    details = [line.value("ParticipantObjectIdentification/ParticipantObjectDetail/@value") for line in (first, rest)]
    assert [b"999 more" in base64.b64decode(detail) for detail in details] == [False, True]


def test_the_trail_may_be_handed_to_another_process(trail: AuditTrail) -> None:
    twin = pickle.loads(pickle.dumps(trail))  # noqa: S301
    trail.node_started()
    twin.node_stopped()
    assert len(read_lines(trail.log_file)) == 2


def test_no_trail_is_a_trail_that_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tell_everything(pickle.loads(pickle.dumps(NoAuditTrail())))  # noqa: S301
    assert list(tmp_path.iterdir()) == []


FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from dicom_node.audit.trail import AuditTrail, StudyTransfer
trail = AuditTrail(Path(sys.argv[1]), "PERFNODE")
trail.node_started()
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
size = trail.log_file.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 200, resource.RLIM_INFINITY))
for n in range(3):
    trail.operator_action("retry", f"lost-{n}")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
trail.node_stopped()
"""


def test_a_full_disk_stops_nothing_and_what_is_missing_is_told_afterwards(tmp_path: Path) -> None:
    """Two hundred bytes are left, so that the first message is cut in the middle."""
    done = subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("audit_not_written") == 3
    found = verify(tmp_path / "audit.log")
    assert (found.lines, found.fault, found.torn) == (4, "", (2,))
    lines = (tmp_path / "audit.log").read_bytes().splitlines()
    assert base64.b64encode(b"3 audit messages of this process could not be written") in lines[2]
    assert b"Application Stop" in lines[3]


def test_a_key_that_cannot_be_read_gives_neither_names_nor_silence(trail: AuditTrail) -> None:
    (trail.log_file.parent / "pseudonyms.key").mkdir(parents=True)
    with capture_logs() as logs:
        trail.instances_received("10.1.2.3", "CT1", "0123456789abcdef", STUDIES)
    assert [log["event"] for log in logs] == ["audit_key_unreadable"]
    (line,) = read_lines(trail.log_file)
    assert PATIENT not in _patient(line)
