"""Promises of the command line: every command explains itself, and asking for help loads no imaging library."""

import subprocess
import sys

import pytest
import typer.main

from dicom_node.cli import app

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
    "rules",
    "audit",
    "models",
    "health",
    "alerts",
)


def test_all_promised_commands_exist_with_help() -> None:
    group = typer.main.get_command(app)
    assert set(group.commands) == set(COMMANDS)  # type: ignore[attr-defined]
    assert all(command.help for command in group.commands.values())  # type: ignore[attr-defined]


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
