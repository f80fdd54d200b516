"""Destinations for research: nothing of a result goes there, and nothing of a model in shadow goes anywhere else."""

from pathlib import Path

import pytest

from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.attempts import Attempt, AttemptId, CaseState, case_of, made_in_run
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.job_rows import QueueState
from dicom_node.jobs.queues import CANDIDATE_QUEUE, WORK_QUEUE
from dicom_node.jobs.route_gate import stopped
from dicom_node.jobs.route_mode import RouteMode, onward, told
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.shadow.wanted import is_meant_for
from dicom_node.watching.job_watch import JobsSeen
from inference.models.shadow import SHADOW_FILE

MODES = {"pacs": RouteMode.LIVE, "lab": RouteMode.RESEARCH}
PEER = {"ae_title": "X", "host": "127.0.0.1", "port": 104}


def attempt(unit: str, run: int = 1, **output: object) -> Attempt:
    return Attempt(AttemptId("c", run, unit, 1), "SUCCESS", {"result": "done", **output}, 1.0, 2.0)


def answer(folder: Path, unit: str, mode: RouteMode, *known: Attempt) -> str | None:
    """Code with which an attempt is kept from sending; None if it may."""
    said = stopped(CaseFolder(folder), AttemptId("c", 1, unit, 1), known, mode)
    return None if said is None else str(said["code"])


def test_no_case_waits_for_it_and_no_notice_goes_there() -> None:
    assert onward(MODES) == {"destinations": ["pacs"], "shadows": [], "more": True}
    assert told(MODES, MODES) == ["pacs"]
    alone = onward({"lab": RouteMode.RESEARCH})
    assert (alone["destinations"], alone["more"], alone["code"]) == ([], False, "ROUTE_OFF")


def test_nothing_is_made_for_it_and_a_mode_in_the_site_file_says_so() -> None:
    made = {"name": "lab", "mode": "research", "objects": ["report", "parametric-map", "segmentation"], **PEER}
    settings = parse_settings({"destinations": [{"name": "pacs", "objects": ["structure-set"], **PEER}, made]})
    assert settings.modes == MODES
    assert [str(role) for role in settings.roles()] == ["structure-set"]


@pytest.mark.parametrize(
    ("unit", "mode", "code"),
    [
        ("research.lab", RouteMode.RESEARCH, None),
        ("research.lab", RouteMode.LIVE, "NOT_RESEARCH"),
        ("research.lab", RouteMode.SHADOW, "NOT_RESEARCH"),
        ("research.lab", RouteMode.HOLD, "NOT_RESEARCH"),
        ("research.lab", RouteMode.DRY_RUN, "NOT_RESEARCH"),
        ("research.lab", RouteMode.OFF, "ROUTE_OFF"),
        ("deliver.lab", RouteMode.RESEARCH, "ROUTE_OFF"),
        ("shadow.lab", RouteMode.RESEARCH, "ROUTE_OFF"),
        ("tell.lab", RouteMode.RESEARCH, "ROUTE_OFF"),
        ("deliver.pacs", RouteMode.LIVE, None),
    ],
)
def test_the_mode_when_it_is_sent_decides(tmp_path: Path, unit: str, mode: RouteMode, code: str | None) -> None:
    assert answer(tmp_path, unit, mode) == code


def test_a_candidate_is_no_run_of_the_stages_and_a_newer_run_makes_its_objects_void(tmp_path: Path) -> None:
    delivered = [attempt("check", destinations=["pacs"]), attempt("deliver.pacs")]
    asked_again = [*delivered, attempt("candidate", run=2)]
    assert made_in_run(asked_again) == 1
    assert answer(tmp_path, "deliver.pacs", RouteMode.LIVE, *asked_again) is None
    assert answer(tmp_path, "research.lab", RouteMode.RESEARCH, *delivered, attempt("read", run=2)) == "SUPERSEDED"


@pytest.mark.parametrize("result", ["done", "failed", "again", "cancelled"])
def test_what_becomes_of_it_says_nothing_of_the_case(result: str) -> None:
    delivered = [attempt("check", destinations=["pacs"]), attempt("deliver.pacs")]
    aside = [attempt(unit, result=result, code="X") for unit in ("candidate", "research.lab")]
    case = case_of([*delivered, *aside])
    assert (case.state, case.code, len(case.attempts)) == (CaseState.DELIVERED, "", 4)


def test_one_that_waits_is_not_late() -> None:
    queues = [QueueState(name, 1, 0, 0, created) for name, created in ((CANDIDATE_QUEUE, 100.0), (WORK_QUEUE, 900.0))]
    assert JobsSeen(tuple(queues), {}).oldest_s(1000.0) == 100.0
    assert JobsSeen(tuple(queues[:1]), {}).oldest_s(1000.0) == 0.0


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    """A model with the digest `aa…` runs in shadow, for `lab`."""
    found = parse_settings({"node": {"data_dir": str(tmp_path / "data")}})
    make_directory(found.model_registry().folder)
    model = {"name": "m", "version": "1", "content_sha256": "a" * 64, "manifest_sha256": "b" * 64}
    entry = {"model": model, "destination": "lab", "by": "Ann", "at": "2026-11-26T12:00:00+00:00"}
    write_json(found.model_registry().folder / SHADOW_FILE, entry)
    return found


def test_objects_leave_only_while_their_model_is_in_shadow_for_that_destination(settings: NodeSettings) -> None:
    case = settings.cases().folder("c")
    assert not is_meant_for(settings, case, "lab")  # nothing was made
    make_directory(case.beside().path)
    write_json(case.beside().contents, {"ordered": [], "destinations": ["lab"], "model": "a" * 64})
    assert is_meant_for(settings, case, "lab")
    assert not is_meant_for(settings, case, "other")
    write_json(case.beside().contents, {"ordered": [], "destinations": ["lab"], "model": "c" * 64})
    assert not is_meant_for(settings, case, "lab")
    write_json(case.beside().contents, {"ordered": [], "destinations": ["lab"], "model": "a" * 64})
    (settings.model_registry().folder / SHADOW_FILE).unlink()
    assert not is_meant_for(settings, case, "lab")
