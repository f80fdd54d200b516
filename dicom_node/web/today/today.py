"""The one thread that looks for all browsers: it keeps the index, sees how the node is, and tells what changed.

A look at the cases comes every second, one at the node every few seconds. Each is followed by a pause of so many times
the processor time that it took, so that a node with thousands of waiting cases is looked at less often, and the page
never takes more than some per cent of one core.
"""

import json
import threading
import time
from asyncio import to_thread
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Final

import structlog
from fastapi import Depends, FastAPI, Request

from dicom_node.errors import NeverStarted, code_of
from dicom_node.jobs.cases import CaseStore
from dicom_node.settings.config import NodeSettings
from dicom_node.web.node import WebNode
from dicom_node.web.today.answers import CaseAnswer, NodeAnswer
from dicom_node.web.today.case_index import CaseIndex
from dicom_node.web.today.case_line import CaseLine
from dicom_node.web.today.case_reading import CaseReading
from dicom_node.web.today.changes import Changes
from dicom_node.web.today.contacts import Contacts
from dicom_node.web.today.engine_view import EngineView
from dicom_node.web.today.indexing import Indexing, News
from dicom_node.web.today.node_state import NodeLook

_CASES_EVERY_S: Final = 1.0
_NODE_EVERY_S: Final = 5.0
_PAUSE_PER_TIME: Final = 30.0
"""A look that took 0.1 s of a processor is followed by a pause of 3 s: about 3 % of one core."""
_STOP_S: Final = 10.0


class Today:
    """What the page knows, kept up to date while it runs.

    Args:
        settings: of the node.
    """

    def __init__(self, settings: NodeSettings) -> None:
        self.index = CaseIndex.under(settings.data_dir)
        self.changes = Changes()
        """What browsers are told."""
        self._stopping = threading.Event()
        self._cases: CaseStore = settings.cases()
        self._contacts = Contacts()
        self._indexing = Indexing(
            self.index,
            self._cases,
            lambda: CaseReading(settings.database, self._cases),
            tell=self._tell_of,
            goes_on=lambda: not self._stopping.is_set(),
        )
        self._node_look = NodeLook(settings, self.index, self._contacts)
        self._progress: dict[str, str] = {}
        self._is_filling = True
        """Whether the first look has not come to its end."""
        self._said = ""
        self._state = self._node_look.state(None, is_away=False)
        self._node_due = 0.0
        self._thread = threading.Thread(target=self._look_again, name="today", daemon=True)

    def answer_of(self, line: CaseLine, *, sees_patients: bool) -> CaseAnswer:
        """What somebody may know of a case, with what is being done of it right now."""
        return CaseAnswer.of(line, self._progress.get(line.case_id, ""), sees_patients=sees_patients)

    def node(self) -> NodeAnswer:
        """How the node is, as last seen."""
        return NodeAnswer.of(self._state, is_filling=self._is_filling)

    def start(self) -> None:
        """Begin to look."""
        self._thread.start()

    def stop(self) -> None:
        """Look no more, and let all who listen go."""
        self._stopping.set()
        self.changes.close()
        self._thread.join(_STOP_S)

    def look(self) -> None:
        """Look once; for tests, and for the thread."""
        try:
            self._contacts.note(self._indexing.look())
            self._is_filling = False
            self._see_progress(self._indexing.view)
            self._say("")
        except Exception as fault:  # the database is away, or nobody has made it yet; the text may name a host
            self._say(code_of(fault, type(fault).__name__), quietly=isinstance(fault, NeverStarted))
        if time.monotonic() >= self._node_due:
            self._see_node()

    def _look_again(self) -> None:
        while not self._stopping.is_set():
            began_s = time.thread_time()
            self.look()
            took_s = time.thread_time() - began_s
            self._stopping.wait(max(_CASES_EVERY_S, _PAUSE_PER_TIME * took_s))
        self._indexing.close()

    def _see_node(self) -> None:
        began_s = time.thread_time()
        try:
            state = self._node_look.state(self._indexing.view, is_away=bool(self._said))
        except Exception as fault:  # a disk that fails; the page goes on with what it saw last
            self._say(code_of(fault, type(fault).__name__))
        else:
            before, self._state = self._state, state
            if state.worth_telling() != before.worth_telling():
                self.changes.add("node", self.node().model_dump_json())
        pause_s = max(_NODE_EVERY_S, _PAUSE_PER_TIME * (time.thread_time() - began_s))
        self._node_due = time.monotonic() + pause_s

    def _see_progress(self, view: EngineView | None) -> None:
        """What every stage that runs is doing."""
        running = [] if view is None else [a.id for a in view.active if a.status == "PENDING" and not a.id.destination]
        now = {name.case_id: self._cases.folder(name.case_id).progress for name in running}
        before, self._progress = self._progress, now
        for case_id in sorted(before.keys() | now.keys()):
            if before.get(case_id, "") != now.get(case_id, "") and (line := self.index.line(case_id)):
                self._tell_of(News((line,)))

    def _tell_of(self, news: News) -> None:
        if self._is_filling:  # browsers that are there already read the list anew when it is whole
            return
        for line in news.lines:
            openly, masked = (self.answer_of(line, sees_patients=sees) for sees in (True, False))
            shown = {line.case_id: line.subject.patient_id}
            self.changes.add("case", openly.model_dump_json(), masked.model_dump_json(), shown)
        if news.gone:
            self.changes.add("gone", json.dumps({"cases": list(news.gone)}))

    def _say(self, kind: str, *, quietly: bool = False) -> None:
        """Once, not at every look."""
        if kind != self._said and not quietly:
            log = structlog.get_logger()
            if kind:
                log.error("page_cannot_look", code="PAGE_CANNOT_LOOK", kind=kind)
            else:
                log.info("page_looks_again")
        self._said = kind


@asynccontextmanager
async def looking(app: FastAPI) -> AsyncIterator[None]:
    """While the application runs, `app.state.today` looks."""
    node: WebNode = app.state.node
    app.state.today = today = await to_thread(Today, node.settings)
    today.start()
    try:
        yield
    finally:
        await to_thread(today.stop)


def _today(request: Request) -> Today:
    today: Today = request.app.state.today
    return today


TheToday = Annotated[Today, Depends(_today)]
"""Parameter of a handler that asks what is known now."""
