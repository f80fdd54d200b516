"""What becomes of attempts that crash: counted, tried again, quarantined, or run in another way."""

import heapq
import json
from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.durable_files import written_durably
from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.following import Next, after
from dicom_node.jobs.stages import Stage
from dicom_node.results.ladder_files import LadderFile
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.settings.stage_limits import StageLimits
from dicom_node.work.stage_work import Output, StageWork
from tests.stage_program import plan, runs

LIMITS = StageLimits(attempts=3)


@pytest.fixture
def settings() -> NodeSettings:
    destination = {"name": "pacs", "ae_title": "PACS", "host": "127.0.0.1", "port": 104}
    return replace(parse_settings({"destinations": [destination]}), limits=LIMITS)


def work(settings: NodeSettings, folder: Path, *cases: str, start: str = "segment", run: int = 1) -> list[str]:
    """Let a queue of one worker run cases until all have left their stages; what was done, in order.

    Delays count as an order: whoever must wait goes behind whoever need not.
    """
    stages, done = StageWork(settings, "tests.stage_program"), []
    waiting = [(0.0, number, Next(AttemptId(case, run, start, 1))) for number, case in enumerate(cases)]
    clock_s, number = 0.0, len(waiting)
    while waiting:
        clock_s, _, then = heapq.heappop(waiting)
        output = stages.perform(CaseFolder(folder / then.attempt.case_id), then.attempt, then.tries)
        done.append(f"{then.attempt} {output['result']} {output.get('code', '')}".strip())
        for following in after(then.attempt, output, then.tries):
            if not following.attempt.destination and following.attempt.stage is not Stage.NOTICE:
                number += 1
                heapq.heappush(waiting, (clock_s + following.delay_s, number, following))
    return done


def perform(settings: NodeSettings, case: Path, attempt: int = 1, tries: int = 1) -> Output:
    done = StageWork(settings, "tests.stage_program").perform(
        CaseFolder(case), AttemptId(case.name, 1, "segment", attempt), tries
    )
    return done


def test_a_case_goes_through_all_stages_one_after_the_other(settings: NodeSettings, tmp_path: Path) -> None:
    (tmp_path / "c").mkdir()
    assert work(settings, tmp_path, "c", start="read") == [
        f"c:1:{stage}:1 done" for stage in ("read", "segment", "perfuse", "encode", "check")
    ]


def test_a_stage_queued_by_the_version_before_the_split_goes_on_as_its_two_halves(
    settings: NodeSettings, tmp_path: Path
) -> None:
    plan(tmp_path / "c", "segment", "exit:17", "done")
    assert work(settings, tmp_path, "c", start="infer") == [
        "c:1:infer:1 again STAGE_CRASHED",
        "c:1:segment:2 done",
        *(f"c:1:{stage}:1 done" for stage in ("perfuse", "encode", "check")),
    ]
    assert runs(tmp_path / "c", "infer") == 0


def test_a_crash_in_the_second_half_does_not_repeat_the_first(settings: NodeSettings, tmp_path: Path) -> None:
    plan(tmp_path / "c", "perfuse", "raise:SIGSEGV", "done")
    assert "c:1:perfuse:1 again STAGE_CRASHED" in work(settings, tmp_path, "c")
    assert (runs(tmp_path / "c", "segment"), runs(tmp_path / "c", "perfuse")) == (1, 2)


def test_a_poison_case_is_put_aside_after_its_attempts_and_holds_up_nobody(
    settings: NodeSettings, tmp_path: Path
) -> None:
    plan(tmp_path / "poison", "segment", "raise:SIGSEGV")
    for name in ("good1", "good2"):
        (tmp_path / name).mkdir()
    done = work(settings, tmp_path, "poison", "good1", "good2")
    assert [line for line in done if "poison" in line] == [
        "poison:1:segment:1 again STAGE_CRASHED",
        "poison:1:segment:2 again STAGE_CRASHED",
        "poison:1:segment:3 failed STAGE_CRASHED",
    ]
    good = max(done.index(f"{name}:1:check:1 done") for name in ("good1", "good2"))
    assert good < done.index("poison:1:segment:2 again STAGE_CRASHED")
    assert CaseFolder(tmp_path / "poison").refusal()["code"] == "STAGE_CRASHED"


def test_a_person_who_tries_a_poison_case_again_gets_all_attempts_again(settings: NodeSettings, tmp_path: Path) -> None:
    plan(tmp_path / "c", "segment", *["exit:17"] * 5, "done")
    assert len(work(settings, tmp_path, "c")) == 3
    assert work(settings, tmp_path, "c", run=2)[-1] == "c:2:check:1 done"


@pytest.mark.parametrize("code", ["STAGE_TOO_LONG", "STAGE_OUT_OF_MEMORY"])
def test_time_and_memory_cost_one_attempt_each(settings: NodeSettings, tmp_path: Path, code: str) -> None:
    limits = StageLimits(timeouts_s={"segment": 1.0}) if code == "STAGE_TOO_LONG" else StageLimits(memory_mb=200)
    plan(tmp_path / "c", "segment", "hold:300", "done")
    done = work(replace(settings, limits=limits), tmp_path, "c")
    assert done[:2] == [f"c:1:segment:1 again {code}", "c:1:segment:2 done"]


