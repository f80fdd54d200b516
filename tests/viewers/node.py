"""Runs the Node programs of this folder, with the packages that `npm ci` puts beside them."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.peers import program

_HERE = Path(__file__).parent


def node() -> str:
    """Path of Node.

    Where it or its packages are missing the test is skipped, and fails where CI promises to have them.
    """
    found = program("node")
    packages()
    return found


def packages() -> Path:
    """Folder of the packages; a test without them is skipped, and fails where CI promises to have them."""
    folder = _HERE / "node_modules"
    if not folder.is_dir():
        complaint = "npm packages are not installed; npm ci --prefix tests/viewers brings them"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return folder


def run_node(script: str, *arguments: str | Path, timeout_s: float = 120.0) -> None:
    """Run a program of this folder to its end."""
    command = [node(), str(_HERE / script), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout_s, check=False)
    assert done.returncode == 0, f"{script} ended with {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
