"""Associations of a case, from the markers of the spool and the audit trail."""

import os
from datetime import datetime
from pathlib import Path

import pytest

from dicom_node.audit.reading import read_entries
from dicom_node.audit.trail import AuditTrail, StudyTransfer
from dicom_node.web.case.associations import associations_of

CT = "1.2.840.10008.5.1.4.1.1.2"


@pytest.fixture
def received(tmp_path: Path) -> Path:
    folder = tmp_path / "received"
    (folder / "associations").mkdir(parents=True)
    return folder


@pytest.fixture
def trail(tmp_path: Path) -> AuditTrail:
    return AuditTrail(tmp_path / "audit", "NODE")


def mark(received: Path, name: str, calling: str = "TPS") -> None:
    (received / "associations" / name).write_text(calling)


def test_one_is_found_among_others_with_address_end_and_instances(received: Path, trail: AuditTrail) -> None:
    mark(received, "aaaaaaaabbbb.closed")
    for ip, association in (
        ("192.0.2.1", "11111111ffff"),
        ("192.0.2.2", "aaaaaaaabbbb"),
        ("192.0.2.3", "22222222ffff"),
    ):
        studies = [StudyTransfer("1.2", "P1", {CT: 30}), StudyTransfer("1.3", "P2", {CT: 12})]
        trail.instances_received(ip, "TPS", association, studies)
    (found,) = associations_of(received, trail.log_file)
    assert (found.calling_ae_title, found.address, found.instances) == ("TPS", "192.0.2.2", 42)
    assert found.ended_well
    told = [datetime.fromisoformat(entry.time).timestamp() for entry in read_entries(trail.log_file)]
    assert found.ended_at_s == max(told[2:4])


def test_without_a_trail_the_marker_alone_speaks(received: Path, trail: AuditTrail) -> None:
    mark(received, "aaaaaaaabbbb.open", "SCANNER")
    mark(received, "cccc.conflict")
    (found,) = associations_of(received, trail.log_file)
    assert (found.calling_ae_title, found.ended_at_s, found.address) == ("SCANNER", None, "")
    assert not found.ended_well
    trail.log_file.parent.mkdir()
    trail.log_file.write_bytes(b"")
    assert associations_of(received, trail.log_file) == [found]


def test_a_line_that_a_crash_has_cut_is_passed_over(received: Path, trail: AuditTrail) -> None:
    mark(received, "aaaaaaaabbbb.closed")
    trail.instances_received("192.0.2.2", "TPS", "aaaaaaaabbbb", [StudyTransfer("1.2", "P1", {CT: 30})])
    whole = trail.log_file.read_bytes()
    trail.log_file.write_bytes(whole[: whole.index(b"</AuditMessage>")])
    assert associations_of(received, trail.log_file)[0].ended_at_s is None


def test_they_stand_in_order_of_time(received: Path, trail: AuditTrail) -> None:
    for name, at_s in (("bbbb.closed", 2_000.0), ("aaaa.closed", 3_000.0), ("cccc.closed", 1_000.0)):
        mark(received, name, name[:4].upper())
        os.utime(received / "associations" / name, (at_s, at_s))
    assert [each.calling_ae_title for each in associations_of(received, trail.log_file)] == ["CCCC", "BBBB", "AAAA"]
