"""The node knows the series that it sent to itself, and takes no other for one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from pydicom.uid import UID

from dicom_node.constancy.own_series import SELF_TEST_RULE, as_series, is_own_case, new_series_uid, with_self_test
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.jobs.priorities import Priority
from dicom_node.reception.rules import Action, Rule, decide
from dicom_node.reception.series_facts import read_series_facts
from dicom_node.settings.rule_files import RuleSection
from inference.ct.instances import ct_instances
from inference.phantom.thorax import DEFAULT_GRID, draw_thorax
from tests.running_node import save_instances

SITE = (Rule("all", Action.IGNORE),)


def rule_of(shared: Path, folder: Path, uid: str) -> Rule | None:
    ct = draw_thorax(DEFAULT_GRID.with_spacing((60.0, 30.0, 30.0))).ct
    files = save_instances(list(as_series(ct_instances(ct), uid)), folder)
    return decide(with_self_test(SITE, shared), read_series_facts(files)).rule


def test_a_series_of_its_own_goes_before_all_rules_of_the_site(tmp_path: Path) -> None:
    uid = new_series_uid(tmp_path / "shared")
    assert UID(uid).is_valid
    assert UID(f"{uid}.99999").is_valid
    rule = rule_of(tmp_path / "shared", tmp_path / "ct", uid)
    assert rule is not None
    assert (rule.name, rule.action, rule.priority) == (SELF_TEST_RULE, Action.PROCESS, Priority.URGENT)


def test_no_other_uid_is_taken_for_one_of_its_own(tmp_path: Path) -> None:
    uid = new_series_uid(tmp_path / "shared")
    root = uid.rpartition(".")[0]
    for number, other in enumerate((root, f"{uid}.1", f"1.{uid}", new_series_uid(tmp_path / "another"), f"{root}1.5")):
        assert rule_of(tmp_path / "shared", tmp_path / str(number), other) == SITE[0], other


def test_no_rule_of_a_site_can_have_its_name() -> None:
    with pytest.raises(ValueError, match="name"):
        RuleSection(name=SELF_TEST_RULE, action=Action.PROCESS)


def test_processes_that_start_together_draw_one_number(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        uids = list(pool.map(new_series_uid, [tmp_path] * 32))
    assert len({uid.rpartition(".")[0] for uid in uids}) == 1
    assert [path.name for path in (tmp_path / "constancy").iterdir()] == ["series-root"]


def test_instances_keep_pixels_and_places_and_get_uids_of_their_series() -> None:
    ct = draw_thorax(DEFAULT_GRID.with_spacing((60.0, 30.0, 30.0))).ct
    before, after = ct_instances(ct), list(as_series(ct_instances(ct), "2.25.1.7"))
    assert [d.SOPInstanceUID for d in after] == [f"2.25.1.7.{k}" for k in range(1, len(before) + 1)]
    for old, new in zip(before, after, strict=True):
        assert new.file_meta.MediaStorageSOPInstanceUID == new.SOPInstanceUID
        assert (new.PixelData, new.ImagePositionPatient) == (old.PixelData, old.ImagePositionPatient)


def test_a_case_is_its_own_by_its_rule_alone(tmp_path: Path) -> None:
    for rule, is_own in ((SELF_TEST_RULE, True), ("ct", False), ("", False)):
        case = CaseFolder(tmp_path / f"c{len(rule)}")
        case.path.mkdir()
        case.write_record(CaseRecord(case.path.name, "1.2", "d", 1, "TPS", rule=rule))
        assert is_own_case(case) is is_own
    assert not is_own_case(CaseFolder(tmp_path / "without-record"))
