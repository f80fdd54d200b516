"""Known errors of this package end as one line with their code and exit status 2, as those of the node do."""

from typing import Any

import typer
from rich.console import Console
from typer.core import TyperGroup


class ErrorsTold(TyperGroup):
    """A group of commands that tells of known errors; the command line that it is part of cannot know them."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        from inference.errors import InferenceError
        from training.errors import TrainingError

        try:
            return super().invoke(ctx)
        except (TrainingError, InferenceError) as fault:
            _tell(f"{fault.code}: {fault}")
            raise typer.Exit(2) from fault
        except OSError as fault:  # a file that is missing or damaged, a folder that cannot be written
            _tell(f"FILE: {fault}")
            raise typer.Exit(2) from fault


def _tell(text: str) -> None:
    Console(stderr=True).print(text, style="red", highlight=False, markup=False, soft_wrap=True)
