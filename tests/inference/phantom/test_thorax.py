"""The digital thorax keeps what it promises: one patient on any grid, with the stated lobes and perfusion."""

import numpy as np
import pytest
from scipy import ndimage

from inference.anatomy import Lobe, Side
from inference.geometry import Grid, Reorientation
from inference.phantom.thorax import FRAME_OF_REFERENCE_UID, DigitalThorax, ThoraxVariant, draw_thorax
from tests.conftest import COARSE

PUBLISHED_SHARES_PERCENT = {Lobe.RUL: 17.9, Lobe.RML: 9.3, Lobe.RLL: 26.5, Lobe.LUL: 23.1, Lobe.LLL: 23.2}


def centre_mm(mask: np.ndarray, grid: Grid) -> np.ndarray:
    return grid.to_patient_mm(np.argwhere(mask).mean(axis=0))


def test_lobes_have_about_the_published_shares_of_a_normal_lung_volume(thorax: DigitalThorax) -> None:
    volumes_ml = {lobe: thorax.lobes.volume_ml(lobe) for lobe in Lobe}
    total_ml = sum(volumes_ml.values())
    assert 4000 < total_ml < 5200
    for lobe, share in PUBLISHED_SHARES_PERCENT.items():
        assert 100 * volumes_ml[lobe] / total_ml == pytest.approx(share, abs=2.0)


def test_sides_and_heights_are_those_of_a_patient(thorax: DigitalThorax) -> None:
    centres = {lobe: centre_mm(thorax.lobes.mask(lobe), thorax.lobes.grid) for lobe in Lobe}
    assert all(centres[lobe][0] < -30 for lobe in Lobe if lobe.side is Side.RIGHT)
    assert all(centres[lobe][0] > 30 for lobe in Lobe if lobe.side is Side.LEFT)
    assert centres[Lobe.RUL][2] > centres[Lobe.RML][2] > centres[Lobe.RLL][2] - 20
    assert centres[Lobe.LUL][2] > centres[Lobe.LLL][2]
    assert centres[Lobe.RML][1] < centres[Lobe.RLL][1]


def test_each_lobe_is_one_piece(thorax: DigitalThorax) -> None:
    for lobe in Lobe:
        pieces, count = ndimage.label(thorax.lobes.mask(lobe))
        largest = np.bincount(pieces.ravel())[1:].max()
        assert largest > 0.99 * np.count_nonzero(thorax.lobes.mask(lobe)), count


def test_perfusion_has_mean_one_over_the_lungs_and_rises_to_the_back(thorax: DigitalThorax) -> None:
    values, lungs = thorax.perfusion.values, thorax.lobes.lungs
    assert values[lungs].mean() == pytest.approx(1.0, abs=1e-5)
    assert values[lungs].min() > 0
    assert not values[~lungs].any()
    _, y, _ = thorax.ct.grid.coordinates_mm()
    normal = lungs & ~thorax.low_region & ~thorax.tumour
    assert values[normal & (y > 30)].mean() > 1.1 * values[normal & (y < -30)].mean()


def test_the_low_region_is_emphysema_with_low_perfusion_in_the_left_upper_lobe(thorax: DigitalThorax) -> None:
    region = thorax.low_region
    assert (thorax.lobes.labels[region] == Lobe.LUL).all()
    assert 100 < np.count_nonzero(region) * thorax.ct.grid.voxel_volume_ml < 600
    assert np.median(thorax.ct.hu[region]) == pytest.approx(-940, abs=10)
    assert thorax.perfusion.values[region].mean() < 0.4


def test_the_tumour_is_soft_tissue_right_behind_and_low(thorax: DigitalThorax) -> None:
    x, y, z = centre_mm(thorax.tumour, thorax.ct.grid)
    assert (x, y, z) == pytest.approx((-86, 46, -22), abs=2.0)
    assert (thorax.lobes.labels[thorax.tumour] == Lobe.RLL).all()
    assert thorax.ct.hu[thorax.tumour].mean() == pytest.approx(35, abs=5)


def test_airway_is_one_piece_of_air_outside_the_lobes() -> None:
    thorax = draw_thorax()
    _, pieces = ndimage.label(thorax.airway)
    assert pieces == 1
    assert thorax.ct.hu[thorax.airway].max() < -900
    assert not (thorax.airway & thorax.lobes.lungs).any()
    assert np.argwhere(thorax.airway)[:, 0].max() == thorax.ct.grid.shape[0] - 1


