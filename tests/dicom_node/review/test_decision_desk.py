"""Decisions about cases: one at a time, upon what was seen, recorded with what was released, and told to the trail."""

import base64
import re
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.errors import CaseChanged, NothingHeld
from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.priorities import Priority
from dicom_node.keeping.retention import node_retention
from dicom_node.network.addresses import AeAddress
from dicom_node.operations import Operations
from dicom_node.review.decision import COMMAND_LINE, Action, Deciding
from dicom_node.review.rating import Changes
from dicom_node.settings.config import NodeSettings, parse_settings
from tests.finished_jobs import delivered, write_rows
from tests.peers import free_port
from tests.prepared_cases import destination, object_uid, prepare_case

ANNA = Deciding("anna", "approver", "the lobes are right, ZZREASON")
BERT = Deciding("bert", "operator", "no tumour to be seen")
HELD = {"result": "held", "code": "AWAITS_RELEASE", "message": "It waits."}


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    places = [AeAddress(name.upper(), "127.0.0.1", free_port()) for name in ("pacs", "tps")]
    document = {
        "node": {"data_dir": str(tmp_path / "data")},
        "destinations": [destination(p.ae_title.lower(), p, mode="hold") for p in places],
    }
    return parse_settings(document, base=tmp_path)


@pytest.fixture
def case(settings: NodeSettings) -> CaseFolder:
    """A case that waits for a person at two destinations."""
    case = prepare_case(settings, 1)
    stages = {f"{case.case_id}:1:{stage}:1": {"result": "done"} for stage in ("read", "check")}
    held = {f"{case.case_id}:1:deliver.{name}:1": HELD for name in ("pacs", "tps")}
    write_rows(settings.data_dir, {**stages, **held})
    return case


@pytest.fixture
def node(settings: NodeSettings, case: CaseFolder) -> Iterator[Operations]:
    with Operations(settings) as node:
        yield node


def version(node: Operations, case: CaseFolder) -> str:
    return node.show(case.case_id).review.version


def trail(settings: NodeSettings) -> str:
    """The audit trail with its encoded details as text."""
    text = settings.audit_trail().log_file.read_text(encoding="utf-8")
    return text + "\n".join(base64.b64decode(value).decode() for value in re.findall('value="([^"]+)"', text))


def test_a_release_is_recorded_with_what_was_released_and_told(
    node: Operations, case: CaseFolder, settings: NodeSettings
) -> None:
    node.release(case.case_id, "pacs", deciding=replace(ANNA, version=version(node, case)))
    (decision,) = node.show(case.case_id).review.decisions
    assert (decision.by, decision.role, decision.reason) == ("anna", "approver", ANNA.reason)
    assert (decision.action, decision.destination, decision.answer) == (Action.RELEASE, "pacs", "QUEUED")
    assert decision.objects == {"pacs": (object_uid(case.case_id),)}
    assert decision.queued == (f"{case.case_id}:1:deliver.pacs:2",)
    told = trail(settings)
    assert 'UserID="anna"' in told
    assert f"release of case:{case.case_id} by anna" in told
    assert decision.id in told
    assert "1 objects, SHA-256 of their UIDs" in told
    assert "ZZREASON" not in told  # what people write might name a patient


def test_two_who_release_at_once_release_once(node: Operations, case: CaseFolder) -> None:
    seen = version(node, case)

    def release(who: str) -> str:
        try:
            return str(node.release(case.case_id, deciding=Deciding(who, "approver", version=seen)).queued)
        except CaseChanged as fault:
            return fault.code

    with ThreadPoolExecutor(4) as pool:
        answers = list(pool.map(release, ("anna", "bert", "carl", "dora")))
    assert answers.count("CASE_CHANGED") == 3
    assert len(node.show(case.case_id).review.decisions) == 1


def test_one_releases_while_another_rejects_and_only_one_of_them_decides(node: Operations, case: CaseFolder) -> None:
    seen = version(node, case)
    node.discard(case.case_id, deciding=replace(BERT, version=seen))
    with pytest.raises(CaseChanged) as caught:
        node.release(case.case_id, deciding=replace(ANNA, version=seen))
    assert caught.value.code == "CASE_CHANGED"
    details = node.show(case.case_id)
    assert details.case.state is CaseState.DISCARDED
    assert [decision.action for decision in details.review.decisions] == [Action.DISCARD]


def test_what_the_engine_refuses_stands_in_the_record(node: Operations, case: CaseFolder) -> None:
    node.release(case.case_id, deciding=ANNA)
    with pytest.raises(NothingHeld):
        node.release(case.case_id, deciding=BERT)
    assert [d.answer for d in node.show(case.case_id).review.decisions] == ["QUEUED", "NOTHING_HELD"]


def test_who_uses_the_command_is_recorded_by_their_login(node: Operations, case: CaseFolder) -> None:
    node.cancel(case.case_id, deciding=Deciding.at_command_line("not wanted"))
    node.cancel(case.case_id)
    first, second = node.show(case.case_id).review.decisions
    assert first.by == second.by
    assert "@" in first.by
    assert (first.role, first.reason, first.answer, second.answer) == (
        COMMAND_LINE,
        "not wanted",
        "DONE",
        "NOTHING_TO_DO",
    )


def test_the_record_stays_through_a_run_of_its_own_and_the_version_changes(node: Operations, case: CaseFolder) -> None:
    before = version(node, case)
    node.rerun(case.case_id, deciding=ANNA)
    assert version(node, case) != before
    node.rate(case.case_id, BERT, Changes.MAJOR, 30.0)
    review = node.show(case.case_id).review
    assert [decision.action for decision in review.decisions] == [Action.RERUN]
    assert [(rating.by, rating.changes) for rating in review.ratings] == [("bert", Changes.MAJOR)]


def test_a_priority_is_recorded_and_holds_for_what_is_queued_from_now_on(node: Operations, case: CaseFolder) -> None:
    assert node.prioritise(case.case_id, Priority.LOW, deciding=ANNA).has_effect
    assert case.record().priority == "low"
    assert not node.prioritise(case.case_id, Priority.LOW, deciding=ANNA).has_effect
    assert [d.details for d in node.show(case.case_id).review.decisions] == [{"Priority": "low"}] * 2


def test_a_case_that_leaves_takes_its_record_along_and_the_trail_still_says_who_decided(
    settings: NodeSettings,
) -> None:
    case = prepare_case(settings, 2)
    write_rows(settings.data_dir, delivered(case.case_id, "pacs"))
    with Operations(settings) as node, node_retention(settings) as keeper:
        node.cancel(case.case_id, deciding=ANNA)
        assert [decision.by for decision in node.show(case.case_id).review.decisions] == ["anna"]
        keeper.retire(case.case_id)
    assert not case.path.exists()
    assert f"cancel of case:{case.case_id} by anna" in trail(settings)
