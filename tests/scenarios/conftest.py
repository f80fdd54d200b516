"""The digital thorax as a scanner would send it, drawn once for all scenarios."""

from pathlib import Path

import pytest
from pydicom import Dataset

from inference.ct.instances import ct_instances
from inference.phantom.thorax import DEFAULT_GRID, draw_thorax
from tests.running_node import save_instances


@pytest.fixture(scope="session")
def thorax_instances() -> list[Dataset]:
    return ct_instances(draw_thorax(DEFAULT_GRID.with_spacing((5.0, 3.0, 3.0))).ct)


@pytest.fixture(scope="session")
def thorax_files(thorax_instances: list[Dataset], tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return save_instances(thorax_instances, tmp_path_factory.mktemp("thorax"))
