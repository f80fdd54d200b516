from pathlib import Path

import pytest

from dicom_node.errors import NeverStarted
from dicom_node.jobs.attempts import Attempt, AttemptId, CaseState, Result, case_of, is_released
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.following import after
from dicom_node.jobs.job_database import JobDatabase
from dicom_node.jobs.jobs import JobBook
from dicom_node.jobs.route_mode import RouteMode, onward, told
from dicom_node.jobs.stages import Stage

ASKED = "asked"
"""Delivered to a destination that is to be asked whether it has kept it."""


def attempt(name: str, result: Result | str | None, **output: object) -> Attempt:
    if result == ASKED:
        result, output = Result.DONE, {"verify": True}
    run, unit, number = name.split(":")
    status = "ENQUEUED" if result is None else "SUCCESS"
    fields = {} if result is None else {"result": Result(result).value, **output}
    return Attempt(AttemptId("c", int(run), unit, int(number)), status, fields, 1.0, 2.0)


def test_ids_read_back_as_written() -> None:
    written = AttemptId("0123456789abcdef", 2, "deliver.pacs", 3)
    assert AttemptId.parse(str(written)) == written
    assert (written.stage, written.destination) == (Stage.DELIVER, "pacs")


@pytest.mark.parametrize(
    ("attempts", "state"),
    [
        ([("1:read:1", None)], CaseState.PROCESSING),
        ([("1:read:1", Result.DONE), ("1:segment:1", Result.REJECTED)], CaseState.REJECTED),
        ([("1:read:1", Result.AGAIN), ("1:read:2", None)], CaseState.PROCESSING),
        ([("1:encode:1", Result.DONE), ("1:deliver.a:1", Result.DONE), ("1:deliver.b:1", None)], CaseState.DELIVERING),
        ([("1:deliver.a:1", Result.DONE), ("1:deliver.b:1", Result.FAILED)], CaseState.FAILED),
        ([("1:deliver.a:1", Result.DONE), ("1:deliver.b:1", Result.DONE)], CaseState.DELIVERED),
        # A new run of one stage makes what came after it in the old run void.
        ([("1:encode:1", Result.DONE), ("1:deliver.a:1", Result.DONE), ("2:segment:1", None)], CaseState.PROCESSING),
        # A new delivery to one destination leaves the other one as it was.
        ([("1:deliver.a:1", Result.DONE), ("1:deliver.b:1", Result.FAILED), ("2:deliver.b:1", Result.DONE)],
         CaseState.DELIVERED),
        # A destination that is to be asked is not done before it has answered; the other one does not wait for it.
        ([("1:check:1", Result.DONE), ("1:deliver.a:1", Result.DONE), ("1:deliver.b:1", ASKED)], CaseState.DELIVERING),
        ([("1:deliver.a:1", ASKED), ("1:verify.a:2", None)], CaseState.DELIVERING),
        ([("1:deliver.a:1", ASKED), ("1:verify.a:2", Result.AGAIN), ("1:deliver.a:3", None)], CaseState.DELIVERING),
        ([("1:deliver.a:1", ASKED), ("1:verify.a:2", Result.DONE)], CaseState.DELIVERED),
        ([("1:deliver.a:1", ASKED), ("1:verify.a:2", Result.FAILED), ("1:deliver.b:1", ASKED),
          ("1:verify.b:2", Result.DONE)], CaseState.FAILED),
        # Sending again to one destination makes only its own verification void.
        ([("1:deliver.a:1", ASKED), ("1:verify.a:2", Result.DONE), ("1:deliver.b:1", ASKED),
          ("1:verify.b:2", Result.FAILED), ("2:deliver.b:1", None)], CaseState.DELIVERING),
        ([("1:deliver.a:1", ASKED), ("1:verify.a:2", Result.FAILED), ("2:deliver.a:1", ASKED),
          ("2:verify.a:2", Result.DONE)], CaseState.DELIVERED),
        # What was sent in the version before was never asked for.
        ([("1:check:1", Result.DONE), ("1:deliver.a:1", Result.AGAIN), ("1:deliver.a:2", Result.DONE)],
         CaseState.DELIVERED),
        # What becomes of a notice of refusal changes nothing.
        ([("1:read:1", Result.REJECTED), ("1:notice:1", None)], CaseState.REJECTED),
        ([("1:check:1", Result.FAILED), ("1:notice:1", Result.DONE), ("1:tell.a:1", Result.AGAIN)], CaseState.FAILED),
        ([("1:read:1", Result.REJECTED), ("1:notice:1", Result.DONE), ("1:tell.a:1", Result.DONE),
          ("2:read:1", Result.DONE), ("2:segment:1", None)], CaseState.PROCESSING),
        # What is held waits for a person; the state says so as soon as nothing else is on its way.
        ([("1:check:1", Result.DONE), ("1:deliver.a:1", Result.HELD)], CaseState.HELD),
        ([("1:deliver.a:1", Result.HELD), ("1:deliver.b:1", None)], CaseState.DELIVERING),
        ([("1:deliver.a:1", Result.HELD), ("1:deliver.b:1", Result.FAILED)], CaseState.FAILED),
        ([("1:deliver.a:1", Result.HELD), ("1:deliver.b:1", Result.DONE)], CaseState.HELD),
        ([("1:deliver.a:1", Result.HELD), ("1:deliver.a:2", None)], CaseState.DELIVERING),
        ([("1:deliver.a:1", Result.HELD), ("1:discard.a:2", None)], CaseState.DISCARDED),
        ([("1:deliver.a:1", Result.HELD), ("1:discard.a:2", Result.DISCARDED)], CaseState.DISCARDED),
        ([("1:deliver.a:1", Result.HELD), ("1:discard.a:2", Result.CANCELLED)], CaseState.CANCELLED),
        # Who releases in the moment in which another one discards does not win.
        ([("1:deliver.a:1", Result.HELD), ("1:discard.a:2", None), ("1:deliver.a:2", None)], CaseState.DISCARDED),
        # A shadow counts for nothing.
        ([("1:check:1", Result.DONE), ("1:deliver.a:1", Result.DONE), ("1:shadow.b:1", Result.FAILED)],
         CaseState.DELIVERED),
        ([("1:check:1", Result.DONE), ("1:deliver.a:1", Result.DONE), ("1:shadow.b:1", None)], CaseState.DELIVERED),
    ],
)  # fmt: skip
def test_state_of_a_case_follows_from_its_attempts(
    attempts: list[tuple[str, Result | str | None]], state: CaseState
) -> None:
    assert case_of([attempt(name, result) for name, result in attempts]).state is state


