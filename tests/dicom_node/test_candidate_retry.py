"""A person lets the model in shadow look at a case once more: the real engine, and a stage that does as planned."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.attempts import Attempt, CaseState, Result
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.stages import Stage
from dicom_node.operations import Operations
from dicom_node.processes.programs import Programs
from dicom_node.processes.roles import Role
from dicom_node.serving.job_engine import JobEngine
from dicom_node.settings.config import NodeSettings, read_settings
from inference.errors import ShadowRefused
from inference.models.shadow import SHADOW_FILE
from tests.peers import eventually
from tests.stage_program import plan, runs

CASE_ID = f"{1:016x}"
LIMIT_S = 240.0
STUB = Programs(stage="tests.stage_program")


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    """A site in which a model runs in shadow, and one case."""
    site = tmp_path / "site.toml"
    site.write_text(f'[node]\ndata_dir = "{tmp_path / "data"}"\n')
    found = read_settings(site)
    folder = found.model_registry().folder
    make_directory(folder)
    model = {"name": "stand-in", "version": "2", "content_sha256": "a" * 64, "manifest_sha256": "b" * 64}
    entry = {"model": model, "destination": "", "by": "Ann", "at": "2026-11-26T12:00:00+00:00"}
    write_json(folder / SHADOW_FILE, entry)
    case = found.cases().folder(CASE_ID)
    make_directory(case.path)
    case.write_record(CaseRecord(CASE_ID, "2.25.20", "test", 1, "CT"))
    return found


@contextmanager
def working(settings: NodeSettings, *roles: Role) -> Iterator[Operations]:
    """The node at work in this process; without a role it only makes the database."""
    engine = JobEngine(settings, roles, "test:1", STUB)
    engine.launch()
    try:
        with Operations(settings) as node:
            yield node
    finally:
        engine.close()


def start(settings: NodeSettings, stage: Stage) -> CaseFolder:
    with JobBook(settings.database, settings.cases()) as book:
        book.start_unit(CASE_ID, stage)
    return settings.cases().folder(CASE_ID)


def looks(node: Operations) -> list[Attempt]:
    """Attempts of the model in shadow."""
    return [attempt for attempt in node.show(CASE_ID).case.attempts if attempt.id.stage is Stage.CANDIDATE]


def results(node: Operations) -> list[Result | None]:
    return [attempt.result for attempt in looks(node)]


def test_one_that_failed_is_tried_again_and_the_case_stays_delivered(settings: NodeSettings) -> None:
    with working(settings, Role.WORKER) as node:
        plan(settings.cases().folder(CASE_ID).path, "candidate", "rejected:LUNGS_NOT_FOUND", "done")
        case = start(settings, Stage.CHECK)
        assert eventually(lambda: results(node) == [Result.FAILED], LIMIT_S)
        state = node.show(CASE_ID).case.state
        assert node.retry_candidate(CASE_ID).has_effect
        assert eventually(lambda: results(node) == [Result.FAILED, Result.DONE], LIMIT_S)
        assert runs(case.path, "candidate") == 2
        assert runs(case.path, "check") == 1  # nothing else was done again
        assert node.show(CASE_ID).case.state is state is CaseState.DELIVERED
        (decision,) = node.show(CASE_ID).review.decisions
        assert (decision.action, decision.details) == ("retry", {"Stage": "candidate"})


def test_it_is_not_asked_for_where_it_would_be_of_no_use(settings: NodeSettings) -> None:
    with working(settings) as node:
        case = start(settings, Stage.ENCODE)
        assert not node.retry_candidate(CASE_ID).has_effect  # no objects yet
        assert looks(node) == []
    with working(settings, Role.WORKER) as node:
        plan(case.path, "candidate", "gave-up:MODEL_ALTERED", "hang")
        assert eventually(lambda: results(node) == [Result.FAILED], LIMIT_S)
        assert node.retry_candidate(CASE_ID).has_effect
        assert not node.retry_candidate(CASE_ID).has_effect  # one is on its way
        assert results(node) == [Result.FAILED, None]
    case.set_cancelled(True)
    with working(settings, Role.WORKER) as node:
        assert eventually(lambda: results(node)[-1] is Result.CANCELLED, LIMIT_S)
        known = len(looks(node))
        assert not node.retry_candidate(CASE_ID).has_effect
        (settings.model_registry().folder / SHADOW_FILE).unlink()
        with pytest.raises(ShadowRefused, match="no model runs in shadow"):
            node.retry_candidate(CASE_ID)
        assert len(looks(node)) == known


def test_the_command_asks_for_it_and_for_nothing_else_with_it(settings: NodeSettings, tmp_path: Path) -> None:
    def retry(*words: str) -> "subprocess.CompletedProcess[str]":
        command = [
            sys.executable,
            "-m",
            "dicom_node",
            "retry",
            CASE_ID,
            "--config",
            str(tmp_path / "site.toml"),
            *words,
        ]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    with working(settings) as node:
        start(settings, Stage.READ)
        done = retry("--candidate")
        assert (done.returncode, done.stdout.startswith("nothing to do: no checked objects")) == (0, True), done.stderr
        refused = retry("--candidate", "--destination", "pacs")
        assert refused.returncode == 2
        assert "goes with neither" in refused.stderr
        assert looks(node) == []
