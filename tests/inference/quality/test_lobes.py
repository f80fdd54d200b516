from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import Fissure, Lobe
from inference.geometry import Grid
from inference.quality.coarse_thorax import CoarseThorax
from inference.quality.findings import Findings, Severity
from inference.quality.lobe_figures import LobeFigures
from inference.quality.lobes import (
    check_density,
    check_fissures,
    check_labels,
    check_missing,
    check_order,
    check_pieces,
    check_shares,
    check_volumes,
)
from inference.quality.policy import BY_THE_TABLE
from inference.volumes import LobeMap
from tests.lung_blocks import ATLAS, NETWORK, block, codes, figures_of, lobe_map, normal_labels, the

ALL = (check_labels, check_volumes, check_shares, check_order, check_density)


def found_in(labels: np.ndarray, *, segmenter=NETWORK, **drawn: float):
    """What every check of lobes says of blocks."""
    ct, lobes = block(labels, segmenter=segmenter, **drawn)
    figures = LobeFigures.of(ct, lobes)
    findings = check_missing(lobes, figures, BY_THE_TABLE) + check_pieces(CoarseThorax.of(ct, lobes), BY_THE_TABLE)
    return findings + tuple(finding for check in ALL for finding in check(figures, BY_THE_TABLE))


def without(*lobes: Lobe) -> np.ndarray:
    labels = normal_labels()
    labels[np.isin(labels, lobes)] = 0
    return labels


def test_normal_lobes_give_no_finding() -> None:
    assert found_in(normal_labels()) == ()


def test_figures_are_those_of_the_voxels() -> None:
    ct, lobes = block(normal_labels())
    hu = ct.hu.copy()
    hu[lobes.mask(Lobe.LLL)] = np.linspace(-900, 100, np.count_nonzero(lobes.mask(Lobe.LLL)))
    figures = LobeFigures.of(replace(ct, hu=hu), lobes)
    for lobe in Lobe:
        mask = lobes.mask(lobe)
        assert figures.ml(lobe) == pytest.approx(lobes.volume_ml(lobe))
        assert figures.mean_hu(lobe) == pytest.approx(float(hu[mask].mean(dtype=np.float64)), abs=1e-3)
        assert figures.dense_percent(lobe) == pytest.approx(100.0 * float((hu[mask] > -200.0).mean()))
        centre = lobes.grid.to_patient_mm(np.argwhere(mask).mean(axis=0))
        assert figures.centre_mm(lobe) == pytest.approx(centre)


def test_a_label_that_is_no_lobe_is_rejected() -> None:
    labels = normal_labels()
    labels[20, 20, 20:23] = 6
    finding = the(found_in(labels), "LABELS_UNKNOWN")
    assert (finding.severity, finding.measured) == (Severity.REJECT, 3.0)


@pytest.mark.parametrize(("spacing_mm", "severity"), [(2.7, Severity.FLAG), (2.2, Severity.REJECT)])
def test_small_lungs_are_flagged_and_tiny_ones_rejected(spacing_mm: float, severity: Severity) -> None:
    assert "LUNG_VOLUME" in codes(found_in(normal_labels(), spacing_mm=spacing_mm), severity)


@pytest.mark.parametrize(("side", "part"), [("RIGHT", np.s_[..., 2:17]), ("LEFT", np.s_[..., 27:42])])
def test_a_small_lung_is_flagged_by_its_side_and_its_share(side: str, part) -> None:
    labels = normal_labels()
    labels[part] = 0
    found = codes(found_in(labels, spacing_mm=4.0), Severity.FLAG)
    assert {f"{side}_LUNG_VOLUME", "RIGHT_LUNG_SHARE"} <= found
    assert ("RIGHT_LUNG_VOLUME" in found) != ("LEFT_LUNG_VOLUME" in found)


def test_exchanged_lobes_of_a_lung_are_out_of_share_and_order() -> None:
    labels = normal_labels()
    exchanged = labels.copy()
    exchanged[labels == Lobe.RML], exchanged[labels == Lobe.RLL] = Lobe.RLL, Lobe.RML
    found = found_in(exchanged)
    assert {"RML_SHARE", "RLL_SHARE"} <= codes(found, Severity.FLAG)
    assert "LOBE_ORDER" in codes(found, Severity.REJECT)


@pytest.mark.parametrize(("upper", "lower"), [(Lobe.RUL, Lobe.RLL), (Lobe.LUL, Lobe.LLL)])
def test_an_upper_lobe_below_a_lower_one_is_rejected(upper: Lobe, lower: Lobe) -> None:
    labels = normal_labels()
    exchanged = labels.copy()
    exchanged[labels == upper], exchanged[labels == lower] = lower, upper
    (finding,) = (f for f in found_in(exchanged) if f.code == "LOBE_ORDER" and f"{upper.name} lies" in f.sentence)
    assert finding.severity is Severity.REJECT
    assert finding.measured < -20.0
    assert f"above that of {lower.name}" in finding.sentence


