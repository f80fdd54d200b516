"""How far the study is: one line that is written over, or a plain line now and then off a terminal."""

import time
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.text import Text

from training.job_folders import job_folder
from training.job_runner import Outcome, Standing
from training.jobs import FAILURE_FILE, LOG_FILE

_PLAIN_EVERY_S = 10.0


class RunningProgress:
    """Shows what `run_jobs` tells; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
        self._told_at = 0.0
        self._told_done = -1

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def tell(self, standing: Standing) -> None:
        """The study stands so."""
        if self._live is not None:
            self._live.update(Text(line_of(standing), overflow="ellipsis", no_wrap=True), refresh=True)
            return
        now = time.monotonic()
        if standing.done != self._told_done or now - self._told_at >= _PLAIN_EVERY_S:
            self._told_done, self._told_at = standing.done, now
            self._console.print(line_of(standing), soft_wrap=True, markup=False)


def line_of(standing: Standing) -> str:
    """All of it in one line."""
    parts = [f"{standing.done} of {standing.jobs} jobs done", f"{_time(standing.seconds)} gone"]
    if standing.to_go_s is not None:
        parts.append(f"about {_time(standing.to_go_s)} to go")
    if standing.failed:
        parts.append(f"{len(standing.failed)} failed")
    if standing.running:
        parts.append("at work: " + ", ".join(standing.running))
    return "; ".join(parts)


def print_outcome(console: Console, study: Path, outcome: Outcome) -> None:
    """How a run ended, and why what failed did."""
    for name in outcome.failed:
        folder = job_folder(study, name)
        reason = (folder / FAILURE_FILE).read_text(encoding="utf-8").strip()
        console.print(f"{name} failed: {reason} ({folder / LOG_FILE})", style="red", markup=False, soft_wrap=True)
    console.print(
        f"{len(outcome.done)} jobs are done, {len(outcome.failed)} failed, {len(outcome.left)} are left; "
        f"{_time(outcome.seconds)}" + ("; the same command goes on" if outcome.left or outcome.failed else ""),
        soft_wrap=True,
    )


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
