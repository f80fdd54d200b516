"""A document as its parts: text, tables, pictures. What it says is apart from how it is written down.

All words are Markdown without HTML: bold, code, links and lists mean the same in both forms.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class Heading:
    """A title within the document."""

    text: str
    level: int = 2
    """1 for that of the document."""

    @property
    def anchor(self) -> str:
        """Its name for links, by the rule of GitHub: small letters, dashes for spaces, no other signs."""
        kept = "".join(sign for sign in self.text.lower() if sign.isalnum() or sign in " -")
        return kept.replace(" ", "-")


@dataclass(frozen=True, slots=True)
class Text:
    """Paragraphs or a list."""

    words: str


@dataclass(frozen=True, slots=True)
class Notice:
    """What nobody may overlook; set apart from the text."""

    words: str


class Weight(StrEnum):
    """How a row of a table is set."""

    PLAIN = "plain"
    STRONG = "strong"
    """The one to look at."""
    FAINT = "faint"
    """For comparison only."""
    GROUP = "group"
    """A title over the rows below it; only its first cell is used."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a table."""

    cells: tuple[str, ...]
    weight: Weight = Weight.PLAIN


@dataclass(frozen=True, slots=True)
class Table:
    """Columns with rows; the first column is words, the others mostly numbers.

    Raises:
        ValueError: a row has not one cell for each column.
    """

    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    caption: str = ""
    words: frozenset[int] = frozenset({0})
    """Columns that are set as words, by number; all others are numbers."""

    def __post_init__(self) -> None:
        for row in self.rows:
            if row.weight is not Weight.GROUP and len(row.cells) != len(self.columns):
                raise ValueError(f"{len(row.cells)} cells in a table of {len(self.columns)} columns: {row.cells}")


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture beside the document, with what can be seen in it."""

    name: str
    """Of the file, in the folder of pictures."""
    caption: str
    """A sentence or two below it."""
    instead: str
    """What is told to who cannot see it."""


@dataclass(frozen=True, slots=True)
class Folded:
    """Parts that only some readers want; opened by a click on the page, written out in Markdown."""

    title: str
    parts: "tuple[Part, ...]"


@dataclass(frozen=True, slots=True)
class Beside:
    """Two columns where the screen is wide enough, otherwise one after the other."""

    left: "tuple[Part, ...]"
    right: "tuple[Part, ...]"


Part: TypeAlias = Heading | Text | Notice | Table | Picture | Folded | Beside
Document: TypeAlias = Sequence[Part]
