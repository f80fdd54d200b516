"""Which series are processed: ordered rules, the first whose conditions all hold decides.

A condition holds when it holds for every image of the series: a scout among the slices does not make the series a
scout. Where a header lacks what a condition asks for, a text is empty and a number outside every range. Every rule that
was asked says why it did not take the series, so that `perfnode rules test` can show it.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, Protocol

from pydicom.uid import UID

from dicom_node.jobs.priorities import Priority
from dicom_node.reception.series_facts import SeriesFacts

UNMATCHED: Final = "unmatched"
"""What becomes of a series that no rule takes: kept for a while, not processed."""
PRIVATE: Final = frozenset({"patient_id", "patient_name", "words"})
"""Attributes whose values are not shown, because the answer may end up in a ticket or a log."""
OF_SERIES: Final = frozenset({"instances", "spacing_between_slices_mm", "calling_ae_title", "series_instance_uid"})
"""Attributes of the whole series; all others are of each image."""


class Action(StrEnum):
    """What a rule does with a series."""

    PROCESS = "process"
    """It becomes a case."""
    IGNORE = "ignore"
    """It is kept aside for a while and listed; nobody is told."""
    HOLD = "hold"
    """It waits for a person."""


class Condition(Protocol):
    """One thing that must hold."""

    @property
    def attribute(self) -> str:
        """What it looks at, by the name it has in the site file."""

    def wanted(self) -> str:
        """What must hold, in words."""

    def holds(self, value: Any) -> bool:
        """Whether it holds for one image or for the series."""


@dataclass(frozen=True, slots=True)
class Matches:
    """A text in which a regular expression is found, upper and lower case alike."""

    attribute: str
    pattern: str

    def wanted(self) -> str:
        """The pattern."""
        return f"/{self.pattern}/"

    def holds(self, value: Any) -> bool:
        """Whether the pattern is found anywhere in the text."""
        return re.search(self.pattern, value, re.IGNORECASE) is not None


@dataclass(frozen=True, slots=True)
class OneOf:
    """Texts of which it must be one, letter by letter."""

    attribute: str
    values: tuple[str, ...]

    def wanted(self) -> str:
        """The list."""
        return f"one of {', '.join(_name(value) for value in self.values)}"

    def holds(self, value: Any) -> bool:
        """Whether it is in the list; of several senders, whether all are."""
        return set(value if isinstance(value, tuple) else [value]) <= set(self.values) and value != ()


@dataclass(frozen=True, slots=True)
class Within:
    """A number between limits, both included."""

    attribute: str
    least: float | None
    most: float | None

    def wanted(self) -> str:
        """The range."""
        if self.least is None or self.most is None:
            return f"at least {self.least:g}" if self.least is not None else f"at most {self.most:g}"
        return f"{self.least:g} to {self.most:g}"

    def holds(self, value: Any) -> bool:
        """Whether there is a number, and it lies within."""
        return (
            value is not None
            and (self.least is None or value >= self.least)
            and (self.most is None or value <= self.most)
        )


@dataclass(frozen=True, slots=True)
class Is:
    """A plain yes or no."""

    attribute: str
    value: bool

    def wanted(self) -> str:
        """Yes or no."""
        return "yes" if self.value else "no"

    def holds(self, value: Any) -> bool:
        """Whether it is so."""
        return bool(value) is self.value


@dataclass(frozen=True, slots=True)
class Rule:
    """A name, what to do, and what must hold. Without conditions it takes everything."""

    name: str
    action: Action
    conditions: tuple[Condition, ...] = ()
    priority: Priority = Priority.NORMAL
    """How much a case that it takes hurries."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What one condition said of a series."""

    attribute: str
    wanted: str
    found: str
    """Distinct values, at most four; of patients, nothing."""
    holds: bool


@dataclass(frozen=True, slots=True)
class Asked:
    """What one rule said of a series."""

    rule: Rule
    answers: tuple[Answer, ...]

    @property
    def takes(self) -> bool:
        """Whether the rule takes the series."""
        return all(answer.holds for answer in self.answers)

    @property
    def why_not(self) -> tuple[str, ...]:
        """The conditions that do not hold, in words; none if the rule takes the series."""
        return tuple(f"{a.attribute} is {a.found}, wanted {a.wanted}" for a in self.answers if not a.holds)


@dataclass(frozen=True, slots=True)
class Decision:
    """What the rules make of a series."""

    asked: tuple[Asked, ...] = field(repr=False)
    """Rules in order, up to the one that took it."""

    @property
    def rule(self) -> Rule | None:
        """The rule that took the series, if any did."""
        return self.asked[-1].rule if self.asked and self.asked[-1].takes else None

    @property
    def name(self) -> str:
        """Its name, or `unmatched`."""
        return self.rule.name if self.rule else UNMATCHED

    @property
    def priority(self) -> Priority:
        """How much a case hurries that it becomes."""
        return self.rule.priority if self.rule else Priority.NORMAL


def decide(rules: Sequence[Rule], facts: SeriesFacts) -> Decision:
    """Ask the rules in order until one takes the series."""
    asked = []
    for rule in rules:
        asked.append(Asked(rule, tuple(_answer(condition, facts) for condition in rule.conditions)))
        if asked[-1].takes:
            break
    return Decision(tuple(asked))


def _answer(condition: Condition, facts: SeriesFacts) -> Answer:
    values = _values(condition.attribute, facts)
    holds = bool(values) and all(condition.holds(value) for value in values)
    return Answer(condition.attribute, condition.wanted(), _found(condition.attribute, values), holds)


def _values(attribute: str, facts: SeriesFacts) -> list[Any]:
    """Distinct values in order of appearance."""
    if attribute == "calling_ae_title":
        return [facts.calling_ae_titles]
    if attribute in OF_SERIES:
        return [getattr(facts, attribute)]
    return list(dict.fromkeys(getattr(header, attribute) for header in facts.headers))


def _found(attribute: str, values: list[Any]) -> str:
    if attribute in PRIVATE:
        return "not shown here"
    shown = [_shown(value) for value in values[:4]]
    return ", ".join(shown) + (" …" if len(values) > 4 else "")


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(value) or "unknown"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:g}"
    return "absent" if value in (None, "") else _name(str(value))


def _name(value: str) -> str:
    """A UID by its name, anything else as it is."""
    return UID(value).name if value.startswith("1.2.840.10008.") else value
