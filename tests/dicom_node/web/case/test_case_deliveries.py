"""What is said of each destination, and where an attempt stands in the time line: both follow from the attempts."""

from dataclasses import replace

import pytest

from dicom_node.jobs.attempts import Attempt, AttemptId, Result, case_of
from dicom_node.jobs.cases import CaseRecord
from dicom_node.settings.config import NodeSettings, parse_settings
from dicom_node.web.case.deliveries import deliveries_said
from dicom_node.web.case.said import Delivery, Moment, moment
from dicom_node.web.case.time_line import time_line

RECORD = CaseRecord("c", "1.2.3", "d", 3, "TPS", "any", arrived_at_s=50.0)


@pytest.fixture(scope="module")
def settings() -> NodeSettings:
    peer = {"ae_title": "PACS", "host": "192.0.2.1", "port": 104}
    names = ({"name": "pacs"}, {"name": "lab", "mode": "shadow"})
    return parse_settings({"destinations": [{**peer, **name} for name in names]})


def attempt(
    name: str, result: Result | None, begin_s: float, end_s: float, status: str = "", **said: object
) -> Attempt:
    run, unit, number = name.split(":")
    output = {} if result is None else {"result": result.value, **said}
    return Attempt(AttemptId("c", int(run), unit, int(number)), status or "SUCCESS", output, begin_s, end_s)


CHECK = attempt("1:check:1", Result.DONE, 90.0, 95.0, destinations=["pacs"])
AWAY = attempt("1:deliver.pacs:1", Result.AGAIN, 100.0, 101.0, code="PEER_UNREACHABLE", message="Away.", wait_s=60.0)


def said(settings: NodeSettings, *attempts: Attempt) -> dict[tuple[str, str], Delivery]:
    return {(each.kind, each.name): each for each in deliveries_said(case_of(attempts), settings)}


def test_the_next_try_comes_after_the_pause_and_says_why_there_is_one(settings: NodeSettings) -> None:
    waiting = attempt("1:deliver.pacs:2", None, 101.0, 101.0, "DELAYED")
    pacs = said(settings, CHECK, AWAY, waiting)["result", "pacs"]
    assert pacs.next_try_at == moment(161.0)
    assert (pacs.outcome, pacs.code, pacs.message) == ("waiting", "PEER_UNREACHABLE", "Away.")
    assert (pacs.tries, pacs.waited_s, pacs.address) == (2, 60.0, "PACS@192.0.2.1:104")
    woken = said(settings, CHECK, AWAY, replace(waiting, status="ENQUEUED"))["result", "pacs"]
    assert woken.next_try_at is None
    assert woken.state == "waits for its turn (deliver)"
    running = said(settings, CHECK, AWAY, replace(waiting, status="PENDING"))["result", "pacs"]
    assert (running.outcome, running.state) == ("running", "being sent now")


def test_confirmations_and_what_got_lost_are_counted_per_instance(settings: NodeSettings) -> None:
    sent = [{"object": u, "sop_instance_uid": u, "status": 0, "stored": True} for u in ("a", "b")]
    stored = attempt("1:deliver.pacs:1", Result.DONE, 100.0, 101.0, instances=sent, verify=True)
    lost = attempt("1:verify.pacs:2", Result.AGAIN, 101.0, 102.0, confirmed={"a": "find"}, missing={"b": "lost"})
    pacs = said(settings, CHECK, stored, lost)["result", "pacs"]
    assert (pacs.stored, pacs.confirmed) == (1, 1)
    assert [(i.sop_instance_uid, i.confirmed_by, i.reason) for i in pacs.instances] == [
        ("a", "find", ""),
        ("b", "", "lost"),
    ]
    unasked = attempt("1:verify.pacs:2", Result.DONE, 101.0, 102.0, code="UNVERIFIED")
    assert said(settings, CHECK, stored, unasked)["result", "pacs"].state.startswith("stored; it could not be asked")
    only_stored = said(settings, CHECK, stored)["result", "pacs"]
    assert (only_stored.outcome, only_stored.state) == ("waiting", "stored; is asked next whether it kept it")


def test_a_retry_keeps_what_an_earlier_run_brought_and_new_objects_make_it_void(settings: NodeSettings) -> None:
    sent = [{"object": "x", "sop_instance_uid": "a", "status": 0, "stored": True}]
    stored = attempt("1:deliver.pacs:1", Result.DONE, 100.0, 101.0, instances=sent)
    retried = attempt("2:deliver.pacs:1", None, 200.0, 200.0, "PENDING")
    assert said(settings, CHECK, stored, retried)["result", "pacs"].stored == 1
    anew = attempt("2:check:1", Result.DONE, 190.0, 195.0, destinations=["pacs"])
    assert said(settings, CHECK, stored, anew, retried)["result", "pacs"].stored == 0


def test_shadows_and_notices_stand_apart_and_a_destination_that_is_gone_has_no_address(settings: NodeSettings) -> None:
    done = attempt("1:deliver.old:1", Result.DONE, 100.0, 101.0)
    shadow = attempt("1:shadow.lab:1", Result.FAILED, 100.0, 101.0, code="STORE_REFUSED")
    found = said(settings, CHECK, done, shadow)
    assert found["result", "old"].address == ""
    assert found["result", "old"].state == "stored; it is not asked whether it kept it"
    assert (found["shadow", "lab"].outcome, found["shadow", "lab"].mode) == ("failed", "shadow")


def line(*attempts: Attempt) -> list[Moment]:
    return time_line(case_of(attempts), RECORD, (), (40.0, 45.0))


def test_a_try_begins_after_the_pause_and_not_after_its_own_end() -> None:
    late = attempt("1:deliver.pacs:2", Result.DONE, 101.0, 165.0)
    assert line(CHECK, AWAY, late)[-1].at == moment(161.0)
    assert line(CHECK, AWAY, late)[-1].took_s == pytest.approx(4.0)
    woken = attempt("1:deliver.pacs:2", Result.DONE, 101.0, 110.0)
    assert (line(CHECK, AWAY, woken)[-1].at, line(CHECK, AWAY, woken)[-1].took_s) == (moment(110.0), 0.0)
    waiting = attempt("1:deliver.pacs:2", None, 101.0, 101.0, "DELAYED")
    assert (line(CHECK, AWAY, waiting)[-1].at, line(CHECK, AWAY, waiting)[-1].took_s) == (moment(161.0), None)
    assert line(CHECK, AWAY, waiting)[-1].outcome == "waiting"


def test_images_come_before_the_case_and_the_case_before_its_stages() -> None:
    kinds = [each.kind for each in line(CHECK, AWAY)]
    assert kinds == ["received", "opened", "stage", "delivery"]
    late = replace(RECORD, arrived_at_s=1e6)  # moved on, because two cases would have shared a time
    assert time_line(case_of([CHECK]), late, (), ())[0].at == moment(90.0)
