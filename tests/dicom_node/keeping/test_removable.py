import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dicom_node.jobs.attempts import Attempt, AttemptId, Case, CaseState, Result, case_of, standing_attempts
from dicom_node.jobs.following import after
from dicom_node.jobs.route_mode import DRY_RUN
from dicom_node.jobs.stages import FOLLOWING, Stage
from dicom_node.keeping.removable import Because, Kept, kept_because, removable
from dicom_node.settings.retention_policy import RetentionPolicy

DAY_S = 86400.0
MAY_GO = {CaseState.DELIVERED, CaseState.REJECTED, CaseState.CANCELLED, CaseState.DISCARDED}
POLICY = RetentionPolicy(keep_days=30.0)
DESTINATIONS = ("pacs", "tps")
OBJECTS = ("map", "set")


def row(name: str, output: dict[str, Any] | None = None, *, status: str = "SUCCESS", at_s: float = 0.0) -> Attempt:
    return Attempt(AttemptId.parse(f"c0ffee:{name}"), status, output or {}, at_s, at_s)


def case(*attempts: Attempt) -> Case:
    return case_of(attempts)


def checked(*destinations: str) -> Attempt:
    return row("1:check:1", {"result": "done", "destinations": destinations, "more": bool(destinations)})


def sent(name: str = "1:deliver.pacs:1", *, stored: bool = True, verify: bool = False) -> Attempt:
    instances = [{"sop_instance_uid": "1.2.3", "status": 0 if stored else 0xA700, "stored": stored}]
    return row(name, {"result": "done", "instances": instances, "verify": verify})


DELIVERED = (
    checked("pacs"),
    sent(verify=True),
    row("1:verify.pacs:2", {"result": "done", "confirmed": {"1.2.3": "find"}}),
)


def test_a_delivered_case_goes_when_its_time_has_come_and_sooner_only_for_space() -> None:
    delivered = case(*DELIVERED)
    assert removable(delivered, 30 * DAY_S, POLICY) is None
    assert removable(delivered, 30 * DAY_S + 1, POLICY) is Because.AGED
    assert removable(delivered, 60.0, POLICY, short_of_space=True) is Because.SPACE


@pytest.mark.parametrize(
    ("attempts", "kept"),
    [
        ([row("1:infer:1", status="PENDING")], Kept.ON_ITS_WAY),
        ([row("1:infer:1", status="DELAYED")], Kept.ON_ITS_WAY),
        ([row("1:read:1", {"result": "done"})], Kept.NOT_FINISHED),
        ([*DELIVERED, row("2:deliver.pacs:1", status="ENQUEUED")], Kept.ON_ITS_WAY),
        ([checked("pacs"), sent(verify=True)], Kept.NOT_FINISHED),
        ([checked("pacs", "tps"), *DELIVERED[1:]], Kept.ON_ITS_WAY),  # nothing was ever sent to one of them
        ([checked("pacs"), sent(stored=False)], Kept.NOT_STORED),
        ([checked("pacs"), row("1:deliver.pacs:1", {"result": "failed", "code": "STORE_REFUSED"})], Kept.FAILED),
        ([row("1:read:1", status="ERROR")], Kept.FAILED),
        ([row("1:read:1", {"result": "rejected", "notice": True})], Kept.NOTICE_WAITS),
        (
            [
                row("1:read:1", {"result": "rejected", "notice": True}),
                row("1:notice:1", {"result": "done", "destinations": ["pacs", "tps"]}),
                row("1:tell.pacs:1", {"result": "done"}),
            ],
            Kept.NOTICE_WAITS,
        ),
        (
            [
                row("1:read:1", {"result": "rejected", "notice": True}),
                row("1:notice:1", {"result": "done", "destinations": ["pacs"]}),
                row("1:tell.pacs:1", {"result": "failed"}),
            ],
            Kept.FAILED,
        ),
        ([checked()], Kept.NOWHERE_ELSE),
        ([checked("pacs"), row("1:deliver.pacs:1", {"result": "done", "code": DRY_RUN})], Kept.NOWHERE_ELSE),
        ([checked("pacs"), row("1:deliver.pacs:1", {"result": "held"})], Kept.NOT_FINISHED),
        ([*DELIVERED, row("1:shadow.archive:1", status="DELAYED")], Kept.ON_ITS_WAY),
    ],
)
def test_what_has_not_arrived_stays(attempts: list[Attempt], kept: Kept) -> None:
    undelivered = case(*attempts)
    assert kept_because(undelivered) is kept
    assert removable(undelivered, 60.0, POLICY, short_of_space=True) is None
    if kept is not Kept.NOWHERE_ELSE:
        assert removable(undelivered, 1e5 * DAY_S, POLICY, short_of_space=True) is None


