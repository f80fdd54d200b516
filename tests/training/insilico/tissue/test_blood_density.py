"""Lung with less blood is darker, by a known power, and nothing else changes."""

import numpy as np
import pytest

from training.insilico.tissue.blood_density import DENSITY_EXPONENT, DENSITY_LIMITS, darkened_by_flow

TERRITORIES = np.array([[[0, 0, 1, 1, -1]]], dtype=np.int32)
HU = np.full((1, 1, 5), -700.0, dtype=np.float32)


def test_equal_flow_per_tissue_changes_nothing() -> None:
    np.testing.assert_allclose(darkened_by_flow(HU, TERRITORIES, np.array([1.0, 1.0])), HU, atol=1e-3)


def test_density_follows_flow_by_its_power() -> None:
    shown = darkened_by_flow(HU, TERRITORIES, np.array([0.5, 1.5]))[0, 0] + 1000.0
    assert shown[0] / 300.0 == pytest.approx(0.5**DENSITY_EXPONENT, abs=1e-4)
    assert shown[2] / 300.0 == pytest.approx(1.5**DENSITY_EXPONENT, abs=1e-4)
    assert shown[4] == 300.0  # no territory


def test_where_nothing_flows_density_falls_to_its_limit() -> None:
    shown = darkened_by_flow(HU, TERRITORIES, np.array([0.0, 2.0]))[0, 0] + 1000.0
    assert shown[0] / 300.0 == pytest.approx(DENSITY_LIMITS[0], abs=1e-4)


def test_dense_lung_stays_as_it_is() -> None:
    hu = HU.copy()
    hu[0, 0, 1] = 30.0
    assert darkened_by_flow(hu, TERRITORIES, np.array([0.2, 1.8]))[0, 0, 1] == 30.0


def test_without_flow_there_is_nothing_to_show() -> None:
    np.testing.assert_array_equal(darkened_by_flow(HU, TERRITORIES, np.zeros(2)), HU)
