"""The patients of the walkthrough, made once."""

from pathlib import Path

import pytest

from tests.retraining.ward import make_patients


@pytest.fixture(scope="session")
def ward_patients(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A coarse cohort; only to be read."""
    return make_patients(tmp_path_factory.mktemp("patients"))
