"""How quick the operator's page is when many cases are here: list, search, the page itself, and what looking costs.

    make bench-page            (by hand: python -m benchmarks.page --cases 10000 --questions 200)

Every case is in a real engine database (five attempts of stages, two of a delivery, copied in SQL from a few cases that
the engine itself ran) and in folders as the node leaves them, with one image and the facts of a result. The page runs
as `perfnode serve` starts it: uvicorn in a process of its own. Questions go over HTTP to it, one at a time and from
four clients at once. Then ten browsers listen to live events while nothing happens, and the processor time of the
process is counted.
"""

import argparse
import json
import os
import random
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final

import httpx2
import numpy as np
import psutil
from rich.console import Console
from rich.table import Table

from dicom_node.jobs.cases import CaseRecord, CaseStore
from dicom_node.jobs.job_database import JobDatabase
from tests.finished_jobs import Output, delivered, write_rows
from tests.peers import eventually
from tests.small_ct import small_ct, write_file

_LIMIT_S: Final = 900.0
_AT_ONCE: Final = 4
_BROWSERS: Final = 10
_IDLE_S: Final = 60.0
_APART_MS: Final = 600_000
"""Cases came ten minutes apart."""
_MADE: Final = ("read", "segment", "perfuse", "encode", "check")
_AWAY: Final[Output] = {"result": "again", "code": "PEER_UNREACHABLE", "message": "Nobody answered.", "wait_s": 60.0}
_REFUSED: Final[Output] = {"result": "failed", "code": "STORE_REFUSED", "message": "It refused."}
_HELD: Final[Output] = {"result": "held", "code": "AWAITS_RELEASE", "message": "The objects wait for a person."}
_OTHERS: Final[dict[str, Sequence[Output | None]]] = {"2": (_HELD,), "3": (_REFUSED,), "4": (_AWAY, None)}
"""Deliveries of the cases that are copied, besides one that is delivered."""
_FAMILIES: Final = ("Müller", "Schmidt", "O'Neil", "Yamada=山田", "Nguyen", "Garcia", "Rossi", "Kowalski", "Okafor")
_GIVEN: Final = ("Anna", "Jürgen", "Zoë", "Tarou", "Linh", "Maria", "Luca", "Jan", "Ingrid", "Olga", "Chidi", "João")
HEADERS: Final = {"X-Forwarded-User": "bench", "X-Forwarded-Groups": "staff"}
SITE: Final = """
[node]
data_dir = "data"
minimum_free_mb = 100
[inference]
perfusion = "densitometric"
[[destinations]]
name = "pacs"
ae_title = "PACS"
host = "127.0.0.1"
port = 104
[web]
sign_in = "proxy"
proxies = ["127.0.0.1"]
[web.groups]
operator = ["staff"]
"""
console = Console(width=140)


def make_node(folder: Path, cases: int) -> None:
    """A node with so many cases: engine database, case folders, site file."""
    data = folder / "data"
    (folder / "site.toml").write_text(SITE)
    write_rows(data, _templates())
    _copy_rows(JobDatabase.under(data), cases)
    store, chosen = CaseStore.under(data), random.Random(4711)
    for number in range(1, cases + 1):
        _write_case(store, f"{number:016x}", chosen)


def _templates() -> dict[str, Output | None]:
    """The rows of the cases that are copied; their ids are above all others."""
    rows: dict[str, Output | None] = {}
    for kind in ("1", *_OTHERS):
        case_id = kind.rjust(16, "f")
        rows |= {f"{case_id}:1:{stage}:1": {"result": "done", "destinations": ["pacs"]} for stage in _MADE}
        for number, output in enumerate(_OTHERS.get(kind, ()), start=1):
            rows[f"{case_id}:1:deliver.pacs:{number}"] = output
    first = "1".rjust(16, "f")
    return {**rows, **delivered(first, "pacs")}


