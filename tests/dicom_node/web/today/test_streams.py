"""Live events, over real connections to a real server."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI

from dicom_node.audit.reading import read_entries
from dicom_node.jobs.jobs import JobBook
from dicom_node.settings.config import NodeSettings
from dicom_node.web.access.rights import PageRole
from dicom_node.web.today import streams
from tests.dicom_node.web.conftest import AppFor
from tests.dicom_node.web.today.made_cases import DELIVERED, HELD, SECRETS, WAITING, YAMADA
from tests.peers import eventually, free_port, listens

_PATIENCE_S = 240.0
Event = tuple[str, str, dict[str, Any]]


class Stream:
    """One stream of events, as a browser reads it."""

    def __init__(self, answer: httpx2.Response) -> None:
        self._lines = answer.iter_lines()
        self.last_id = ""

    def next(self) -> Event:
        """Kind, id and content of the next event; heartbeats are no events.

        Raises:
            StopIteration: the stream has ended.
        """
        fields: dict[str, str] = {}
        while True:
            line = next(self._lines)
            if line and not line.startswith(":"):
                name, _, value = line.partition(": ")
                fields[name] = value
            elif fields:
                self.last_id = fields.get("id", self.last_id)
                return fields["event"], fields.get("id", ""), json.loads(fields["data"])

    def until(self, kind: str) -> dict[str, Any]:
        """Content of the next event of a kind."""
        while (event := self.next())[0] != kind:
            pass
        return event[2]


@contextmanager
def served(app: FastAPI) -> Iterator[httpx2.Client]:
    """The page over a real connection, when it has read all cases."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(app, port=port, log_config=None, lifespan="on", timeout_graceful_shutdown=1))
    serving = threading.Thread(target=server.run)
    serving.start()
    try:
        assert eventually(lambda: listens(port), _PATIENCE_S)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=_PATIENCE_S) as client:
            assert eventually(lambda: client.get("/api/v1/node").json()["is_filling"] is False, _PATIENCE_S)
            yield client
    finally:
        app.state.today.changes.close()
        server.should_exit = True
        serving.join(_PATIENCE_S)


@contextmanager
def stream(client: httpx2.Client, after: str = "", **headers: str) -> Iterator[Stream]:
    with client.stream("GET", "/api/v1/events", params={"after": after}, headers=headers) as answer:
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/event-stream")
        yield Stream(answer)


@pytest.fixture
def book(busy_node: NodeSettings) -> Iterator[JobBook]:
    with JobBook(busy_node.database, busy_node.cases()) as opened:
        yield opened


def test_what_changes_is_told_at_once_to_everybody_as_their_role_allows(
    busy_node: NodeSettings, app_for: AppFor, book: JobBook
) -> None:
    with ExitStack() as open_, served(app_for(PageRole.OPERATOR)) as operator:
        listening = [open_.enter_context(stream(operator)) for _ in range(3)]
        assert [one.next()[0] for one in listening] == ["reset"] * 3
        threads = [thread.name for thread in threading.enumerate()]
        assert threads.count("today") == 1
        book.cancel(WAITING.case_id)
        for one in listening:
            told = one.until("case")
            assert (told["case_id"], told["state"], told["patient"]["name"]) == (
                WAITING.case_id,
                "CANCELLED",
                "O'Neil, Zoë",
            )
    with served(app_for(PageRole.VIEWER)) as viewer, stream(viewer) as one:
        assert one.next()[0] == "reset"
        book.discard(HELD.case_id)
        book.rerun(DELIVERED.case_id)
        told = {case["case_id"]: case for case in (one.until("case"), one.until("case"))}
        assert told.keys() == {HELD.case_id, DELIVERED.case_id}
        assert [case["patient"] for case in told.values()] == [None, None]
        assert [word for word in SECRETS if word in json.dumps(told, ensure_ascii=False)] == []


def test_a_browser_that_comes_back_hears_what_it_has_missed(app_for: AppFor, book: JobBook) -> None:
    with served(app_for(PageRole.OPERATOR)) as client:
        with stream(client) as one:
            one.next()
            book.cancel(WAITING.case_id)
            one.until("case")
            last_id = one.last_id
        with stream(client) as one:
            one.next()
            book.discard(HELD.case_id)
            one.until("case")
        with stream(client, **{"Last-Event-ID": last_id}) as one:
            assert one.until("case")["case_id"] == HELD.case_id
        with stream(client, after=last_id) as one:
            assert one.until("case")["case_id"] == HELD.case_id
        for unknown in ("00000000-1", "nonsense"):
            with stream(client, **{"Last-Event-ID": unknown}) as one:
                assert one.next()[0] == "reset"


def test_a_patient_in_a_stream_is_told_to_the_audit_trail_first(
    busy_node: NodeSettings, app_for: AppFor, book: JobBook
) -> None:
    log = busy_node.audit_trail().log_file

    def told() -> list[tuple[str, ...]]:
        return [e.subjects[1:] for e in read_entries(log) if e.event == "Query"] if log.exists() else []

    with served(app_for(PageRole.VIEWER)) as viewer, stream(viewer) as one:
        one.next()
        book.cancel(WAITING.case_id)
        one.until("case")
        assert told() == []
    with served(app_for(PageRole.OPERATOR)) as operator, stream(operator) as one:
        one.next()
        book.discard(HELD.case_id)
        assert one.until("case")["case_id"] == HELD.case_id
        assert told() == [(f"case:{HELD.case_id}",)]


