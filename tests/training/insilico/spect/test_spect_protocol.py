"""The protocols of both hospitals are what published ones are."""

from dataclasses import replace

import pytest

from training.insilico.hospitals import HOSPITALS
from training.insilico.spect.spect_protocol import CONVENTIONAL, Collimator

PROTOCOLS = [hospital.spect for hospital in HOSPITALS]
EACH = pytest.mark.parametrize("protocol", PROTOCOLS, ids=lambda protocol: protocol.name)


@EACH
def test_the_collimator_is_as_sharp_as_high_resolution_ones_are(protocol) -> None:  # type: ignore[no-untyped-def]
    # LEHR with crystal: about 7 to 8 mm at 10 cm, 10 to 13 mm at 20 cm (paper-and-physiology 7.3).
    assert 6.9 <= protocol.collimator.fwhm_mm(100.0) <= 8.0
    assert 10.0 <= protocol.collimator.fwhm_mm(200.0) <= 13.0


def test_the_collimators_width_is_hole_and_distance_by_length_and_crystal_in_quadrature() -> None:
    thick = Collimator("test", hole_mm=3.0, length_mm=20.0, intrinsic_fwhm_mm=4.0, lead_attenuation_per_mm=1e9)
    assert thick.fwhm_mm(0.0) == pytest.approx(5.0)
    assert thick.fwhm_mm(60.0) == pytest.approx((12.0**2 + 4.0**2) ** 0.5)


@EACH
def test_doses_views_and_voxels_are_those_in_use(protocol) -> None:  # type: ignore[no-untyped-def]
    assert 100.0 <= protocol.activity_mbq <= 370.0
    assert 60 <= protocol.views <= 128
    assert 4.0 <= protocol.pixel_mm <= 4.8
    assert protocol.window_kev[0] == pytest.approx(0.9 * 140.5, abs=0.1)
    assert protocol.window_kev[1] == pytest.approx(1.1 * 140.5, abs=0.1)
    assert protocol.scan_s == protocol.views / 2 * protocol.seconds_per_view < 20 * 60


def test_hospitals_differ_in_what_a_network_would_see() -> None:
    first, second = PROTOCOLS
    for field in ("camera", "pixel_mm", "collimator", "reconstruction", "first_slice_on_top"):
        assert getattr(first, field) != getattr(second, field), field


def test_subsets_of_unequal_size_are_refused() -> None:
    with pytest.raises(ValueError, match="71 views do not divide into 9 subsets"):
        replace(CONVENTIONAL, views=71)
