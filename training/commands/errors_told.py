"""Known errors of this package end as one line with their code and exit status 2, as those of the node do."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import typer
from rich.console import Console
from typer.core import TyperGroup

P = ParamSpec("P")
T = TypeVar("T")


class ErrorsTold(TyperGroup):
    """A group of commands that tells of known errors; the command line that it is part of cannot know them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        with _told():
            return super().invoke(ctx)


def errors_told(command: Callable[P, T]) -> Callable[P, T]:
    """The same for a command that stands alone, in no group."""

    @wraps(command)
    def told(*args: P.args, **kwargs: P.kwargs) -> T:
        with _told():
            return command(*args, **kwargs)

    return told


@contextmanager
def _told() -> Iterator[None]:
    from inference.errors import InferenceError
    from training.errors import TrainingError

    try:
        yield
    except (TrainingError, InferenceError) as fault:
        _tell(f"{fault.code}: {fault}")
        raise typer.Exit(2) from fault
    except OSError as fault:  # a file that is missing or damaged, a folder that cannot be written
        _tell(f"FILE: {fault}")
        raise typer.Exit(2) from fault


def _tell(text: str) -> None:
    Console(stderr=True).print(text, style="red", highlight=False, markup=False, soft_wrap=True)
