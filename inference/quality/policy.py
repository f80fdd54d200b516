"""How a site judges what the checks measure: the table (`quality_table`) with what the site has changed in it.

A site may give a code another severity, which then holds outside `usual` and outside `possible` alike, and other
ranges. A finding that is judged otherwise than by the table says so in its sentence, so that a reader of the objects
sees it. Fixed rows stay as they are.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from math import isnan

from inference.quality.findings import Finding, Findings, Severity
from inference.quality.table import CHECKS, Check, Range

_WORDS = {Severity.NOTE: "a note", Severity.FLAG: "a flag", Severity.REJECT: "a rejection"}


@dataclass(frozen=True, slots=True)
class OtherRanges:
    """Ranges of a site's own; None keeps the one of the table."""

    usual: Range | None = None
    possible: Range | None = None


@dataclass(frozen=True, slots=True)
class QualityPolicy:
    """What the site has changed; nothing by default. Made with `of`."""

    severities: tuple[tuple[str, Severity], ...] = ()
    """Code and the severity of all its findings."""
    ranges: tuple[tuple[str, OtherRanges], ...] = ()
    """Code and its ranges."""

    @classmethod
    def of(cls, severities: Mapping[str, Severity], ranges: Mapping[str, OtherRanges]) -> "QualityPolicy":
        """A policy with these changes.

        Raises:
            ValueError: see `problems`.
        """
        if found := problems(severities, ranges):
            raise ValueError("; ".join(found))
        return cls(tuple(sorted(severities.items())), tuple(sorted(ranges.items(), key=lambda item: item[0])))

    def changes(self) -> dict[str, object]:
        """Everything that differs from the table, for the digest of the settings; empty if nothing does."""
        parts = {
            "severities": {code: str(severity) for code, severity in self.severities},
            "ranges": {code: asdict(ranges) for code, ranges in self.ranges},
        }
        return {name: part for name, part in parts.items() if part}

    def judge(self, code: str, measured: float | int, sentence: str) -> Findings:
        """A finding if what was measured lies outside its ranges, with the limit it crossed; none otherwise.

        Args:
            code: of a row of the table.
            measured: in the unit of that row; a value that is no number lies outside every range.
            sentence: what was measured, as an ASCII sentence; the limit is added to it.
        """
        check = CHECKS[code]
        own = dict(self.ranges).get(code, OtherRanges())
        usual, possible = own.usual or check.usual, own.possible or check.possible
        for limits, severity in ((possible, Severity.REJECT), (usual, check.severity)):
            crossed = _crossed(limits, measured)
            if crossed is not None:
                limit, word = crossed
                return (self._finding(check, severity, measured, limit, f"{sentence} Expected {word} {limit:g}."),)
        return ()

    def state(
        self, code: str, measured: float | int, limit: float, sentence: str, severity: Severity | None = None
    ) -> Findings:
        """A finding that needs no comparison: the fact itself is what a reader must know.

        Args:
            code: of a row of the table.
            measured: in the unit of that row.
            limit: what would have been usual.
            sentence: the whole ASCII sentence.
            severity: another one than that of the row, unless the site has its own.
        """
        check = CHECKS[code]
        return (self._finding(check, severity or check.severity, measured, limit, sentence),)

    def _finding(self, check: Check, severity: Severity, measured: float | int, limit: float, sentence: str) -> Finding:
        own = dict(self.severities).get(check.code)
        if own is not None and own is not severity:
            sentence = f"{sentence} This site takes it as {_WORDS[own]} instead of {_WORDS[severity]}."
        return Finding(check.code, own or severity, sentence, float(measured), float(limit), check.unit)


BY_THE_TABLE = QualityPolicy()
"""The policy of a site that has changed nothing."""


def problems(severities: Iterable[str], ranges: Mapping[str, OtherRanges]) -> list[str]:
    """What is wrong with a site's changes, one sentence each, that begins with where it stands."""
    found = []
    for where, codes in (("severities", severities), ("limits", ranges)):
        for code in codes:
            if code not in CHECKS:
                found.append(f"{where}.{code}: there is no check of this code; docs/quality.md lists all")
            elif CHECKS[code].fixed:
                found.append(f"{where}.{code}: fixed; it says that a result is wrong as geometry or arithmetic")
    for code, own in ranges.items():
        if code in CHECKS and not CHECKS[code].fixed:
            found += _range_problems(code, own.usual or CHECKS[code].usual, own.possible or CHECKS[code].possible)
    return found


def _range_problems(code: str, usual: Range, possible: Range) -> list[str]:
    found = [
        f"limits.{code}.{name}: {low:g} lies above {high:g}, or is no number"
        for name, (low, high) in (("usual", usual), ("possible", possible))
        if not low <= high
    ]
    if not found and not possible[0] <= usual[0] <= usual[1] <= possible[1]:
        found.append(f"limits.{code}: usual {usual} must lie within possible {possible}")
    return found


def _crossed(limits: Range, measured: float | int) -> tuple[float, str] | None:
    """The limit that was crossed and the word for it."""
    low, high = limits
    if isnan(measured) or measured < low:
        return low, "at least"
    return (high, "at most") if measured > high else None
