"""The node's own command `perfnode fetch`, run for one patient: this program knows no network and no site file.

The Patient ID goes in through standard input, so that it stands in no list of processes. The child ends when its
standard input is closed, so none works on for a parent that was killed.
"""

import json
import os
import re
import subprocess
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NODE: Final = (sys.executable, "-P", "-m", "dicom_node")
"""`perfnode`, by the interpreter that runs this; `-P`, so that a folder where we stand is not taken for the program."""
_PATIENT_VARIABLE: Final = "PERFNODE_PATIENT"
_CODE: Final = re.compile(r"^([A-Z][A-Z0-9_]+): (.*)", re.M | re.S)
_FRAMES: Final = re.compile(r"[│╭╮╰╯─]+")


@dataclass(frozen=True, slots=True)
class FetchFailure:
    """A series that did not come, or why nothing could be asked."""

    code: str
    """Of the node's error; `COMMAND` where the command itself was not understood, or ended in another way."""
    sentence: str


@dataclass(frozen=True, slots=True)
class ArchiveAnswer:
    """What the archive gave for one patient."""

    series: int
    """How many it has of the kinds that were asked for."""
    failures: tuple[FetchFailure, ...]
    could_ask: bool
    """Whether the archive was asked and answered; if not, the next patient will hardly fare better."""


@dataclass(frozen=True, slots=True)
class ArchiveCommand:
    """How to fetch from one archive.

    Args:
        peer: its name in the site file.
        config: the site file; without it, the command looks for its own.
        program: the beginning of the command line.
    """

    peer: str
    config: Path | None = None
    program: tuple[str, ...] = NODE

    def fetch(self, patient_id: str, folder: Path, told: Path) -> ArchiveAnswer:
        """Fetch all CT, NM, PET and registration series of a patient.

        Args:
            patient_id: as the archive has it.
            folder: where the files go.
            told: a folder for what the command writes to its outputs.

        Raises:
            OSError: the command cannot be started.
        """
        words = [*self.program, "fetch", "--into", str(folder), "--patient-stdin", "--json", "--with-parent"]
        words += [] if self.config is None else ["--config", str(self.config)]
        environment = {name: value for name, value in os.environ.items() if name != _PATIENT_VARIABLE}
        environment |= {"NO_COLOR": "1", "COLUMNS": "1000"}
        out, err = told / "stdout", told / "stderr"
        with out.open("wb") as output, err.open("wb") as errors:
            process = subprocess.Popen(
                [*words, "--", self.peer],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=errors,
                bufsize=0,
                env=environment,
            )
            status = _waited_for(process, patient_id)
        return _answer(status, out.read_text(errors="replace"), err.read_text(errors="replace"))


def _waited_for(process: "subprocess.Popen[bytes]", patient_id: str) -> int:
    assert process.stdin is not None  # noqa: S101  # for mypy; it was opened
    try:
        with suppress(BrokenPipeError):  # it has ended, and says why
            process.stdin.write(patient_id.encode() + b"\n")
        return process.wait()
    except BaseException:
        process.kill()
        process.wait()
        raise
    finally:
        process.stdin.close()


def _answer(status: int, out: str, err: str) -> ArchiveAnswer:
    series, failures = 0, []
    try:
        for line in out.splitlines():
            row = json.loads(line)
            series += 1
            if row["fate"] == "failed":
                failures.append(FetchFailure(str(row["code"]), str(row["message"])))
    except (ValueError, KeyError, TypeError):
        return ArchiveAnswer(series, (FetchFailure("COMMAND", "the answer of perfnode fetch cannot be read"),), False)
    if status == 0 or (status == 1 and failures):
        return ArchiveAnswer(series, tuple(failures), could_ask=True)
    return ArchiveAnswer(series, (*failures, _failure(status, err)), could_ask=False)


def _failure(status: int, err: str) -> FetchFailure:
    """The node tells a known error in a line that begins with its code, and a mistake in a frame."""
    found = _CODE.search(err)
    if status == 2 and found is not None:
        return FetchFailure(found[1], found[2].strip())
    words = " ".join(_FRAMES.sub(" ", err).split())
    return FetchFailure("COMMAND", f"perfnode fetch ended with status {status}: {words[-500:] or 'it says nothing'}")
