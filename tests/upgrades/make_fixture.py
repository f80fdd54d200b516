"""Cases in every state, as one version of the node leaves them in its database, for the test of the next version.

Run by hand, with the code of the version that is to be remembered:

    mkdir old && git archive f5ff15e | tar x -C old && cp -r tests/upgrades old/tests/
    cd old && PYTHONPATH=. python tests/upgrades/make_fixture.py f5ff15e ../tests/upgrades

Each state has a node of its own that is killed (SIGKILL) once its rows say so. Stages are the stand-ins of
`tests.upgrades.stage`, deliveries are real ones to a scripted archive. The databases are written into one, as SQL text;
no image and no patient is in it.
"""

import json
import os
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

DELAYS_S = 3600


@dataclass(frozen=True)
class State:
    """What is to happen to a case until its node is killed."""

    name: str
    until: dict[str, str]
    """By unit of an attempt: the status of its last row."""
    ends: str = "DELIVERED"
    """State of the case once the next version has gone on with it."""
    blocks: str = ""
    """A stage that does not end, or `store`."""
    outputs: str = ""
    """`unit=result` that is not what it would be."""
    absent: bool = False
    """The second destination cannot be reached."""


STATES = (
    State("read-queued", {"read": "ENQUEUED"}),
    State("read-running", {"read": "PENDING"}, blocks="read"),
    State("infer-queued", {"read": "SUCCESS", "infer": "ENQUEUED"}),
    State("infer-running", {"infer": "PENDING"}, blocks="infer"),
    State("encode-queued", {"infer": "SUCCESS", "encode": "ENQUEUED"}),
    State("encode-running", {"encode": "PENDING"}, blocks="encode"),
    State("encode-delayed", {"encode": "DELAYED"}, outputs="encode=again"),
    State("check-queued", {"encode": "SUCCESS", "check": "ENQUEUED"}),
    State("deliver-queued", {"check": "SUCCESS", "deliver.d0": "ENQUEUED", "deliver.d1": "ENQUEUED"}),
    State("deliver-running", {"deliver.d0": "PENDING"}, blocks="store"),
    State("deliver-delayed", {"verify.d0": "SUCCESS", "deliver.d1": "DELAYED"}, absent=True),
    State("verify-queued", {"deliver.d0": "SUCCESS", "verify.d0": "ENQUEUED"}),
    State("delivered", {"verify.d0": "SUCCESS", "verify.d1": "SUCCESS"}),
    State("failed", {"read": "SUCCESS"}, ends="FAILED", outputs="read=failed"),
    State("notice-queued", {"read": "SUCCESS", "notice": "ENQUEUED"}, ends="REJECTED", outputs="read=rejected"),
    State("rejected", {"tell.d0": "SUCCESS", "tell.d1": "SUCCESS"}, ends="REJECTED", outputs="read=rejected"),
    State("cancelled", {"infer": "CANCELLED"}, ends="CANCELLED", blocks="infer"),
)


def case_id_of(state: str) -> str:
    """The id of the case in that state."""
    return sha256(state.encode()).hexdigest()[:16]


def _node(state: State, folder: Path, ports: list[int]) -> None:
    """A node of the old version with one case; ends by being killed."""
    from dicom_node.jobs.attempts import Result
    from dicom_node.jobs.cases import CaseStore
    from dicom_node.jobs.jobs import JobBook
    from dicom_node.serving.job_engine import JobEngine
    from dicom_node.settings.config import parse_settings
    from tests.upgrades.stage import run

    results = dict([state.outputs.split("=")]) if state.outputs else {}

    def perform(self: Any, attempt: Any, tries: int) -> dict[str, Any]:
        while state.blocks == attempt.unit:
            time.sleep(0.1)
        case = CaseStore.under(folder).folder(attempt.case_id)
        if attempt.unit in results and tries == 1:
            result = Result(results[attempt.unit])
            output = {"result": result.value, "code": "OF_OLD", "message": "A word of the previous version."}
            return output if state.name == "failed" else self._gave_up(case, attempt, output)
        run(attempt.unit, case)
        names = self._notified() if attempt.unit == "notice" else [d.name for d in self._settings.destinations]
        return {"result": "done", "destinations": names, "more": bool(names)}

    JobEngine._perform = perform
    document = {
        "node": {"data_dir": str(folder)},
        "work": {"retry_delays_s": [DELAYS_S]},
        "destinations": [
            {"name": f"d{k}", "ae_title": "ARCHIVE", "host": "127.0.0.1", "port": port} for k, port in enumerate(ports)
        ],
    }
    settings = parse_settings(document)
    case = CaseStore.under(folder).folder(case_id_of(state.name))
    case.received.mkdir(parents=True)
    (case.received / "1.dcm").write_bytes(b"received")
    engine = JobEngine(settings)
    engine.launch()
    if state.name == "read-queued":  # nobody works
        engine.close()
    threading.Thread(target=_kill_when, args=(folder / "node.sqlite", state.until), daemon=True).start()
    with JobBook(folder) as jobs:
        jobs.submit(case.case_id)
        if state.name == "cancelled":
            time.sleep(3)
            jobs.cancel(case.case_id)
        time.sleep(60)


