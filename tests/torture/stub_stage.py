"""A stage of one case without images or networks: `python -m tests.torture.stub_stage STAGE CASE SITE PARENT`.

It stands where `dicom_node.work.child` stands and ends in the same ways. What it makes follows from what was received,
stage by stage, so that a missing or half-written file ends the case; what it is to do wrong stands in the received
slices (`Plan`). Each run of `encode` puts a number of its own into its objects, under the same UIDs: two runs whose
objects both reach an archive are seen there as two contents under one UID.
"""

import fcntl
import hashlib
import json
import os
import re
import resource
import secrets
import signal
import struct
import sys
import time
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, Self

from dicom_node.durable_files import make_directory, write_json, written_durably
from dicom_node.jobs.cases import CaseFolder
from dicom_node.processes.orphans import die_with_parent
from dicom_node.work.child import GAVE_UP, OUT_OF_MEMORY, REJECTED, SELF_TEST

CLASSES: Final = {
    "parametric-map": "1.2.840.10008.5.1.4.1.1.30",
    "mr-twin": "1.2.840.10008.5.1.4.1.1.4",
    "refusal-notice": "1.2.840.10008.5.1.4.1.1.7",
}
"""Kinds of objects that it can make, with their SOP classes."""
_PLAN: Final = re.compile(rb"PLAN(\{.*?\})NALP")
_CRASHED: Final = 17
_OVERLAP_S: Final = 0.5


@dataclass(frozen=True, slots=True)
class Plan:
    """What torture wants of one case; travels in the received slices as `PLAN{...}NALP`."""

    job: int
    ledger: str
    """Folder where runs of stages are noted."""
    study: str
    series: str
    work: dict[str, str] = field(default_factory=dict)
    """By stage: what every run does first, as `sleep:0.2` or `cpu:0.2`."""
    faults: dict[str, list[str]] = field(default_factory=dict)
    """By stage: what the first run does wrong, and the second, and so on; `always` repeats the one before it."""

    def as_text(self) -> str:
        """For an element of a slice."""
        return f"PLAN{json.dumps(asdict(self))}NALP"

    @classmethod
    def of(cls, case: CaseFolder) -> Self:
        """The plan in the first received instance."""
        found = _PLAN.search(case.instances()[0].read_bytes())
        assert found, "a received slice has no plan"
        return cls(**json.loads(found[1]))

    def fault(self, stage: str, run: int) -> str:
        """What run number `run`, from 1, is to do wrong; empty: nothing."""
        faults = self.faults.get(stage, [])
        if faults and faults[-1] == "always":
            faults = faults[:-1]
            return faults[min(run, len(faults)) - 1]
        return faults[run - 1] if run <= len(faults) else ""


class StageLedger:
    """Notes which run of which stage began and ended, and whether two worked on one case at the same time."""

    def __init__(self, plan: Plan, case: CaseFolder, stage: str) -> None:
        self._path = Path(plan.ledger) / f"{plan.job:05d}.log"
        self._who = {"case": case.case_id, "stage": stage, "pid": os.getpid(), "host": os.environ.get("PERFNODE_HOST")}
        self._lock = (Path(plan.ledger) / f"{plan.job:05d}.lock").open("w")

    def begin(self) -> int:
        """The number of this run of this stage, from 1."""
        if not self._is_alone():
            self.note("overlap")
        stage = self._who["stage"]
        runs = len([e for e in read_events(self._path) if (e["stage"], e["event"]) == (stage, "start")])
        self.note("start")
        return runs + 1

    def note(self, event: str) -> None:
        """One line, whole or not at all."""
        line = json.dumps({"event": event, "at": time.time(), **self._who}) + "\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        os.write(descriptor, line.encode())
        os.close(descriptor)

    def _is_alone(self) -> bool:
        """A run whose engine was killed dies with it, which takes a moment."""
        end = time.monotonic() + _OVERLAP_S
        while time.monotonic() < end:
            try:
                fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(0.02)
            else:
                return True
        return False