def test_order_is_that_of_the_patient_whatever_way_slices_and_rows_run() -> None:
    ct, lobes = block(normal_labels())
    affine = lobes.grid.affine.copy()
    affine[:3, :3] *= -1.0
    turned = LobeMap(lobes.labels, Grid(lobes.grid.shape, affine, "1.2.3"), NETWORK)
    found = check_order(LobeFigures.of(replace(ct, grid=turned.grid), turned), BY_THE_TABLE)
    assert codes(found, Severity.REJECT) == {"LUNG_SIDES", "LOBE_ORDER"}
    assert len(found) == 5
    flipped = lobe_map(lobes.labels[::-1, ::-1, ::-1].copy())
    back = LobeMap(flipped.labels, turned.grid, NETWORK)
    assert check_order(LobeFigures.of(replace(ct, grid=turned.grid), back), BY_THE_TABLE) == ()


def test_left_on_the_right_is_rejected() -> None:
    labels = normal_labels()
    mirrored = labels[:, :, ::-1].copy()
    finding = the(found_in(mirrored), "LUNG_SIDES")
    assert finding.severity is Severity.REJECT
    assert finding.measured == pytest.approx(-105.0, abs=1.0)


def test_a_lobe_in_pieces_is_flagged_and_one_of_halves_rejected() -> None:
    labels = normal_labels()
    labels[:, :, 38:40][labels[:, :, 38:40] == Lobe.LUL] = 0  # cuts off 2 of 19 columns
    finding = the(found_in(labels), "LOBE_IN_PIECES")
    assert (finding.severity, finding.measured) == (Severity.FLAG, pytest.approx(100.0 * 15 / 17))
    assert "LUL" in finding.sentence
    halves = normal_labels()
    halves[:, 2:42, 23:42][:, ::2][halves[:, 2:42, 23:42][:, ::2] == Lobe.LUL] = 0
    assert the(found_in(halves), "LOBE_IN_PIECES").severity is Severity.REJECT


@pytest.mark.parametrize("hu", [-920.0, -500.0])
def test_unusual_lung_density_is_flagged(hu: float) -> None:
    assert "LUNG_DENSITY" in codes(found_in(normal_labels(), hu=hu), Severity.FLAG)


def test_numbers_that_are_not_hu_are_rejected() -> None:
    assert "LUNG_DENSITY" in codes(found_in(normal_labels(), hu=324.0), Severity.REJECT)


@pytest.mark.parametrize(("share", "code"), [(0.18, None), (0.22, "LOBE_CONSOLIDATED"), (0.4, "LOBE_DENSITY")])
def test_a_dense_lobe_is_flagged_by_its_name(share: float, code: str | None) -> None:
    ct, lobes = block(normal_labels())
    voxels = np.argwhere(lobes.mask(Lobe.RUL))
    hu = ct.hu.copy()
    hu[tuple(voxels[: round(share * len(voxels))].T)] = 40.0
    found = check_density(LobeFigures.of(replace(ct, hu=hu), lobes), BY_THE_TABLE)
    assert codes(found) == ({code, "LOBE_CONSOLIDATED"} if code else set())
    assert all("RUL" in finding.sentence for finding in found)


def test_a_missing_lung_is_a_flag_and_nothing_is_said_of_its_figures() -> None:
    for present, side in (((Lobe.RUL, Lobe.RML, Lobe.RLL), "left"), ((Lobe.LUL, Lobe.LLL), "right")):
        missing = [lobe for lobe in Lobe if lobe not in present]
        for segmenter in (NETWORK, ATLAS):
            found = found_in(without(*missing), segmenter=segmenter)
            assert codes(found) == {"LUNG_MISSING"}
            assert the(found, "LUNG_MISSING").severity is Severity.FLAG
            assert f"No {side} lung" in the(found, "LUNG_MISSING").sentence


def test_lobes_of_a_lone_lung_are_still_judged() -> None:
    labels = without(Lobe.LUL, Lobe.LLL)
    middle = labels == Lobe.RML
    labels[middle], labels[40, 20, 10] = Lobe.RLL, Lobe.RML
    assert {"LUNG_MISSING", "RML_SHARE"} <= codes(found_in(labels))


def test_one_missing_lobe_is_a_flag_of_a_network_and_more_are_rejected() -> None:
    one, two = found_in(without(Lobe.RML)), found_in(without(Lobe.RML, Lobe.LUL))
    assert the(one, "LOBE_MISSING").severity is Severity.FLAG
    assert "RML" in the(one, "LOBE_MISSING").sentence
    assert the(two, "LOBE_MISSING").severity is Severity.REJECT
    assert "RML, LUL" in the(two, "LOBE_MISSING").sentence


