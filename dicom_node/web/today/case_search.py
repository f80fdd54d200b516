"""Finds cases in the index: by patient, accession, state, day of arrival or id, some at a time, the newest first.

What is typed is compared with the beginning of what is kept, as text: no character of it means anything to the
database. The next page goes on after the last case that was shown (a key, not a count), so that cases which arrive
meanwhile shift nothing.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from dicom_node.jobs.attempts import CaseState
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.today.case_line import CaseLine
from dicom_node.web.today.subject import key_of, words_of

MOST: Final = 200
"""Cases on one page."""
_LAST: Final = "\U0010ffff"
"""No text that begins as another one does comes after it with this character appended."""
_CURSOR: Final = re.compile(r"([0-9]{1,15})\.([0-9A-Za-z_-]{1,64})")
Condition = tuple[str, tuple[Any, ...]]


class BadCursor(ValueError):
    """The text that should say where a page begins is none of ours."""

    def __init__(self) -> None:
        super().__init__("The cursor is not one that a page of cases ended with.")


@dataclass(frozen=True, slots=True)
class CaseQuery:
    """What is looked for; everything that is given must fit."""

    text: str = ""
    """Beginning of a case id, or of patient id, name or accession number, if those may be seen."""
    patient_id: str = ""
    patient_name: str = ""
    """Every word of it is the beginning of a word of the name, in any order."""
    accession_number: str = ""
    case_id: str = ""
    states: tuple[CaseState, ...] = ()
    """Any of these; all if empty."""
    since_s: float | None = None
    """Arrived at this Unix time or later."""
    until_s: float | None = None
    """Arrived before this Unix time."""
    sees_patients: bool = field(default=False, kw_only=True)
    """Whether `text` may be looked for among what says who patients are."""


@dataclass(frozen=True, slots=True)
class CasePage:
    """Some of the cases that fit."""

    lines: tuple[CaseLine, ...]
    """The newest first."""
    next_cursor: str
    """Where the next page begins; empty if this is the last."""
    matching: int
    """How many cases fit, on all pages."""


def find_cases(index: CaseIndex, query: CaseQuery, *, limit: int = 50, cursor: str = "") -> CasePage:
    """One page of the cases that fit.

    Args:
        index: where to look.
        query: what is looked for.
        limit: at most so many cases, and at most `MOST`.
        cursor: `next_cursor` of the page before; empty for the first page.

    Raises:
        BadCursor: the cursor is none of ours.
    """
    conditions = list(_conditions(query))
    where, values = _joined(conditions)
    matching = index.count(where, values)
    if cursor:
        where, values = _joined([*conditions, _after(cursor)])
    wanted = max(1, min(limit, MOST))
    order = "order by created_ms desc, case_id desc limit ?"
    found = index.lines(f"{where} {order}", (*values, wanted + 1))
    shown = found[:wanted]
    more = f"{shown[-1].created_ms}.{shown[-1].case_id}" if len(found) > wanted else ""
    return CasePage(tuple(shown), more, matching)


def _conditions(query: CaseQuery) -> Iterator[Condition]:
    if query.text.strip():
        yield _any(_anything(query.text, sees_patients=query.sees_patients))
    if query.patient_id:
        yield _begins("patient_key", key_of(query.patient_id))
    if query.accession_number:
        yield _begins("accession_key", key_of(query.accession_number))
    if query.patient_name:
        yield _named(query.patient_name)
    if query.case_id:
        yield _begins("case_id", key_of(query.case_id))
    if query.states:
        yield f"state in ({', '.join('?' * len(query.states))})", tuple(state.value for state in query.states)
    if query.since_s is not None:
        yield "created_ms >= ?", (round(1000 * query.since_s),)
    if query.until_s is not None:
        yield "created_ms < ?", (round(1000 * query.until_s),)


def _anything(text: str, *, sees_patients: bool) -> Iterator[Condition]:
    key = key_of(text)
    yield _begins("case_id", key)
    if sees_patients:
        yield _begins("patient_key", key)
        yield _begins("accession_key", key)
        yield _named(text)


def _named(text: str) -> Condition:
    """Every word must be the beginning of a word of the name; a text without one fits nobody."""
    words = words_of(text)
    one = "case_id in (select case_id from name_words where word >= ? and word < ?)"
    if not words:
        return "false", ()
    return " and ".join([one] * len(words)), tuple(value for word in words for value in (word, word + _LAST))


def _begins(column: str, text: str) -> Condition:
    return f"({column} >= ? and {column} < ?)", (text, text + _LAST)


def _after(cursor: str) -> Condition:
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise BadCursor
    return "(created_ms, case_id) < (?, ?)", (int(match[1]), match[2])


def _any(conditions: Iterator[Condition]) -> Condition:
    texts, values = zip(*conditions, strict=True)
    return "(" + " or ".join(f"({text})" for text in texts) + ")", tuple(v for some in values for v in some)


def _joined(conditions: Sequence[Condition]) -> Condition:
    return " and ".join(["true", *(text for text, _ in conditions)]), tuple(
        v for _, values in conditions for v in values
    )
