"""Dense lung and fluid between a lung and its ribs, in a patient made of boxes whose truth is known to the voxel."""

import numpy as np
import pytest

from inference.anatomy import Side
from inference.atlas.chest_wall import effusion_ml
from inference.atlas.lungs import Lungs, find_lungs
from inference.geometry import Grid, Reorientation
from inference.volumes import CtVolume, SeriesReference

GRID = Grid.axial((84, 92, 100), (4.0, 4.0, 4.0), (-198.0, -182.0, -166.0), frame_of_reference_uid="1.2.3")
X, Y, Z = GRID.coordinates_mm()
Range = tuple[float, float]


def ct_of(hu: np.ndarray, grid: Grid = GRID) -> CtVolume:
    uids = tuple(f"1.2.9.{k}" for k in range(grid.shape[0]))
    reference = SeriesReference("1.2.7", "1.2.8", grid.frame_of_reference_uid, uids)
    return CtVolume(np.ascontiguousarray(hu, dtype=np.float32), grid, reference)


def box(x_mm: Range, y_mm: Range, z_mm: Range) -> np.ndarray:
    inside: np.ndarray = (
        (np.abs(X - np.mean(x_mm)) <= np.ptp(x_mm) / 2)
        & (np.abs(Y - np.mean(y_mm)) <= np.ptp(y_mm) / 2)
        & (np.abs(Z - np.mean(z_mm)) <= np.ptp(z_mm) / 2)
    )
    return inside


def chest(radius_mm: float = 0.0) -> np.ndarray:
    """Inside of the rib cage: an oval tube, smaller by a margin."""
    oval: np.ndarray = (X / (136.0 - radius_mm)) ** 2 + (Y / (100.0 - radius_mm)) ** 2 + 0.0 * Z < 1.0
    return oval


def lungs_of(side: Side) -> np.ndarray:
    sign = -1.0 if side is Side.RIGHT else 1.0
    lung: np.ndarray = (
        chest() & (sign * X > 22.0) & (np.abs(Z) < 120.0) & (np.sqrt((X - 30.0) ** 2 + (Y + 40.0) ** 2 + Z**2) > 62.0)
    )
    return lung


BODY = (X / 172.0) ** 2 + (Y / 134.0) ** 2 + 0.0 * Z < 1.0
LIVER = box((-140, -20), (-110, 110), (-125, -60)) & (np.sqrt((X + 70.0) ** 2 + Y**2 + (Z + 130.0) ** 2) < 70.0)


def patient() -> np.ndarray:
    """An oval body with ribs of 8 mm at every 24 mm, two lungs, a heart that touches the front and a round liver."""
    hu = np.full(GRID.shape, -1000.0)
    hu[BODY] = 52.0
    hu[chest(-14.0) & ~chest(-4.0) & (np.mod(Z, 24.0) < 8.0)] = 500.0
    hu[box((-16, 16), (78, 110), (-170, 170))] = 300.0
    for side in Side:
        hu[lungs_of(side) & ~LIVER] = -820.0
    return hu


def found(hu: np.ndarray) -> Lungs:
    noise = np.random.default_rng(5).normal(0.0, 10.0, GRID.shape)
    return find_lungs(ct_of(hu + noise))


def fluid_ml(hu: np.ndarray, lungs: Lungs) -> dict[Side, float]:
    return effusion_ml(hu.astype(np.float32), BODY, {side: lungs.side(side) for side in Side}, GRID, 0.0)


def share(lung: np.ndarray, part: np.ndarray) -> float:
    return float(np.count_nonzero(lung & part)) / np.count_nonzero(part)


@pytest.mark.parametrize(("y_mm", "radius_mm"), [(20.0, 36.0), (60.0, 28.0)])
def test_a_tumour_at_the_ribs_belongs_to_the_lung(y_mm: float, radius_mm: float) -> None:
    hu = patient()
    x_mm = -136.0 * np.sqrt(1.0 - (y_mm / 100.0) ** 2) + 4.0
    mass = (np.sqrt((X - x_mm) ** 2 + (Y - y_mm) ** 2 + (Z - 20.0) ** 2) < radius_mm) & lungs_of(Side.RIGHT)
    hu[mass] = 40.0
    lungs = found(hu)
    assert share(lungs.right, mass) > 0.85
    assert share(lungs.right, chest() & ~mass & lungs_of(Side.RIGHT) & ~LIVER) > 0.95
    assert share(lungs.right, ~chest(-2.0) & np.ones(GRID.shape, bool)) < 0.001


