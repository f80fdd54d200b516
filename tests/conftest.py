"""What every test may need: real data where it is, and a small digital thorax."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from inference.geometry import Grid
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax, draw_thorax

ROOT = Path(__file__).parent.parent


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files that take minutes come first, so that none of them begins when the others are done."""
    items.sort(key=lambda item: "scenarios" not in item.path.parts)


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


@pytest.fixture(scope="session", autouse=True)
def _no_log_names_a_patient(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """After all tests: no log of any node that ran in them says whose images it took."""
    yield
    leaks = {
        str(log): word
        for log in tmp_path_factory.getbasetemp().rglob("node.log")
        for word in PATIENTS
        if word.encode() in log.read_bytes()
    }
    assert leaks == {}


PATIENTS = ("CANARY^NAME", "CANARY-ID", "Thorax^Digital", "DIGITAL-THORAX", "ZZCANARY")
"""Names and IDs of the patients of `small_ct`, of the digital thorax and of `canaries`."""
COARSE = Grid.axial(
    (48, 96, 96), (6.0, 4.0, 4.0), (-190.0, -184.0, -152.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
)


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`, where a rename does not reach."""
    memory = Path("/dev/shm")  # noqa: S108  # a folder in it has a name of its own
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is no second file system at /dev/shm")
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)
