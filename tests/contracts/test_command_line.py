"""Promises of the command line: every command explains itself, and asking for help loads no imaging library."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer.main

from dicom_node.cli import app
from dicom_node.commands.rooms import GROUP, SINGLE

COMMANDS = (
    "serve",
    "demo",
    "process",
    "check",
    "send",
    "echo",
    "fetch",
    "jobs",
    "show",
    "retry",
    "rerun",
    "cancel",
    "release",
    "discard",
    "requeue",
    "retire",
    "backup",
    "restore",
    "selftest",
    "commission",
    "drift",
    "rules",
    "audit",
    "models",
    "web",
    "health",
    "alerts",
    "cohort",
    "pairs",
    "store",
    "study",
    "train",
    "evaluate",
    "compare",
)


def test_all_promised_commands_exist_with_help() -> None:
    group = typer.main.get_command(app)
    assert set(group.commands) == set(COMMANDS)  # type: ignore[attr-defined]
    assert all(command.help for command in group.commands.values())  # type: ignore[attr-defined]


def test_the_commands_of_the_other_room_are_there_and_loaded() -> None:
    groups = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    assert set(groups["cohort"].commands) >= {"make", "list", "show"}
    assert set(groups["pairs"].commands) == {"import", "fetch", "list", "review", "accept", "reject"}
    assert set(groups["store"].commands) == {"create", "list", "show", "verify", "remove", "opt-out", "audit"}
    assert set(groups["study"].commands) == {"prepare", "run", "status", "report", "export"}
    assert all("cannot be loaded" not in str(groups[name].help) for name in ("train", "evaluate", "compare"))


@pytest.mark.parametrize("module", ["dicom_node.cli", "dicom_node.__main__"])
def test_help_loads_no_heavy_library(module: str) -> None:
    heavy = ("torch", "monai", "SimpleITK", "lungmask", "scipy", "matplotlib", "highdicom", "pynetdicom", "dbos")
    code = f"import sys, {module}; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_serving_process_loads_no_imaging_library() -> None:
    code = (
        "import sys, dicom_node.serving.service; "
        "print([m for m in ('torch', 'monai', 'SimpleITK', 'lungmask', 'highdicom', 'matplotlib') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def run_beside(packages: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """`perfnode` with further packages installed."""
    environment = {**os.environ, "PYTHONPATH": str(packages), "COLUMNS": "200"}
    command = [sys.executable, "-m", "dicom_node", *arguments]
    return subprocess.run(command, capture_output=True, text=True, env=environment, check=False)


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder with a package that brings a good command, broken ones, and one that would replace the node's own."""
    room = "import typer\napp = typer.Typer()\n@app.command('hello')\ndef hello() -> None:\n    print('hello there')\n"
    room += "@app.command('bye')\ndef bye() -> None:\n    print('bye')\n"
    (tmp_path / "foreign_room.py").write_text(room)
    (tmp_path / "foreign_wrong.py").write_text("import no_such_library\n")
    (tmp_path / "foreign_odd.py").write_text("app = 3\n")
    info = tmp_path / "foreign-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: foreign\nVersion: 1.0\n")
    points = {"greet": "room", "wrong": "wrong", "odd": "odd", "health": "room"}
    lines = "".join(f"{name} = foreign_{module}:app\n" for name, module in points.items())
    single = "wave = foreign_room:hello\nshout = foreign_room:app\nserve = foreign_room:hello\n"
    (info / "entry_points.txt").write_text(f"[{GROUP}]\n{lines}[{SINGLE}]\n{single}")
    return tmp_path


def test_an_installed_package_brings_its_commands(foreign: Path) -> None:
    done = run_beside(foreign, "greet", "hello")
    assert (done.returncode, done.stdout) == (0, "hello there\n")
    alone = run_beside(foreign, "wave")
    assert (alone.returncode, alone.stdout) == (0, "hello there\n")


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("wrong", "ModuleNotFoundError: No module named 'no_such_library'"),
        ("odd", "is of type int, not typer.Typer"),
        ("shout", "foreign_room:app is of type Typer, not function"),
    ],
)
def test_a_broken_one_says_so_when_it_is_called(foreign: Path, name: str, reason: str) -> None:
    done = run_beside(foreign, name, "make", "--config", "x")
    assert done.returncode == 2
    module = "room" if name == "shout" else name
    assert f"{name} of foreign_{module}:app cannot be loaded: " in done.stderr
    assert reason in done.stderr
    assert "Traceback" not in done.stderr


def test_broken_ones_leave_the_commands_of_the_node_as_they_are(foreign: Path) -> None:
    helped = run_beside(foreign, "--help")
    assert helped.returncode == 0
    assert all(f" {name} " in helped.stdout for name in COMMANDS)
    assert "foreign_room:app would replace the command 'health' and is left out" in helped.stderr
    assert "foreign_room:hello would replace the command 'serve' and is left out" in helped.stderr
    assert "Look at a running node" in run_beside(foreign, "health", "--help").stdout
