"""Right and left without the lobes: mirrored voxels, turned patients, hidden hearts."""

import numpy as np
import pytest

from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings, Severity
from inference.quality.laterality import SideEvidence, check_axes, check_sides, side_evidence
from inference.quality.policy import BY_THE_TABLE
from inference.quality.threshold_lungs import ThresholdLungs
from tests.lung_blocks import codes, the


@pytest.fixture(scope="module")
def normal(thorax: DigitalThorax) -> CoarseThorax:
    return CoarseThorax.of(thorax.ct, thorax.lobes)


def flipped(thorax: CoarseThorax, *axes: int) -> CoarseThorax:
    """The same voxels in the opposite order, as a wrong header or a wrong copy would have them."""
    return CoarseThorax(np.flip(thorax.hu, axes).copy(), np.flip(thorax.labels, axes).copy(), thorax.grid)


def found_in(thorax: CoarseThorax) -> Findings:
    lungs = ThresholdLungs.of(thorax)
    return check_sides(thorax, lungs, BY_THE_TABLE) + check_axes(thorax, lungs, BY_THE_TABLE)


def test_a_normal_thorax_has_heart_and_liver_where_they_belong(normal: CoarseThorax) -> None:
    evidence = side_evidence(normal, ThresholdLungs.of(normal))
    assert evidence.heart > 0.3
    assert evidence.liver > 0.5
    assert found_in(normal) == ()


def test_a_mirrored_ct_is_rejected_and_the_sentence_names_situs_inversus(normal: CoarseThorax) -> None:
    finding = the(found_in(flipped(normal, 2)), "MIRRORED")
    assert finding.severity is Severity.REJECT
    assert finding.measured < -0.6
    assert "mirrored" in finding.sentence
    assert "situs inversus" in finding.sentence


def test_the_labels_do_not_matter(normal: CoarseThorax) -> None:
    one_label = CoarseThorax(normal.hu, (normal.labels > 0).astype(np.uint8), normal.grid)
    swapped = CoarseThorax(normal.hu, np.flip(normal.labels, 2).copy(), normal.grid)
    for thorax in (one_label, swapped):
        assert codes(found_in(thorax)) == set()
        mirrored = CoarseThorax(np.flip(normal.hu, 2).copy(), thorax.labels, normal.grid)
        assert codes(found_in(mirrored), Severity.REJECT) == {"MIRRORED"}


def test_a_patient_turned_round_is_no_mirror_image(normal: CoarseThorax) -> None:
    """Back to front and left to right: a rotation, as of a wrong patient position, that hands do not notice."""
    found = found_in(flipped(normal, 1, 2))
    assert "BACK_TO_FRONT" in codes(found, Severity.REJECT)


def test_contrast_medium_in_the_heart_is_not_taken_for_the_spine(normal: CoarseThorax) -> None:
    blood = (normal.hu > 20.0) & (normal.hu < 70.0)
    bright = CoarseThorax(np.where(blood, normal.hu + 215.0, normal.hu), normal.labels, normal.grid)
    assert codes(found_in(bright)) == set()


def test_upside_down_is_seen_by_the_trachea(normal: CoarseThorax) -> None:
    assert "UPSIDE_DOWN" in codes(found_in(flipped(normal, 0)), Severity.REJECT)


def test_with_one_lung_nothing_can_be_said(normal: CoarseThorax) -> None:
    is_left = normal.positions_mm(2) > normal.midline_mm
    hu = np.where(is_left & normal.body & (normal.hu < -300.0), np.float32(40.0), normal.hu)
    found = found_in(CoarseThorax(hu, np.where(normal.labels > 3, np.uint8(0), normal.labels), normal.grid))
    assert codes(found) == {"SIDES_NOT_SEEN"}
    assert found[0].severity is Severity.NOTE


def test_a_heart_on_the_right_over_a_liver_on_the_right_is_no_rejection() -> None:
    shifted = SideEvidence(heart_mm=-15.0, dome_mm=15.0, liver_hu=25.0)
    assert shifted.together == pytest.approx(0.0)
    assert SideEvidence(12.0, 15.0, 25.0).together == pytest.approx(1.0)
    assert SideEvidence(-30.0, -40.0, -90.0).together == pytest.approx(-1.0)
    assert SideEvidence(12.0, None, None).together == pytest.approx(0.5)
    assert SideEvidence(None, None, None).together == 0.0


@pytest.mark.parametrize(
    ("evidence", "severity"),
    [
        (SideEvidence(-2.0, 0.0, 0.0), None),
        (SideEvidence(-12.0, 9.0, 0.0), Severity.FLAG),
        (SideEvidence(-12.0, 3.0, -5.0), Severity.REJECT),
    ],
)
def test_evidence_is_judged_by_the_table(evidence: SideEvidence, severity: Severity | None) -> None:
    found = BY_THE_TABLE.judge("MIRRORED", evidence.together, f"{evidence.words()}.")
    assert [finding.severity for finding in found] == ([severity] if severity else [])


def test_words_say_what_was_measured() -> None:
    words = SideEvidence(-8.0, 12.0, -30.0).words()
    assert words == "the heart lies 8 mm right, the right dome 12 mm higher, tissue under the right lung -30 HU denser"
    assert SideEvidence(None, None, None).words() == "the heart is not seen"


def test_the_patient_may_lie_anywhere_in_the_field_of_view(normal: CoarseThorax) -> None:
    affine = normal.grid.affine.copy()
    affine[:3, 3] += (80.0, -120.0, 400.0)
    moved = CoarseThorax(normal.hu, normal.labels, Grid(normal.grid.shape, affine, "1.2.3"))
    here, there = (side_evidence(thorax, ThresholdLungs.of(thorax)) for thorax in (normal, moved))
    assert here.heart_mm == pytest.approx(there.heart_mm)
    assert here.liver == pytest.approx(there.liver)
