"""How far the measuring of a cohort is, in plain lines."""

from rich.console import Console

from training.insilico.files.workers import Ended, Started
from training.insilico.realism.cohort_report import Task


class ReportProgress:
    """Shows what `report_cohort` tells."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._done = 0

    def tell(self, event: Started[Task] | Ended[Task]) -> None:
        """A measure was begun or ended."""
        if isinstance(event, Ended) and event.failure is None:
            self._done += 1
            self._console.print(f"{event.task} measured in {event.seconds:.0f} s, {self._done} done")
