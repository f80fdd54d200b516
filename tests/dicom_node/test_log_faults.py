"""A canary in every text that an exception, a library or a dying thread could print: none of it reaches the log.

All happens in one process that logs as the node does, with the durable engine in it, which prints texts of exceptions
when it is left alone.
"""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CANARY = "ZZCANARY"
PROGRAM = """
import asyncio, gc, logging, sys, threading, warnings
from pathlib import Path
import structlog
from dicom_node.logs import configure_logs

configure_logs("debug", "json")
NAME = "ZZ" + "CANARY"
foreign, own = logging.getLogger("somelibrary"), structlog.get_logger("dicom_node.test")

def fail(name):
    local = f"{name} is a local variable"
    raise ValueError(f"cannot read {name}")

def fail_from(name):
    try:
        fail(name)
    except ValueError as fault:
        raise RuntimeError(name) from fault

foreign.error("nothing to hide")
foreign.error("value %s is wrong", NAME)
foreign.error(f"value {NAME} is wrong")
foreign.error("stack", stack_info=True)
try:
    fail_from(NAME)
except RuntimeError:
    foreign.exception("it failed")
    own.exception("own_failed")
    own.error("own_failed_too", exc_info=True, stack_info=True)
try:
    raise ExceptionGroup(NAME, [KeyError(NAME)])
except ExceptionGroup as fault:
    own.error("group_failed", exc_info=fault)
thread = threading.Thread(target=fail, args=(NAME,))
thread.start()
thread.join()

class Dying:
    def __del__(self):
        fail(NAME)

Dying()
gc.collect()
warnings.simplefilter("always")
warnings.warn(f"{NAME} is old", UserWarning)

async def forgotten():
    asyncio.get_running_loop().create_task(asyncio.sleep(0, result=None)).add_done_callback(lambda _: fail(NAME))
    await asyncio.sleep(0.05)

asyncio.run(forgotten())

from dbos import DBOS
DBOS(config={"name": "canary", "system_database_url": f"sqlite:///{sys.argv[1]}", "log_level": "INFO"})

@DBOS.step(retries_allowed=True, max_attempts=2, interval_seconds=0.01)
def step(name):
    fail(name)

@DBOS.workflow()
def workflow(name):
    step(name)

DBOS.launch()
DBOS.register_queue("q")
for start in (DBOS.start_workflow, lambda *a: DBOS.enqueue_workflow("q", *a)):
    try:
        start(workflow, NAME).get_result()
    except Exception:
        pass
DBOS.destroy()
fail(NAME)
"""


@pytest.fixture(scope="module")
def printed(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder: Path = tmp_path_factory.mktemp("log")
    (folder / "program.py").write_text(PROGRAM)
    command = [sys.executable, str(folder / "program.py"), str(folder / "jobs.sqlite")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env={"PYTHONPATH": "."})
    assert done.returncode == 1, done.stderr
    return done.stderr + done.stdout


def events(printed: str, name: str) -> list[dict[str, Any]]:
    return [event for event in map(json.loads, printed.splitlines()) if event["event"] == name]


def test_no_text_of_a_fault_is_printed(printed: str) -> None:
    assert CANARY.lower() not in printed.lower()
    assert "local variable" not in printed


def test_every_line_is_an_event(printed: str) -> None:
    assert [line for line in printed.splitlines() if not line.startswith("{")] == []


def test_a_fault_is_told_by_kind_and_position_with_its_causes(printed: str) -> None:
    (event,) = events(printed, "own_failed")
    outer, inner = event["fault"]
    assert (outer["kind"], inner["kind"]) == ("RuntimeError", "ValueError")
    line = next(n for n, text in enumerate(PROGRAM.splitlines(), start=1) if "raise ValueError" in text)
    assert inner["at"][-1] == f"program.py:{line} fail"
    assert {"own_failed_too", "it failed"} <= {event["event"] for event in map(json.loads, printed.splitlines())}


def test_an_exception_group_tells_what_it_holds(printed: str) -> None:
    (event,) = events(printed, "group_failed")
    assert [fault["kind"] for fault in event["fault"]] == ["ExceptionGroup", "KeyError"]


@pytest.mark.parametrize("name", ["process_failed", "thread_failed", "fault_ignored"])
def test_what_ends_a_process_or_a_thread_is_told(printed: str, name: str) -> None:
    (event,) = events(printed, name)
    assert event["kind"] == "ValueError"
    assert event["fault"][0]["at"][-1].endswith(" fail")


def test_words_of_a_library_are_kept_if_they_stand_in_its_source(printed: str) -> None:
    assert events(printed, "nothing to hide")
    assert events(printed, "value %s is wrong")
    assert len([e for e in events(printed, "library_message") if e["logger"] == "somelibrary"]) == 1


def test_the_durable_engine_prints_no_text_of_a_failed_workflow(printed: str) -> None:
    told = [event for event in map(json.loads, printed.splitlines()) if event["logger"].startswith("dbos")]
    assert told  # it does log, and through our formatter
