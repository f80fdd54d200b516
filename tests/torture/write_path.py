"""Kills the process that writes to the spool at each of its system calls, and lets each of them fail in every way.

After each fault a new process looks after the spool: everything acknowledged is there bit by bit, nothing short has a
final name, no half series seems whole, what is sent again is accepted, the sweep leaves nothing. Needs strace.

    python -m tests.torture.write_path [--short]
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.torture.write_scenario import say_through, violations, work

KILLED = "signal=KILL"
CALLS = ("openat", "writev", "write", "fsync", "rename", "unlink", "mkdir", "flock", "close", "getdents64", "statfs")
ERRORS = {
    "openat": ("ENOSPC", "EIO", "EDQUOT", "EROFS", "EMFILE", "ENFILE"),
    "writev": ("ENOSPC", "EIO", "EDQUOT"),
    "fsync": ("ENOSPC", "EIO", "EDQUOT", "EROFS"),
    "rename": ("ENOSPC", "EIO", "EDQUOT", "EROFS"),
    "mkdir": ("ENOSPC", "EIO", "EDQUOT", "EROFS"),
    "unlink": ("EIO", "EROFS"),
    "flock": ("ENOLCK", "EIO"),
    "close": ("EIO", "ENOSPC"),
    "getdents64": ("EIO",),
    "statfs": ("EIO",),
}
ERRORS_SHORT = {"writev": ("ENOSPC",), "fsync": ("EIO",), "rename": ("EIO",)}
CALLS_SHORT = ("writev", "write", "fsync", "rename", "mkdir", "unlink")
MOST_CALLS = 1000


@dataclass(frozen=True)
class Fault:
    """One thing that goes wrong at one system call."""

    call: str
    kind: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} {self.kind} at call {self.number}"


@dataclass(frozen=True)
class Outcome:
    """What became of a process that was struck."""

    happened: bool
    """Whether the fault came about."""
    said: list[str]
    """What the process answered."""
    calls: list[str]
    """The system calls, as strace writes them."""


def struck(root: Path, fault: Fault | None, *, trace: str) -> Outcome:
    """Let a process work on the spool, strike it with a fault, and record its system calls."""
    go_read, go_write = os.pipe()
    said_read, said_write = os.pipe()
    process_id = os.fork()
    if process_id == 0:
        os.read(go_read, 1)
        try:
            work(root, say_through(said_write))
        except OSError:
            os._exit(1)
        os._exit(0)
    os.close(said_write)
    log = root.with_suffix(".strace")
    command = ["strace", "-f", "-y", "-s", "200", "-o", log, "-e", f"trace={trace}", "-p", str(process_id)]
    if fault is not None:
        command += ["-e", f"inject={fault.call}:{fault.kind}:when={fault.number}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL) as strace:
        assert strace.stderr is not None
        if b"attached" not in (line := strace.stderr.readline()):
            os.kill(process_id, signal.SIGKILL)
            raise RuntimeError(f"strace cannot attach: {line!r}")
        os.write(go_write, b"x")
        with os.fdopen(said_read, "rb") as answers:
            said = answers.read().decode().splitlines()
        _, status = os.waitpid(process_id, 0)
        strace.wait()
    for descriptor in (go_read, go_write):
        os.close(descriptor)
    calls = log.read_text(errors="replace").splitlines()
    was_killed = os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGKILL
    return Outcome(was_killed or any("(INJECTED)" in line for line in calls), said, calls)


def faults(*, short: bool) -> Iterator[tuple[str, str]]:
    """System calls and what is done to them."""
    for call in CALLS_SHORT if short else CALLS:
        yield call, KILLED
    for call, names in (ERRORS_SHORT if short else ERRORS).items():
        for name in names:
            yield call, f"error={name}"


def torture(folder: Path, *, short: bool) -> tuple[Counter[str], list[str]]:
    """All faults; how many of each kind came about, and what was found wrong."""
    count: Counter[str] = Counter()
    wrong: list[str] = []
    for call, kind in faults(short=short):
        for number in range(1, MOST_CALLS):
            root = folder / "root"
            root.mkdir()
            outcome = struck(root, Fault(call, kind, number), trace=call)
            wrong += [f"{Fault(call, kind, number)}: {text}" for text in violations(root, outcome.said)]
            shutil.rmtree(root)
            if not outcome.happened:
                break
            count[f"{call} {kind}"] += 1
        if not count[f"{call} {kind}"]:
            wrong.append(f"{call} {kind} never came about: the path does not call it, or strace cannot do it")
    return count, wrong


def warm_up(folder: Path) -> None:
    """Do the work once, so that the struck process imports nothing."""
    root = folder / "warm-up"
    root.mkdir()
    work(root, lambda line: None)


def main() -> int:
    """Run and print; 1 if anything was found wrong."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--short", action="store_true", help="the faults that matter most, for every run of the tests")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        warm_up(Path(folder))
        count, wrong = torture(Path(folder), short=arguments.short)
    for name, number in count.items():
        print(f"{number:5} {name}")
    for line in wrong:
        print(f"WRONG: {line}")
    print(f"{count.total()} faults, {len(wrong)} violations")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
