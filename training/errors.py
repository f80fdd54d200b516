"""Everything that can be wrong with a study before it runs.

TrainingError                          code
└─ RecipeError                         configuration files of a study; all mistakes at once
"""

from typing import ClassVar


class TrainingError(Exception):
    """Root of all errors of this package."""

    code: ClassVar[str] = "TRAINING_ERROR"


class RecipeError(TrainingError):
    """The files of a study cannot be used; carries every mistake found."""

    code = "RECIPE"

    def __init__(self, source: str, problems: tuple[str, ...]) -> None:
        self.source = source
        self.problems = problems
        lines = "".join(f"\n  - {problem}" for problem in problems)
        super().__init__(f"{len(problems)} mistake(s) in {source}:{lines}")
