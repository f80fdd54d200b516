"""Stands where `dicom_node.work.child` stands and misbehaves: `python -m tests.stage_program STAGE CASE SITE PARENT`.

What it does stands in the file `plan-<stage>.json` of the case: what the first run does, the second, and so on; the
last one repeats. The file `runs-<stage>` counts them. Processes that it starts write their ids into `started`.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from dicom_node.processes.orphans import die_with_parent
from dicom_node.work.child import GAVE_UP, OUT_OF_MEMORY, REJECTED, WENT_BACK

FOREVER_S = 600
FAMILY = 3


def plan(folder: Path, stage: str, *doing: str) -> None:
    """Say what the runs of a stage do."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"plan-{stage}.json").write_text(json.dumps(doing))


def runs(folder: Path, stage: str) -> int:
    """How often a stage was begun."""
    path = folder / f"runs-{stage}"
    return len(path.read_text()) if path.exists() else 0


def started(folder: Path) -> list[int]:
    """Ids of the processes that were started besides the stage itself."""
    path = folder / "started"
    return [int(line) for line in path.read_text().split()] if path.exists() else []


def main(arguments: list[str]) -> int:
    """Do what the plan says."""
    stage, case, _, parent = arguments
    die_with_parent(int(parent))
    folder = Path(case)
    with (folder / f"runs-{stage}").open("a") as file:
        file.write(".")
    path = folder / f"plan-{stage}.json"
    doing = json.loads(path.read_text()) if path.exists() else ["done"]
    what, _, how = doing[min(runs(folder, stage), len(doing)) - 1].partition(":")
    done: Any = ACTIONS[what](folder, stage, how)
    return int(done or 0)


def _exits(status: int) -> Any:
    def leave(folder: Path, stage: str, how: str) -> int:
        outcome = {"code": how or "STUB", "message": "The stub says so."}
        if status == WENT_BACK:
            outcome["back_to"] = "encode"
        (folder / f"outcome-{stage}.json").write_text(json.dumps(outcome))
        return status

    return leave


def _raise(folder: Path, stage: str, how: str) -> None:
    os.kill(os.getpid(), signal.Signals[how])
    time.sleep(FOREVER_S)


def _hang(folder: Path, stage: str, how: str) -> None:
    """In native code that holds the interpreter, deaf to SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    ctypes.PyDLL(None).sleep(FOREVER_S)


def _hold(folder: Path, stage: str, how: str) -> None:
    """Memory of so many MB, by a process of its own if `how` ends with an f."""
    if how.endswith("f") and os.fork():
        time.sleep(FOREVER_S)
    held = bytearray(int(how.rstrip("f")) * 2**20)
    for page in range(0, len(held), 4096):
        held[page] = 1
    time.sleep(FOREVER_S)


def _family(folder: Path, stage: str, how: str) -> None:
    """A child, a child in a session of its own with no parent left, a program without our environment; then `how`."""
    for leaves in (False, True):
        if os.fork() == 0:
            if leaves:
                os.setsid()
                if os.fork():
                    os._exit(0)
            _note(folder, os.getpid())
            time.sleep(FOREVER_S)
    program = subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({FOREVER_S})"], env={})
    _note(folder, program.pid)
    while len(started(folder)) < FAMILY:
        time.sleep(0.01)
    if how == "exit":
        os._exit(0)
    _raise(folder, stage, how)


def _note(folder: Path, pid: int) -> None:
    descriptor = os.open(folder / "started", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(descriptor, f"{pid}\n".encode())
    os.close(descriptor)


def _network(folder: Path, stage: str, how: str) -> int:
    """A network that needs so many MB at the top of its ladder, a quarter of it below, and `how` may kill it there."""
    from dicom_node.jobs.cases import CaseFolder
    from dicom_node.results.ladder_files import descent_of
    from inference.errors import OutOfMemory
    from inference.execution import Execution, ExecutionRecord, climb_down, ladder_of

    class Network:
        def __init__(self, way: Execution) -> None:
            self.way = way

        def ladder(self) -> tuple[Execution, ...]:
            return ladder_of("cuda", has_smaller_tiles=True)

        def on(self, execution: Execution) -> "Network":
            return Network(execution)

        def record(self, why: str) -> ExecutionRecord:
            return ExecutionRecord("stub", self.way.device, "float32", (1,), self.way.rung, why)

    needs = dict(part.split("=") for part in how.split(","))  # rung=MB, or rung=raise

    def work(network: Network) -> str:
        need = needs.get(network.way.rung.value, "1")
        if need == "raise":
            raise OutOfMemory
        if need == "kill":
            _raise(folder, stage, "SIGKILL")
        if need == "segv":
            _raise(folder, stage, "SIGSEGV")
        held = bytearray(int(need) * 2**20)
        for page in range(0, len(held), 4096):
            held[page] = 1
        if int(need) > 1:
            time.sleep(2.0)
        return network.way.rung.value

    try:
        rung, (record,) = climb_down(Network(Execution("cuda")), work, descent_of(CaseFolder(folder), stage))
    except OutOfMemory:
        return OUT_OF_MEMORY
    (folder / f"ran-{stage}.json").write_text(json.dumps({"rung": rung, "why": record.why}))
    return 0


ACTIONS = {
    "done": lambda folder, stage, how: 0,
    "rejected": _exits(REJECTED),
    "gave-up": _exits(GAVE_UP),
    "back": _exits(WENT_BACK),
    "memory": _exits(OUT_OF_MEMORY),
    "exit": lambda folder, stage, how: int(how),
    "raise": _raise,
    "hang": _hang,
    "hold": _hold,
    "family": _family,
    "network": _network,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