def _kill_when(database: Path, until: dict[str, str]) -> None:
    while True:
        time.sleep(0.002)
        if statuses(database, until) == until:
            os.kill(os.getpid(), signal.SIGKILL)


def statuses(database: Path, units: dict[str, str]) -> dict[str, str]:
    """The status of the last row of each of these units."""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=1) as connection:
            rows = connection.execute(
                "select workflow_uuid, status from workflow_status order by created_at"
            ).fetchall()
        connection.close()
    except sqlite3.OperationalError:
        return {}
    return {name.split(":")[2]: status for name, status in rows if name.split(":")[2] in units}


def _make(state: State, folder: Path) -> None:
    from tests.keeping_pacs import KeepingPacs, keeping_pacs
    from tests.peers import free_port
    from tests.upgrades.stage import STORAGE

    def slow(event: Any) -> int:
        time.sleep(5)
        return 0xA700

    with ExitStack() as stack:
        ports = []
        for k in range(2):
            pacs = KeepingPacs(statuses=[slow] * 4 if state.blocks == "store" else [])
            address = stack.enter_context(keeping_pacs(pacs, storage=STORAGE))
            ports.append(free_port() if state.absent and k == 1 else address.port)
        command = [sys.executable, __file__, "--node", state.name, str(folder), *map(str, ports)]
        assert subprocess.run(command, timeout=90).returncode == -signal.SIGKILL, state
    reached = statuses(folder / "node.sqlite", state.until)
    assert reached == state.until, (state, reached)


def _merged(folders: list[Path], target: Path) -> list[str]:
    """All rows of all databases in one."""
    with sqlite3.connect(target) as whole:
        for number, folder in enumerate(folders):
            with sqlite3.connect(folder / "node.sqlite") as part:
                part.execute("pragma wal_checkpoint(truncate)")
                lines = list(part.iterdump())
            part.close()
            for line in lines:
                if line.startswith("INSERT INTO"):
                    whole.execute(line.replace("INSERT INTO", "INSERT OR IGNORE INTO", 1))
                elif number == 0 and not line.startswith(("BEGIN", "COMMIT")):
                    whole.execute(line)
    with whole:
        lines = list(whole.iterdump())
    whole.close()
    return lines


def main(version: str, out: Path) -> None:
    """Make every state and write them down."""
    with tempfile.TemporaryDirectory() as scratch:
        folders = []
        for state in STATES:
            for trial in range(5):  # a queue is looked at twice a second: what was queued may have begun
                folder = Path(scratch) / f"{state.name}-{trial}"
                folder.mkdir()
                try:
                    _make(state, folder)
                except AssertionError as fault:
                    print("again", fault)
                    continue
                folders.append(folder)
                print(state.name)
                break
            else:
                raise SystemExit(f"{state.name} was not reached")
        lines = _merged(folders, Path(scratch) / "whole.sqlite")
    (out / f"{version}.sql").write_text("\n".join(lines) + "\n")
    manifest = [{"state": s.name, "case": case_id_of(s.name), "ends": s.ends} for s in STATES]
    (out / f"{version}.json").write_text(json.dumps(manifest, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1] == "--node":
        chosen = next(state for state in STATES if state.name == sys.argv[2])
        _node(chosen, Path(sys.argv[3]), [int(port) for port in sys.argv[4:]])
    else:
        main(sys.argv[1], Path(sys.argv[2]))
