"""The one file of others that the page serves is the one that was checked, and comes with its licences."""

import hashlib
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VENDOR = ROOT / "dicom_node" / "web" / "static" / "vendor"
PACKAGES = ROOT / "tests" / "viewers"
NIIVUE = "niivue.umd.js"


def test_the_file_is_the_one_whose_checksum_was_noted() -> None:
    noted, name = (VENDOR / f"{NIIVUE}.sha256").read_text().split()
    assert name == NIIVUE
    assert hashlib.sha256((VENDOR / NIIVUE).read_bytes()).hexdigest() == noted


def test_nothing_else_of_others_is_served() -> None:
    assert {path.name for path in VENDOR.iterdir()} == {NIIVUE, f"{NIIVUE}.sha256", "LICENSE", "LICENSES.txt"}


def test_it_is_of_the_version_that_is_locked() -> None:
    wanted = json.loads((PACKAGES / "package.json").read_text())["dependencies"]["@niivue/niivue"]
    locked = json.loads((PACKAGES / "package-lock.json").read_text())["packages"]["node_modules/@niivue/niivue"]
    assert locked["version"] == wanted
    assert f'"{wanted}"' in (VENDOR / NIIVUE).read_text(encoding="utf-8")
    installed = PACKAGES / "node_modules" / "@niivue" / "niivue" / "dist" / NIIVUE
    if not installed.exists():
        pytest.skip("npm packages are not installed; npm ci --prefix tests/viewers brings them")
    assert installed.read_bytes() == (VENDOR / NIIVUE).read_bytes()


def test_the_licences_of_all_that_it_holds_are_beside_it() -> None:
    assert "Copyright (c) 2021, Niivue" in (VENDOR / "LICENSE").read_text()
    held = (VENDOR / "LICENSES.txt").read_text()
    for name in ("fflate", "gl-matrix", "nifti-reader-js", "zarrita"):
        assert f"{name} " in held


def test_it_makes_no_code_from_text() -> None:
    """Else the page would need a weaker content security policy."""
    text = (VENDOR / NIIVUE).read_text(encoding="utf-8")
    assert "eval(" not in text
    assert "new Function(" not in text
