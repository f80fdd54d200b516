"""docs/retraining.md, command by command, in a hospital of real parts: from ten patients in an archive to a new model.

    archive ─ pairs fetch ─▶ store ─ review, accept ─▶ train ─ evaluate ─ promote ─▶ next CT by the new model
                                            kill -9 ↑                 ↑   rollback ─▶ next CT by the old one ↑ kill -9

The page is the script, so a command that does not print what the page says fails here. Around its commands stand what
the page cannot show: CTs come from the scanner, and training, promotion and rollback are killed before they are let
through.
"""

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest

from dicom_node.jobs.attempts import CaseState
from dicom_node.settings.config import read_settings
from inference.models.promotion import changes, in_force
from inference.models.registry import ModelRegistry
from tests.peers import eventually
from tests.retraining.walkthrough import Page, Step, Walk
from tests.retraining.ward import Ward, ward
from tests.training.conftest import ROOT
from training.history import HISTORY_FILE, Look, read_history
from training.retraining.recipe import RECIPE_FILE

pytestmark = [pytest.mark.slow, pytest.mark.peers]
DOCUMENT = ROOT / "docs" / "retraining.md"
KILLER = """
import os, signal, sys
_event, _name = os.environ["KILLED_AT"].split()
def _hook(event, arguments):
    path = str(arguments[1] if event == "os.rename" else arguments[0]) if arguments else ""
    writes = event != "open" or (isinstance(arguments[2], int) and arguments[2] & os.O_RDWR)
    if event == _event and path.endswith(_name) and writes:
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(_hook)
"""
"""A `sitecustomize`: kill -9 in the moment in which a file would get its name, or would be opened for writing."""
BEFORE_THE_CHANGE, AFTER_IT = "os.rename in-force.json", "open history.jsonl"
TINY = {
    "fewest = 30": "fewest = 10",
    "fewest_held_out = 8": "fewest_held_out = 4",
    "parts = 10": "parts = 3",
    "held_out_parts = 3": "held_out_parts = 1",
    "folds = 3": "folds = 2",
    "validation_parts = 5": "validation_parts = 3",
    "steps = 300": "steps = 60",
    "batch_size = 4": "batch_size = 2",
    "learning_rate = 3e-4": "learning_rate = 5e-4",
    "warmup_steps = 20": "warmup_steps = 5",
    "validate_every_steps = 50": "validate_every_steps = 10",
    "checkpoint_every_steps = 50": "checkpoint_every_steps = 10\nrank_weight = 10.0\ninner_margin_voxels = 1",
    "spacing_mm = [6.0, 6.0, 6.0]": "spacing_mm = [8.0, 8.0, 8.0]",
}
"""What is changed in the recipe that comes with the program, for ten patients and a tiny network."""
TINY_FIGURES = """[[evaluation.figures]]
score = "spearman-eroded"
needed = "better"
[[evaluation.figures]]
score = "lobar-error"
needed = "reported"
"""
"""Instead of its figures: four patients and some seconds of training give no hope of more."""


