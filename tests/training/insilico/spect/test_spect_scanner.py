"""A whole scan: the image lies where the patient was, with the counts of the protocol, and the same every time."""

import sys
from dataclasses import replace

import numpy as np
import pytest

from tests.insilico_spect import STILL, chest, needs_pytomography
from training.errors import PyTomographyMissing
from training.insilico.draws import Draws
from training.insilico.spect.spect_field import averaged_onto
from training.insilico.spect.spect_protocol import RESOLUTION_RECOVERY, SpectMethod
from training.insilico.spect.spect_scanner import scan_spect
from training.insilico.spect.spect_volume import SpectVolume

FEW_VIEWS = replace(RESOLUTION_RECOVERY, views=20, seconds_per_view=36.0, misalignment_sd_mm=5.0, pixel_mm=4.4)
METHODS = pytest.mark.parametrize("method", SpectMethod)


def scanned(perfusion: np.ndarray, method: SpectMethod, name: str = "test") -> SpectVolume:
    if method is SpectMethod.PYTOMOGRAPHY:
        needs_pytomography()
    _, hu, grid = chest()
    return scan_spect(perfusion, hu, grid, STILL, FEW_VIEWS, Draws(name), method=method)


@METHODS
def test_a_lit_part_of_one_lung_comes_out_where_it_is_and_its_shift_is_told(method: SpectMethod) -> None:
    perfusion, _, grid = chest()
    x, y, z = grid.coordinates_mm()
    place = np.array([50.0, 12.0, 22.0])  # left, back, up
    spot = np.sqrt((x - place[0]) ** 2 + (y - place[1]) ** 2 + (z - place[2]) ** 2) < 15.0
    spect = scanned(perfusion * np.where(spot, np.float32(30.0), np.float32(1.0)), method)
    bright = np.argwhere(spect.values > 0.5 * spect.values.max())
    middle = spect.grid.to_patient_mm(bright.astype(np.float64)).mean(axis=0)
    assert np.abs(spect.shift_mm).max() > 2.0
    assert middle == pytest.approx(place + spect.shift_mm, abs=0.5 * 4.4)


@METHODS
def test_the_image_follows_perfusion(method: SpectMethod) -> None:
    perfusion, _, grid = chest()
    perfusion = perfusion * np.where(grid.coordinates_mm()[0] > 0, np.float32(2.0), np.float32(1.0))
    spect = scanned(perfusion, method)
    truth = averaged_onto(perfusion, grid, spect.grid, spect.shift_mm)
    left, right = (truth > 1.9), (truth > 0.9) & (truth < 1.1)
    assert spect.values[left].mean() / spect.values[right].mean() == pytest.approx(2.0, rel=0.12)
    assert spect.values[truth == 0].mean() < 0.15 * spect.values[left].mean()
    assert spect.values.min() >= 0
    assert spect.grid.spacing_mm == pytest.approx((4.4, 4.4, 4.4))


@METHODS
def test_counts_are_those_of_a_real_scan(method: SpectMethod) -> None:
    # 2 to 12 million (paper-and-physiology 7.3); the chest is small, so less of its photons are lost.
    assert 2e6 < scanned(chest()[0], method).counts < 12e6


@METHODS
def test_equal_draws_give_equal_bytes_and_others_another_image_elsewhere(method: SpectMethod) -> None:
    one, again, other = (scanned(chest()[0], method, name) for name in ("a", "a", "b"))
    assert one.values.tobytes() == again.values.tobytes()
    assert one.values.tobytes() != other.values.tobytes()
    assert one.shift_mm == again.shift_mm != other.shift_mm


def test_without_pytomography_the_error_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pytomography", None)
    monkeypatch.delitem(sys.modules, "training.insilico.spect.spect_camera", raising=False)
    perfusion, hu, grid = chest()
    with pytest.raises(PyTomographyMissing, match="make pytomography"):
        scan_spect(perfusion, hu, grid, STILL, FEW_VIEWS, Draws("test"))
