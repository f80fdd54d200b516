"""What earlier attempts say about the next one: what is due, how long to wait, when to give up."""

import pytest

from dicom_node.jobs.attempts import Attempt, AttemptId, Result
from dicom_node.jobs.delivery_history import NOT_CONFIRMED, UNREACHABLE, DeliveryHistory, instance_states
from dicom_node.jobs.retry_policy import RetryPolicy
from dicom_node.jobs.stages import Stage

POLICY = RetryPolicy((10.0, 60.0), give_up_after_s=3600.0)


def attempt(name: str, result: Result = Result.AGAIN, **output: object) -> Attempt:
    run, unit, number = name.split(":")
    identity = AttemptId("c", int(run), unit, int(number))
    return Attempt(identity, "SUCCESS", {"result": result.value, **output}, 1.0, 2.0)


def sent(uid: str, status: int = 0x0000, *, stored: bool = True) -> dict[str, object]:
    return {"object": f"role-{uid}", "sop_instance_uid": uid, "status": status, "stored": stored}


def before(*attempts: Attempt) -> tuple[AttemptId, DeliveryHistory]:
    """The next delivery after these, and its history."""
    next_id = AttemptId("c", 1, "deliver.pacs", len(attempts) + 1)
    return next_id, DeliveryHistory.before(next_id, attempts)


def test_only_earlier_attempts_of_the_same_run_and_destination_count() -> None:
    other = [
        attempt("1:deliver.tps:1", instances=[sent("b")]),
        attempt("1:tell.pacs:1", instances=[sent("c")]),
        attempt("1:shadow.pacs:1", instances=[sent("f")]),
        attempt("2:deliver.pacs:1", instances=[sent("d")]),
        attempt("1:deliver.pacs:3", instances=[sent("e")]),
    ]
    mine = attempt("1:deliver.pacs:1", instances=[sent("a")])
    history = DeliveryHistory.before(AttemptId("c", 1, "deliver.pacs", 2), [*other, mine])
    assert list(history.stored) == ["a"]


def test_what_was_stored_is_remembered_and_what_was_lost_is_due_again() -> None:
    attempts = [
        attempt("1:deliver.pacs:1", instances=[sent("a"), sent("b", 0xA700, stored=False)]),
        attempt("1:deliver.pacs:2", Result.DONE, instances=[sent("b", 0xB000)]),
        attempt("1:verify.pacs:3", confirmed={"a": "commitment"}, missing={"b": "no such object instance"}),
    ]
    assert before(*attempts[:1])[1].stored == {"a": 0x0000}
    assert before(*attempts[:2])[1].stored == {"a": 0x0000, "b": 0xB000}
    assert before(*attempts)[1].stored == {"a": 0x0000}
    assert before(*attempts)[1].rounds == 1
    states = instance_states(attempts)
    assert states["a"]["verified"] == "commitment"
    assert (states["b"]["stored"], states["b"]["reason"]) == (False, "no such object instance")
    again = [*attempts, attempt("1:deliver.pacs:4", Result.DONE, instances=[sent("b")])]
    assert before(*again)[1].stored == {"a": 0x0000, "b": 0x0000}


def test_rows_of_the_version_before_are_understood() -> None:
    old = attempt("1:deliver.pacs:1", Result.DONE, instances=[{"sop_instance_uid": "a", "status": 0}])
    assert before(old)[1].stored == {"a": 0}


def test_waits_grow_with_jitter_that_is_always_the_same() -> None:
    failed = [attempt(f"1:deliver.pacs:{k}", code=UNREACHABLE, wait_s=10.0) for k in (1, 2, 3)]
    waits = []
    for number in range(4):
        identity, history = before(*failed[:number])
        waits.append(history.wait_s(identity, UNREACHABLE, POLICY))
        assert waits[-1] == history.wait_s(identity, UNREACHABLE, POLICY)
    for wait_s, base_s in zip(waits, (10.0, 60.0, 60.0, 60.0), strict=True):
        assert wait_s is not None
        assert base_s <= wait_s <= 1.2 * base_s
    assert len(set(waits[1:])) == 3


@pytest.mark.parametrize("code", [UNREACHABLE, NOT_CONFIRMED])
def test_who_says_nothing_is_tried_until_the_site_gives_up(code: str) -> None:
    unit = "deliver" if code == UNREACHABLE else "verify"
    failed = [attempt(f"1:{unit}.pacs:{k}", code=code, wait_s=60.0) for k in range(1, 60)]
    identity = AttemptId("c", 1, f"{unit}.pacs", 60)
    assert DeliveryHistory.before(identity, failed).wait_s(identity, code, POLICY) is not None
    failed.append(attempt(f"1:{unit}.pacs:60", code=code, wait_s=60.0))
    identity = AttemptId("c", 1, f"{unit}.pacs", 61)
    assert DeliveryHistory.before(identity, failed).wait_s(identity, code, POLICY) is None


def test_refusals_use_up_attempts_and_absence_does_not() -> None:
    absent = [attempt(f"1:deliver.pacs:{k}", code=UNREACHABLE, wait_s=1.0) for k in range(1, 10)]
    identity, history = before(*absent)
    assert history.wait_s(identity, "STORE_REFUSED", POLICY) is not None
    refused = [attempt(f"1:deliver.pacs:{k}", code="STORE_REFUSED") for k in (10, 11)]
    identity, history = before(*absent, refused[0])
    assert history.wait_s(identity, "STORE_REFUSED", POLICY) is not None
    identity, history = before(*absent, *refused)
    assert history.wait_s(identity, "STORE_REFUSED", POLICY) is None


def test_a_refusal_for_good_is_a_dead_letter_at_once_and_a_doubtful_one_is_tried_once_more() -> None:
    identity, history = before()
    assert history.wait_s(identity, "STORE_REFUSED", POLICY, permanent=True) is None
    assert history.wait_s(identity, "STORE_REFUSED", POLICY, permanent=True, doubtful=True) is not None
    identity, history = before(attempt("1:deliver.pacs:1", code="STORE_REFUSED", permanent=True))
    assert history.wait_s(identity, "STORE_REFUSED", POLICY, permanent=True, doubtful=True) is None


def test_a_new_round_begins_with_fresh_patience_and_remembers_its_own_questions() -> None:
    attempts = [
        attempt("1:deliver.pacs:1", Result.DONE),
        attempt("1:verify.pacs:2", transaction="t1", missing={"a": "gone"}),
        attempt("1:deliver.pacs:3", Result.DONE),
        attempt("1:verify.pacs:4", transaction="t2", code=NOT_CONFIRMED),
        attempt("1:verify.pacs:5", transaction="t3", code=NOT_CONFIRMED),
    ]
    history = DeliveryHistory.before(AttemptId("c", 1, "verify.pacs", 6), attempts)
    assert set(history.transactions) == {"t2", "t3"}
    assert history.asked_in_a_row() == 2
    assert history.attempts[0].id.stage is Stage.DELIVER
