"""The hospitals: what their scanners draw, how they differ, who comes to them."""

import re
from collections import Counter

import pytest

from training.insilico import hospitals
from training.insilico.cohort_name import CohortName
from training.insilico.ct.ct_scanner import CtScanner
from training.insilico.draws import Draws
from training.insilico.hospitals import (
    HOSPITAL_A,
    HOSPITAL_B,
    HOSPITALS,
    LUNG,
    SOFT,
    Hospital,
    draw_hospital,
    photon_noise_hu,
)

PATIENTS = 300
EACH_HOSPITAL = pytest.mark.parametrize("hospital", HOSPITALS, ids=lambda hospital: hospital.name)


def scanners(hospital: Hospital) -> list[CtScanner]:
    return [hospital.draw_scanner(Draws(f"test/{number}")) for number in range(PATIENTS)]


@EACH_HOSPITAL
def test_every_scanner_lies_within_what_is_asked_of_the_cohort(hospital: Hospital) -> None:
    for scanner in scanners(hospital):
        assert 1.0 <= scanner.slice_mm <= 5.0
        assert 0.5 * scanner.slice_mm <= scanner.spacing_mm <= scanner.slice_mm
        assert 350.0 <= scanner.field_mm <= 650.0
        assert scanner.matrix == 512
        assert 3.0 < scanner.noise_hu < 150.0


@EACH_HOSPITAL
def test_every_protocol_and_setting_is_drawn_as_often_as_it_weighs(hospital: Hospital) -> None:
    drawn = Counter((scanner.model, scanner.protocol) for scanner in scanners(hospital))
    assert sum(hospital.ct.values()) == pytest.approx(1.0)
    for protocol, weight in hospital.ct.items():
        assert drawn[protocol.model, protocol.protocol] / PATIENTS == pytest.approx(weight, abs=0.09)
        own = [s for s in scanners(hospital) if (s.model, s.protocol) == (protocol.model, protocol.protocol)]
        assert {s.kernel for s in own} == set(protocol.kernels)
        assert {(s.slice_mm, s.spacing_mm) for s in own} == set(protocol.slices_mm)
        assert {s.field_mm for s in own} == set(protocol.fields_mm)
        assert all(protocol.exposure_mas[0] <= s.exposure_mas <= protocol.exposure_mas[1] for s in own)


def test_equal_draws_give_the_equal_scanner() -> None:
    assert HOSPITAL_A.draw_scanner(Draws("1/NC-001")) == HOSPITAL_A.draw_scanner(Draws("1/NC-001"))


def test_the_hospitals_differ_in_dose_kernel_field_breath_and_camera() -> None:
    a, b = scanners(HOSPITAL_A), scanners(HOSPITAL_B)
    assert max(s.exposure_mas for s in a) <= min(s.exposure_mas for s in b)
    assert any(s.kernel == LUNG for s in a)
    assert not any(s.kernel == LUNG for s in b)
    assert not all(s.free_breathing for s in a)
    assert all(s.free_breathing for s in b)
    assert min(s.field_mm for s in b) >= 500.0 >= max(s.field_mm for s in a)
    assert HOSPITAL_A.spect != HOSPITAL_B.spect
    assert not {s.manufacturer for s in a} & {s.manufacturer for s in b}


def test_planning_images_have_less_noise_than_those_beside_a_camera() -> None:
    a, b = (sorted(s.noise_hu for s in scanners(h))[PATIENTS // 2] for h in HOSPITALS)
    assert b < 0.6 * a


def test_noise_follows_from_photons_and_kernel() -> None:
    assert photon_noise_hu(SOFT, 5.0, 100.0, 120.0) == pytest.approx(12.0)
    assert photon_noise_hu(SOFT, 5.0, 25.0, 120.0) == pytest.approx(24.0)
    assert photon_noise_hu(SOFT, 1.25, 100.0, 120.0) == pytest.approx(24.0)
    assert photon_noise_hu(SOFT, 5.0, 100.0, 60.0) == pytest.approx(24.0)
    assert photon_noise_hu(LUNG, 5.0, 100.0, 120.0) > 30.0


def test_most_cancer_patients_come_to_radiotherapy_and_most_others_do_not() -> None:
    for cohort, share in ((CohortName.NON_CANCER, 0.15), (CohortName.LUNG_CANCER, 0.75)):
        drawn = [draw_hospital(cohort, Draws(f"test/{number}")) for number in range(PATIENTS)]
        assert sum(hospital is HOSPITAL_B for hospital in drawn) / PATIENTS == pytest.approx(share, abs=0.09)


@pytest.mark.parametrize(("column", "hospital"), list(enumerate(HOSPITALS)))
def test_the_table_of_the_page_says_what_is_drawn(column: int, hospital: Hospital) -> None:
    rows = {line[:18].strip(): (line[19:49], line[50:]) for line in (hospitals.__doc__ or "").splitlines()}

    def stated(row: str) -> list[float]:
        return [float(number) for number in re.findall(r"\d+", rows[row][column])]

    protocols = list(hospital.ct)
    exposures = [end for protocol in protocols for end in protocol.exposure_mas]
    fields = [field for protocol in protocols for field in protocol.fields_mm]
    slices = [thickness for protocol in protocols for thickness, _ in protocol.slices_mm]
    assert stated("exposure, mAs") == [min(exposures), max(exposures)]
    assert stated("field of view, mm") == [min(fields), max(fields)]
    assert stated("slices, mm")[:2] == [min(slices), max(slices)]
    kernels = {kernel.name.lower() for protocol in protocols for kernel in protocol.kernels}
    assert set(rows["kernel"][column].replace(" or ", ", ").strip().split(", ")) == kernels
    assert rows["SPECT"][column].strip() == hospital.spect.name
