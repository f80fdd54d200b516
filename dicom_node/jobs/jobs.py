"""What may be done to a case: it is started, tried again, sent, stopped, by the node itself or by a person.

What is true about cases is read in `job_reading`. `perfnode` uses both, beside a running node and without one. All ids
are derived, so asking twice for the same thing does it once.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Final

from dbos import EnqueueOptions as DbosEnqueueOptions

from dicom_node.errors import UnknownDestination
from dicom_node.jobs.attempts import Attempt, AttemptId, Case, CaseState, Result, made_in_run, standing_attempts
from dicom_node.jobs.case_choice import NO_CHOICE, CaseChoice, write_choice
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.job_reading import JobReading
from dicom_node.jobs.job_rows import stranded
from dicom_node.jobs.priorities import Priority
from dicom_node.jobs.queues import (
    ALERT_QUEUE,
    ALERT_WORKFLOW,
    APPLICATION_VERSION,
    CASE_WORKFLOWS,
    number_of,
    queue_of,
)
from dicom_node.jobs.stages import Stage

_WAITING: Final = ("ENQUEUED", "DELAYED")


class JobBook(JobReading):
    """Reads and changes what the engine will do; a context manager that gives the database back.

    Raises:
        NeverStarted: no node has worked with this database yet.
    """

    def tell(self, message_id: str, alert: str, message: dict[str, Any]) -> None:
        """Let a message be sent to somebody; the same id twice is one message.

        Args:
            message_id: derived from what happened.
            alert: name of the recipient, as in the site file.
            message: what it says.
        """
        options: DbosEnqueueOptions = {
            "workflow_name": ALERT_WORKFLOW,
            "queue_name": ALERT_QUEUE,
            "workflow_id": message_id,
            "app_version": APPLICATION_VERSION,
        }
        self._client.enqueue(options, alert, message, 1)

    def wake(self, attempts: Sequence[AttemptId]) -> None:
        """Let attempts that wait for their time be made at once, or as soon as somebody is free."""
        for attempt in attempts:
            self._client.set_workflow_delay(str(attempt), delay_seconds=0.0)

    def bring_stranded_back(self) -> int:
        """After a clock was put back: end delays that would last too long when they should; how many there were."""
        found = stranded(self._client.list_workflows, CASE_WORKFLOWS, time.time())
        for attempt, wait_s in found:
            self._client.set_workflow_delay(str(attempt), delay_seconds=wait_s)
        return len(found)

    def submit(self, case_id: str) -> None:
        """Start a case that was never started; any other is left alone."""
        if not self._attempts(case_id):
            self.start(case_id)

    def start(self, case_id: str) -> list[AttemptId]:
        """Start a case from its first stage, whatever is known of it from before; what was queued."""
        return [self.start_unit(case_id, Stage.READ)]

    def start_unit(self, case_id: str, unit: str) -> AttemptId:
        """Start a case at a stage, or at a delivery, in a run of its own."""
        runs = [attempt.id.run for attempt in self._attempts(case_id)]
        return self._start(AttemptId(case_id, max(runs, default=0) + 1, unit, 1))

    def prioritise(self, case_id: str, priority: Priority) -> bool:
        """Let whatever is queued of a case from now on go before others, or after them; whether that is new.

        Raises:
            UnknownCase: there is no such case.
        """
        folder = self._cases.folder(case_id)
        record = folder.record()
        if record.priority == priority:
            return False
        folder.write_record(replace(record, priority=priority.value))
        return True

    def rerun(self, case_id: str, choice: CaseChoice = NO_CHOICE) -> list[AttemptId]:
        """Process a finished case anew with the models and settings in force; what was held of it is superseded.

        A result that differs from the one before has new UIDs and refers to it; the same result has the same UIDs.

        Args:
            case_id: of the case.
            choice: what a person wants in place of what is in force; empty: nothing, and no longer what was chosen.

        Returns:
            What was queued; nothing while the case is not finished.

        Raises:
            UnknownCase: there is no such case.
        """
        if not self.case(case_id).is_finished:
            return []
        folder = self._cases.folder(case_id)
        write_choice(folder, choice)
        folder.set_cancelled(False)
        return self.start(case_id)

    def retry(self, case_id: str, destination: str = "") -> list[AttemptId]:
        """Try a case again from where it stopped; what was delivered is delivered again, with the same UIDs.

        Without `destination`, a finished case: its stage, or the destinations that do not have everything, or all if
        all have. With it, that destination alone, even while its next attempt waits for its time. What is held stays
        held: that is for `release`.

        Returns:
            What was queued.

        Raises:
            UnknownCase: there is no such case.
            UnknownDestination: nothing of the case was ever on its way there.
        """
        case = self.case(case_id)
        standing = {a.id.destination: a for a in standing_attempts(case.attempts)}
        run = max(attempt.id.run for attempt in case.attempts) + 1
        if destination and destination not in standing:
            return self._retry_aside(case, destination, run)
        if not (case.is_finished or (destination and standing[destination].status in _WAITING)):
            return []
        self._cases.folder(case_id).set_cancelled(False)
        if "" in standing:
            return [self._start(AttemptId(case_id, run, case.stage, 1))]
        free = {name: a for name, a in standing.items() if a.result is not Result.HELD}
        unsent = [name for name, a in free.items() if a.result is not Result.DONE or not a.is_settled]
        chosen = [n for n in free if n == destination] if destination else unsent or list(free)
        self._client.cancel_workflows([str(free[name].id) for name in chosen if free[name].is_active])
        return [self._start(AttemptId(case_id, run, f"{Stage.DELIVER}.{name}", 1)) for name in chosen]

    def retry_candidate(self, case_id: str) -> list[AttemptId]:
        """Let the model in shadow look at a case once more; nothing of the case itself changes.

        Returns:
            What was queued; nothing while the objects of the case are not checked, once somebody has stopped it, and
            while such an attempt waits or runs.

        Raises:
            UnknownCase: there is no such case.
        """
        attempts = self.case(case_id).attempts
        made = made_in_run(attempts)
        checks = [a for a in attempts if a.id.stage is Stage.CHECK and a.id.run == made]
        if self._cases.folder(case_id).is_cancelled() or not any(a.result is Result.DONE for a in checks):
            return []
        looks = [a for a in attempts if a.id.stage is Stage.CANDIDATE]
        last = max(looks, key=lambda a: (a.id.run, a.id.attempt), default=None)
        return [] if last and not last.is_settled else [self.start_unit(case_id, Stage.CANDIDATE)]

    def _retry_aside(self, case: Case, destination: str, run: int) -> list[AttemptId]:
        """Send once more what goes to a destination that does not count."""
        sends = (Stage.SHADOW, Stage.RESEARCH)
        sent = [a for a in case.attempts if a.id.destination == destination and a.id.stage in sends]
        if not sent:
            raise UnknownDestination(destination)
        last = max(sent, key=lambda a: (a.id.run, a.id.attempt))
        if last.is_active and last.status not in _WAITING:
            return []
        self._client.cancel_workflows([str(last.id)] if last.is_active else [])
        return [self._start(AttemptId(case.case_id, run, f"{last.id.stage}.{destination}", 1))]

    def release(self, case_id: str, destination: str = "") -> list[AttemptId]:
        """Send what is held of a case: to one destination, or to all that wait for a person.

        Returns:
            What was queued; nothing if nothing is held.

        Raises:
            UnknownCase: there is no such case.
        """
        held = self._held(case_id, destination)
        return [self._start(attempt.id.following(Stage.DELIVER)) for attempt in held]

    def discard(self, case_id: str, destination: str = "") -> list[AttemptId]:
        """Send nothing of what is held of a case, neither now nor later; `retry` asks a person again.

        Returns:
            What was queued to say so; nothing if nothing is held.

        Raises:
            UnknownCase: there is no such case.
        """
        held = self._held(case_id, destination)
        return [self._start(attempt.id.following(Stage.DISCARD)) for attempt in held]

    def dead_letters(self, destination: str = "", code: str = "") -> list[AttemptId]:
        """Every failed delivery, in the order of the queue.

        Args:
            destination: only those to it; all if empty.
            code: only those that failed with it; all if empty.
        """
        failed = [case for case in self.newest_cases() if case.state in (CaseState.FAILED, CaseState.DELIVERING)]
        failed.sort(key=lambda case: number_of(self._cases.folder(case.case_id)))
        return [attempt.id for case in failed for attempt in _dead_letters(case, destination, code)]

    def requeue(self, case_id: str, destination: str = "", code: str = "") -> list[AttemptId]:
        """Try the failed deliveries of a case again, also while another destination of it is still on its way.

        Returns:
            What was queued; a second call finds nothing.
        """
        case = self.case(case_id)
        failed = _dead_letters(case, destination, code)
        if not failed:
            return []
        run = max(a.id.run for a in case.attempts) + 1
        self._cases.folder(case_id).set_cancelled(False)
        return [self._start(AttemptId(case_id, run, f"{Stage.DELIVER}.{a.id.destination}", 1)) for a in failed]

    def cancel(self, case_id: str) -> bool:
        """Stop a case: what runs is killed, what is queued or held is never sent. Holds on every host of the node.

        Returns:
            Whether there was anything to stop.

        Raises:
            UnknownCase: there is no such case.
        """
        case = self.case(case_id)
        folder: CaseFolder = self._cases.folder(case_id)
        if case.is_finished and case.state is not CaseState.HELD:
            return False
        folder.set_cancelled(True)
        self.discard(case_id)
        self._client.cancel_workflows([str(a.id) for a in self.case(case_id).attempts if a.is_active])
        return True

    def _held(self, case_id: str, destination: str) -> list[Attempt]:
        standing = [a for a in standing_attempts(self.case(case_id).attempts) if a.result is Result.HELD]
        return [a for a in standing if a.id.destination == (destination or a.id.destination)]

    def forget(self, attempts: Sequence[str]) -> None:
        """Delete rows for good, by their ids; those that are gone already are no matter."""
        self._client.delete_workflows(list(attempts))

    def forget_messages(self, before_s: float) -> None:
        """Delete the rows of messages to people that ended before a Unix time."""
        before = datetime.fromtimestamp(before_s, UTC).isoformat()
        rows = self._client.list_workflows(
            name=ALERT_WORKFLOW, completed_before=before, load_input=False, load_output=False
        )
        self._client.delete_workflows([row.workflow_id for row in rows])

    def _start(self, attempt: AttemptId) -> AttemptId:
        queue, workflow = queue_of(attempt)
        options: DbosEnqueueOptions = {
            "workflow_name": workflow,
            "queue_name": queue,
            "workflow_id": str(attempt),
            "app_version": APPLICATION_VERSION,
            "priority": number_of(self._cases.folder(attempt.case_id)),
        }
        self._client.enqueue(options, str(attempt), attempt.attempt)
        return attempt


def _dead_letters(case: Case, destination: str, code: str) -> list[Attempt]:
    return [attempt for attempt in standing_attempts(case.attempts) if _is_dead_letter(attempt, destination, code)]


def _is_dead_letter(attempt: Attempt, destination: str, code: str) -> bool:
    """Whether it is a delivery that failed, to that destination and with that code where they are given."""
    if not attempt.id.destination or attempt.result is not Result.FAILED:
        return False
    is_there = attempt.id.destination == (destination or attempt.id.destination)
    return is_there and attempt.output.get("code") == (code or attempt.output.get("code"))
