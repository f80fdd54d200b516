"""Who goes first when a destination was away: cases stand in line, and only the first one knocks.

A destination that is not there is found so by one case. Every other one that comes to its turn while an older one waits
for the same destination steps back without opening a connection. As soon as the destination takes something, all that
wait for it are woken and go in the order of the queue. Who stands in the line is read from the rows of the engine, so
several senders on several hosts see the same line.
"""

from collections.abc import Callable

from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.cases import CaseStore
from dicom_node.jobs.job_rows import ListRows, waiting_line
from dicom_node.jobs.queues import delivery_queue, number_of


class DeliveryLine:
    """The lines in front of all destinations.

    Args:
        list_rows: of the engine.
        wake: ends the wait of one attempt.
        cases: say when they arrived and how much they hurry.
    """

    def __init__(self, list_rows: ListRows, wake: Callable[[AttemptId], None], cases: CaseStore) -> None:
        self._list_rows = list_rows
        self._wake = wake
        self._cases = cases

    def is_behind(self, attempt: AttemptId) -> bool:
        """Whether a case that goes before this one waits for the destination to come back.

        One that has just been woken counts, too: the engine may have taken this attempt before it saw the other's wait
        end.
        """
        number = number_of(self._cases.folder(attempt.case_id))
        line = waiting_line(self._list_rows, delivery_queue(attempt.destination), and_woken=True)
        return any(other.queue_number < number for other in line if other.attempt.case_id != attempt.case_id)

    def came_back(self, destination: str) -> int:
        """Wake everybody who waits because the destination was not there; how many they were."""
        line = waiting_line(self._list_rows, delivery_queue(destination))
        for waiting in line:
            self._wake(waiting.attempt)
        return len(line)
