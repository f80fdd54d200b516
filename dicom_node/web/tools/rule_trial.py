"""Rules tried on files that somebody drops on the page: which rule takes each series, and why others do not.

The same question as `perfnode rules test`, asked of an upload. Files lie in a scratch folder for as long as the answer
takes, their names are of ours, no pixel is decoded, and nothing of them is logged or audited: they are the sender's
own.
"""

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, HTTPException, Query, Request
from fastapi.responses import HTMLResponse
from starlette.concurrency import run_in_threadpool

from dicom_node.errors import SpoolFull
from dicom_node.network.file_at_door import TurnedAway, read_at_door
from dicom_node.reception.completeness import Doubt
from dicom_node.reception.free_space import FreeSpace
from dicom_node.reception.rules import Answer, Rule
from dicom_node.reception.trial import Trial, try_on_series
from dicom_node.settings.config import NodeSettings
from dicom_node.web.fault_answers import Fault
from dicom_node.web.guard import Operator, Viewer
from dicom_node.web.node import TheNode
from dicom_node.web.page import page
from dicom_node.web.tools.scratch_folder import scratch_folder
from dicom_node.web.tools.upload import UploadedFile, UploadLimits, UploadRefused, receive_files, require_size

router = APIRouter()

LIMITS: Final = UploadLimits()
FOLDER: Final = "tried-files"
"""In the data directory of the host, which no other account may read."""
_AT_ONCE: Final = 2
_LONGEST_S: Final = 600.0
"""For the transfer of one upload."""
_seats = threading.BoundedSemaphore(_AT_ONCE)


@dataclass(frozen=True, slots=True)
class RuleInForce:
    """A rule as it is asked."""

    name: str
    action: str
    priority: str
    conditions: dict[str, str]
    """What must hold, by attribute; none takes everything."""


@dataclass(frozen=True, slots=True)
class AskedRule:
    """What one rule said of a series."""

    name: str
    action: str
    takes: bool
    conditions: list[Answer]


@dataclass(frozen=True, slots=True)
class TriedSeries:
    """What would become of one series among the files."""

    files: int
    first_file: str
    """As its sender calls it."""
    outcome: str
    """An action, `unmatched`, or `structure-set`."""
    rule: str
    held: Doubt | None
    """What would hold it, if these were all its slices."""
    asked: list[AskedRule]
    """In order, up to the one that takes it."""


@dataclass(frozen=True, slots=True)
class FileTurnedAway:
    """A file that the receiver would not take."""

    file: str
    code: str
    message: str


@dataclass(frozen=True, slots=True)
class TrialReport:
    """Of one upload."""

    series: list[TriedSeries]
    turned_away: list[FileTurnedAway]


def rules_in_force(rules: Sequence[Rule]) -> list[RuleInForce]:
    """In the order in which they are asked."""
    return [
        RuleInForce(r.name, r.action.value, r.priority.value, {c.attribute: c.wanted() for c in r.conditions})
        for r in rules
    ]


def tried(files: Sequence[UploadedFile], settings: NodeSettings, calling: str) -> TrialReport:
    """Ask the rules about every series in the files.

    Args:
        files: of whatever content.
        settings: of the node.
        calling: AE title that is taken to have sent them; may be empty.
    """
    by_series: dict[str, list[UploadedFile]] = {}
    away = []
    for file in files:
        found = read_at_door(file.path, settings.receiver.transfer_syntaxes)
        if isinstance(found, TurnedAway):
            away.append(FileTurnedAway(file.name, found.code, found.sentence))
        else:
            by_series.setdefault(found.series_instance_uid, []).append(file)
    callers = (calling,) if calling else ()
    trials = [(own, try_on_series(settings.rules, [f.path for f in own], callers)) for own in by_series.values()]
    return TrialReport([_series(own[0].name, trial) for own, trial in trials], away)


def _series(first_file: str, trial: Trial) -> TriedSeries:
    asked = [AskedRule(a.rule.name, a.rule.action.value, a.takes, list(a.answers)) for a in trial.decision.asked]
    return TriedSeries(trial.facts.instances, first_file, trial.outcome, trial.decision.name, trial.doubt, asked)


@router.get("/tools", response_class=HTMLResponse, include_in_schema=False)
@router.get("/tools/rules", response_class=HTMLResponse, include_in_schema=False)
def show_rules(request: Request, person: Viewer, node: TheNode) -> HTMLResponse:
    """The rules in force, and where to drop files."""
    rules = rules_in_force(node.settings.rules)
    return page(request, "tools_rules.html", person, rules=rules, limits=LIMITS)


@router.get("/api/v1/rules", tags=["tools"])
def list_rules(person: Viewer, node: TheNode) -> list[RuleInForce]:
    """The rules in force, in the order in which they are asked."""
    return rules_in_force(node.settings.rules)


@router.post(
    "/api/v1/rules/trial",
    tags=["tools"],
    responses={408: {"model": Fault}, 415: {"model": Fault}, 507: {"model": Fault}},
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "multipart/form-data": {
                    "schema": {
                        "type": "object",
                        "properties": {"files": {"type": "array", "items": {"type": "string", "format": "binary"}}},
                    }
                }
            },
        }
    },
)
async def try_upload(
    request: Request,
    person: Operator,
    node: TheNode,
    calling: Annotated[str, Query(max_length=16, pattern=r"^[ -\[\]-~]*$")] = "",
) -> TrialReport:
    """Say of each series in an upload which rule takes it, and why those before it do not. Nothing is kept."""
    if not _seats.acquire(blocking=False):
        raise HTTPException(503, f"UPLOAD_BUSY: {_AT_ONCE} uploads are looked at already; try again in a moment.")
    try:
        async with asyncio.timeout(_LONGEST_S):
            return await _answer(request, node.settings, calling.strip())
    except TimeoutError as fault:
        raise HTTPException(408, f"UPLOAD_TOO_SLOW: It took more than {_LONGEST_S:.0f} s. Nothing is kept.") from fault
    except UploadRefused as fault:
        raise HTTPException(fault.status, f"{fault.code}: {fault}") from fault
    except (SpoolFull, OSError) as fault:
        raise HTTPException(507, "UPLOAD_NO_ROOM: There is too little disk to look at files.") from fault
    finally:
        _seats.release()


async def _answer(request: Request, settings: NodeSettings, calling: str) -> TrialReport:
    declared = request.headers.get("content-length")
    require_size(declared, LIMITS)
    # Received images go first: they need what is free, and a trial leaves twice of that alone.
    room = FreeSpace(settings.data_dir, 2.0 * settings.minimum_free_mb)
    room.require(int(declared) if declared else LIMITS.all_bytes)
    with scratch_folder(settings.data_dir / FOLDER) as folder:
        kind = request.headers.get("content-type", "")
        files = await receive_files(request.stream(), kind, folder, LIMITS)
        return await run_in_threadpool(tried, files, settings, calling)
