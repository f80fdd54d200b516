"""Progress of long work: a bar on a terminal, one plain line per step elsewhere."""

from collections.abc import Callable
from typing import Self

from rich import progress as rich_progress
from rich.console import Console


class Progress:
    """Shows what is being done; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = rich_progress.Progress(
            rich_progress.SpinnerColumn(),
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._said = ""
        self._current: rich_progress.TaskID | None = None

    def __enter__(self) -> Self:
        self._bars.start()
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._finish_current()
        self._bars.stop()

    def say(self, doing: str) -> None:
        """A new step begins; saying the same again changes nothing."""
        if not doing or doing == self._said:
            return
        self._said = doing
        self._finish_current()
        self._current = self._bars.add_task(doing, total=None)
        if not self._console.is_terminal:
            self._console.print(f"  {doing}", markup=False)

    def counter(self, doing: str, total: int) -> Callable[[], None]:
        """A step of known length; call the result once per item."""
        self.say(f"{doing}, {total} items")
        task = self._current
        if task is not None:
            self._bars.update(task, total=total)

        def advance() -> None:
            if task is not None:
                self._bars.advance(task)

        return advance

    def _finish_current(self) -> None:
        if self._current is not None:
            task = self._bars.tasks[self._current]
            total = task.total or 1
            self._bars.update(self._current, total=total, completed=total)
            self._current = None
