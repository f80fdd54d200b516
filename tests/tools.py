"""Independent DICOM readers and validators from PyPI, as installed beside the tests."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest


def tool(name: str) -> str:
    """Full path of a program of this environment (dcmqi, dicom3tools, plastimatch)."""
    found = shutil.which(name, path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        complaint = f"{name} is not installed; pip install '.[test]' brings it"
        if os.environ.get("CI"):
            pytest.fail(complaint)
        pytest.skip(complaint)
    return found


def error_lines(path: Path) -> list[str]:
    """What dciodvfy calls an error, over all frames of an object; its exit status does not tell."""
    done = subprocess.run([tool("dciodvfy"), "-allpffgitems", str(path)], capture_output=True, text=True, check=False)
    lines = done.stderr.splitlines()
    errors = [line for line in lines if line.startswith("Error")]
    # It names the object that it has understood; without a name it has looked at nothing, and calls that no error.
    assert errors or any(re.fullmatch(r"\w+", line) for line in lines), done.stderr
    return errors