def test_fissures_show_as_denser_plates_on_a_fine_grid() -> None:
    fine = Grid.axial((1, 160, 100), (0.7, 0.7, 0.7), (-110.0, -60.0, 0.0), frame_of_reference_uid="1.2.3")
    thorax = draw_thorax(fine)
    hu, labels = ndimage.gaussian_filter(thorax.ct.hu[0], (0, 6)), thorax.lobes.labels[0]
    edge = (labels[:-1] == Lobe.RUL) & (labels[1:] == Lobe.RLL) | (labels[:-1] == Lobe.RML) & (labels[1:] == Lobe.RLL)
    assert edge.sum() > 50
    away = ndimage.distance_transform_edt(labels > 0) > 5
    away[:-1] &= ndimage.distance_transform_edt(~edge) > 5
    assert np.median(np.maximum(hu[:-1], hu[1:])[edge]) > np.median(hu[away]) + 100


@pytest.mark.parametrize("flips", [(1, 1, -1), (1, -1, 1), (-1, 1, 1), (-1, -1, -1)])
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_any_axes_show_the_same_patient(
    thorax: DigitalThorax, flips: tuple[int, int, int], order: tuple[int, int, int]
) -> None:
    affine = COARSE.affine.copy()
    shape = np.array(COARSE.shape)
    for axis, flip in enumerate(flips):
        if flip < 0:
            affine[:3, 3] += affine[:3, axis] * (shape[axis] - 1)
            affine[:3, axis] *= -1
    affine[:3, :3] = affine[:3, list(order)]
    turned = draw_thorax(Grid(tuple(int(n) for n in shape[list(order)]), affine, FRAME_OF_REFERENCE_UID))
    turn = Reorientation.to_patient_axes(turned.ct.grid)
    assert turn.grid(turned.ct.grid).matches(COARSE)
    assert np.mean(turn.apply(turned.ct.hu) != thorax.ct.hu) < 1e-4
    assert np.mean(turn.apply(turned.lobes.labels) != thorax.lobes.labels) < 1e-4
    assert np.allclose(turn.apply(turned.perfusion.values), thorax.perfusion.values, atol=1e-3)


def test_another_spacing_and_an_off_centre_field_show_the_same_patient(thorax: DigitalThorax) -> None:
    other = draw_thorax(
        Grid.axial(
            (40, 80, 130), (7.0, 4.5, 3.0), (-170.0, -170.0, -150.0), frame_of_reference_uid=FRAME_OF_REFERENCE_UID
        )
    )
    for lobe in Lobe:
        assert other.lobes.volume_ml(lobe) == pytest.approx(thorax.lobes.volume_ml(lobe), rel=0.06)
    assert centre_mm(other.tumour, other.ct.grid) == pytest.approx(centre_mm(thorax.tumour, COARSE), abs=2.0)


def test_drawing_twice_gives_the_same_bytes_and_uids(thorax: DigitalThorax) -> None:
    again = draw_thorax(COARSE)
    assert again.ct.hu.tobytes() == thorax.ct.hu.tobytes()
    assert again.perfusion.values.tobytes() == thorax.perfusion.values.tobytes()
    assert again.ct.source == thorax.ct.source


def test_another_grid_or_variant_has_other_uids(thorax: DigitalThorax) -> None:
    uids = {thorax.ct.source.series_instance_uid}
    uids |= {draw_thorax(COARSE, variant=v).ct.source.series_instance_uid for v in ThoraxVariant}
    assert len(uids) == len(ThoraxVariant)  # STANDARD is the fixture
    assert all(uid.startswith("2.25.") and len(uid) <= 64 for uid in uids)


def test_without_lungs_there_is_neither_lung_nor_air_inside_the_body() -> None:
    thorax = draw_thorax(COARSE, variant=ThoraxVariant.NO_LUNGS)
    assert not thorax.lobes.lungs.any()
    assert not thorax.perfusion.values.any()
    pieces, _ = ndimage.label(thorax.ct.hu < -400)
    around_the_body = pieces[0, 0, 0]
    assert np.array_equal(pieces > 0, pieces == around_the_body)


def test_one_lung_has_a_consolidated_left_side(thorax: DigitalThorax) -> None:
    one = draw_thorax(COARSE, variant=ThoraxVariant.ONE_LUNG)
    assert not one.lobes.lung(Side.LEFT).any()
    assert np.array_equal(one.lobes.lung(Side.RIGHT), thorax.lobes.lung(Side.RIGHT))
    assert np.median(one.ct.hu[thorax.lobes.lung(Side.LEFT)]) == pytest.approx(42, abs=10)
    assert one.perfusion.values[one.lobes.lungs].mean() == pytest.approx(1.0, abs=1e-5)


def test_truncated_lungs_touch_the_first_and_the_last_slice() -> None:
    cut = draw_thorax(COARSE, variant=ThoraxVariant.TRUNCATED)
    assert cut.ct.grid.shape[0] == COARSE.shape[0] // 2
    assert cut.lobes.lungs[0].any()
    assert cut.lobes.lungs[-1].any()
