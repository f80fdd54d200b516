"""Decisions of people, with the real node and a real Orthanc: what is released arrives, what is rejected does not."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from dicom_node.jobs.attempts import CaseState
from dicom_node.network.delivery import Destination, send
from tests.peers import Orthanc, eventually, orthanc
from tests.running_node import CASE_LIMIT_S, RunningNode, running_node, save_instances

HOLD = 'mode = "hold"\nobjects = ["structure-set"]'
LIVE = 'mode = "live"\nobjects = ["structure-set"]'


def shown(node: RunningNode, case_id: str) -> dict[str, Any]:
    """What `perfnode show` says."""
    answer = node.perfnode("show", case_id, "--json")
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def held(pacs: Orthanc) -> set[str]:
    """SOP Instance UIDs in the archive."""
    return {pacs.get(f"/instances/{name}")["MainDicomTags"]["SOPInstanceUID"] for name in pacs.get("/instances")}


def of_another_series(instances: list[Dataset]) -> list[Dataset]:
    """The same CT as another series of another study."""
    series, copies = generate_uid(), deepcopy(instances)
    for dataset in copies:
        dataset.SeriesInstanceUID, dataset.SOPInstanceUID = series, generate_uid()
        dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return copies


def test_a_released_case_arrives_and_a_rejected_one_does_not(
    tmp_path: Path, thorax_instances: list[Dataset], thorax_files: list[Path]
) -> None:
    with (
        orthanc(tmp_path / "orthanc") as pacs,
        running_node(tmp_path / "node", [pacs.address], orders=[HOLD]) as node,
    ):
        node.send(thorax_files)
        node.finished_cases()
        node.send(save_instances(of_another_series(thorax_instances), tmp_path / "other"))
        wanted, unwanted = (case.case_id for case in node.finished_cases(2))
        assert [case.state for case in node.cases()] == [CaseState.HELD] * 2, node.log()
        assert node.perfnode("discard", unwanted, "--reason", "no lung tumour").returncode == 0
        assert node.perfnode("release", wanted, "--reason", "looked at").returncode == 0
        assert eventually(lambda: shown(node, wanted)["state"] == "DELIVERED", CASE_LIMIT_S), node.log()
        assert eventually(lambda: shown(node, unwanted)["state"] == "DISCARDED", CASE_LIMIT_S), node.log()
        (released,), (rejected,) = (shown(node, case_id)["decisions"] for case_id in (wanted, unwanted))
        assert held(pacs) == set(released["objects"]["d0"])
        assert (released["action"], released["reason"], released["answer"]) == ("release", "looked at", "QUEUED")
        assert (rejected["action"], rejected["reason"]) == ("discard", "no lung tumour")
        assert "@" in rejected["by"]


def test_an_edited_set_is_compared_and_not_subtracted_and_what_a_person_chose_waits_for_a_release(
    tmp_path: Path, thorax_files: list[Path]
) -> None:
    with orthanc(tmp_path / "orthanc") as pacs, _subtracting(tmp_path, pacs) as node:
        node.send(thorax_files)
        (case,) = node.finished_cases()
        assert case.state is CaseState.DELIVERED, node.log()
        (ours,) = (dcmread(path) for path in node.folder_of(case).object_paths())
        edited = _edited(ours, tmp_path / "edited.dcm")
        send([edited], Destination("node", node.address, calling_ae_title="TPS"))
        found = lambda: shown(node, case.case_id)["returned_structure_sets"]  # noqa: E731
        assert eventually(lambda: bool(found()), CASE_LIMIT_S), node.log()
        (returned,) = found()
        changes = {roi["name"]: roi for roi in returned["rois"]}
        assert returned["kinship"] == "EDITED"
        assert changes["Lungs^LowPerf"]["code"] == "DELETED"
        assert {roi["dice"] for name, roi in changes.items() if name != "Lungs^LowPerf"} == {1.0}
        assert len(node.cases()) == 1  # nothing was made anew with what came back

        rerun = ["rerun", case.case_id, "--function-rule", "quartiles", "--reason", "to compare"]
        assert node.perfnode(*rerun).returncode == 0
        assert [c.state for c in node.finished_cases()] == [CaseState.HELD], node.log()
        before = held(pacs)
        assert node.perfnode("release", case.case_id).returncode == 0
        assert [c.state for c in node.finished_cases()] == [CaseState.DELIVERED], node.log()
        (new,) = held(pacs) - before
        (made,) = (dcmread(path) for path in node.folder_of(case).object_paths())
        assert made.SOPInstanceUID == new
        assert "CHOSEN BY A PERSON" in made.StructureSetDescription
        decisions = shown(node, case.case_id)["decisions"]
        assert [each["action"] for each in decisions] == ["rerun", "release"]
        assert decisions[0]["details"] == {"Function rule": "quartiles"}


def _subtracting(tmp_path: Path, pacs: Orthanc):
    """A node that takes every structure out of its regions, if it is somebody's own."""
    return running_node(
        tmp_path / "node",
        [pacs.address],
        orders=[LIVE],
        perfusion='densitometric"\nsubtract_structures = [".*"]\nlobes = "atlas',
    )


def _edited(ours: Dataset, path: Path) -> Path:
    """Our set as a planning system gives it back: another maker and UID, other separators, one ROI deleted."""
    edited = deepcopy(ours)
    edited.Manufacturer = "Planning Works"
    edited.SOPInstanceUID = edited.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    edited.SeriesInstanceUID = generate_uid()
    kept = [item for item in edited.StructureSetROISequence if item.ROIName != "Lungs^LowPerf"]
    for item in kept:
        item.ROIName = item.ROIName.replace("^", "_")
        del item.ROIDescription
    edited.StructureSetROISequence = kept
    edited.StructureSetLabel = "PLAN"
    edited.save_as(path, enforce_file_format=True)
    return path
