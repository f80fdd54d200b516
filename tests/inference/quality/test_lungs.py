import numpy as np
import pytest

from inference.anatomy import Lobe, Side
from inference.phantom.build import ThoraxBuild
from inference.phantom.cases import UNUSUAL
from inference.phantom.conditions import changed
from inference.phantom.thorax import DigitalThorax, ThoraxVariant, draw_thorax
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings, Severity
from inference.quality.lungs import check_agreement, check_mediastinum, check_midline, check_opacities, check_place
from inference.quality.policy import BY_THE_TABLE
from inference.quality.threshold_lungs import ThresholdLungs
from inference.volumes import LobeMap
from tests.conftest import COARSE
from tests.lung_blocks import codes, the


@pytest.fixture(scope="module")
def normal(thorax: DigitalThorax) -> CoarseThorax:
    return CoarseThorax.of(thorax.ct, thorax.lobes)


@pytest.fixture(scope="module")
def threshold(normal: CoarseThorax) -> ThresholdLungs:
    return ThresholdLungs.of(normal)


def with_labels(thorax: CoarseThorax, labels: np.ndarray) -> CoarseThorax:
    return CoarseThorax(thorax.hu, labels.astype(np.uint8), thorax.grid)


def found_in(thorax: CoarseThorax, threshold: ThresholdLungs) -> Findings:
    return (
        check_place(thorax, threshold, BY_THE_TABLE)
        + check_agreement(thorax, threshold, BY_THE_TABLE)
        + check_midline(thorax, BY_THE_TABLE)
    )


def test_true_lungs_give_no_finding(normal: CoarseThorax, threshold: ThresholdLungs) -> None:
    assert found_in(normal, threshold) == ()


def test_the_threshold_finds_each_lung_on_its_side(normal: CoarseThorax, threshold: ThresholdLungs) -> None:
    for side in Side:
        lung, other = normal.lung(side), threshold.side(side)
        assert 2.0 * np.count_nonzero(lung & other) / (np.count_nonzero(lung) + np.count_nonzero(other)) > 0.985
    assert not (threshold.right & threshold.left).any()
    assert not (threshold.both & ~normal.body).any()


def test_the_threshold_leaves_the_airway_out(thorax: DigitalThorax, threshold: ThresholdLungs) -> None:
    airway = LobeMap(thorax.airway.astype(np.uint8), thorax.ct.grid, thorax.lobes.segmenter)
    coarse = CoarseThorax.of(thorax.ct, airway)
    lumen = coarse.lungs & (coarse.hu < -900.0)
    assert np.count_nonzero(threshold.both & lumen) < 0.1 * np.count_nonzero(lumen)


def test_lung_outside_the_body_is_flagged_and_rejected_when_it_is_much(
    normal: CoarseThorax, threshold: ThresholdLungs
) -> None:
    outside = np.argwhere(~normal.body)
    for ml, severity in ((9.0, None), (20.0, Severity.FLAG), (120.0, Severity.REJECT)):
        labels = normal.labels.copy()
        labels[tuple(outside[: int(ml / normal.voxel_ml)].T)] = Lobe.LUL
        found = [f.severity for f in found_in(with_labels(normal, labels), threshold) if f.code == "LUNG_OUTSIDE_BODY"]
        assert found == ([severity] if severity else []), ml


def test_a_lobe_that_takes_the_trachea_is_flagged(normal: CoarseThorax, threshold: ThresholdLungs) -> None:
    labels = np.where(threshold.airway & (normal.labels == 0), np.uint8(Lobe.RUL), normal.labels)
    finding = the(found_in(with_labels(normal, labels), threshold), "LUNG_IN_AIRWAY")
    assert finding.severity is Severity.FLAG
    assert finding.measured > 12.0


def test_a_lung_that_was_overlooked_is_rejected(normal: CoarseThorax, threshold: ThresholdLungs) -> None:
    labels = np.where(normal.labels >= Lobe.LUL, 0, normal.labels)
    found = found_in(with_labels(normal, labels), threshold)
    assert codes(found) == {"LUNG_LEFT_OUT"}
    assert the(found, "LUNG_LEFT_OUT").severity is Severity.REJECT


def test_a_lobe_that_was_overlooked_shows_in_the_agreement_of_its_side(
    normal: CoarseThorax, threshold: ThresholdLungs
) -> None:
    labels = np.where(normal.labels == Lobe.RML, 0, normal.labels)
    found = found_in(with_labels(normal, labels), threshold)
    assert codes(found) == {"LUNG_LEFT_OUT", "RIGHT_LUNG_AGREEMENT"}
    finding = the(found, "RIGHT_LUNG_AGREEMENT")
    assert finding.severity is Severity.FLAG
    assert "ml of air lie beside it" in finding.sentence


def test_dense_lung_is_a_flag_and_no_rejection(normal: CoarseThorax) -> None:
    hu = np.where(normal.labels == Lobe.LLL, np.float32(30.0), normal.hu)
    consolidated = CoarseThorax(hu, normal.labels, normal.grid)
    found = found_in(consolidated, ThresholdLungs.of(consolidated))
    assert codes(found) == {"LEFT_LUNG_AGREEMENT"}
    assert the(found, "LEFT_LUNG_AGREEMENT").severity is Severity.FLAG


def test_lungs_given_to_one_side_lie_across_the_middle(normal: CoarseThorax, threshold: ThresholdLungs) -> None:
    labels = np.where(normal.labels >= Lobe.LUL, np.uint8(Lobe.RLL), normal.labels)
    found = found_in(with_labels(normal, labels), threshold)
    assert the(found, "LUNG_ACROSS_MIDLINE").severity is Severity.REJECT


