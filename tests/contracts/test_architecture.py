"""The direction of imports, and that the prescribed room names are ours."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("room", ["inference", "dicom_node", "training"])
def test_room_is_ours_and_not_a_public_package_of_that_name(room: str) -> None:
    code = f"import {room}; print({room}.__file__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert Path(done.stdout.strip()) == ROOT / room / "__init__.py"


@pytest.mark.parametrize("init", sorted(ROOT.glob("*/__init__.py")) + sorted(ROOT.glob("*/*/__init__.py")), ids=str)
def test_init_holds_a_docstring_and_nothing_else(init: Path) -> None:
    if ".venv" not in init.parts:
        code = compile(init.read_text(), str(init), "exec")
        assert set(code.co_names) <= {"__doc__"}


@pytest.mark.parametrize("name", ["utils", "common", "helpers", "core"])
def test_there_is_no_room_for_things_without_a_name(name: str) -> None:
    assert not [p for room in ("inference", "dicom_node", "training") for p in (ROOT / room).rglob(f"{name}*")]