def test_a_refused_case_goes_once_its_notice_has_arrived() -> None:
    refused = case(
        row("1:read:1", {"result": "rejected", "notice": True}),
        row("1:notice:1", {"result": "done", "destinations": ["pacs"]}),
        row("1:tell.pacs:1", {"result": "again", "wait_s": 60.0}),
        row("1:tell.pacs:2", {"result": "done"}),
    )
    assert refused.state is CaseState.REJECTED
    assert removable(refused, 31 * DAY_S, POLICY) is Because.AGED


def test_what_a_person_discarded_goes_and_a_shadow_counts_for_nothing() -> None:
    discarded = case(
        checked("pacs"), row("1:deliver.pacs:1", {"result": "held"}), row("1:discard.pacs:2", {"result": "discarded"})
    )
    assert discarded.state is CaseState.DISCARDED
    assert removable(discarded, 60.0, POLICY, short_of_space=True) is Because.SPACE
    shadowed = case(*DELIVERED, row("1:shadow.archive:1", {"result": "failed"}))
    assert removable(shadowed, 60.0, POLICY, short_of_space=True) is Because.SPACE


def test_a_failed_case_goes_by_itself_only_where_the_site_says_when() -> None:
    failed = case(row("1:read:1", {"result": "failed"}))
    assert removable(failed, 1e4 * DAY_S, POLICY, short_of_space=True) is None
    patient = RetentionPolicy(keep_days=1.0, keep_failed_days=90.0)
    assert removable(failed, 80 * DAY_S, patient, short_of_space=True) is None
    assert removable(failed, 91 * DAY_S, patient) is Because.AGED


def test_a_result_that_exists_nowhere_else_goes_by_age_only() -> None:
    alone = case(checked())
    assert alone.state is CaseState.DELIVERED
    assert removable(alone, 31 * DAY_S, POLICY) is Because.AGED


# -- any history -------------------------------------------------------------------------------------------------------


@dataclass
class History:
    """An engine, archives and people, all at random; keeps beside the rows what the archives really have."""

    chance: random.Random
    rows: dict[AttemptId, Attempt] = field(default_factory=dict)
    stored: dict[str, set[str]] = field(default_factory=lambda: {name: set() for name in DESTINATIONS})
    confirmed: set[str] = field(default_factory=set)
    """Destinations that hold all objects of the last run and had said so when they were last asked."""

    discarded: set[str] = field(default_factory=set)
    """Destinations that a person wants to get nothing."""

    def queue(self, attempt: AttemptId) -> None:
        self.rows.setdefault(attempt, Attempt(attempt, "ENQUEUED", {}, 0.0, 0.0))

    def step(self) -> None:
        """Something happens: an attempt ends, or a person acts."""
        active = [a.id for a in self.rows.values() if a.is_active]
        if active and self.chance.random() > 0.1:
            self.end(self.chance.choice(active))
        else:
            self.act()

    def act(self) -> None:
        for held in [a.id for a in standing_attempts(self.rows.values()) if a.result is Result.HELD]:
            if self.chance.random() < 0.5:
                decided = self.chance.choice((Stage.DELIVER, Stage.DISCARD))
                self.queue(held.following(decided))
        run = max((a.run for a in self.rows), default=0) + 1
        if not any(a.is_active for a in self.rows.values()):
            choice = self.chance.choice(("start", *DESTINATIONS))
            standing = {a.id.destination for a in standing_attempts(self.rows.values())}
            if choice == "start":
                self.confirmed.clear()
                self.discarded.clear()
                for has in self.stored.values():
                    has.clear()
                self.queue(AttemptId("c", run, Stage.READ, 1))
            elif choice in standing:  # as `retry` demands
                self.confirmed.discard(choice)
                self.queue(AttemptId("c", run, f"deliver.{choice}", 1))

    def end(self, attempt: AttemptId) -> None:
        status = self.chance.choice([*["SUCCESS"] * 8, "ERROR", "CANCELLED"])
        output = self.output(attempt) if status == "SUCCESS" else {}
        self.rows[attempt] = Attempt(attempt, status, output, 0.0, 0.0)
        if status == "CANCELLED" and attempt.destination and not attempt.is_aside:
            self.discarded.add(attempt.destination)
        for following in after(attempt, output, 1) if output else ():
            self.queue(following.attempt)

    def some(self) -> set[str]:
        return {uid for uid in OBJECTS if self.chance.random() < 0.5}

    def output(self, attempt: AttemptId) -> dict[str, Any]:
        result = self.chance.choice([*[Result.DONE] * 5, Result.AGAIN, Result.FAILED])
        if not attempt.destination:
            if attempt.stage is Stage.READ and self.chance.random() < 0.5 and result is Result.FAILED:
                result = Result.REJECTED
            said = {"result": result.value, "notice": result in (Result.REJECTED, Result.FAILED)}
            return {**said, "destinations": list(DESTINATIONS), "more": True}
        name = attempt.destination
        if attempt.stage is Stage.DISCARD:
            self.discarded.add(name)
            return {"result": Result.DISCARDED.value}
        if attempt.stage is Stage.DELIVER and self.chance.random() < 0.1:
            return {"result": Result.HELD.value}
        if attempt.stage is Stage.DELIVER:
            self.discarded.discard(name)
            got = set(OBJECTS) if result is Result.DONE else self.some()
            self.stored[name] |= got
            verify = self.chance.random() < 0.5
            if result is Result.DONE and not verify:
                self.confirmed.add(name)
            instances = [{"sop_instance_uid": u, "status": 0, "stored": u in got} for u in OBJECTS]
            return {"result": result.value, "instances": instances, "verify": verify}
        if attempt.stage is Stage.VERIFY:
            if result is Result.DONE:
                self.confirmed.add(name)
                return {"result": result.value, "confirmed": dict.fromkeys(OBJECTS, "find")}
            lost = self.some()
            self.stored[name] -= lost
            return {"result": result.value, "missing": dict.fromkeys(lost, "lost")}
        return {"result": result.value}


