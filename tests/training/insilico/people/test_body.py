"""The body on a grid: whole lobes with the right neighbours, everything where it belongs, nothing drawn by chance."""

from dataclasses import dataclass, replace

import numpy as np
import pytest
from scipy import ndimage

from inference.anatomy import Lobe, Side
from inference.phantom.arms import ArmPosition, Arms
from inference.phantom.couch import Couch, CouchShape
from training.insilico.draws import Draws
from training.insilico.people.body import Body, make_body
from training.insilico.people.demography import Demography
from training.insilico.people.person import Person, draw_person

SPACING_MM = 6.0
NEIGHBOURS = {(Lobe.RUL, Lobe.RML), (Lobe.RUL, Lobe.RLL), (Lobe.RML, Lobe.RLL), (Lobe.LUL, Lobe.LLL)}


@dataclass(frozen=True)
class Case:
    person: Person
    body: Body


@pytest.fixture(scope="module")
def cases() -> list[Case]:
    people = [draw_person(Draws(f"body/{number}")) for number in range(5)]
    return [Case(person, make_body(person, SPACING_MM)) for person in people]


@pytest.fixture(scope="module")
def fine() -> Case:
    person = replace(draw_person(Draws("body/1")), has_stomach_gas=True)
    return Case(person, make_body(person, 4.0))


def touching(labels: np.ndarray) -> set[tuple[int, int]]:
    """Pairs of lobes with a common face of voxels."""
    pairs: set[tuple[int, int]] = set()
    for axis in range(3):
        a, b = (np.moveaxis(labels, axis, 0)[part] for part in (slice(None, -1), slice(1, None)))
        different = (a != b) & (a > 0) & (b > 0)
        pairs |= {(min(p), max(p)) for p in zip(a[different].tolist(), b[different].tolist(), strict=True)}
    return pairs


def test_each_lobe_is_one_piece_with_the_right_neighbours(cases: list[Case]) -> None:
    for case in cases:
        for lobe in Lobe:
            assert ndimage.label(case.body.lobes == lobe)[1] == 1, lobe.name
        assert touching(case.body.lobes) == NEIGHBOURS


def test_lobes_lie_right_left_above_and_below(fine: Case) -> None:
    middle = {lobe: np.argwhere(fine.body.lobes == lobe).mean(axis=0) for lobe in Lobe}
    assert all(middle[a][2] < middle[b][2] for a in Lobe for b in Lobe if a.side is Side.RIGHT and b.side is Side.LEFT)
    assert middle[Lobe.RUL][0] > middle[Lobe.RML][0]
    assert middle[Lobe.RML][1] < middle[Lobe.RLL][1]
    assert middle[Lobe.LUL][0] > middle[Lobe.LLL][0]


def test_lungs_have_volume_and_density_of_the_person(fine: Case) -> None:
    body, person = fine.body, fine.person
    lungs = body.lobes > 0
    said = person.lung_ml.right + person.lung_ml.left
    assert lungs.sum() * body.grid.voxel_volume_ml == pytest.approx(said, rel=0.03)
    hu = body.hu[lungs]
    assert hu.mean() == pytest.approx(person.mean_hu, abs=12)
    assert hu.max() < 0


def test_density_grows_to_the_back_as_the_person_says_and_more_at_the_bases(fine: Case) -> None:
    build = fine.person.build
    unseen = {name: replace(getattr(build, name), seen=0.0) for name in ("right_oblique", "left_oblique", "horizontal")}
    body = make_body(replace(fine.person, build=replace(build, **unseen)), SPACING_MM)
    lungs = body.lobes > 0
    assert body.hu[lungs].mean() == pytest.approx(fine.person.mean_hu, abs=1.5)
    _, y, z = build.to_reference(*body.grid.to_patient_mm(np.argwhere(lungs).astype(float)).T)
    above, base = (np.polyfit(y[part], body.hu[lungs][part], 1)[0] for part in (z > 25.0, z < -40.0))
    assert above == pytest.approx(build.gravity_hu_per_mm, rel=0.15)
    assert base > 1.1 * above


def test_every_case_lies_inside_its_grid(cases: list[Case]) -> None:
    for case in cases:
        body = case.body
        assert len(set(np.round(body.grid.spacing_mm, 6))) == 1
        for side in (body.skin[:, 0], body.skin[:, -1], body.skin[:, :, 0], body.skin[:, :, -1]):
            assert not side.any()
        assert not (body.lobes[[0, -1]] > 0).any()
        assert body.skin[body.lobes > 0].all()
        assert body.skin[body.airway].all()
        assert not (body.airway & (body.lobes > 0)).any()


def test_the_airway_is_air_and_reaches_both_lungs(fine: Case) -> None:
    body = fine.body
    assert (body.hu[body.airway] == -1000).all()
    assert ndimage.label(body.airway, np.ones((3, 3, 3)))[1] == 1
    near = ndimage.binary_dilation(body.airway, iterations=3)
    assert {int(v) for v in np.unique(body.lobes[near])} >= {Lobe.RLL, Lobe.LLL}


