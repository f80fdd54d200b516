"""The help page explains every word that the program can say."""

import inspect
import re

import dicom_node.errors
import inference.errors
from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.stages import Stage
from dicom_node.reception import arrivals, completeness
from dicom_node.reception.arrivals import ArrivalState
from dicom_node.watching.node_checks import KINDS
from dicom_node.web.access.rights import PageRole
from dicom_node.web.tools.help import explained
from dicom_node.web.tools.help_words import ADVICE
from inference.quality.table import CHECKS
from tests.dicom_node.web.conftest import ClientFor


def error_codes() -> set[str]:
    """Of all errors that the two trees define."""
    kinds = [*vars(dicom_node.errors).values(), *vars(inference.errors).values()]
    errors = [kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, Exception) and hasattr(kind, "code")]
    roots = (dicom_node.errors.NodeError, inference.errors.InferenceError)
    return {kind.code for kind in errors if kind not in roots}


def test_no_state_and_no_stage_is_left_out() -> None:
    found = explained()
    assert [line.word for line in found.case_states] == [state.value for state in CaseState]
    assert [line.word for line in found.arrival_states] == [state.value for state in ArrivalState]
    assert [line.word for line in found.stages] == [stage.value for stage in Stage]
    assert all(line.means and line.to_do for line in (*found.case_states, *found.arrival_states, *found.codes))


def test_every_code_is_explained_once() -> None:
    codes = [line.word for line in explained().codes]
    assert len(codes) == len(set(codes))
    assert error_codes() <= set(codes)
    assert set(ADVICE) <= error_codes(), "advice for a code that does not exist"
    held = {completeness.SLICES_MISSING, completeness.COUNT_DIFFERS, completeness.COUNT_UNKNOWN}
    assert held | {completeness.RULE_HOLDS, arrivals.INTERRUPTED, arrivals.CONFLICT} <= set(codes)


def test_findings_and_checks_are_those_of_the_tables() -> None:
    assert [finding.code for finding in explained().findings] == list(CHECKS)
    assert [line.word for line in explained().checks] == [kind.code for kind in KINDS]


def test_everybody_may_read_it_and_each_word_has_an_anchor(client_for: ClientFor) -> None:
    client = client_for(PageRole.VIEWER)
    page = client.get("/tools/help").text
    for word in ("state-HELD", "series-HELD", "stage-read", "LUNG_VOLUME", "PEER_UNREACHABLE", "DISK_LOW"):
        assert page.count(f'id="{word}"') == 1
    assert client.get("/api/v1/help").json()["case_states"][0]["word"] == CaseState.PROCESSING.value


def test_no_two_words_share_an_anchor(client_for: ClientFor) -> None:
    ids = re.findall(r' id="([^"]+)"', client_for(PageRole.VIEWER).get("/tools/help").text)
    assert sorted({name for name in ids if ids.count(name) > 1}) == []
