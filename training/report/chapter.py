"""A part of the report with the pictures that it shows."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from training.report.document import Part


@dataclass(frozen=True, slots=True)
class Chapter:
    """What is written, and the pictures it names."""

    parts: tuple[Part, ...]
    pictures: Mapping[str, bytes] = field(default_factory=dict)
    """PNG by file name."""