def _copy_rows(database: JobDatabase, cases: int) -> None:
    """Copy the rows of the templates to so many cases: most delivered, some held, failed, or waiting (the newest)."""
    with sqlite3.connect(str(database.path)) as connection:
        connection.execute("create temp table made (case_id text, template text, number integer)")
        kinds = {
            number: "2" if number % 50 == 0 else "3" if number % 50 == 1 else "1" for number in range(1, cases + 1)
        }
        kinds |= dict.fromkeys(range(max(1, cases - 20), cases + 1), "4")
        rows = ((f"{number:016x}", kind.rjust(16, "f"), number) for number, kind in kinds.items())
        connection.executemany("insert into made values (?, ?, ?)", rows)
        for table in ("workflow_status", "workflow_input", "workflow_output"):
            columns = [name for _, name, *_ in connection.execute(f"pragma table_info({table})")]
            values = ", ".join(_copied(column, cases) for column in columns)
            connection.execute(
                f"insert into {table} ({', '.join(columns)}) select {values} from {table} t join made m "  # noqa: S608
                "on t.workflow_uuid >= m.template || ':' and t.workflow_uuid < m.template || ';'"
            )
        for table in ("workflow_status", "workflow_input", "workflow_output", "operation_outputs"):
            connection.execute(f"delete from {table} where workflow_uuid >= 'f'")  # noqa: S608
    connection.close()


def _copied(column: str, cases: int) -> str:
    if column == "workflow_uuid":
        return "m.case_id || substr(t.workflow_uuid, 17)"
    if column in ("created_at", "updated_at", "completed_at"):
        return f"t.{column} - ({cases} - m.number) * {_APART_MS}"
    return "t.creator_xid || m.case_id" if column == "creator_xid" else f"t.{column}"


def _write_case(store: CaseStore, case_id: str, chosen: random.Random) -> None:
    """The files of a case, not flushed."""
    folder = store.folder(case_id)
    folder.received.mkdir(parents=True)
    family, _, written = chosen.choice(_FAMILIES).partition("=")
    image = small_ct(series=f"1.2.{int(case_id, 16)}")
    image.SpecificCharacterSet = "ISO_IR 192"
    image.PatientName = f"{family}^{chosen.choice(_GIVEN)}" + (f"={written}^太郎" if written else "")
    image.PatientID, image.AccessionNumber = f"P{chosen.randrange(10**6):06d}", f"A{chosen.randrange(10**7):07d}"
    image.StudyDate, image.SeriesDescription = "20260301", "Thorax 3.0 B31f"
    write_file(folder.received, image)
    record = CaseRecord(case_id, "1.2.3", "digest", 200, "SCANNER", "planning-ct", arrived_at_s=1.0)
    (folder.path / "case.json").write_text(json.dumps(asdict(record)))
    finding = {"code": "SOMETHING", "severity": "flag", "sentence": "It is so.", "measured": 1.0, "limit": 2.0}
    facts = {"model": {"name": "densitometric", "version": "1"}, "findings": [finding] * chosen.randrange(4)}
    folder.result.with_suffix(".json").write_text(json.dumps(facts))


@contextmanager
def page_process(folder: Path) -> Iterator[tuple[httpx2.Client, psutil.Process]]:
    """The page in a process of its own, when it has read all cases."""
    with ExitStack() as parts:
        listening = parts.enter_context(socket.create_server(("127.0.0.1", 0)))
        log = parts.enter_context((folder / "page.log").open("wb"))
        command = [sys.executable, "-m", "dicom_node.web.web_process", str(folder / "site.toml")]
        process = parts.enter_context(
            subprocess.Popen(
                [*command, str(listening.fileno())],
                stdin=subprocess.PIPE,
                pass_fds=(listening.fileno(),),
                stdout=log,
                stderr=log,
            )
        )
        parts.callback(process.kill)
        where = f"http://127.0.0.1:{listening.getsockname()[1]}"
        client = parts.enter_context(httpx2.Client(base_url=where, headers=HEADERS, timeout=_LIMIT_S))
        began = time.monotonic()
        assert eventually(lambda: client.get("/api/v1/node").json()["is_filling"] is False, _LIMIT_S)
        console.print(f"All cases read {time.monotonic() - began:.1f} s after the start of the process.")
        yield client, psutil.Process(process.pid)