def read_events(path: Path) -> list[dict[str, Any]]:
    """The lines of one ledger."""
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


# -- what each stage does ----------------------------------------------------------------------------------------------


def _read(case: CaseFolder, plan: Plan, site: dict[str, Any]) -> None:
    _derive(case.ct, *case.instances())


def _segment(case: CaseFolder, plan: Plan, site: dict[str, Any]) -> None:
    _derive(case.lobes, case.ct)


def _perfuse(case: CaseFolder, plan: Plan, site: dict[str, Any]) -> None:
    _derive(case.result, case.lobes)


def _encode(case: CaseFolder, plan: Plan, site: dict[str, Any]) -> None:
    result, run = case.result.read_text(), secrets.token_hex(8)
    ordered = list(dict.fromkeys(kind for each in site["destinations"] for kind in each["objects"]))
    make_directory(case.objects)
    made = {}
    for kind in ordered:
        with written_durably(case.object(kind)) as part:
            part.write_bytes(dicom_object(kind, plan, result, run))
        made[kind] = {"kind": kind}
    write_json(case.contents, {"ordered": ordered, "result": {"result_id": result, "predecessor": "", "objects": made}})
    case.keep_objects(case.object(kind) for kind in ordered)
    with written_durably(case.summary) as part:
        part.write_text("no picture")


def _check(case: CaseFolder, plan: Plan, site: dict[str, Any]) -> None:
    result, runs = case.result.read_text(), set()
    for kind in case.object_facts()["ordered"]:
        content = case.object(kind).read_bytes()
        run = content.rpartition(b" run ")[2][:16].decode()
        if content != dicom_object(kind, plan, result, run):
            raise Ended(GAVE_UP, "CHECK_FAILED")
        runs.add(run)
    assert len(runs) == 1, "objects of two runs of encode lie side by side"
    case.clear_notice()


def _notice(case: CaseFolder, plan: Plan, site: dict[str, Any]) -> None:
    case.refusal()
    make_directory(case.notice)
    with written_durably(case.notice / "refusal-notice.dcm") as part:
        part.write_bytes(dicom_object("refusal-notice", plan, "none", "0" * 16))


_STAGES: Final[dict[str, Callable[[CaseFolder, Plan, dict[str, Any]], None]]] = {
    "read": _read, "segment": _segment, "perfuse": _perfuse, "encode": _encode, "check": _check,
    "notice": _notice,
}  # fmt: skip


class Ended(Exception):
    """The stage ends with an outcome."""

    def __init__(self, status: int, code: str) -> None:
        self.status = status
        self.code = code
        super().__init__(code)


def _derive(made: Path, *origins: Path) -> None:
    digest = hashlib.sha256()
    for path in origins:
        content = path.read_bytes()
        assert content, f"{path.name} is empty"
        digest.update(content)
    with written_durably(made) as part:
        part.write_text(digest.hexdigest())


def dicom_object(kind: str, plan: Plan, result: str, run: str) -> bytes:
    """A small object as a DICOM file (PS3.10 7), explicit VR little endian."""
    name, comment = CLASSES[kind], f"result {result} run {run}"
    instance, series = uid_of(plan.series, result, kind), uid_of(plan.series, result, kind, "series")
    dataset = b"".join(
        (
            _element(0x0008, 0x0016, b"UI", name),
            _element(0x0008, 0x0018, b"UI", instance),
            _element(0x0008, 0x0020, b"DA", "20260101"),
            _element(0x0008, 0x0030, b"TM", "120000"),
            _element(0x0008, 0x0060, b"CS", "OT"),
            _element(0x0010, 0x0010, b"PN", "TORTURE^JOB"),
            _element(0x0010, 0x0020, b"LO", f"JOB{plan.job:05d}"),
            _element(0x0020, 0x000D, b"UI", plan.study),
            _element(0x0020, 0x000E, b"UI", series),
            _element(0x0020, 0x0013, b"IS", "1"),
            _element(0x0020, 0x4000, b"LT", comment),
        )
    )
    meta = b"".join(
        (
            struct.pack("<HH2sHI2s", 0x0002, 0x0001, b"OB", 0, 2, b"\0\1"),
            _element(0x0002, 0x0002, b"UI", name),
            _element(0x0002, 0x0003, b"UI", instance),
            _element(0x0002, 0x0010, b"UI", "1.2.840.10008.1.2.1"),
            _element(0x0002, 0x0012, b"UI", "2.25.1"),
        )
    )
    return bytes(128) + b"DICM" + struct.pack("<HH2sHI", 0x0002, 0x0000, b"UL", 4, len(meta)) + meta + dataset


