"""Stored answers, and how a new answer compares with them.

    {"format": 1, "made_by": {…}, "figures": {"lung_volume": {"value": 4321.0, "tolerance": 43.2, "unit": "ml"}, …}}

A person may widen or narrow a tolerance in the file; what is in it holds. A figure that is missing on one side is a
difference, since a model that stops to say how far a CT is from its training is another model.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from dicom_node.commissioning.figures import FIGURES
from dicom_node.durable_files import make_directory, write_json
from dicom_node.errors import ReferenceUnusable
from inference.engine import PerfusionResult

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class MadeBy:
    """What gave an answer."""

    lobes: str
    """Engine, version and weights."""
    perfusion: str
    """Likewise."""
    rule: str
    """Rule of the function regions."""
    settings_digest: str
    """Of what else changes a result."""

    @classmethod
    def of(cls, result: PerfusionResult, settings_digest: str) -> Self:
        """Who made a result."""
        rule = result.regions.rule.statement()
        return cls(result.lobes.segmenter.label(), result.perfusion.model.label(), rule, settings_digest)


@dataclass(frozen=True, slots=True)
class StoredFigure:
    """One figure as it was, and how far it may move."""

    value: float
    tolerance: float
    unit: str


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, stored and found anew; None where one side lacks it."""

    name: str
    unit: str
    stored: float | None
    found: float | None
    tolerance: float

    @property
    def passes(self) -> bool:
        """Whether both are there and no further apart than tolerated."""
        if self.stored is None or self.found is None:
            return False
        return abs(self.found - self.stored) <= self.tolerance


@dataclass(frozen=True, slots=True)
class ExpectedAnswer:
    """What the node answered when it was recorded."""

    made_by: MadeBy
    figures: Mapping[str, StoredFigure]

    @classmethod
    def of(cls, made_by: MadeBy, figures: Mapping[str, float]) -> Self:
        """An answer with the usual tolerances.

        Raises:
            ReferenceUnusable: a figure is no number.
        """
        if wrong := [name for name, value in figures.items() if not math.isfinite(value)]:
            raise ReferenceUnusable(f"{', '.join(wrong)} is no number, so nothing can be compared with it")
        kept = {
            name: StoredFigure(value, FIGURES[name].tolerated(value), FIGURES[name].unit)
            for name, value in figures.items()
        }
        return cls(made_by, kept)

    @classmethod
    def read(cls, path: Path) -> Self:
        """Read what `write` wrote, or a person after it.

        Raises:
            ReferenceUnusable: the file cannot be read, is of another format, or a number in it is none.
        """
        try:
            fields = json.loads(path.read_text(encoding="utf-8"))
            if fields["format"] != _FORMAT:
                raise ReferenceUnusable(f"{path.name} has format {fields['format']}, known is {_FORMAT}")
            figures = {name: StoredFigure(**figure) for name, figure in fields["figures"].items()}
            made_by = MadeBy(**fields["made_by"])
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise ReferenceUnusable(f"{path.name} cannot be read ({type(fault).__name__})") from fault
        wrong = [name for name, figure in figures.items() if not _is_usable(figure)]
        if wrong or not figures:
            raise ReferenceUnusable(f"{path.name} holds no usable number for {', '.join(wrong) or 'any figure'}")
        return cls(made_by, figures)

    def write(self, path: Path) -> None:
        """Keep the answer; a killed process leaves the old one or the new one."""
        make_directory(path.parent)
        figures = {name: asdict(figure) for name, figure in self.figures.items()}
        write_json(path, {"format": _FORMAT, "made_by": asdict(self.made_by), "figures": figures})

    def compared(self, found: Mapping[str, float]) -> tuple[Comparison, ...]:
        """Every figure of either side, in the order of `FIGURES`."""
        names = [*(name for name in FIGURES if name in self.figures or name in found)]
        names += sorted(self.figures.keys() - set(names))
        return tuple(self._comparison(name, found.get(name)) for name in names)

    def _comparison(self, name: str, found: float | None) -> Comparison:
        stored = self.figures.get(name)
        if stored is None:
            return Comparison(name, FIGURES[name].unit, None, found, 0.0)
        return Comparison(name, stored.unit, stored.value, found, stored.tolerance)


def _is_usable(figure: StoredFigure) -> bool:
    numbers = (figure.value, figure.tolerance)
    return all(isinstance(n, int | float) and math.isfinite(n) for n in numbers) and figure.tolerance >= 0.0