def test_a_case_says_why_it_waits_and_that_nobody_could_be_asked() -> None:
    lost = {"code": "NOT_STORED", "message": "pacs does not have 1 object(s)"}
    waiting = [
        attempt("1:deliver.a:1", ASKED),
        attempt("1:verify.a:2", Result.AGAIN, **lost),
        attempt("1:deliver.a:3", None),
        attempt("1:deliver.b:1", ASKED),
        attempt("1:verify.b:2", Result.DONE, code="UNVERIFIED"),
    ]
    assert (case_of(waiting).code, case_of(waiting).stage) == ("NOT_STORED", Stage.DELIVER)
    done = [*waiting[:2], attempt("1:deliver.a:3", ASKED), attempt("1:verify.a:4", Result.DONE), *waiting[3:]]
    assert (case_of(done).state, case_of(done).code) == (CaseState.DELIVERED, "UNVERIFIED")


def test_a_case_without_destinations_is_done_when_its_objects_are_checked() -> None:
    assert case_of([attempt("1:check:1", Result.DONE, more=False)]).state is CaseState.DELIVERED


def test_a_stage_that_crashed_the_engine_itself_has_failed() -> None:
    crashed = Attempt(AttemptId("c", 1, "segment", 1), "MAX_RECOVERY_ATTEMPTS_EXCEEDED", {}, 1.0, 2.0)
    assert case_of([crashed]).state is CaseState.FAILED


def test_a_data_directory_without_a_node_says_so(tmp_path: Path) -> None:
    with pytest.raises(NeverStarted):
        JobBook(JobDatabase.under(tmp_path), CaseStore.under(tmp_path))


def dry(name: str, result: Result = Result.DONE) -> Attempt:
    return attempt(name, result, code="DRY_RUN")


def test_a_dry_run_or_a_route_that_is_off_says_so_only_where_nothing_else_counts() -> None:
    off = attempt("1:deliver.b:1", Result.DISCARDED, code="ROUTE_OFF")
    assert case_of([dry("1:deliver.a:1")]).state is CaseState.DRY_RUN
    assert case_of([dry("1:deliver.a:1"), off]).state is CaseState.DRY_RUN
    assert case_of([off]).state is CaseState.DISCARDED
    assert case_of([dry("1:deliver.a:1"), off, attempt("1:deliver.c:1", Result.DONE)]).state is CaseState.DELIVERED
    assert case_of([dry("1:deliver.a:1"), attempt("1:deliver.c:1", Result.FAILED)]).state is CaseState.FAILED
    nowhere = attempt("1:check:1", Result.DONE, **onward({"a": RouteMode.OFF}))
    assert case_of([nowhere]).state is CaseState.DISCARDED
    shadows = attempt("1:check:1", Result.DONE, **onward({"a": RouteMode.SHADOW}))
    assert (case_of([shadows]).state, case_of([shadows]).code) == (CaseState.DELIVERED, "SHADOWS_ONLY")


def test_a_release_lasts_as_long_as_the_objects_it_was_given_for() -> None:
    check = attempt("1:check:1", Result.DONE)
    held = attempt("1:deliver.a:1", Result.HELD)
    sent = attempt("1:deliver.a:2", Result.AGAIN)
    assert not is_released(AttemptId("c", 1, "deliver.a", 1), [check])
    assert is_released(AttemptId("c", 1, "deliver.a", 2), [check, held])
    assert not is_released(AttemptId("c", 1, "deliver.b", 2), [check, held])
    assert is_released(AttemptId("c", 1, "deliver.a", 3), [check, held, sent])
    assert is_released(AttemptId("c", 2, "deliver.a", 1), [check, held, sent])
    assert not is_released(AttemptId("c", 2, "deliver.a", 1), [check, held, attempt("1:discard.a:2", None)])
    anew = attempt("2:check:1", Result.DONE)
    assert not is_released(AttemptId("c", 2, "deliver.a", 1), [check, held, sent, anew])


def test_what_follows_from_the_last_stage_depends_on_the_modes_of_the_routes() -> None:
    modes = {
        "off": RouteMode.OFF,
        "dry": RouteMode.DRY_RUN,
        "shadow": RouteMode.SHADOW,
        "hold": RouteMode.HOLD,
        "live": RouteMode.LIVE,
    }
    then = after(AttemptId("c", 1, "check", 1), {"result": "done", **onward(modes)}, 1)
    assert [n.attempt.unit for n in then] == ["deliver.dry", "deliver.hold", "deliver.live", "shadow.shadow"]
    assert told(modes, modes) == ["dry", "shadow", "live"]
