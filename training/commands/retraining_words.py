"""What `perfnode train`, `evaluate` and `compare` say on the screen."""

from datetime import timedelta
from statistics import fmean
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

if TYPE_CHECKING:
    from inference.models.evaluation import Evaluation
    from training.retraining.comparison import ModelComparison
    from training.retraining.cost import Cost
    from training.retraining.pair_cases import PreparedPairs
    from training.retraining.retraining import Retraining


class CasesShown:
    """A bar over the held-out pairs, or plain lines off a terminal; a context manager."""

    def __init__(self, console: Console) -> None:
        self._console = console
        columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("to go"), TimeRemainingColumn())
        self._bar = Progress(*columns, console=console, disable=not console.is_terminal, speed_estimate_period=3600.0)
        self._task = self._bar.add_task("")

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, fault: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.stop()

    def tell(self, done: int, pairs: int) -> None:
        """So many pairs are scored."""
        self._bar.update(self._task, completed=done, total=pairs)
        if not self._console.is_terminal:
            self._console.print(f"{done} of {pairs} held-out pairs scored", markup=False)


def print_plan(console: Console, run: "Retraining") -> None:
    """Who takes part, what it starts from, and what a person must know."""
    plan, at_hand = run.plan, run.at_hand
    lines = [
        f"{plan.data} pairs; start: {run.start.identity.label()}; recipe {run.read.recipe.name} {run.read.sha256[:12]}",
        f"{len(at_hand.accepted)} accepted pairs of {len(at_hand.patients)} patients; "
        f"{at_hand.rejected} rejected, {at_hand.unreviewed} not reviewed",
        f"{len(plan.held_out)} patients held out, {plan.patients} with {len(plan.pairs)} pairs to train on",
    ]
    lines += [
        f"fold {fold.number}: {len(fold.training)} pairs to train on, {len(fold.validation)} to choose the step by, "
        f"{len(fold.test)} patients to test"
        for fold in plan.folds
    ]
    if at_hand.unreviewed:
        lines.append(f"{at_hand.unreviewed} pair(s) that nobody reviewed are left out: `perfnode pairs review`")
    noted = sum(bool(pair.link.problems or pair.warnings) for pair in plan.pairs)
    if noted:
        lines.append(f"{noted} of the pairs were accepted with something noted (`perfnode pairs list`)")
    for line in lines:
        console.print(line, soft_wrap=True, markup=False)


def print_cost(console: Console, cost: "Cost") -> None:
    """What it would take."""
    for line in (
        f"{cost.pairs_to_prepare} pairs to prepare: about {_time(cost.preparation_s)}",
        f"{cost.steps:,} steps of {cost.step_s:.2f} s on {cost.device}, {cost.at_once} network(s) at a time: about "
        f"{_time(cost.training_s)}, and up to a tenth more for looks and scores",
        f"{cost.memory_mb:,.0f} MB of memory for each network at work; {cost.disk_mb:,.0f} MB of disk",
        "measured on this machine now; other work on it makes it longer. Nothing was trained",
    ):
        console.print(line, soft_wrap=True, markup=False)


def print_prepared(console: Console, prepared: "PreparedPairs") -> None:
    """How many cases there are."""
    console.print(f"{len(prepared.made)} pairs prepared, {len(prepared.kept)} were there already", markup=False)


def print_evaluation(console: Console, document: "Evaluation") -> None:
    """The figures of an evaluation and what each had to be."""
    table = Table("figure", "model", "compared", "difference", "95 % interval", "needed", "", box=None, pad_edge=False)
    for figure in document.figures:
        margin = f" by {figure.margin:g}" if figure.needed == "not worse" else ""
        table.add_row(
            figure.name,
            f"{fmean(figure.model):.3f}",
            f"{fmean(figure.compared):.3f}",
            f"{figure.difference:+.3f}",
            f"{figure.low:+.3f} to {figure.high:+.3f}",
            f"{figure.needed}{margin}",
            "" if figure.needed == "reported" else "passed" if figure.passes() else "NOT passed",
        )
    console.print(
        f"{document.data}, {len(document.patients)} held-out patients: {document.model.label()} against "
        f"{document.compared_with.label()}",
        soft_wrap=True,
        markup=False,
    )
    console.print(table)


def print_comparison(console: Console, comparison: "ModelComparison") -> None:
    """The table of two models."""
    console.print(
        f"{comparison.data}, {len(comparison.patients)} held-out patients. A: {comparison.one.label()}; "
        f"B: {comparison.other.label()}",
        soft_wrap=True,
        markup=False,
    )
    table = Table("score", "A", "B", "A - B", "95 % interval", "p", "p (Holm)", box=None, pad_edge=False)
    for row in comparison.scores:
        table.add_row(
            row.score.value,
            f"{fmean(row.one):.3f}",
            f"{fmean(row.other):.3f}",
            f"{row.difference:+.3f}",
            f"{row.low:+.3f} to {row.high:+.3f}",
            f"{row.p:.3g}",
            f"{row.corrected_p:.3g}",
        )
    console.print(table)


def _time(seconds: float) -> str:
    return str(timedelta(seconds=round(seconds)))