def histories(chance: random.Random, steps: int) -> Iterator[tuple[History, Case]]:
    """One random history, looked at after each step."""
    history = History(chance)
    history.queue(AttemptId("c", 1, Stage.READ, 1))
    for _ in range(steps):
        history.step()
        yield history, case_of(list(history.rows.values()))


@settings(max_examples=500, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 60))
def test_nothing_undelivered_is_ever_removed(seed: int, steps: int) -> None:
    for history, found in histories(random.Random(seed), steps):
        if removable(found, 1e9, POLICY, short_of_space=True) is None:
            continue
        assert not any(a.is_active for a in found.attempts)
        assert found.state in MAY_GO
        if found.state is CaseState.DISCARDED:
            assert history.discarded
            assert history.confirmed | history.discarded == set(DESTINATIONS)
        if found.state is CaseState.DELIVERED:
            assert history.confirmed == set(DESTINATIONS)
            assert all(has == set(OBJECTS) for has in history.stored.values())


def test_the_histories_above_reach_cases_that_may_go() -> None:
    """Or else the property would hold of nothing."""
    reached = {
        found.state
        for seed in range(100)
        for _, found in histories(random.Random(seed), 60)
        if removable(found, 1e9, POLICY) is not None
    }
    assert reached == MAY_GO


_UNITS = [stage.value for stage in FOLLOWING] + [
    f"{s}.{d}" for s in ("deliver", "verify", "tell") for d in DESTINATIONS
]
_ROWS = st.builds(
    Attempt,
    st.builds(AttemptId, st.just("c"), st.integers(1, 3), st.sampled_from(_UNITS), st.integers(1, 4)),
    st.sampled_from(("ENQUEUED", "PENDING", "SUCCESS", "SUCCESS", "SUCCESS", "ERROR", "CANCELLED")),
    st.fixed_dictionaries(
        {"result": st.sampled_from([r.value for r in Result])},
        optional={"verify": st.booleans(), "notice": st.booleans(), "more": st.booleans()},
    ),
    st.just(0.0),
    st.just(0.0),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(_ROWS, min_size=1, max_size=8, unique_by=lambda a: a.id))
def test_whatever_rows_there_are_a_case_that_waits_for_anything_stays(rows: list[Attempt]) -> None:
    if all(row.id.is_aside for row in rows):
        return
    found = case_of(rows)
    if any(row.is_active for row in rows) or found.state not in MAY_GO:
        assert removable(found, 1e9, POLICY, short_of_space=True) is None
