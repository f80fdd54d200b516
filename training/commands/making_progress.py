"""How far the making of patients, or of cases, is: a bar with time to go and names at work, or plain lines."""

import statistics
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from training.insilico.files.cohort import MakingResult
from training.insilico.files.workers import Ended, Started


class MakingProgress:
    """Shows what `make_cohort`, or `prepare_cases`, tells; a context manager."""

    def __init__(self, console: Console, patients: int) -> None:
        self._console = console
        self._at_work: list[Any] = []
        self._done = 0
        self._patients = patients
        self._bar = Progress(
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("to go"),
            TimeRemainingColumn(),
            TextColumn("{task.description}"),
            console=console,
            disable=not console.is_terminal,
            speed_estimate_period=3600.0,  # by default, what took longer than half a minute is forgotten
        )
        self._task = self._bar.add_task("", total=patients)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def found(self, whole: int) -> None:
        """So many patients are there already."""
        self._done = whole
        if whole:
            self._console.print(f"{whole} of {self._patients} patients are there already")
        # The bar counts what this run has to do, or the time to go would be too short.
        self._bar.reset(self._task, total=self._patients - whole)

    def tell(self, event: Started[Any] | Ended[Any]) -> None:
        """A patient was begun or ended."""
        if isinstance(event, Started):
            self._at_work.append(event.task)
        else:
            self._at_work.remove(event.task)
            self._done += 1
            self._bar.advance(self._task)
            if event.failure is not None:
                self._console.print(f"{event.task} failed: {event.failure}", style="red", markup=False, soft_wrap=True)
            elif not self._console.is_terminal:
                self._console.print(f"{event.task} made in {event.seconds:.0f} s, {self._done} of {self._patients}")
        self._bar.update(self._task, description=", ".join(str(patient) for patient in self._at_work))


def print_result(console: Console, stderr: Console, folder: Path, result: MakingResult) -> None:
    """What was made, at what cost, and at last what failed, with the end of each traceback."""
    if result.made:
        cpu_s = [end.cpu_seconds for end in result.made]
        memory_mb = max(end.peak_mb for end in result.made)
        console.print(
            f"{len(result.made)} patients made: {statistics.median(cpu_s):.1f} s of processor time each (median), "
            f"{max(cpu_s):.1f} s at most; up to {memory_mb:.0f} MB of memory",
            soft_wrap=True,
        )
    console.print(f"{len(result.made) + len(result.kept)} patients in {folder}", soft_wrap=True, markup=False)
    for end in result.failed:
        stderr.print(f"{end.task} failed: {end.failure}", style="red", markup=False, soft_wrap=True)
        if end.details:
            stderr.print(end.details.rstrip(), style="dim", markup=False, soft_wrap=True)
    if result.failed:
        stderr.print(f"{len(result.failed)} failed; the same command tries them again", style="red")
