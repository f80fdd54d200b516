"""The queues of the durable engine: their names, which attempt stands in which, and in what order.

No engine here: whoever only needs a name loads nothing for it.
"""

import time
from typing import Final

from dicom_node.errors import UnknownCase
from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.priorities import Priority, queue_number
from dicom_node.jobs.stages import Stage

APPLICATION_VERSION: Final = "1"
"""Pinned: otherwise an upgrade would leave the jobs of the old code alone for ever."""
STAGE_WORKFLOW: Final = "run_stage"
DELIVERY_WORKFLOW: Final = "deliver"
"""Also of verifications and notices: all that a destination is called for."""
CASE_WORKFLOWS: Final = (STAGE_WORKFLOW, DELIVERY_WORKFLOW)
"""Those whose rows are attempts of cases."""
ALERT_WORKFLOW: Final = "send_alert"
WORK_QUEUE: Final = "work"
CANDIDATE_QUEUE: Final = "candidates"
"""Of models in shadow, so that nothing of the cases themselves ever stands behind one."""
ALERT_QUEUE: Final = "alerts"
"""Of messages to people, so that a mail server that is away holds up no case."""


def delivery_queue(destination: str) -> str:
    """Each destination has a queue of its own, so that one that is down holds up nobody else."""
    return f"send-{destination}"


def number_of(folder: CaseFolder) -> int:
    """The number by which the engine orders its queues, for every attempt of a case."""
    try:
        return folder.record().queue_number
    except UnknownCase:  # its files are gone; the attempt will say so
        return queue_number(Priority.NORMAL, time.time())


def queue_of(attempt: AttemptId) -> tuple[str, str]:
    """Queue and workflow of an attempt."""
    if attempt.destination:
        return delivery_queue(attempt.destination), DELIVERY_WORKFLOW
    return CANDIDATE_QUEUE if attempt.stage is Stage.CANDIDATE else WORK_QUEUE, STAGE_WORKFLOW