def opaque(thorax: CoarseThorax) -> Findings:
    return check_opacities(thorax, ThresholdLungs.of(thorax), BY_THE_TABLE)


def test_two_aerated_lungs_have_no_opaque_side(normal: CoarseThorax) -> None:
    assert opaque(normal) == ()


@pytest.mark.parametrize(("lobe", "side"), [(Lobe.RUL, "RIGHT"), (Lobe.LUL, "LEFT")])
def test_a_dense_lobe_that_nobody_calls_lung_is_flagged_by_the_other_side(
    normal: CoarseThorax, lobe: Lobe, side: str
) -> None:
    """As of an engine that looks for air: neither its lungs nor the threshold's hold the lobe."""
    hu = np.where(normal.labels == lobe, np.float32(30.0), normal.hu)
    finding = the(opaque(CoarseThorax(hu, normal.labels, normal.grid)), f"{side}_LUNG_OPAQUE")
    assert finding.severity is Severity.FLAG
    assert f"of the {side.lower()} side" in finding.sentence


def test_fluid_behind_a_lung_is_flagged_by_its_side() -> None:
    conditions = UNUSUAL["effusion"]
    grid = changed(ThoraxBuild(), conditions).field_of_view((6.0, 4.0, 4.0))
    patient = draw_thorax(grid, conditions=conditions)
    found = opaque(CoarseThorax.of(patient.ct, patient.lobes))
    assert codes(found, Severity.FLAG) == {"RIGHT_LUNG_OPAQUE", "PLEURAL_FLUID"}
    assert "behind the right lung" in the(found, "PLEURAL_FLUID").sentence


def with_ball(thorax: CoarseThorax, centre_mm: tuple[float, float, float], radius_mm: float) -> CoarseThorax:
    """A solid ball (x, y, z from the middle of the body, of both lungs and from two thirds of their height) in lung,
    which no engine calls lung."""
    z, y, x = thorax.centre_mm(thorax.lungs)
    levels = thorax.positions_mm(0)[thorax.lungs.any(axis=(1, 2))]
    middle = thorax.midline_mm, y, levels[0] + 0.67 * (levels[-1] - levels[0])
    x, y, z = (start + step for start, step in zip(middle, centre_mm, strict=True))
    squares = [(thorax.positions_mm(axis) - at) ** 2 for axis, at in enumerate((z, y, x))]
    ball = squares[0][:, None, None] + squares[1][:, None] + squares[2] < radius_mm**2
    hu = np.where(ball & thorax.lungs, np.float32(40.0), thorax.hu)
    return CoarseThorax(hu, np.where(ball, 0, thorax.labels).astype(np.uint8), thorax.grid)


def mass_of(thorax: CoarseThorax) -> Findings:
    return check_mediastinum(thorax, ThresholdLungs.of(thorax), BY_THE_TABLE)


@pytest.mark.parametrize(("x_mm", "side"), [(-44.0, "right"), (44.0, "left")])
def test_a_mass_on_the_mediastinum_that_is_in_no_lobe_is_flagged_by_its_side(
    normal: CoarseThorax, x_mm: float, side: str
) -> None:
    assert mass_of(normal) == ()
    (finding,) = mass_of(with_ball(normal, (x_mm, 0.0, 0.0), 28.0))
    assert (finding.code, finding.severity) == (f"{side.upper()}_MASS_AT_MEDIASTINUM", Severity.FLAG)
    assert f"on the {side} are" in finding.sentence


def test_a_mass_that_is_in_a_lobe_or_small_or_far_away_is_no_mass_of_the_mediastinum(normal: CoarseThorax) -> None:
    mass = with_ball(normal, (-44.0, 0.0, 0.0), 28.0)
    assert mass_of(CoarseThorax(mass.hu, normal.labels, normal.grid)) == ()
    assert mass_of(with_ball(normal, (-44.0, 0.0, 0.0), 16.0)) == ()
    assert mass_of(with_ball(normal, (-100.0, 0.0, 0.0), 28.0)) == ()


def test_what_is_wide_and_thin_is_no_mass(normal: CoarseThorax) -> None:
    """A plate of 16 mm beside the mediastinum: fluid in a fissure, or a border that differs from side to side."""
    column = int(np.argmin(np.abs(normal.positions_mm(2) - (normal.midline_mm - 40.0))))
    plate = np.zeros_like(normal.lungs)
    plate[..., column : column + 4] = normal.lungs[..., column : column + 4]
    hu = np.where(plate, np.float32(40.0), normal.hu)
    assert normal.ml(plate) > 100.0
    assert mass_of(CoarseThorax(hu, np.where(plate, 0, normal.labels).astype(np.uint8), normal.grid)) == ()


def test_a_white_lung_is_missing_for_both_and_not_overlooked() -> None:
    thorax = draw_thorax(COARSE, variant=ThoraxVariant.ONE_LUNG)
    coarse = CoarseThorax.of(thorax.ct, thorax.lobes)
    threshold = ThresholdLungs.of(coarse)
    assert not threshold.left.any()
    assert found_in(coarse, threshold) == ()


def test_no_lungs_are_found_where_there_are_none() -> None:
    thorax = draw_thorax(COARSE, variant=ThoraxVariant.NO_LUNGS)
    threshold = ThresholdLungs.of(CoarseThorax.of(thorax.ct, thorax.lobes))
    assert not threshold.both.any()