def questions(client: httpx2.Client) -> dict[str, Callable[[random.Random], str]]:
    """What is asked, by what it is called: an address for each draw."""
    known = [case for page in _pages(client) for case in page["cases"]]
    cursors = [page["next_cursor"] for page in _pages(client) if page["next_cursor"]]

    def of_one(field: str) -> Callable[[random.Random], str]:
        return lambda draw: str(draw.choice(known)["patient"][field])

    patient_id, accession, name = of_one("patient_id"), of_one("accession_number"), of_one("name")
    return {
        "list, first page": lambda _: "/api/v1/cases",
        "list, a later page": lambda draw: f"/api/v1/cases?cursor={draw.choice(cursors)}",
        "by patient id": lambda draw: f"/api/v1/cases?patient_id={patient_id(draw)}",
        "by beginning of patient id": lambda draw: f"/api/v1/cases?patient_id={patient_id(draw)[:3]}",
        "by name": lambda draw: f"/api/v1/cases?patient_name={name(draw).split(' (')[0]}",
        "by accession number": lambda draw: f"/api/v1/cases?accession_number={accession(draw)}",
        "by state": lambda draw: f"/api/v1/cases?state={draw.choice(['HELD', 'FAILED', 'DELIVERED'])}",
        "by day": lambda draw: f"/api/v1/cases?received_to={draw.choice(known)['created_at'][:10]}",
        "by anything": lambda draw: f"/api/v1/cases?q={draw.choice([patient_id, accession, name])(draw)[:5]}",
        "that nobody fits": lambda draw: f"/api/v1/cases?q=zz{draw.random()}",
        "one case": lambda draw: f"/api/v1/cases/{draw.choice(known)['case_id']}",
        "the node": lambda _: "/api/v1/node",
        "the page": lambda _: "/",
        "the page, searched": lambda draw: f"/?q={patient_id(draw)[:3]}",
    }


def _pages(client: httpx2.Client) -> Iterator[dict[str, Any]]:
    cursor = ""
    while True:
        page = client.get("/api/v1/cases", params={"limit": 200, "cursor": cursor}).json()
        yield page
        if not (cursor := page["next_cursor"]):
            return


def times_ms(client: httpx2.Client, addresses: Sequence[str], at_once: int) -> list[float]:
    """How long each answer took."""

    def ask(address: str) -> float:
        began = time.perf_counter()
        client.get(address).raise_for_status()
        return 1000 * (time.perf_counter() - began)

    with ThreadPoolExecutor(at_once) as threads:
        return list(threads.map(ask, addresses))


def busy_percent(client: httpx2.Client, process: psutil.Process, seconds: float) -> float:
    """Of one core, while browsers listen and nothing happens."""
    with ExitStack() as browsers:
        for number in range(_BROWSERS):
            own = browsers.enter_context(httpx2.Client(base_url=client.base_url, timeout=_LIMIT_S))
            headers = {**HEADERS, "X-Forwarded-User": f"browser {number}"}
            browsers.enter_context(own.stream("GET", "/api/v1/events", headers=headers)).raise_for_status()
        before, began = process.cpu_times(), time.monotonic()
        time.sleep(seconds)
        after = process.cpu_times()
    used_s = after.user + after.system - before.user - before.system
    return 100 * used_s / (time.monotonic() - began)


def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=200)
    parser.add_argument("--idle-s", type=float, default=_IDLE_S)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        began = time.monotonic()
        make_node(folder, arguments.cases)
        console.print(f"{arguments.cases} cases made in {time.monotonic() - began:.0f} s; {os.cpu_count()} cores")
        with page_process(folder) as (client, process):
            table = Table("question", "clients", "p50 ms", "p95 ms", "p99 ms", title="Answers")
            for name, address in questions(client).items():
                for at_once in (1, _AT_ONCE):
                    draw = random.Random(name)
                    asked = [address(draw) for _ in range(arguments.questions)]
                    quantiles = np.percentile(times_ms(client, asked, at_once), (50, 95, 99))
                    table.add_row(name, str(at_once), *(f"{value:.0f}" for value in quantiles))
            console.print(table)
            busy = busy_percent(client, process, arguments.idle_s)
            memory_mib = process.memory_full_info().pss / 2**20
            console.print(
                f"{_BROWSERS} browsers listen, nothing happens: {busy:.1f} % of one core, {memory_mib:.0f} MiB"
            )


if __name__ == "__main__":
    _main()
