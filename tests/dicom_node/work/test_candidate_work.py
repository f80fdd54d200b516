"""The model in shadow at work: it gives way, fails alone, and its processes are nobody else's."""

import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from dicom_node.durable_files import make_directory, write_json
from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.cases import CaseFolder, CaseRecord
from dicom_node.jobs.following import after
from dicom_node.jobs.queues import CANDIDATE_QUEUE, STAGE_WORKFLOW, WORK_QUEUE, queue_of
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.settings.stage_limits import StageLimits
from dicom_node.shadow.comparisons import CaseComparison, Comparisons, remove_old
from dicom_node.shadow.wanted import is_wanted
from dicom_node.work.candidate_work import CandidateWork, Output
from dicom_node.work.idle import Idle
from dicom_node.work.stage_work import StageWork
from inference.models.history import ChosenModel
from inference.models.shadow import SHADOW_FILE
from tests.peers import eventually
from tests.stage_program import plan, runs

MODEL = ChosenModel("stand-in", "2", "a" * 64, "b" * 64)


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    """A site with a shadow file; the case of these tests is `data/cases/c`."""
    found = parse_settings({"node": {"data_dir": str(tmp_path / "data")}})
    folder = found.model_registry().folder
    make_directory(folder)
    entry = {"model": {**_plain(MODEL)}, "destination": "lab", "by": "Ann", "at": "2026-11-26T12:00:00+00:00"}
    write_json(folder / SHADOW_FILE, entry)
    return replace(found, limits=StageLimits(attempts=2))


def _plain(model: ChosenModel) -> dict[str, str]:
    return {key: getattr(model, key) for key in ("name", "version", "content_sha256", "manifest_sha256")}


def case_of(settings: NodeSettings) -> CaseFolder:
    folder = settings.cases().folder("c")
    make_directory(folder.path)
    folder.write_record(CaseRecord("c", "1.2", "d", 1, "CT"))
    return folder


def candidate(settings: NodeSettings, is_busy: Callable[[], bool] = lambda: False, tries: int = 1) -> Output:
    work = CandidateWork(settings, Idle(is_busy), "tests.stage_program")
    return work.perform(settings.cases().folder("c"), AttemptId("c", 1, "candidate", tries), tries)


def kept(settings: NodeSettings) -> list[CaseComparison]:
    return list(Comparisons(settings.model_registry().folder, MODEL.content_sha256).all())


def test_it_has_a_queue_of_its_own_and_comes_last_after_the_checks() -> None:
    check, shadow = AttemptId("c", 3, "check", 1), AttemptId("c", 3, "candidate", 1)
    output = {"result": "done", "destinations": ["pacs"], "shadows": ["old"], "candidate": True}
    assert [str(then.attempt) for then in after(check, output, 1)] == [
        "c:3:deliver.pacs:1",
        "c:3:shadow.old:1",
        "c:3:candidate:1",
    ]
    assert [str(then.attempt) for then in after(shadow, {"result": "done", "destinations": ["lab"]}, 1)] == [
        "c:3:research.lab:1"
    ]
    assert queue_of(shadow) == (CANDIDATE_QUEUE, STAGE_WORKFLOW)
    assert queue_of(check) == (WORK_QUEUE, STAGE_WORKFLOW)


def test_the_check_of_a_case_asks_for_it_only_while_a_model_runs_in_shadow(settings: NodeSettings) -> None:
    folder, path = case_of(settings), settings.model_registry().folder / SHADOW_FILE
    check = AttemptId("c", 1, "check", 1)
    work = StageWork(settings, "tests.stage_program")
    assert work.perform(folder, check, 1)["candidate"] is True
    assert "candidate" not in work.perform(folder, AttemptId("c", 1, "encode", 1), 1)
    path.write_text("what no one can read")
    assert work.perform(folder, check, 1)["result"] == "done"
    assert not is_wanted(settings)
    path.unlink()
    assert "candidate" not in work.perform(folder, check, 1)
    path.mkdir()
    assert not is_wanted(settings)


@pytest.mark.parametrize(
    ("doing", "code"),
    [
        (["exit:17"], "STAGE_CRASHED"),
        (["raise:SIGSEGV"], "STAGE_CRASHED"),
        (["rejected:LUNGS_NOT_FOUND"], "LUNGS_NOT_FOUND"),
        (["gave-up:MODEL_ALTERED"], "MODEL_ALTERED"),
    ],
)
def test_one_that_crashes_or_refuses_is_remembered_and_no_refusal_of_the_case(
    settings: NodeSettings, doing: list[str], code: str
) -> None:
    folder = case_of(settings)
    plan(folder.path, "candidate", *doing)
    first = candidate(settings)
    if code == "STAGE_CRASHED":
        assert (first["result"], kept(settings)) == ("again", [])
        first = candidate(settings, tries=2)
    assert (first["result"], first["code"], "notice" in first) == ("failed", code, False)
    (entry,) = kept(settings)
    assert (entry.code, entry.figures, entry.candidate) == (code, None, "stand-in 2 (aaaaaaaaaaaa)")
    assert not (folder.path / "refusal.json").exists()
    assert after(AttemptId("c", 1, "candidate", 1), first, 1) == []