def test_the_page_says_where_its_stream_goes_on(app_for: AppFor, book: JobBook) -> None:
    with served(app_for(PageRole.OPERATOR)) as client:
        place = client.get("/").text.partition('data-after="')[2].partition('"')[0]
        book.cancel(WAITING.case_id)
        with stream(client, after=place) as one:
            assert one.until("case")["case_id"] == WAITING.case_id


def test_a_case_that_was_removed_is_told(
    busy_node: NodeSettings, app_for: AppFor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("dicom_node.web.today.indexing._FOLDERS_EVERY_S", 0.0)
    with served(app_for(PageRole.VIEWER)) as client, stream(client) as one:
        one.next()
        shutil.rmtree(busy_node.cases().folder(HELD.case_id).path)
        assert one.until("gone") == {"cases": [HELD.case_id]}


def test_the_state_of_the_node_is_told(
    busy_node: NodeSettings, app_for: AppFor, monkeypatch: pytest.MonkeyPatch, book: JobBook
) -> None:
    monkeypatch.setattr("dicom_node.web.today.today._NODE_EVERY_S", 0.0)
    with served(app_for(PageRole.VIEWER)) as client, stream(client) as one:
        one.next()
        book.cancel(WAITING.case_id)
        while one.until("node")["cases"].get("CANCELLED") != 1:
            pass


def test_what_a_stage_is_doing_is_told_while_it_runs(busy_node: NodeSettings, app_for: AppFor) -> None:
    with served(app_for(PageRole.VIEWER)) as client, stream(client) as one:
        one.next()
        busy_node.cases().folder(YAMADA.case_id).show_progress("finding the lobes")
        with closing(sqlite3.connect(busy_node.data_dir / "node.sqlite")) as engine, engine:
            row = (f"{YAMADA.case_id}:1:segment:1",)
            engine.execute("update workflow_status set status = 'PENDING' where workflow_uuid = ?", row)
        while (told := one.until("case"))["progress"] == "":
            pass
        assert (told["case_id"], told["progress"]) == (YAMADA.case_id, "finding the lobes")
        assert client.get(f"/api/v1/cases/{YAMADA.case_id}").json()["progress"] == "finding the lobes"


def test_a_session_has_so_many_streams_and_no_more(app_for: AppFor) -> None:
    with served(app_for(PageRole.VIEWER)) as client, ExitStack() as open_:
        several = [open_.enter_context(ExitStack()) for _ in range(streams.MOST_OF_ONE)]
        listening = [one.enter_context(stream(client)) for one in several]
        assert [one.next()[0] for one in listening] == ["reset"] * streams.MOST_OF_ONE
        refused = client.get("/api/v1/events")
        assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_STREAMS")
        several[0].close()

        def has_room() -> bool:
            with client.stream("GET", "/api/v1/events") as answer:
                return answer.status_code == 200

        assert eventually(has_room, _PATIENCE_S)


def test_a_stream_ends_with_its_session(app_for: AppFor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(streams, "_LOOK_S", 0.1)
    app = app_for(PageRole.OPERATOR)
    with served(app) as client, stream(client) as one:
        assert one.next()[0] == "reset"
        app.state.sign_in.sessions.end(next(cookie.value or "" for cookie in client.cookies.jar))
        one.until("ended")
        with pytest.raises(StopIteration):
            one.next()


def test_a_page_that_stops_ends_its_streams_at_once(busy_node: NodeSettings, tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    proxy = '[web]\nsign_in = "proxy"\nproxies = ["127.0.0.1"]\n[web.groups]\nviewer = ["staff"]\n'
    site.write_text(site.read_text() + proxy)
    headers = {"X-Forwarded-User": "somebody", "X-Forwarded-Groups": "staff"}
    with ExitStack() as parts:
        listening = parts.enter_context(socket.create_server(("127.0.0.1", 0)))
        log = parts.enter_context((tmp_path / "node.log").open("wb"))
        command = [sys.executable, "-m", "dicom_node.web.web_process", str(site), str(listening.fileno())]
        process = parts.enter_context(
            subprocess.Popen(command, stdin=subprocess.PIPE, pass_fds=(listening.fileno(),), stdout=log, stderr=log)
        )
        parts.callback(process.kill)
        page = f"http://127.0.0.1:{listening.getsockname()[1]}"
        client = parts.enter_context(httpx2.Client(base_url=page, timeout=_PATIENCE_S, headers=headers))
        one = parts.enter_context(stream(client))
        assert one.next()[0] == "reset"
        os.kill(process.pid, signal.SIGTERM)
        with pytest.raises((StopIteration, httpx2.RemoteProtocolError)):
            one.until("nothing more")
        process.wait(_PATIENCE_S)
    assert process.returncode == 0, (tmp_path / "node.log").read_text()
