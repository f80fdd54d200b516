"""The newest log lines of this host, by level and by case; holds no patient data (`logs`)."""

from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from fastapi import APIRouter, Query, Request
from fastapi.responses import HTMLResponse

from dicom_node.recent_log import LEVELS, LogPlace, RecentLog
from dicom_node.web.guard import Administrator
from dicom_node.web.node import TheNode
from dicom_node.web.page import page

router = APIRouter()
MOST_LINES: Final = 500
_TOLD_APART: Final = frozenset({"event", "level", "timestamp", "logger", "case"})
Level = Literal["debug", "info", "warning", "error", "critical"]
CaseFilter = Annotated[str, Query(max_length=16, pattern="^[0-9a-f]*$")]


@dataclass(frozen=True, slots=True)
class LogLine:
    """One event of the log."""

    at: str
    """UTC, ISO 8601."""
    level: str
    event: str
    case: str
    """Id of the case; empty for an event of none."""
    logger: str
    fields: dict[str, str]
    """Everything else that it says, in words."""


@dataclass(frozen=True, slots=True)
class LogTail:
    """The newest lines that were asked for."""

    lines: list[LogLine]
    """In the order in which they were written; the newest ones, if there are more than fit."""
    after: str
    """To be given back for what comes next."""
    is_cut: bool
    """Whether there were more lines before these."""


def tail_of(log: RecentLog, level: str, case: str, after: str, most: int = MOST_LINES) -> LogTail:
    """The newest lines.

    Args:
        log: of this host.
        level: the least level that is shown.
        case: only of cases whose ids begin so.
        after: `LogTail.after` of an earlier answer, or empty for everything that is kept.
        most: how many at most.
    """
    entries, place = log.read(_place(after), mentioning=case)
    least = LEVELS.index(level)
    wanted = [e for e in entries if _rank(e) >= least and (not case or str(e.get("case", "")).startswith(case))]
    is_empty = place == LogPlace()  # nothing was ever written
    return LogTail([_line(e) for e in wanted[-most:]], "" if is_empty else str(place), len(wanted) > most)


def _place(text: str) -> LogPlace | None:
    try:
        return LogPlace.parse(text) if text else None
    except ValueError:  # then everything is shown
        return None


def _rank(entry: dict[str, Any]) -> int:
    level = entry.get("level")
    return LEVELS.index(level) if level in LEVELS else LEVELS.index("info")


def _line(entry: dict[str, Any]) -> LogLine:
    rest = {str(key): _words(value) for key, value in entry.items() if key not in _TOLD_APART}
    texts = {key: str(entry.get(key, "")) for key in _TOLD_APART}
    return LogLine(texts["timestamp"], texts["level"], texts["event"], texts["case"], texts["logger"], rest)


def _words(value: object) -> str:
    """A value as a person reads it; `fault` is a list of exceptions with their positions."""
    if isinstance(value, list):
        return "; ".join(_words(item) for item in value)
    if isinstance(value, dict):
        return ", ".join(f"{key} {_words(item)}" for key, item in value.items())
    return str(value)


@router.get("/tools/log", response_class=HTMLResponse, include_in_schema=False)
def show_log(
    request: Request, person: Administrator, node: TheNode, level: Level = "info", case: CaseFilter = ""
) -> HTMLResponse:
    """The newest lines, which the page then follows."""
    tail = tail_of(RecentLog.under(node.settings.data_dir), level, case, "")
    return page(request, "tools_log.html", person, tail=tail, level=level, case=case, levels=LEVELS, most=MOST_LINES)


@router.get("/api/v1/log", tags=["tools"])
def read_log(
    person: Administrator,
    node: TheNode,
    level: Level = "info",
    case: CaseFilter = "",
    after: Annotated[str, Query(max_length=64, pattern=r"^([0-9]+:[0-9]+)?$")] = "",
) -> LogTail:
    """The newest log lines of this host, or those after the last answer."""
    return tail_of(RecentLog.under(node.settings.data_dir), level, case, after)
