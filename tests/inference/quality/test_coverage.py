from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax, ThoraxVariant, draw_thorax
from inference.quality.coverage import check_circle, check_coverage, check_slices
from inference.quality.findings import Severity
from inference.quality.policy import BY_THE_TABLE
from inference.volumes import LobeMap
from tests.conftest import COARSE
from tests.lung_blocks import NETWORK, block, codes, ct_of, lobe_map, normal_labels, the


def test_whole_lungs_touch_nothing(thorax: DigitalThorax) -> None:
    assert check_coverage(thorax.lobes, BY_THE_TABLE) == ()
    assert check_circle(thorax.ct, thorax.lobes, BY_THE_TABLE) == ()
    assert check_slices(thorax.lobes, BY_THE_TABLE) == ()


def test_a_truncated_thorax_is_rejected_for_both_ends() -> None:
    lobes = draw_thorax(COARSE, variant=ThoraxVariant.TRUNCATED).lobes
    assert codes(check_coverage(lobes, BY_THE_TABLE), Severity.REJECT) == {"LUNG_TOUCHES_TOP", "LUNG_TOUCHES_BOTTOM"}


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
    (finding,) = check_coverage(lobe_map(labels), BY_THE_TABLE)
    assert (finding.code, finding.severity, finding.unit) == (code, Severity.FLAG, "cm2")
    assert finding.measured == pytest.approx(35 * 0.25)


def test_a_cut_is_flagged_from_1_cm2_on_and_rejected_above_40() -> None:
    for voxels, severity in ((4, None), (5, Severity.FLAG), (160, Severity.FLAG), (161, Severity.REJECT)):
        labels = normal_labels()
        labels[-1].flat[:voxels] = Lobe.RUL
        found = [f.severity for f in check_coverage(lobe_map(labels), BY_THE_TABLE) if f.code == "LUNG_TOUCHES_TOP"]
        assert found == ([severity] if severity else []), voxels


def test_top_is_the_patients_top_when_slices_run_to_the_feet() -> None:
    labels = normal_labels()
    labels[0, 20:25, 5:12] = Lobe.RUL
    lobes = lobe_map(labels)
    affine = lobes.grid.affine.copy()
    affine[:3, 0] *= -1
    turned = LobeMap(labels, Grid(lobes.grid.shape, affine, "1.2.3"), NETWORK)
    assert codes(check_coverage(turned, BY_THE_TABLE)) == {"LUNG_TOUCHES_TOP"}


def in_a_circle(labels: np.ndarray, *, padding: float = -1024.0) -> tuple[np.ndarray, np.ndarray]:
    """HU of blocks in a round field of view that touches the edges of the images, and which pixels it holds."""
    rows, columns = labels.shape[1:]
    row, column = np.ogrid[:rows, :columns]
    inside = np.hypot(row - (rows - 1) / 2, column - (columns - 1) / 2) <= rows / 2
    return np.where(inside, np.where(labels > 0, -700.0, 40.0), padding), inside


def test_lung_at_the_circle_of_the_scanner_is_flagged() -> None:
    labels = normal_labels()
    hu, inside = in_a_circle(labels)
    labels[:, ~inside] = 0
    labels[30:, 20:24, 0] = 0
    finding = the(check_circle(ct_of(hu), lobe_map(labels), BY_THE_TABLE), "LUNG_TOUCHES_CIRCLE")
    assert finding.severity is Severity.REJECT  # lungs as wide as the field of view
    small = np.zeros_like(labels)
    small[10:20, 20:24, 0:8] = Lobe.RUL
    finding = the(check_circle(ct_of(hu), lobe_map(small), BY_THE_TABLE), "LUNG_TOUCHES_CIRCLE")
    assert (finding.severity, finding.measured) == (Severity.FLAG, pytest.approx(10 * 4 * 0.25, rel=0.3))


def test_lung_away_from_the_circle_and_square_images_are_not() -> None:
    labels = np.zeros_like(normal_labels())
    labels[10:20, 15:30, 6:38] = Lobe.RUL
    hu, _ = in_a_circle(labels)
    assert check_circle(ct_of(hu), lobe_map(labels), BY_THE_TABLE) == ()
    whole, _ = in_a_circle(normal_labels(), padding=-1000.0)  # air: nothing says where the field of view ends
    assert check_circle(ct_of(whole), lobe_map(normal_labels()), BY_THE_TABLE) == ()


def cones() -> np.ndarray:
    """Lungs whose sections grow and shrink evenly."""
    z, y, x = np.ogrid[:50, :60, :60]
    radius = 22.0 - 0.03 * (z - 24.0) ** 2
    return np.where(np.hypot(y - 30, x - 30) < radius, np.where(x < 30, Lobe.RUL, Lobe.LUL), 0).astype(np.uint8)


def test_a_slice_out_of_place_is_flagged_by_its_number() -> None:
    labels = cones()
    assert check_slices(lobe_map(labels), BY_THE_TABLE) == ()
    labels[20] = np.roll(labels[20], 5, axis=1)
    finding = the(check_slices(lobe_map(labels), BY_THE_TABLE), "SLICE_STANDS_OUT")
    assert finding.severity is Severity.FLAG
    assert "In slice 21 " in finding.sentence
    labels[20] = np.roll(labels[20], 25, axis=1)
    far = check_slices(lobe_map(labels), BY_THE_TABLE)
    assert the(far, "SLICE_STANDS_OUT").severity is Severity.REJECT
    assert "LUNG_AREA_JUMP" in codes(far)


def test_a_slice_that_came_twice_in_the_place_of_another_is_flagged() -> None:
    labels = cones()
    labels[9] = labels[24]
    assert "In slice 10 " in the(check_slices(lobe_map(labels), BY_THE_TABLE), "SLICE_STANDS_OUT").sentence


def test_a_step_between_slices_is_flagged_where_it_is() -> None:
    labels = cones()
    labels[20:] = np.roll(labels[20:], 5, axis=2)
    finding = the(check_slices(lobe_map(labels), BY_THE_TABLE), "LUNG_AREA_JUMP")
    assert finding.severity is Severity.FLAG
    assert "Between slices 20 and 21 " in finding.sentence
    missing = np.concatenate([cones()[:10], cones()[24:]])
    assert "Between slices 10 and 11 " in the(check_slices(lobe_map(missing), BY_THE_TABLE), "LUNG_AREA_JUMP").sentence


def test_few_slices_say_nothing_of_slices() -> None:
    _, lobes = block(normal_labels()[:4])
    assert check_slices(lobes, BY_THE_TABLE) == ()
    assert check_slices(replace(lobes, labels=np.zeros_like(lobes.labels)), BY_THE_TABLE) == ()