def test_a_result_that_was_overtaken_is_encoded_once_more_in_a_run_of_its_own(
    settings: NodeSettings, tmp_path: Path
) -> None:
    plan(tmp_path / "c", "check", "back:RESULT_OVERTAKEN", "done")
    assert work(settings, tmp_path, "c", start="encode") == [
        "c:1:encode:1 done",
        "c:1:check:1 again RESULT_OVERTAKEN",
        "c:2:encode:1 done",
        "c:2:check:1 done",
    ]


def test_what_a_dead_attempt_left_half_written_is_gone_and_what_others_write_is_not(
    settings: NodeSettings, tmp_path: Path
) -> None:
    plan(tmp_path / "c", "segment", "done")
    stale = [tmp_path / "c" / name for name in ("lobes.npz.12.part", "objects/map.dcm.34.part")]
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"half")
    with written_durably(tmp_path / "c" / "cancelled-by-a-person") as part:
        part.write_bytes(b"")
        assert perform(settings, tmp_path / "c")["result"] == "done"
    assert (tmp_path / "c" / "cancelled-by-a-person").exists()
    assert [path for path in stale if path.exists()] == []


# Down the ladder


def ran(case: Path) -> dict[str, str]:
    done: dict[str, str] = json.loads((case / "ran-segment.json").read_text())
    return done


def test_memory_that_runs_out_in_the_process_leads_down_within_one_attempt(
    settings: NodeSettings, tmp_path: Path
) -> None:
    plan(tmp_path / "c", "segment", "network:configured=raise,smaller-tiles=raise")
    assert perform(settings, tmp_path / "c")["result"] == "done"
    assert ran(tmp_path / "c") == {"rung": "half-precision", "why": "OUT_OF_MEMORY"}


def test_a_stage_killed_for_memory_goes_one_rung_down_with_each_attempt(settings: NodeSettings, tmp_path: Path) -> None:
    """By the limit of the site, which the first rung really exceeds, and by the system."""
    plan(tmp_path / "c", "segment", "network:configured=500,smaller-tiles=kill,half-precision=kill")
    done = work(replace(settings, limits=StageLimits(memory_mb=300)), tmp_path, "c")
    assert done[:4] == [
        *(f"c:1:segment:{attempt} again STAGE_OUT_OF_MEMORY" for attempt in (1, 2, 3)),
        "c:1:segment:4 done",
    ]
    assert ran(tmp_path / "c") == {"rung": "cpu", "why": "STAGE_OUT_OF_MEMORY"}


@pytest.mark.parametrize("how", ["raise", "kill"])
def test_memory_that_runs_out_on_the_last_rung_ends_the_case(settings: NodeSettings, tmp_path: Path, how: str) -> None:
    rungs = ("configured", "smaller-tiles", "half-precision", "cpu")
    plan(tmp_path / "c", "segment", "network:" + ",".join(f"{rung}={how}" for rung in rungs))
    done = work(settings, tmp_path, "c")
    assert done[-1] == f"c:1:segment:{len(done)} failed STAGE_OUT_OF_MEMORY"
    assert len(done) == (1 if how == "raise" else 4)


def test_a_stage_without_a_network_that_runs_out_of_memory_has_its_usual_attempts(
    settings: NodeSettings, tmp_path: Path
) -> None:
    plan(tmp_path / "c", "segment", "raise:SIGKILL")
    assert work(settings, tmp_path, "c") == [
        "c:1:segment:1 again STAGE_OUT_OF_MEMORY",
        "c:1:segment:2 again STAGE_OUT_OF_MEMORY",
        "c:1:segment:3 failed STAGE_OUT_OF_MEMORY",
    ]


def test_other_crashes_on_a_lower_rung_stay_there_and_are_counted_alone(settings: NodeSettings, tmp_path: Path) -> None:
    plan(tmp_path / "c", "segment", "network:configured=kill,smaller-tiles=segv")
    assert work(settings, tmp_path, "c") == [
        "c:1:segment:1 again STAGE_OUT_OF_MEMORY",
        *(f"c:1:segment:{attempt} again STAGE_CRASHED" for attempt in (2, 3)),
        "c:1:segment:4 failed STAGE_CRASHED",
    ]
    assert LadderFile.read(CaseFolder(tmp_path / "c"), "segment").now == "smaller-tiles"


def test_an_attempt_that_is_repeated_after_a_restart_goes_down_once_per_crash(
    settings: NodeSettings, tmp_path: Path
) -> None:
    """Killed between the crash and the journal, the node does the same attempt again."""
    plan(tmp_path / "c", "segment", "network:configured=kill")
    first = perform(settings, tmp_path / "c")
    assert (first["result"], LadderFile.read(CaseFolder(tmp_path / "c"), "segment").start) == ("again", "smaller-tiles")
    again = perform(settings, tmp_path / "c")
    assert (again["result"], ran(tmp_path / "c")["rung"]) == ("done", "smaller-tiles")


def test_a_new_try_by_a_person_begins_at_the_top(settings: NodeSettings, tmp_path: Path) -> None:
    case = tmp_path / "c"
    plan(case, "segment", "network:configured=kill", "done")
    work(settings, tmp_path, "c")
    plan(case, "segment", "network:configured=1")
    work(settings, tmp_path, "c", run=2)
    assert ran(case) == {"rung": "configured", "why": ""}