@dataclass(slots=True)
class Reader:
    """Somebody who goes through the page, and what happens meanwhile."""

    page: Page
    walk: Walk
    ward: Ward
    made: list[tuple[str, str]] = field(default_factory=list)
    """Of each CT that was sent by a command: the model in force, and the one that all its objects name."""
    looks: dict[Path, tuple[Look, ...]] = field(default_factory=dict)
    """Of each network whose training was killed, by its file: what it had behind it then."""

    def go(self) -> None:
        """Every command, in order."""
        for step in self.page.steps:
            words = step.command.split()
            if words[:2] == ["perfnode", "train"] and "--dry-run" not in words:
                self.kill_training(step)
            if words[:3] in (["perfnode", "models", "promote"], ["perfnode", "models", "rollback"]):
                self.kill_change(step)
            self.walk.run(step)
            if words[:3] == ["perfnode", "models", "keygen"]:
                self.ward.open_node(self.page.files["site.toml"])
            if words[:2] == ["perfnode", "send"]:
                self.wait_for(words[2])

    def wait_for(self, patient: str) -> None:
        """Until the node has delivered all it was sent."""
        assert {case.state for case in self.ward.node.finished_cases(len(self.made) + 1)} == {CaseState.DELIVERED}
        if not self.made:  # the only one while a model is in shadow, which looks at it when the node is idle
            assert eventually(lambda: any(self.registry.folder.glob("shadow/*/*.json")), 240.0), self.ward.node.log()
        made = set(self.ward.models_of(f"INSILICO-{patient}"))
        assert len(made) == 1, made
        self.made.append((self.label(), *made))

    def label(self) -> str:
        """The model in force, as objects name it."""
        change = in_force(self.registry)
        assert change is not None
        assert change.model is not None
        return f"{change.model.name} {change.model.version} ({change.model.content_sha256[:12]})"

    @property
    def registry(self) -> ModelRegistry:
        return read_settings(self.ward.node.site_file).model_registry()

    def started(self, step: Step, **environment: str) -> "subprocess.Popen[bytes]":
        """A command of the page as a process, which can be killed."""
        words = shlex.split(self.walk.command(step))
        return subprocess.Popen(
            words, cwd=self.walk.folder, env={**self.walk.environment, **environment}, stderr=subprocess.DEVNULL
        )

    def kill_training(self, step: Step) -> None:
        """kill -9 when some steps are kept; the next one must go on from there."""
        words = shlex.split(step.command)
        run = self.walk.folder / words[words.index("--out") + 1]
        process = self.started(step)
        assert eventually(lambda: process.poll() is not None or _kept(run) != {}, 240.0)
        process.send_signal(signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL
        assert eventually(lambda: not _job_processes(run), 60.0)  # no orphan goes on writing
        self.looks = _kept(run)
        assert not (run / "model").exists()

    def kill_change(self, step: Step) -> None:
        """kill -9 of a promotion or a rollback in the moment before it is one: nothing has changed."""
        before = self.label(), len(changes(self.registry))
        assert self.killed(step, BEFORE_THE_CHANGE) == before

    def killed(self, step: Step, where: str) -> tuple[str, int]:
        """A change of the model that is killed: what is in force afterwards, and how many changes are known."""
        killer = self.walk.folder / "killer"
        killer.mkdir(exist_ok=True)
        (killer / "sitecustomize.py").write_text(KILLER)
        process = self.started(step, PYTHONPATH=f"{killer}{os.pathsep}{ROOT}", KILLED_AT=where)
        assert process.wait(120) == -signal.SIGKILL
        return self.label(), len(changes(self.registry))


def _kept(run: Path) -> dict[Path, tuple[Look, ...]]:
    """The looks of each network of a run that has a checkpoint: one is written after each look but the first."""
    found = {path: read_history(path.parent) for path in run.glob(f"jobs/retraining/**/{HISTORY_FILE}")}
    return {path: looks for path, looks in found.items() if len(looks) > 2}


def _job_processes(run: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "training.job_process" in words and any(word.startswith(str(run)) for word in words):
            found.append(process)
    return found


def environment(folder: Path) -> dict[str, str]:
    """With `perfnode` on the path, as an installation has it, and plain output."""
    programs = folder / "bin"
    programs.mkdir()
    (programs / "perfnode").write_text(f'#!/bin/sh\nexec {sys.executable} -m dicom_node "$@"\n')
    (programs / "perfnode").chmod(0o755)
    path = f"{programs}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT), "NO_COLOR": "1", "COLUMNS": "120"}


def reader_of(document: Path, hospital: Ward, folder: Path, walk: type[Walk] = Walk) -> Reader:
    """A page with the addresses of this hospital, and the files that its reader has at hand."""
    node = hospital.node
    text = document.read_text()
    for old, new in (
        ("11112", str(node.address.port)),
        ("10.0.0.5", hospital.archive.address.host),
        ("port = 104", f"port = {hospital.archive.address.port}"),
    ):
        assert old in text, old
        text = text.replace(old, new)
    (folder / "page.md").write_text(text)
    page = Page.read(folder / "page.md")
    for name, content in page.files.items():
        (node.folder / name).write_text(content)
    recipe = (ROOT / "configs" / "retraining" / RECIPE_FILE).read_text()
    for old, new in TINY.items():
        assert recipe.count(f"\n{old}") == 1, old
        recipe = recipe.replace(f"\n{old}", f"\n{new}")
    (node.folder / "recipe").mkdir()
    kept = recipe[: recipe.index("[[evaluation.figures]]")]
    (node.folder / "recipe" / RECIPE_FILE).write_text(kept + TINY_FIGURES)
    return Reader(page, walk(node.folder, environment(folder)), hospital)


@pytest.fixture
def reader(tmp_path: Path, ward_patients: Path) -> Iterator[Reader]:
    with ward(tmp_path, ward_patients) as hospital:
        yield reader_of(DOCUMENT, hospital, tmp_path)


@pytest.mark.timeout(1800)
def test_the_walkthrough_does_what_it_says_also_when_it_is_killed(reader: Reader) -> None:
    reader.go()
    assert reader.looks
    for path, looks in reader.looks.items():
        sure = looks[:-1]  # the kill may have come between the last one and its checkpoint
        assert read_history(path.parent)[: len(sure)] == sure  # went on, seconds included, and did not begin anew
    old = reader.ward.before.label()
    new = reader.made[1][0]
    assert new != old
    assert reader.made == [(old, old), (new, new), (old, old)]

    # once more, killed when the new model is in force and the history does not know of it yet
    (promotion,) = (step for step in reader.page.steps if step.command.startswith("perfnode models promote"))
    known = len(changes(reader.registry))
    assert reader.killed(promotion, AFTER_IT) == (new, known + 1)
    assert [change.what for change in changes(reader.registry)] == ["promote", "promote", "rollback", "promote"]
    assert reader.ward.node.answers()