def test_pulmonary_arteries_of_blood_lead_to_each_hilum(cases: list[Case]) -> None:
    for case in cases:
        body = case.body
        to_lung_mm = ndimage.distance_transform_edt(body.lobes == 0, sampling=body.grid.spacing_mm)
        for side, place in zip((Side.RIGHT, Side.LEFT), body.hilum_mm.astype(float), strict=True):
            voxel = tuple(np.round(body.grid.to_index(place)).astype(int))
            assert body.lobes[voxel] == 0
            assert to_lung_mm[voxel] < 20.0
            own = body.lobes[tuple(slice(k - 5, k + 6) for k in voxel)]
            assert {Lobe(v).side for v in np.unique(own[own > 0])} == {side}


def test_blood_fills_the_great_vessels(fine: Case) -> None:
    build, body = fine.person.build, fine.body
    for place in [(2.0, -2.0, 15.0), (-26.0, -10.0, 40.0), (20.0, 50.0, -60.0)]:
        voxel = tuple(np.round(body.grid.to_index(np.array(build.to_patient(build.drawn(place))))).astype(int))
        assert body.hu[voxel] == build.blood_hu
    without = make_body(replace(fine.person, build=replace(build, has_great_vessels=False)), SPACING_MM)
    with_them = make_body(fine.person, SPACING_MM)
    lost_ml = ((without.lobes > 0).sum() - (with_them.lobes > 0).sum()) * without.grid.voxel_volume_ml
    assert 5 < lost_ml < 120


def test_arms_lie_beside_the_trunk_or_above_the_chest(fine: Case) -> None:
    def skin(arms: Arms | None) -> np.ndarray:
        body = make_body(replace(fine.person, build=replace(fine.person.build, arms=arms)), 6.0)
        return body.skin.any(axis=1)

    up, down, none = skin(Arms(ArmPosition.UP)), skin(Arms(ArmPosition.DOWN)), skin(None)
    low = slice(0, none.shape[0] // 2)
    assert up[low].sum(axis=1).mean() == pytest.approx(none[low].sum(axis=1).mean(), abs=1.0)
    assert down[low].sum(axis=1).mean() > none[low].sum(axis=1).mean() + 2 * 60.0 / 6.0
    assert up[-4:].sum() > none[-4:].sum()


@pytest.mark.parametrize("shape", CouchShape)
def test_the_back_lies_flat_on_a_couch_that_nothing_bends(fine: Case, shape: CouchShape) -> None:
    couch = Couch(shape, sunk_mm=8.0)
    body = make_body(replace(fine.person, build=replace(fine.person.build, couch=couch, bend_mm=0.0)), SPACING_MM)
    table = (body.hu == -620) & ~body.skin
    tops = np.argmax(table, axis=1)
    seen = table.any(axis=1)
    middle, edge = body.grid.shape[2] // 2, np.flatnonzero(seen[0])[0]
    assert len(set(tops[:, middle])) == 1
    assert (tops[0, middle] > tops[0, edge] + 3) == (shape is CouchShape.CURVED)
    lowest = body.grid.shape[1] - 1 - np.argmax(body.skin[:, ::-1], axis=1)[:, middle]
    assert np.median(tops[:, middle] - lowest) == 1


def test_a_woman_has_breasts_of_fat_and_gland() -> None:
    woman = draw_person(Draws("body/woman"), Demography(share_of_men=0.0))
    flat = make_body(replace(woman, build=replace(woman.build, breasts=None)), SPACING_MM)
    full = make_body(woman, SPACING_MM)
    more_ml = (full.skin.sum() - flat.skin.sum()) * full.grid.voxel_volume_ml
    assert 100 < more_ml < 2500
    assert {-95.0, 20.0} <= set(np.unique(full.hu))


def test_stomach_gas_lies_below_the_left_half_of_the_diaphragm(fine: Case) -> None:
    body, without = fine.body, make_body(replace(fine.person, has_stomach_gas=False), 4.0)
    gas = (body.hu == -1000) & (without.hu != -1000)
    assert 20 < gas.sum() * body.grid.voxel_volume_ml < 150
    assert np.array_equal(body.lobes, without.lobes)
    assert np.argwhere(gas).mean(axis=0)[2] > np.argwhere(body.skin).mean(axis=0)[2]


def test_a_body_is_the_same_every_time_and_much_the_same_on_a_finer_grid(cases: list[Case], fine: Case) -> None:
    again = make_body(cases[0].person, SPACING_MM)
    assert again.hu.tobytes() == cases[0].body.hu.tobytes()
    assert again.lobes.tobytes() == cases[0].body.lobes.tobytes()
    coarse = cases[1].body
    volumes = [
        np.bincount(body.lobes.ravel(), minlength=6)[1:] * body.grid.voxel_volume_ml for body in (coarse, fine.body)
    ]
    assert volumes[0] == pytest.approx(volumes[1], rel=0.06)
