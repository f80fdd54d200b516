"""The whole node and archives that lose things: a case is delivered when the archive has said that it keeps it."""

import json
from pathlib import Path

import pytest
from pydicom.uid import MRImageStorage, ParametricMapStorage, RTStructureSetStorage

from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.delivery_history import instance_states
from dicom_node.network.addresses import AeAddress
from dicom_node.network.commitment_messages import InstanceReference
from dicom_node.network.verification import SentInstance
from tests.keeping_pacs import KeepingPacs, keeping_pacs
from tests.peers import eventually, free_port, orthanc
from tests.running_node import running_node

CLASSES = (MRImageStorage, ParametricMapStorage, RTStructureSetStorage)


def test_a_dead_letter_is_listed_and_sent_again_and_a_lost_object_follows_before_it_counts_as_delivered(
    tmp_path: Path, thorax_files: list[Path]
) -> None:
    absent = AeAddress("ARCHIVE", "127.0.0.1", free_port())
    pacs = KeepingPacs(loses_first=True)
    with running_node(
        tmp_path / "node", [absent], orders=['verify = "commitment"'], work="give_up_after_h = 0.0002"
    ) as node:
        node.send(thorax_files)
        (case,) = node.finished_cases()
        assert (case.state, case.code) == (CaseState.FAILED, "PEER_UNREACHABLE"), node.log()
        failed = json.loads(node.perfnode("jobs", "--failed", "--json").stdout)["cases"]
        assert [c["case"] for c in failed] == [case.case_id]
        assert "UNKNOWN_DESTINATION" in node.perfnode("retry", case.case_id, "--destination", "nowhere").stderr

        pacs.report_to = node.address  # an association of its own, as most archives do
        with keeping_pacs(pacs, finds=False, storage=CLASSES, port=absent.port):
            assert node.perfnode("retry", case.case_id, "--destination", "d0").returncode == 0
            (case,) = node.finished_cases()
            assert case.state is CaseState.DELIVERED, node.log()
        assert pacs.received == [*pacs.received[:2], pacs.received[0]]
        assert json.loads(node.perfnode("jobs", "--failed", "--json").stdout)["cases"] == []
        (destination,) = json.loads(node.perfnode("show", case.case_id, "--json").stdout)["destinations"]
        fates = [(i["object"], i["stored"], i["verified"], i["status"]) for i in destination["instances"]]
        assert len(fates) == 2
        assert {fate[1:] for fate in fates} == {(True, "commitment", 0)}
        assert fates[0][0] in node.perfnode("show", case.case_id).stdout


@pytest.mark.peers
def test_orthanc_as_pacs_confirms_by_commitment_and_asks_us_for_the_ct(
    tmp_path: Path, thorax_files: list[Path]
) -> None:
    port = free_port()
    modality = {"us": {"AET": "PERFNODE", "Host": "127.0.0.1", "Port": port, "AllowStorageCommitment": True}}
    with (
        orthanc(tmp_path / "orthanc", options={"DicomModalities": modality}) as pacs,
        running_node(tmp_path / "node", [pacs.address], port=port) as node,
    ):
        node.send(thorax_files)
        (case,) = node.finished_cases()
        assert (case.state, case.code) == (CaseState.DELIVERED, ""), node.log()
        states = instance_states(case.attempts)
        assert {state["verified"] for state in states.values()} == {"commitment"}

        asked = [SentInstance.of(path).reference for path in thorax_files]
        asked.append(InstanceReference(asked[0].sop_class_uid, "2.25.1"))
        body = {"DicomInstances": [[i.sop_class_uid, i.sop_instance_uid] for i in asked]}
        transaction = pacs.post("/modalities/us/storage-commitment", body)["ID"]
        answered = f"/storage-commitment/{transaction}"
        assert eventually(lambda: pacs.get(answered)["Status"] != "Pending", 30.0), node.log()
        assert len(pacs.get(answered)["Success"]) == len(thorax_files)
        assert [i["SOPInstanceUID"] for i in pacs.get(answered)["Failures"]] == ["2.25.1"]