def test_an_atlas_that_draws_no_lobe_into_a_lung_is_rejected() -> None:
    found = found_in(without(Lobe.RML), segmenter=ATLAS)
    assert the(found, "ATLAS_LOBE_MISSING").severity is Severity.REJECT


@pytest.mark.parametrize(("lobe", "low", "high"), [(Lobe.RML, 2.0, 20.0), (Lobe.LUL, 10.0, 36.0)])
def test_shares_are_flagged_from_their_limits_on(lobe: Lobe, low: float, high: float) -> None:
    figures = figures_of(normal_labels())
    for wanted, is_found in ((low - 0.2, True), (low + 0.2, False), (high - 0.2, False), (high + 0.2, True)):
        voxels = figures.voxels.copy()
        others = voxels.sum() - voxels[lobe]
        voxels[lobe] = round(others * wanted / (100.0 - wanted))
        found = codes(check_shares(replace(figures, voxels=voxels), BY_THE_TABLE))
        assert (f"{lobe.name}_SHARE" in found) is is_found, wanted


def fissures(spacing_mm: float, right_oblique: float, horizontal: float, left_oblique: float) -> Findings:
    """What is said of shares seen, in the order in which the engine gives them."""
    shares = {
        Fissure.RIGHT_OBLIQUE: right_oblique,
        Fissure.HORIZONTAL: horizontal,
        Fissure.LEFT_OBLIQUE: left_oblique,
    }
    lobes = lobe_map(normal_labels(), spacing_mm=spacing_mm, segmenter=ATLAS)
    return check_fissures(replace(lobes, fissures_seen=shares), BY_THE_TABLE)


def test_an_engine_that_looks_for_no_fissures_is_not_asked_for_them() -> None:
    assert check_fissures(lobe_map(normal_labels()), BY_THE_TABLE) == ()


@pytest.mark.parametrize("spacing_mm", [1.0, 5.0])
def test_fissures_of_which_little_was_seen_are_noted_by_name(spacing_mm: float) -> None:
    assert fissures(spacing_mm, 0.9, 0.31, 0.8) == ()
    (finding,) = fissures(spacing_mm, 0.9, 0.29, 0.8)
    assert (finding.code, finding.severity) == ("FISSURES_NOT_SEEN", Severity.NOTE)
    assert finding.measured == pytest.approx(29.0)
    assert "horizontal 29 %" in finding.sentence


@pytest.mark.parametrize(
    ("shares", "code", "lobes"),
    [
        ((0.29, 0.31, 0.31), "FISSURE_ABSENT", "RLL and RUL with RML"),
        ((0.31, 0.31, 0.29), "FISSURE_ABSENT", "LLL and LUL"),
        ((0.31, 0.14, 0.31), "HORIZONTAL_FISSURE_ABSENT", "RUL and RML"),
    ],
)
def test_a_border_of_which_nothing_was_seen_where_others_are_plain_is_flagged_by_its_lobes(
    shares: tuple[float, float, float], code: str, lobes: str
) -> None:
    (absent,) = fissures(5.0, *shares)
    share = min(shares)
    assert (absent.code, absent.severity) == (code, Severity.FLAG)
    assert (absent.measured, absent.limit) == (pytest.approx(100.0 * share), pytest.approx(100.0 * share + 1.0))
    assert f"The CT shows {100.0 * share:.0f} %" in absent.sentence
    assert f"the border between {lobes} is drawn from the atlas" in absent.sentence
    assert "invented" in absent.sentence
    seen = tuple(value + 0.02 if value == share else value for value in shares)
    assert codes(fissures(5.0, *seen)) == (set() if code == "FISSURE_ABSENT" else {"FISSURES_NOT_SEEN"})


def test_thin_slices_should_show_fissures_and_thick_ones_need_not() -> None:
    """On thin slices a lobe that may be invented is a flag even where nothing else is plain."""
    assert codes(fissures(3.0, 0.3, 0.1, 0.3), Severity.FLAG) == {"HORIZONTAL_FISSURE_ABSENT"}
    assert codes(fissures(3.1, 0.3, 0.1, 0.3)) == {"FISSURES_NOT_SEEN"}
    every = fissures(3.0, 0.0, 0.0, 0.0)
    assert [finding.code for finding in every] == ["FISSURE_ABSENT", "HORIZONTAL_FISSURE_ABSENT", "FISSURE_ABSENT"]
    assert [finding.severity for finding in fissures(5.0, 0.0, 0.0, 0.0)] == [Severity.NOTE]
