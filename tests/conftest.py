"""What every test may need: real data where it is, and a small digital thorax."""

import os
from pathlib import Path

import pytest

from inference.geometry import Grid
from inference.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax, draw_thorax

ROOT = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of public real files, which are not part of the project."""
    folder = Path(os.environ.get("PERFUSION_TEST_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real test data: set PERFUSION_TEST_DATA to its folder")
    return folder


@pytest.fixture(scope="session")
def thorax() -> DigitalThorax:
    """The digital thorax on a coarse grid; its arrays are read-only."""
    return draw_thorax(COARSE)


COARSE = Grid.axial(
    (48, 96, 96), (6.0, 4.0, 4.0), (-190.0, -184.0, -152.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)
