"""Tells people what they must know: which cases and series wait for one, what is late, and what ails the node.

What happened has an id that is derived from it, and its message is a job of that id on the queue `alerts`: seen twice,
by two hosts or after a restart, it is told once; a mail server that is away gets it when it is back; and no case waits
for that. At least once: a node that is killed between the server's answer and its own note sends again, with the same
id.
"""

import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Final

import structlog

from dicom_node.errors import AlertRefused
from dicom_node.jobs.attempts import Case, CaseState
from dicom_node.jobs.jobs import JobBook
from dicom_node.metrics import ALERTS_SENT
from dicom_node.reception.arrivals import Arrivals, ArrivalState
from dicom_node.reception.spool import Spool
from dicom_node.settings.alert_settings import Alert, AlertEvent
from dicom_node.settings.config import NodeSettings
from dicom_node.watching.alert_delivery import bring
from dicom_node.watching.chores import Chore
from dicom_node.watching.node_checks import Check, Weight
from dicom_node.watching.watchdog import LastWords, Watchdog

LOOK_EVERY_S: Final = 30.0
_DAY_S: Final = 86_400.0
_OVERLAP_S: Final = 300.0
"""Looked at again each time: an attempt that ends while we look may not be seen yet, and clocks of hosts differ."""
_HELD_FOR_S: Final = 900.0
"""A series that is held for less may only wait for the second half of its transfer."""
_DELAYS_S: Final = (5.0, 60.0, 300.0, 900.0, 3600.0)
_TRIES: Final = 40
"""About a day and a half."""
Output = dict[str, Any]

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that somebody may want to know. Holds no patient data."""

    event: AlertEvent
    id: str
    """Derived from what happened: the same thing seen twice has the same."""
    code: str
    sentence: str
    case_id: str = ""
    state: str = ""

    def message(self, node: str) -> dict[str, Any]:
        """What is sent."""
        return {
            "id": f"{self.event}:{self.id}",
            "event": self.event.value,
            "node": node,
            "host": socket.gethostname(),
            "code": self.code,
            "sentence": self.sentence,
            "case": self.case_id,
            "state": self.state,
            "at_s": round(time.time()),
        }


def tell(settings: NodeSettings, book: JobBook, happening: Happening) -> None:
    """Queue a message for everybody who wants to know; a second time for the same is none."""
    message = happening.message(settings.receiver.ae_title)
    for alert in settings.alerts:
        if alert.wants(happening.event):
            book.tell(message_id(alert.name, message, 1), alert.name, message)


def tell_at_once(settings: NodeSettings, happening: Happening) -> None:
    """Try once to bring the message, without the queue: for a node that does not come up, and so sends nothing."""
    for alert in settings.alerts:
        if alert.wants(happening.event):
            send(settings, alert.name, happening.message(settings.receiver.ae_title), _TRIES)


def message_id(alert: str, message: dict[str, Any], tries: int) -> str:
    """The name of one try in the engine; no case begins so."""
    return f"alert:{alert}:{message['id']}:{tries}"


def send(settings: NodeSettings, name: str, message: dict[str, Any], tries: int) -> Output:
    """One try to bring a message; `wait_s` in the output says when to try again.

    Args:
        settings: of the node.
        name: of the alert; one that the site has no more gets nothing.
        message: as `Happening.message` made it.
        tries: which try this is, from 1.
    """
    alert = next((alert for alert in settings.alerts if alert.name == name), None)
    if alert is None:
        return {"result": "discarded"}
    fault = brought(alert, message)
    if not fault:
        ALERTS_SENT.count(alert=name, result="done")
        log.info("alert_sent", alert=name, alert_event=message["event"], code=message["code"])
        return {"result": "done"}
    last = tries >= _TRIES
    ALERTS_SENT.count(alert=name, result="failed" if last else "again")
    log.warning("alert_not_sent", code="ALERT_NOT_SENT", alert=name, kind=fault, again=not last)
    if last:
        return {"result": "failed", "code": fault}
    return {"result": "again", "code": fault, "wait_s": _DELAYS_S[min(tries - 1, len(_DELAYS_S) - 1)]}


def brought(alert: Alert, message: dict[str, Any]) -> str:
    """Empty, or why not: the text of a foreign exception may hold an address with its password."""
    try:
        bring(alert, message)
    except AlertRefused as fault:
        return fault.answer
    except Exception as fault:
        return type(fault).__name__
    return ""


class Reporter:
    """Finds what there is to tell.

    Args:
        settings: of the node.
        open_book: makes a `JobBook`.
        health: the watchdog.
        held_for_s: a series that is held for less is not told of.
    """

    def __init__(
        self,
        settings: NodeSettings,
        open_book: Callable[[], JobBook],
        health: Watchdog,
        *,
        held_for_s: float = _HELD_FOR_S,
    ) -> None:
        self._health = health
        self._settings = settings
        self._open_book = open_book
        self._held_for_s = held_for_s
        self._looked_at_s = 0.0
        self._troubles: dict[str, str] = {}

    def chores(self) -> list[Chore]:
        """What is looked at again and again; nothing if nobody wants to know."""
        if not self._settings.alerts:
            return []
        return [
            Chore("alerts-of-cases", LOOK_EVERY_S, self.tell_of_cases, once_for_all_hosts=True),
            Chore("alerts-of-series", LOOK_EVERY_S, self.tell_of_series),
            Chore("alerts-of-node", LOOK_EVERY_S, self.tell_of_node),
        ]

    def tell_of_node(self) -> None:
        """What the watchdog sees, and what it said before it ended the node that ran before."""
        words = LastWords.under(self._settings.data_dir)
        if (last := words.read()) is not None:
            with self._open_book() as book:
                tell(self._settings, book, Happening(AlertEvent.NODE, *last))
            words.forget()
        self.tell_of_checks(self._health.checks, self._health.failures)

    def tell_of_cases(self) -> None:
        """Cases that failed or wait for a person since the last look; at the first one, since yesterday."""
        now_s = time.time()
        with self._open_book() as book:
            for case in book.changed_since(max(now_s - _DAY_S, self._looked_at_s - _OVERLAP_S)):
                for happening in of_case(case):
                    tell(self._settings, book, happening)
        self._looked_at_s = now_s

    def tell_of_series(self) -> None:
        """Series of this host that wait for a person."""
        root = self._settings.data_dir / "spool"
        if not root.is_dir():
            return
        arrivals = Arrivals.under(self._settings.data_dir, Spool(root)).all()
        held = [a for a in arrivals if a.state is ArrivalState.HELD and time.time() - a.since_s >= self._held_for_s]
        if not held:
            return
        with self._open_book() as book:
            for arrival in held:
                short = arrival.series_key[:8]
                id_ = f"series {arrival.series_key[:16]} {round(arrival.since_s)}"
                sentence = f"Series {short} waits for a person: {arrival.sentence}"
                tell(self._settings, book, Happening(AlertEvent.HELD, id_, arrival.code, sentence, state="HELD"))

    def tell_of_checks(self, checks: Sequence[Check], failures: Callable[[str], int]) -> None:
        """Troubles of the node that the watchdog has seen several times in a row, and what is late; each once.

        Args:
            checks: the last round.
            failures: how often in a row a check has failed.
        """
        for check in checks:
            if check.ok:
                self._troubles.pop(check.name, None)
                continue
            if check.weight is not Weight.LATE and failures(check.name) < self._settings.watchdog.failures:
                continue
            before = self._troubles.get(check.name)
            if before is None or (check.since and check.since != before):
                self._tell_of(check, check.since or f"{socket.gethostname()} {round(time.time())}")

    def _tell_of(self, check: Check, since: str) -> None:
        event = AlertEvent.LATE if check.weight is Weight.LATE else AlertEvent.NODE
        happening = Happening(event, f"{check.name} {since}", check.code, check.detail)
        with self._open_book() as book:
            tell(self._settings, book, happening)
        self._troubles[check.name] = since


def of_case(case: Case) -> Iterator[Happening]:
    """What is to be told of a case, if anything: it failed, or waits for a person."""
    events = {CaseState.FAILED: AlertEvent.FAILED, CaseState.HELD: AlertEvent.HELD}
    if (event := events.get(case.state)) is None:
        return
    run = max(attempt.id.run for attempt in case.attempts)
    sentence = case.message or ("Its objects wait for a person." if event is AlertEvent.HELD else "It failed.")
    yield Happening(event, f"{case.case_id} {run} {case.code}", case.code, sentence, case.case_id, case.state.value)


def tell_of_takeover(settings: NodeSettings, executor_id: str, attempts: int) -> None:
    """The work of a process that is dead goes on elsewhere. Says nothing if the database is away again."""
    sentence = f"{attempts} attempt(s) of the dead process {executor_id} go on elsewhere."
    happening = Happening(AlertEvent.NODE, f"takeover {executor_id} {round(time.time())}", "TAKEOVER", sentence)
    if settings.alerts:
        with suppress(Exception), JobBook(settings.database, settings.cases()) as book:
            tell(settings, book, happening)
