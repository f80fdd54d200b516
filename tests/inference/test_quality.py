import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.errors import GridMismatch
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.quality import Finding, Severity, check_coverage, check_ct_and_lobes, check_map
from inference.thorax import ThoraxVariant, draw_thorax
from inference.volumes import CtVolume, LobeMap, PerfusionMap, SeriesReference

GRID = Grid.axial((56, 64, 72), (5.0, 5.0, 5.0), (-178.0, -150.0, -152.0), frame_of_reference_uid="1.2.3")


def codes(findings: tuple[Finding, ...], *severities: Severity) -> set[str]:
    return {f.code for f in findings if not severities or f.severity in severities}


def block(labels: np.ndarray, *, hu: float = -700.0, spacing_mm: float = 5.0) -> tuple[CtVolume, LobeMap]:
    grid = Grid.axial(labels.shape, (spacing_mm,) * 3, (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    source = SeriesReference("1.2", "1.3", "1.2.3", tuple(f"1.4.{k}" for k in range(labels.shape[0])))
    ct = CtVolume(np.where(labels > 0, hu, 40.0).astype(np.float32), grid, source)
    return ct, LobeMap(labels.astype(np.uint8), grid, ModelIdentity("block", "1"))


def normal_labels() -> np.ndarray:
    """Lobes of normal shares: 40 columns for each lung, cut at heights that give each lobe its share of 4.2 l."""
    labels = np.zeros((44, 44, 44), dtype=np.uint8)
    shares = {Lobe.RLL: 0.265, Lobe.RML: 0.093, Lobe.RUL: 0.179, Lobe.LLL: 0.232, Lobe.LUL: 0.231}
    for lobes, columns in ((list(shares)[:3], slice(2, 21)), (list(shares)[3:], slice(23, 42))):
        total, start = sum(shares[lobe] for lobe in lobes), 2.0
        for lobe in lobes:
            stop = start + 40 * shares[lobe] / total
            labels[round(start) : round(stop), 2:42, columns] = lobe
            start = stop
    return labels


def test_the_digital_thorax_is_not_rejected() -> None:
    thorax = draw_thorax(GRID)
    findings = check_ct_and_lobes(thorax.ct, thorax.lobes) + check_map(thorax.perfusion)
    assert codes(findings, Severity.REJECT) == set()


def test_normal_lungs_give_no_finding() -> None:
    assert check_ct_and_lobes(*block(normal_labels())) == ()


def test_every_finding_is_an_ascii_sentence_with_a_measured_value_beyond_its_limit() -> None:
    labels = normal_labels()
    labels[labels == Lobe.RML] = 0
    labels[:2] = Lobe.RLL
    findings = check_ct_and_lobes(*block(labels, hu=-200.0, spacing_mm=9.0))
    assert len(findings) > 4
    for finding in findings:
        assert finding.sentence.isascii()
        assert finding.sentence.endswith(".")
        assert finding.measured != finding.limit
        assert finding.unit


def test_a_truncated_thorax_is_rejected_for_both_ends() -> None:
    thorax = draw_thorax(GRID, variant=ThoraxVariant.TRUNCATED)
    found = codes(check_coverage(thorax.lobes), Severity.REJECT)
    assert found == {"LUNG_TOUCHES_TOP", "LUNG_TOUCHES_BOTTOM"}


@pytest.mark.parametrize(
    ("index", "code"),
    [
        (np.s_[-1, 20:25, 5:12], "LUNG_TOUCHES_TOP"),
        (np.s_[0, 20:25, 5:12], "LUNG_TOUCHES_BOTTOM"),
        (np.s_[20:25, 0, 5:12], "LUNG_TOUCHES_FRONT"),
        (np.s_[20:25, -1, 5:12], "LUNG_TOUCHES_BACK"),
        (np.s_[20:25, 5:12, 0], "LUNG_TOUCHES_RIGHT"),
        (np.s_[20:25, 5:12, -1], "LUNG_TOUCHES_LEFT"),
    ],
)
def test_a_small_cut_is_flagged_on_the_patients_side_and_measured_in_cm2(index: object, code: str) -> None:
    labels = normal_labels()
    labels[index] = Lobe.RLL  # type: ignore[index]
    _, lobes = block(labels)
    (finding,) = check_coverage(lobes)
    assert (finding.code, finding.severity, finding.unit) == (code, Severity.FLAG, "cm2")
    assert finding.measured == pytest.approx(35 * 0.25)


def test_top_is_the_patients_top_when_slices_run_to_the_feet() -> None:
    labels = normal_labels()
    labels[0, 20:25, 5:12] = Lobe.RUL
    grid = Grid.axial(labels.shape, (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    affine = grid.affine.copy()
    affine[:3, 0] *= -1
    lobes = LobeMap(labels, Grid(grid.shape, affine, "1.2.3"), ModelIdentity("block", "1"))
    assert codes(check_coverage(lobes)) == {"LUNG_TOUCHES_TOP"}


def test_numbers_that_are_not_hu_are_rejected() -> None:
    assert "LUNG_DENSITY" in codes(check_ct_and_lobes(*block(normal_labels(), hu=324.0)), Severity.REJECT)


@pytest.mark.parametrize("hu", [-920.0, -500.0])
def test_unusual_lung_density_is_flagged(hu: float) -> None:
    assert codes(check_ct_and_lobes(*block(normal_labels(), hu=hu)), Severity.FLAG) == {"LUNG_DENSITY"}


@pytest.mark.parametrize(("spacing_mm", "severity"), [(2.7, Severity.FLAG), (2.2, Severity.REJECT)])
def test_small_lungs_are_flagged_and_tiny_ones_rejected(spacing_mm: float, severity: Severity) -> None:
    findings = check_ct_and_lobes(*block(normal_labels(), spacing_mm=spacing_mm))
    assert "LUNG_VOLUME" in codes(findings, severity)


def test_a_missing_lung_is_rejected_by_its_side() -> None:
    labels = normal_labels()
    labels[labels >= Lobe.LUL] = 0
    findings = check_ct_and_lobes(*block(labels))
    assert {"LEFT_LUNG_VOLUME", "RIGHT_LUNG_SHARE"} <= codes(findings, Severity.REJECT)
    assert "RIGHT_LUNG_VOLUME" not in codes(findings)


def test_exchanged_lobes_are_flagged() -> None:
    labels = normal_labels()
    exchanged = labels.copy()
    exchanged[labels == Lobe.RML], exchanged[labels == Lobe.RLL] = Lobe.RLL, Lobe.RML
    assert codes(check_ct_and_lobes(*block(exchanged))) == {"RML_SHARE", "RLL_SHARE"}


def test_no_lung_at_all_is_rejected_and_not_a_crash() -> None:
    findings = check_ct_and_lobes(*block(np.zeros((8, 8, 8))))
    assert "LUNG_VOLUME" in codes(findings, Severity.REJECT)


def drawn(values: np.ndarray) -> PerfusionMap:
    lungs = np.zeros(values.shape, dtype=bool)
    lungs[1:-1] = True
    grid = Grid.axial(values.shape, (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")
    return PerfusionMap(values.astype(np.float32), lungs, grid, ModelIdentity("drawn", "1"))


def good_values() -> np.ndarray:
    values = np.zeros((6, 4, 4))
    values[1:-1] = np.linspace(0.5, 1.5, 64).reshape(4, 4, 4)
    return values


def test_a_good_map_gives_no_finding() -> None:
    assert check_map(drawn(good_values())) == ()


@pytest.mark.parametrize(
    ("index", "value", "code"),
    [
        ((2, 2, 2), np.nan, "MAP_NOT_FINITE"),
        ((0, 0, 0), np.inf, "MAP_NOT_FINITE"),
        ((2, 2, 2), 0.0, "MAP_NOT_POSITIVE"),
        ((0, 0, 0), 0.5, "MAP_OUTSIDE_LUNGS"),
        ((0, 0, 0), -0.5, "MAP_OUTSIDE_LUNGS"),
        ((2, 2, 2), 2.0, "MAP_MEAN"),
    ],
)
def test_a_map_that_breaks_a_promise_is_rejected(index: tuple[int, int, int], value: float, code: str) -> None:
    values = good_values()
    values[index] = value
    assert code in codes(check_map(drawn(values)), Severity.REJECT)


def test_a_flat_map_is_flagged_and_a_constant_one_rejected() -> None:
    values = good_values()
    nearly = np.where(values > 0, 1.0 + (values - 1.0) * 0.05, 0.0)
    assert codes(check_map(drawn(nearly)), Severity.FLAG) == {"MAP_VARIATION"}
    assert codes(check_map(drawn(np.where(values > 0, 1.0, 0.0))), Severity.REJECT) == {"MAP_VARIATION"}


def test_lobes_of_another_grid_are_a_bug_that_shows() -> None:
    ct, _ = block(normal_labels())
    _, lobes = block(normal_labels(), spacing_mm=4.0)
    with pytest.raises(GridMismatch):
        check_ct_and_lobes(ct, lobes)
