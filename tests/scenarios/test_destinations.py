"""Each destination gets what it ordered, in its profile; a revised result supersedes; a faulty object stays here."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread

from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.stages import Stage
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from dicom_node.objects.kinds import OBJECT_SERIES, ObjectKind
from tests.peers import eventually, free_port
from tests.running_node import RunningNode, running_node

EVERYTHING = [kind.value for kind in ObjectKind if kind is not ObjectKind.REFUSAL_NOTICE]


@pytest.fixture
def pacs(tmp_path: Path) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path / "pacs", AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


@pytest.fixture
def tps(tmp_path: Path) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path / "tps", AeAddress("TPS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


def headers(store: StorageFolder) -> list[Dataset]:
    return [dcmread(path, stop_before_pixels=True) for path in store.instances()]


def by_series(store: StorageFolder) -> dict[str, Dataset]:
    """Headers by the description of their series; there is one object in each."""
    found = {str(header.SeriesDescription): header for header in headers(store)}
    assert len(found) == len(store.instances())
    return found


def test_pacs_gets_every_kind_and_the_planning_system_two_structure_sets_with_its_separator(
    tmp_path: Path, pacs: StorageFolder, tps: StorageFolder, thorax_files: list[Path]
) -> None:
    (tmp_path / "node").mkdir()
    (tmp_path / "node" / "ours.toml").write_text('name = "ours"\nname_separator = "_"\nsets = "two"\n')
    orders = [f"objects = {EVERYTHING}", 'objects = ["structure-set"]\nprofile = "ours.toml"']
    with running_node(tmp_path / "node", [pacs.address, tps.address], orders=orders) as node:
        node.send(thorax_files)
        (case,) = node.finished_cases()
        assert case.state is CaseState.DELIVERED, node.log()
    counts = dict.fromkeys(EVERYTHING, 1) | {"mr-twin": len(thorax_files), "segmentation": 2}
    received = [str(header.SOPClassUID) for header in headers(pacs)]
    for kind in EVERYTHING:
        assert received.count(str(OBJECT_SERIES[ObjectKind(kind)].sop_class_uid)) == counts[kind], kind
    assert len(received) == sum(counts.values())
    assert len({(h.StudyInstanceUID, h.PatientID) for h in (*headers(pacs), *headers(tps))}) == 1
    names = sorted([roi.ROIName for roi in header.StructureSetROISequence] for header in headers(tps))
    assert names[1] == ["Lungs_HighPerf", "Lungs_LowPerf"]
    assert len(names[0]) == 8


def test_another_rule_gives_a_result_that_supersedes_and_the_same_rule_the_same_bytes(
    tmp_path: Path, pacs: StorageFolder, thorax_files: list[Path]
) -> None:
    kinds = [kind for kind in EVERYTHING if kind not in ("mr-twin", "summary-image")]
    with running_node(tmp_path / "node", [pacs.address], orders=[f"objects = {kinds}"]) as node:
        node.send(thorax_files)
        (case,) = node.finished_cases()
        first = by_series(pacs)
        assert len(first) == len(kinds) + 1  # two segmentations
        node.stop()
        site = node.site_file.read_text().replace(str(kinds), str([*kinds, "summary-image"]))
        node.site_file.write_text(site.replace("[inference]", '[inference]\nfunction_rule = "quartiles"'))
        for path in pacs.instances():
            path.unlink()
        node.start()
        # What was not made cannot be sent: the operator is told what to do.
        assert node.perfnode("retry", case.case_id).returncode == 0
        (again,) = node.finished_cases()
        assert (again.state, again.code) == (CaseState.FAILED, "OBJECTS_NOT_MADE")
        made = []
        for _ in range(2):  # the second time nothing is different any more
            assert node.perfnode("rerun", case.case_id).returncode == 0
            assert [c.state for c in node.finished_cases()] == [CaseState.DELIVERED], node.log()
            made.append({path: path.read_bytes() for path in pacs.instances()})
        assert made[0] == made[1]
    revised = by_series(pacs)
    assert len(revised) == len(first) + 1
    for series, old in first.items():
        new = revised[series]
        assert new.SOPInstanceUID != old.SOPInstanceUID
        assert new.SeriesInstanceUID != old.SeriesInstanceUID
        assert old.SOPInstanceUID in new.to_json(), series  # the reference, wherever the class has it


def make_faulty(node: RunningNode) -> None:
    """Spoil the map of the only case after it was made and before it is checked."""

    def checking() -> bool:
        return any(e["event"] == "stage_started" and e["stage"] == Stage.CHECK.value for e in node.events())

    assert eventually(checking, 120.0), node.log()
    node.kill()
    path = node.folder_of(node.only_case()).object("parametric-map")
    perfusion = dcmread(path)
    frames = perfusion.PerFrameFunctionalGroupsSequence
    first, last = frames[0].PlanePositionSequence, frames[-1].PlanePositionSequence
    frames[0].PlanePositionSequence, frames[-1].PlanePositionSequence = last, first
    perfusion.save_as(path, enforce_file_format=True)
    node.start()


def test_a_faulty_object_keeps_the_whole_case_here_and_pacs_hears_why(
    tmp_path: Path, pacs: StorageFolder, thorax_files: list[Path]
) -> None:
    with running_node(tmp_path / "node", [pacs.address]) as node:
        node.send(thorax_files)
        make_faulty(node)
        (case,) = node.finished_cases()
        assert (case.state, case.code) == (CaseState.FAILED, "CHECK_FAILED"), node.log()
        assert "MAP_FRAME_ORDER" in case.message
        assert eventually(lambda: len(pacs.instances()) == 1, 60.0), node.log()
        (notice,) = headers(pacs)
        assert notice.SOPClassUID == OBJECT_SERIES[ObjectKind.REFUSAL_NOTICE].sop_class_uid
        assert "CHECK_FAILED" in notice.ImageComments

        # The objects are made anew when somebody tries again from the start.
        assert node.perfnode("rerun", case.case_id).returncode == 0
        assert [c.state for c in node.finished_cases()] == [CaseState.DELIVERED], node.log()


def test_a_notice_that_still_waits_does_not_arrive_beside_the_result(
    tmp_path: Path, pacs: StorageFolder, thorax_files: list[Path]
) -> None:
    pacs.stop()
    with running_node(tmp_path / "node", [pacs.address]) as node:
        node.send(thorax_files)
        make_faulty(node)
        (case,) = node.finished_cases()
        assert case.state is CaseState.FAILED, node.log()

        def notice_waits() -> bool:
            return any(a.id.stage is Stage.TELL and a.id.attempt > 1 for a in node.only_case().attempts)

        assert eventually(notice_waits, 60.0), node.log()
        assert node.perfnode("rerun", case.case_id).returncode == 0
        assert eventually(lambda: node.only_case().state is CaseState.DELIVERING, 120.0), node.log()
        pacs.start()
        assert [c.state for c in node.finished_cases()] == [CaseState.DELIVERED], node.log()
        assert eventually(lambda: not any(a.is_active for a in node.only_case().attempts), 60.0), node.log()
        assert {header.Modality for header in headers(pacs)} == {"OT", "RTSTRUCT"}
        assert len(pacs.instances()) == 2
