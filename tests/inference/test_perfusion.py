import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from inference.errors import ImplausibleAnatomy, ImplausibleResult
from inference.perfusion import relative_to_lung_mean


def half(shape: tuple[int, int, int]) -> np.ndarray:
    lungs = np.zeros(shape, dtype=bool)
    lungs[: shape[0] // 2] = True
    return lungs


@given(seed=st.integers(0, 1000), scale=st.floats(1e-3, 1e6))
def test_the_mean_over_the_lungs_is_one_inside_is_above_zero_and_outside_is_zero(seed: int, scale: float) -> None:
    lungs = half((6, 5, 4))
    uptake = (np.random.default_rng(seed).random((6, 5, 4)) * scale).astype(np.float32)
    uptake[0, 0, 0] = 0.0
    values = relative_to_lung_mean(uptake, lungs)
    assert values.dtype == np.float32
    assert values[lungs].mean(dtype=float) == pytest.approx(1.0, abs=1e-6)
    assert values[lungs].min() > 0
    assert not values[~lungs].any()


def test_equal_relations_stay_and_the_order_of_small_values_is_kept() -> None:
    uptake = np.array([0.0, 1e-5, 1.0, 3.0], dtype=np.float32).reshape(4, 1, 1)
    values = relative_to_lung_mean(uptake, np.ones((4, 1, 1), dtype=bool)).ravel()
    assert (np.diff(values) > 0).all()
    assert values[3] / values[2] == pytest.approx(3.0, rel=2e-3)


def test_negative_uptake_counts_as_none() -> None:
    values = relative_to_lung_mean(np.array([[[-5.0, 0.0, 2.0]]], dtype=np.float32), np.ones((1, 1, 3), dtype=bool))
    assert values[0, 0, 0] == values[0, 0, 1] == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("value", "code"), [(np.nan, "MAP_NOT_FINITE"), (np.inf, "MAP_NOT_FINITE"), (0.0, "MAP_EMPTY"), (-1.0, "MAP_EMPTY")]
)
def test_uptake_without_a_usable_mean_is_refused_with_its_reason(value: float, code: str) -> None:
    uptake = np.zeros((2, 2, 2), dtype=np.float32)
    uptake[0, 0, 0] = value
    with pytest.raises(ImplausibleResult) as refused:
        relative_to_lung_mean(uptake, np.ones((2, 2, 2), dtype=bool))
    assert list(refused.value.reasons) == [code]
    assert isinstance(refused.value, ImplausibleAnatomy)
    assert refused.value.permanent


def test_values_that_are_not_numbers_outside_the_lungs_do_not_matter() -> None:
    lungs = half((4, 2, 2))
    uptake = np.where(lungs, 2.0, np.nan).astype(np.float32)
    values = relative_to_lung_mean(uptake, lungs)
    assert np.isfinite(values).all()
    assert not values[~lungs].any()
