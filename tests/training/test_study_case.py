"""A case is whole, on one grid, and cannot be changed."""

from dataclasses import replace

import numpy as np
import pytest

from inference.errors import GridMismatch
from tests.training.drawn_cases import drawn_case
from training.baselines import Predictor


def test_a_channel_is_found_by_its_name() -> None:
    case = drawn_case("LC-001", seed=1)
    assert np.array_equal(case.channel("lungs"), case.channels[1])
    with pytest.raises(KeyError, match="no channel 'spread' among hu, lungs"):
        case.channel("spread")


def test_baselines_are_found_by_the_name_of_their_predictor() -> None:
    case = drawn_case("LC-001", seed=1)
    own = np.stack([case.baselines[0] * (k + 1) for k in range(4)])
    maps = replace(case, baselines=own).baseline_maps
    assert list(maps) == [str(predictor) for predictor in Predictor]
    assert np.array_equal(maps[Predictor.DENSITY], own[2])


@pytest.mark.parametrize("name", ["lungs", "lobes", "defects", "target", "baselines", "channels"])
def test_an_array_of_another_grid_is_refused(name: str) -> None:
    case = drawn_case("LC-001", seed=1)
    with pytest.raises(GridMismatch):
        replace(case, **{name: getattr(case, name)[..., :-1]})


def test_channels_without_a_name_are_refused() -> None:
    with pytest.raises(ValueError, match="1 names for 2 channels"):
        replace(drawn_case("LC-001", seed=1), channel_names=("hu",))


def test_arrays_of_a_case_are_read_only() -> None:
    with pytest.raises(ValueError, match="read-only"):
        drawn_case("LC-001", seed=1).target[0, 0, 0] = 1.0