def _element(group: int, number: int, kind: bytes, text: str) -> bytes:
    value = text.encode()
    value += (b"\0" if kind == b"UI" else b" ") * (len(value) % 2)
    return struct.pack("<HH2sH", group, number, kind, len(value)) + value


def uid_of(*parts: str) -> str:
    """A UID that follows from what it stands for (PS3.5 B.2)."""
    return f"2.25.{int.from_bytes(hashlib.sha256(':'.join(parts).encode()).digest()[:16], 'big')}"


# -- what goes wrong ---------------------------------------------------------------------------------------------------


def _do(what: str, case: CaseFolder, stage: str) -> None:
    """Behave as a plan says, before the work of the stage."""
    word, _, value = what.partition(":")
    match word:
        case "sleep":
            time.sleep(float(value))
        case "cpu":
            end = time.process_time() + float(value)
            while time.process_time() < end:
                hashlib.sha256(bytes(65536))
        case "exit":
            os._exit(int(value or _CRASHED))
        case "kill" | "segv":
            _half_a_file(case, stage)
            os.kill(os.getpid(), signal.SIGKILL if word == "kill" else signal.SIGSEGV)
        case "memory":
            _eat(int(float(value or 64) * 2**20))
        case "hang":
            time.sleep(10**6)
        case "reject":
            raise Ended(REJECTED, value)
        case "give-up":
            raise Ended(GAVE_UP, value)


def _half_a_file(case: CaseFolder, stage: str) -> None:
    """What a process leaves that dies while it writes."""
    made = {"read": case.ct, "segment": case.lobes, "perfuse": case.result, "encode": case.contents}
    if stage in made:
        made[stage].with_name(made[stage].name + ".part").write_text("half")


def _eat(most_bytes: int) -> None:
    """Take memory until there is none, and end as a process whose allocation failed."""
    eaten = []
    for _ in range(0, most_bytes, 2**20):
        eaten.append(bytearray(2**20))
    raise Ended(OUT_OF_MEMORY, "OUT_OF_MEMORY")


def _spoil(case: CaseFolder) -> None:
    path = case.object_paths()[0]
    path.write_bytes(path.read_bytes()[:-8])


def main(arguments: list[str]) -> int:
    """One stage."""
    stage, folder, site_file, parent, *_ = arguments
    die_with_parent(int(parent))
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # as `child` does
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if stage == SELF_TEST:
        return 0
    case = CaseFolder(Path(folder))
    case.write_outcome(stage, None)
    plan = Plan.of(case)
    ledger = StageLedger(plan, case, stage)
    fault = plan.fault(stage, ledger.begin())
    try:
        for what in (plan.work.get(stage, ""), fault):
            _do(what, case, stage)
        _STAGES[stage](case, plan, tomllib.loads(Path(site_file).read_text()))
    except Ended as end:
        case.write_outcome(stage, {"code": end.code, "message": "As planned."})
        ledger.note("end")
        return end.status
    if fault == "wrong":
        _spoil(case)
    ledger.note("end")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