def test_heart_liver_and_chest_wall_are_no_dents() -> None:
    hu = patient()
    lungs = found(hu)
    lung = lungs.right | lungs.left
    truth = (lungs_of(Side.RIGHT) | lungs_of(Side.LEFT)) & ~LIVER
    heart = chest() & (np.sqrt((X - 30.0) ** 2 + (Y + 40.0) ** 2 + Z**2) < 58.0)
    assert share(lung, heart) < 0.03
    assert share(lung, LIVER & chest()) < 0.05
    assert 2.0 * np.count_nonzero(lung & truth) / (np.count_nonzero(lung) + np.count_nonzero(truth)) > 0.97
    assert fluid_ml(hu, lungs) == {}


def test_fluid_at_the_back_is_measured_and_is_no_lung_and_dense_muscle_is_no_fluid() -> None:
    hu = patient()
    fluid = lungs_of(Side.RIGHT) & (Y > 50.0) & (Z < 60.0) & ~LIVER
    hu[fluid] = 12.0
    hu[lungs_of(Side.LEFT) & (Y > 50.0) & (Z < 60.0)] = 55.0
    lungs = found(hu)
    ml = float(np.count_nonzero(fluid)) * GRID.voxel_volume_ml
    measured = fluid_ml(hu, lungs)
    assert set(measured) == {Side.RIGHT}
    assert measured[Side.RIGHT] == pytest.approx(ml, rel=0.3)
    assert share(lungs.right, fluid) < 0.15


def test_a_tumour_is_found_on_the_same_place_in_any_patient_position() -> None:
    hu = patient()
    mass = (np.sqrt((X - 132.0) ** 2 + (Y - 10.0) ** 2 + (Z - 20.0) ** 2) < 30.0) & lungs_of(Side.LEFT)
    hu[mass] = 40.0
    expected = find_lungs(ct_of(hu))
    assert share(expected.left, mass) > 0.75
    turn = Reorientation((0, 1, 2), (True, True, False))
    turned = find_lungs(ct_of(turn.apply(hu), turn.grid(GRID)))
    assert np.array_equal(turned.left, turn.apply(expected.left))


def test_lung_that_the_edge_of_the_volume_cuts_off_is_still_found() -> None:
    hu = patient()
    columns = (X[0, 0] > -110.0) & (X[0, 0] < 118.0)
    keep = np.flatnonzero(columns)
    part = slice(int(keep[0]), int(keep[-1]) + 1)
    grid = GRID.cropped((slice(0, GRID.shape[0]), slice(0, GRID.shape[1]), part))
    lungs = find_lungs(ct_of(hu[:, :, part], grid))
    for side in Side:
        assert share(lungs.side(side), (lungs_of(side) & ~LIVER)[:, :, part]) > 0.95


def test_lung_that_the_circle_of_reconstruction_cuts_off_is_still_found() -> None:
    hu = patient() + np.random.default_rng(6).normal(0.0, 10.0, GRID.shape)
    outside = np.broadcast_to(np.hypot(X, Y) > 118.0, GRID.shape)
    hu[outside] = -1024.0
    lungs = find_lungs(ct_of(hu))
    for side in Side:
        assert share(lungs.side(side), lungs_of(side) & ~LIVER & ~outside) > 0.93
        assert share(lungs.side(side), outside) < 0.01


def test_what_is_left_of_a_patient_without_the_other_lung_is_one_lung() -> None:
    hu = np.full(GRID.shape, -1000.0)
    hu[BODY] = 52.0
    lung = chest() & (X > -45.0) & (np.abs(Z) < 120.0)
    hu[lung] = -820.0
    lungs = found(hu)
    assert share(lungs.left, lung) > 0.95
    assert not lungs.right.any()
