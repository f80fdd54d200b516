"""Stored answers, and how a new answer compares with them.

    {"format": 1, "made_by": {…}, "recorded": {"at": "2026-11-26T05:30:00+00:00", "by": "A. Physicist", …},
     "figures": {"lung_volume": {"value": 4321.0, "tolerance": 43.2, "unit": "ml", "source": "ours, untuned"}, …}}

A person may widen or narrow a tolerance in the file, and say where it comes from; what is in it holds, also when the
answer is recorded anew. A figure that is missing on one side is a difference, since a model that stops to say how far a
CT is from its training is another model.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final, Self

from dicom_node.commissioning.figures import FIGURES, OURS
from dicom_node.durable_files import make_directory, write_json
from dicom_node.errors import ReferenceUnusable
from inference.engine import PerfusionResult
from inference.model_card import ModelIdentity

_FORMAT: Final = 1


@dataclass(frozen=True, slots=True)
class MadeBy:
    """What gave an answer."""

    lobes: str
    """Engine, version and the whole SHA-256 of its weights."""
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
        return cls(_whole(result.lobes.segmenter), _whole(result.perfusion.model), rule, settings_digest)

    def differs_from(self, other: "MadeBy") -> tuple[str, ...]:
        """What differs between two makers, in the words of people; empty if they are the same."""
        words = {"lobes": "lobes", "perfusion": "map", "rule": "rule", "settings_digest": "settings"}
        return tuple(word for name, word in words.items() if getattr(self, name) != getattr(other, name))


def _whole(identity: ModelIdentity) -> str:
    """Like `ModelIdentity.label`, with every digit of the hash: this is what is signed for."""
    weights = f" sha256:{identity.weights_sha256}" if identity.weights_sha256 else ""
    return f"{identity.name} {identity.version}{weights}"


@dataclass(frozen=True, slots=True)
class Recorded:
    """When and by whom an answer was taken as the one to compare with."""

    at: str
    """ISO 8601, UTC."""
    by: str
    """Name of the person; empty if the node took its first answer itself."""
    software: str
    """Version of perfusion-node."""
    ct_sha256: str = ""
    """Of the CT (`reference_set.CtFacts.sha256`); empty if the CT is the digital thorax."""


@dataclass(frozen=True, slots=True)
class StoredFigure:
    """One figure as it was, and how far it may move."""

    value: float
    tolerance: float
    unit: str
    """UCUM."""
    source: str = OURS
    """Where the tolerance comes from, in words."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """One figure, stored and found anew; None where one side lacks it."""

    name: str
    unit: str
    stored: float | None
    found: float | None
    tolerance: float
    source: str = OURS
    """Of the tolerance."""

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
    recorded: Recorded | None = None
    """None in a file that does not say."""

    @classmethod
    def of(
        cls,
        made_by: MadeBy,
        figures: Mapping[str, float],
        recorded: Recorded | None = None,
        before: "ExpectedAnswer | None" = None,
    ) -> Self:
        """An answer with the usual tolerances, or those that a person wrote into the one before.

        Args:
            made_by: what gave it.
            figures: see `figures_of`.
            recorded: when and by whom it was taken.
            before: the stored answer that it replaces.

        Raises:
            ReferenceUnusable: a figure is no number.
        """
        if wrong := [name for name, value in figures.items() if not math.isfinite(value)]:
            raise ReferenceUnusable(f"{', '.join(wrong)} is no number, so nothing can be compared with it")
        old = before.figures if before is not None else {}
        return cls(made_by, {name: _stored(name, value, old.get(name)) for name, value in figures.items()}, recorded)

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
            recorded = Recorded(**fields["recorded"]) if fields.get("recorded") else None
        except (OSError, ValueError, KeyError, TypeError) as fault:
            raise ReferenceUnusable(f"{path.name} cannot be read ({type(fault).__name__})") from fault
        wrong = [name for name, figure in figures.items() if not _is_usable(name, figure)]
        if wrong or not figures:
            raise ReferenceUnusable(f"{path.name} holds no usable number for {', '.join(wrong) or 'any figure'}")
        return cls(made_by, figures, recorded)

    def write(self, path: Path) -> None:
        """Keep the answer; a killed process leaves the old one or the new one."""
        make_directory(path.parent)
        figures = {name: asdict(figure) for name, figure in self.figures.items()}
        recorded = {"recorded": asdict(self.recorded)} if self.recorded is not None else {}
        write_json(path, {"format": _FORMAT, "made_by": asdict(self.made_by), "figures": figures, **recorded})

    def compared(self, found: Mapping[str, float]) -> tuple[Comparison, ...]:
        """Every figure of either side, in the order of `FIGURES`."""
        names = [*(name for name in FIGURES if name in self.figures or name in found)]
        names += sorted(self.figures.keys() - set(names))
        return tuple(self._comparison(name, found.get(name)) for name in names)

    def _comparison(self, name: str, found: float | None) -> Comparison:
        stored = self.figures.get(name)
        if stored is None:
            return Comparison(name, FIGURES[name].unit, None, found, 0.0)
        return Comparison(name, stored.unit, stored.value, found, stored.tolerance, stored.source)


def _stored(name: str, value: float, before: StoredFigure | None) -> StoredFigure:
    kind = FIGURES[name]
    if before is not None and (before.source != OURS or before.tolerance != kind.tolerated(before.value)):
        return StoredFigure(value, before.tolerance, kind.unit, before.source)
    return StoredFigure(value, kind.tolerated(value), kind.unit)


def _is_usable(name: str, figure: StoredFigure) -> bool:
    """Whether it can be compared; in another unit it cannot."""
    numbers = (figure.value, figure.tolerance)
    if (name in FIGURES and figure.unit != FIGURES[name].unit) or not isinstance(figure.source, str):
        return False
    return all(isinstance(n, int | float) and math.isfinite(n) for n in numbers) and figure.tolerance >= 0.0
