"""The help page: what every state, stage, finding and code means, and what to do. From the tables in code."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from dicom_node.documents.quality_page import range_words
from dicom_node.errors import NodeError
from dicom_node.watching.node_checks import KINDS, Weight
from dicom_node.web.guard import Viewer
from dicom_node.web.page import page
from dicom_node.web.tools.help_words import (
    ADVICE,
    ARRIVAL_STATES,
    CASE_STATES,
    OTHER_CODES,
    PERMANENT,
    STAGES,
    TRIED_AGAIN,
)
from inference.errors import InferenceError
from inference.quality.table import CHECKS

router = APIRouter()
_ROOMS = ("dicom_node.errors", "inference.errors")
_WEIGHTS = {
    Weight.VITAL: "The node ends and is started anew if it stays.",
    Weight.READY: "The node is not ready until it passes; somebody is told.",
    Weight.LATE: "Somebody is told; the node stays ready.",
}


@dataclass(frozen=True, slots=True)
class Explained:
    """A word of the node: what it means and what to do."""

    word: str
    means: str
    to_do: str


@dataclass(frozen=True, slots=True)
class ExplainedFinding:
    """A check of CT, lobes or map."""

    code: str
    measures: str
    unit: str
    usual: str
    """Nothing is said inside, unless the site set other limits."""
    severity: str
    possible: str
    """Outside the result is rejected."""


@dataclass(frozen=True, slots=True)
class Help:
    """Everything."""

    case_states: list[Explained]
    arrival_states: list[Explained]
    stages: list[Explained]
    findings: list[ExplainedFinding]
    codes: list[Explained]
    checks: list[Explained]


@cache
def explained() -> Help:
    """All words; they are those of the program, so they never change while it runs."""
    return Help(
        [Explained(state.value, *words) for state, words in CASE_STATES.items()],
        [Explained(state.value, *words) for state, words in ARRIVAL_STATES.items()],
        [Explained(stage.value, means, "") for stage, means in STAGES.items()],
        [
            ExplainedFinding(
                check.code,
                check.measures,
                check.unit,
                range_words(check.usual),
                check.severity.value,
                range_words(check.possible),
            )
            for check in CHECKS.values()
        ],
        sorted(_codes(), key=lambda known: known.word),
        [Explained(kind.code, kind.question, _WEIGHTS[kind.weight]) for kind in KINDS],
    )


def _codes() -> Iterator[Explained]:
    yield from (Explained(code, *words) for code, words in OTHER_CODES.items())
    seen = set(OTHER_CODES)
    for kind in (*_below(NodeError), *_below(InferenceError)):
        if kind.code in seen or kind.__module__ not in _ROOMS:
            continue
        seen.add(kind.code)
        means = (kind.__doc__ or "").strip().partition("\n")[0]
        yield Explained(kind.code, means, ADVICE.get(kind.code) or (PERMANENT if kind.permanent else TRIED_AGAIN))


def _below(root: type[NodeError] | type[InferenceError]) -> Iterator[type[NodeError] | type[InferenceError]]:
    for kind in root.__subclasses__():
        yield kind
        yield from _below(kind)


@router.get("/tools/help", response_class=HTMLResponse, include_in_schema=False)
def show_help(request: Request, person: Viewer) -> HTMLResponse:
    """Everything, with an anchor for each word."""
    return page(request, "tools_help.html", person, help=explained())


@router.get("/api/v1/help", tags=["tools"])
def read_help(person: Viewer) -> Help:
    """What every state, stage, finding and code means, and what to do."""
    return explained()