def test_one_that_is_slow_is_ended_at_its_limit(settings: NodeSettings) -> None:
    plan(case_of(settings).path, "candidate", "hang")
    limits = StageLimits(timeouts_s={"candidate": 1.0}, attempts=1)
    assert candidate(replace(settings, limits=limits))["code"] == "STAGE_TOO_LONG"


def test_it_makes_way_for_a_case_and_begins_anew_without_a_try_less(settings: NodeSettings) -> None:
    folder = case_of(settings)
    plan(folder.path, "candidate", "hang", "done")
    output = candidate(settings, lambda: runs(folder.path, "candidate") > 0)
    assert (output["result"], output["code"]) == ("again", "MADE_WAY")
    (then,) = after(AttemptId("c", 1, "candidate", 1), output, 1)
    assert (str(then.attempt), then.tries, then.delay_s) == ("c:1:candidate:2", 1, 5.0)
    assert candidate(settings)["result"] == "done"


def test_it_waits_for_its_turn_and_a_stop_or_a_person_ends_the_wait(settings: NodeSettings) -> None:
    folder = case_of(settings)
    began_at = time.monotonic()
    assert candidate(settings, lambda: time.monotonic() < began_at + 1.0)["result"] == "done"
    assert (runs(folder.path, "candidate"), time.monotonic() > began_at + 1.0) == (1, True)
    (folder.path / "ladder-candidate.json").unlink()  # written when an attempt really begins
    idle = Idle(lambda: True)
    threading.Timer(0.3, idle.close).start()
    work = CandidateWork(settings, idle, "tests.stage_program")
    assert work.perform(folder, AttemptId("c", 1, "candidate", 1), 1)["code"] == "MADE_WAY"
    folder.set_cancelled(True)
    assert candidate(settings, lambda: True) == {"result": "cancelled"}
    assert not (folder.path / "ladder-candidate.json").exists()
    assert runs(folder.path, "candidate") == 1


def test_when_nobody_knows_whether_a_case_waits_one_does() -> None:
    def away() -> bool:
        raise OSError

    assert Idle(away).is_over()
    assert not Idle(lambda: False).is_over()


@pytest.mark.parametrize("first", ["candidate", "segment"])
def test_a_stage_of_the_same_case_and_the_candidate_do_not_end_each_other(settings: NodeSettings, first: str) -> None:
    folder, stop = case_of(settings), threading.Event()
    stages = StageWork(settings, "tests.stage_program")
    does = {
        "candidate": lambda: candidate(settings, stop.is_set),
        "segment": lambda: stages.perform(folder, AttemptId("c", 2, "segment", 1), 1),
    }
    for stage in does:
        plan(folder.path, stage, "hang")
    threads = {stage: threading.Thread(target=does[stage]) for stage in sorted(does, reverse=first == "segment")}
    assert next(iter(threads)) == first
    for count, thread in enumerate(threads.values(), start=1):
        thread.start()
        assert eventually(lambda count=count: len(_stages(folder)) == count, 30.0)
    time.sleep(0.7)  # in which whoever came second has looked for what is left of an earlier attempt
    assert _stages(folder) == ["candidate", "segment"]
    stop.set()
    threads["candidate"].join(30.0)
    assert _stages(folder) == ["segment"]
    folder.set_cancelled(True)
    threads["segment"].join(30.0)


def _stages(folder: CaseFolder) -> list[str]:
    """Stages that work on a case now."""
    found = []
    for process in psutil.process_iter():
        try:
            words = process.cmdline()
        except psutil.Error:
            continue
        if "tests.stage_program" in words and str(folder.path) in words:
            found.append(words[words.index("tests.stage_program") + 1])
    return sorted(found)


def test_comparisons_of_a_candidate_are_read_in_order_of_time(tmp_path: Path) -> None:
    store = Comparisons(tmp_path, "c" * 64)
    assert list(store.all()) == []
    later = CaseComparison("a", "2026-11-26T12:00:01+00:00", "x 1", "y 1")
    earlier = CaseComparison("b", "2026-11-26T12:00:00+00:00", "x 1", "y 1", code="A", message="B")
    for entry in (later, earlier, replace(later, run_s=2.0)):
        store.keep(entry)
    assert list(store.all()) == [earlier, replace(later, run_s=2.0)]
    assert list(Comparisons(tmp_path, "d" * 64).all()) == []
    (file,) = store.folder.glob("b.json")
    assert json.loads(file.read_text())["code"] == "A"
    os.utime(file, (1000.0, 1000.0))
    assert remove_old(tmp_path, 1000.5) == 1
    assert [entry.case_id for entry in store.all()] == ["a"]
