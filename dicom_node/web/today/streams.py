"""Live events for browsers: a stream of what changes, by server-sent events.

A browser says up to where it has read (`after`, later `Last-Event-ID`) and goes on from there; if that is too long ago
it is told to read everything anew. A stream ends with the session of its reader, and at once when the page stops.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator
from contextlib import aclosing, contextmanager
from dataclasses import dataclass
from typing import Annotated, Any, Final

from fastapi import APIRouter, Header, Query, Request
from fastapi.responses import Response
from sse_starlette import EventSourceResponse, ServerSentEvent

from dicom_node.web.access.rights import Person, Right
from dicom_node.web.fault_answers import Fault
from dicom_node.web.guard import Viewer
from dicom_node.web.node import TheNode, WebNode
from dicom_node.web.sign_in import SignInDesk
from dicom_node.web.today.api import refused
from dicom_node.web.today.changes import Change, Changes
from dicom_node.web.today.today import TheToday
from dicom_node.web.viewing import told_list

router = APIRouter(prefix="/api/v1", tags=["today"])
MOST_OF_ONE: Final = 8
"""Streams of one session: browsers open no more than six connections to a server, and a few may be dying."""
_MOST: Final = 200
"""Streams of everybody."""
_HEARTBEAT_S: Final = 15.0
_LOOK_S: Final = 5.0
"""So often a stream looks whether its session still holds."""
_EVENT: Final[dict[str, Any]] = {
    "type": "object",
    "properties": {
        "event": {"enum": ["case", "gone", "node", "reset", "ended"]},
        "data": {"type": "string", "contentMediaType": "application/json"},
        "id": {"type": "string"},
    },
    "required": ["event", "data"],
}
_EXPECTED: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {"text/event-stream": {"itemSchema": _EVENT}},
        "description": "Events `case` (as /cases/{case_id}), `gone` ({cases: ids}), `node` (as /node), `reset` (read "
        "anew) and `ended` (sign in again).",
    },
    429: {"model": Fault, "description": "TOO_MANY_STREAMS: close a window first."},
}


class OpenStreams:
    """How many streams are open, by session."""

    def __init__(self) -> None:
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()

    def has_room(self, session: str) -> bool:
        """Whether the session may have one more."""
        with self._lock:
            return self._open[session] < MOST_OF_ONE and self._open.total() < _MOST

    @contextmanager
    def one(self, session: str) -> Iterator[None]:
        """One stream is open."""
        with self._lock:
            self._open[session] += 1
        try:
            yield
        finally:
            with self._lock:
                self._open[session] -= 1
                self._open += Counter()  # forgets those that have none


_streams: Final = OpenStreams()


@dataclass(frozen=True, slots=True)
class _Reader:
    """Whoever looks at a stream."""

    node: WebNode
    person: Person
    holds: Callable[[], bool]
    """Whether their session still does."""

    async def shown(self, change: Change) -> str:
        """What they may know of a change; the audit trail knows first that they are told of a patient."""
        if not self.person.may(Right.SEE_PATIENTS):
            return change.masked
        if change.patient_ids:
            await asyncio.to_thread(told_list, self.node, self.person, change.patient_ids)
        return change.openly


@router.get("/events", response_class=EventSourceResponse, responses=_EXPECTED)
async def events(
    request: Request,
    person: Viewer,
    today: TheToday,
    node: TheNode,
    after: Annotated[str, Query(max_length=64, description="The place that the page was made at.")] = "",
    last_event_id: Annotated[str, Header(max_length=64, description="Set by a browser that comes back.")] = "",
) -> Response:
    """What changes, as it changes; stays open."""
    session = person.session or person.name
    if not _streams.has_room(session):
        return refused(429, "TOO_MANY_STREAMS", "Too many windows of this session listen already; close one.")
    reader = _Reader(node, person, _validity(request))
    told = _told(today.changes, last_event_id or after, reader)
    return EventSourceResponse(_counted(told, session), ping=_HEARTBEAT_S)


async def _counted(told: AsyncGenerator[ServerSentEvent], session: str) -> AsyncIterator[ServerSentEvent]:
    with _streams.one(session):
        async with aclosing(told):
            async for event in told:
                yield event


async def _told(changes: Changes, after: str, reader: _Reader) -> AsyncGenerator[ServerSentEvent]:
    """What one browser is told.

    Args:
        changes: of everybody.
        after: the name of the last change that the browser knows.
        reader: who looks at it.
    """
    news = changes.awaited()
    try:
        place = changes.place_of(after)
        while not changes.is_closed:
            if not reader.holds():
                yield ServerSentEvent(event="ended", data="{}")
                return
            news.clear()
            missed = None if place is None else changes.since(place)
            if place is None or missed is None:
                place = changes.place()
                yield ServerSentEvent(event="reset", data="{}", id=changes.name_of(place))
                continue
            for change in missed:
                yield ServerSentEvent(
                    event=change.kind, data=await reader.shown(change), id=changes.name_of(change.number)
                )
                place = change.number
            if not missed:
                await _awaited(news)
    finally:
        changes.leave(news)


async def _awaited(news: asyncio.Event) -> None:
    try:
        await asyncio.wait_for(news.wait(), _LOOK_S)
    except TimeoutError:
        return


def _validity(request: Request) -> Callable[[], bool]:
    """Whether the session of a request still holds; asked again and again while its stream is open."""
    desk: SignInDesk = request.app.state.sign_in
    key: str = request.state.session_key
    return lambda: desk.is_still_here(key)
