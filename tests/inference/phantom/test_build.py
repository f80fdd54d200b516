"""The family of digital patients: the standard one never changes, the others differ as people do."""

import hashlib
from dataclasses import replace

import numpy as np
import pytest
from scipy import ndimage

from inference.anatomy import Lobe, Side
from inference.geometry import Grid, Reorientation
from inference.phantom.anatomy import lobe_labels
from inference.phantom.build import ThoraxBuild, varied
from inference.phantom.shapes import Tube
from inference.phantom.thorax import DigitalThorax, ThoraxVariant, draw_thorax
from tests.conftest import COARSE

SMALL = COARSE.with_spacing((8.0, 5.0, 5.0))
PUBLISHED_PERCENT = {Lobe.RUL: (17.9, 2.4), Lobe.RML: (9.3, 1.6), Lobe.RLL: (26.5, 2.6), Lobe.LUL: (23.1, 2.1)}
PUBLISHED_PERCENT |= {Lobe.LLL: (23.2, 2.4)}
BENT = ThoraxBuild(width=1.1, depth=0.9, height=0.95, bend_mm=12.0, fat_mm=10.0)
DIGESTS = {
    ThoraxVariant.STANDARD: "ffa1878a49f43538",
    ThoraxVariant.NO_LUNGS: "128f4add039a6881",
    ThoraxVariant.ONE_LUNG: "04cbfd4cb42b2ce3",
    ThoraxVariant.TRUNCATED: "de670c4b3e823fc7",
}
"""Of the drawings of version 1, taken before there was a family."""


def digest(thorax: DigitalThorax) -> str:
    """Of everything drawn; perfusion to four digits, for the last bit of a cosine differs between processors."""
    total = hashlib.sha256()
    for array in (thorax.ct.hu, thorax.lobes.labels, thorax.airway, thorax.tumour, thorax.low_region):
        total.update(np.ascontiguousarray(array).tobytes())
    total.update(np.round(thorax.perfusion.values.astype(np.float64), 4).tobytes())
    total.update(repr(thorax.ct.source).encode())
    return total.hexdigest()[:16]


def volumes_ml(build: ThoraxBuild, spacing_mm: tuple[float, float, float] = (12.0, 10.0, 10.0)) -> np.ndarray:
    """True volume of the five lobes, airways left in."""
    grid = build.field_of_view(spacing_mm)
    labels = lobe_labels(build, *build.to_reference(*grid.coordinates_mm()))
    return np.bincount(labels.ravel(), minlength=6)[1:] * grid.voxel_volume_ml


@pytest.fixture(scope="module")
def family_ml() -> np.ndarray:
    return np.array([volumes_ml(varied(number)) for number in range(100)])


@pytest.mark.parametrize("variant", ThoraxVariant)
def test_the_standard_patient_is_drawn_as_ever(variant: ThoraxVariant) -> None:
    assert digest(draw_thorax(COARSE, variant=variant)) == DIGESTS[variant]


def test_lobar_shares_of_the_family_lie_about_the_published_ones_and_spread_at_least_as_wide(
    family_ml: np.ndarray,
) -> None:
    percent = 100 * family_ml / family_ml.sum(axis=1, keepdims=True)
    for lobe, (mean, sd) in PUBLISHED_PERCENT.items():
        assert percent[:, lobe - 1].mean() == pytest.approx(mean, abs=1.5)
        assert 0.8 * sd < percent[:, lobe - 1].std() < 1.6 * sd
    assert percent[:, Lobe.RML - 1].min() < 6.6
    assert percent[:, Lobe.RML - 1].max() > 13.0


def test_lung_volumes_of_the_family_reach_from_small_to_large(family_ml: np.ndarray) -> None:
    total_l = family_ml.sum(axis=1) / 1000
    assert total_l.mean() == pytest.approx(4.4, abs=0.4)
    assert 2.0 < total_l.min() < 3.0
    assert 6.0 < total_l.max() < 8.5


def test_a_number_gives_one_patient_and_no_two_numbers_the_same() -> None:
    builds = {varied(number) for number in range(200)}
    assert len(builds) == 200
    assert varied(17) == varied(17)
    assert varied(17).noise_seed != varied(18).noise_seed


def test_a_patient_is_the_same_on_every_machine() -> None:
    build = varied(5)
    assert (build.width, build.horizontal.height_mm) == pytest.approx(
        (0.9672628387246983, 17.653551904379377), abs=1e-9
    )


@pytest.mark.parametrize("number", [1, 3])
def test_a_varied_patient_lies_inside_its_field_of_view(number: int) -> None:
    build = varied(number)
    thorax = draw_thorax(build.field_of_view((8.0, 6.0, 6.0)), build=build)
    lungs, body = thorax.lobes.lungs, thorax.ct.hu > -300
    for axis in range(3):
        for end in (0, -1):
            assert not np.take(lungs, end, axis=axis).any()
    assert not body[:, :, [0, -1]].any()
    assert not body[:, [0, -1]].any()


def test_each_lobe_of_a_varied_patient_is_one_piece() -> None:
    for number in range(4):
        build = varied(number)
        grid = build.field_of_view((6.0, 5.0, 5.0))
        labels = lobe_labels(build, *build.to_reference(*grid.coordinates_mm()))
        for lobe in Lobe:
            pieces, _ = ndimage.label(labels == lobe)
            sizes = np.bincount(pieces.ravel())[1:]
            assert sizes.max() > 0.95 * sizes.sum(), (number, lobe.name)


@pytest.mark.parametrize(
    "build",
    [ThoraxBuild(), BENT, replace(BENT, mirrored=True), varied(9)],
    ids=["standard", "bent", "mirrored", "varied"],
)
def test_the_way_to_the_patient_and_back_ends_where_it_began(build: ThoraxBuild) -> None:
    place = (-61.0, 33.0, 47.0)
    back = build.to_reference(*(np.array([c]) for c in build.to_patient(place)))
    assert [float(c[0]) for c in back] == pytest.approx(place, abs=1e-9)
    tube = build.place(Tube(place, (0.0, 0.0, 0.0), 5.0, 4.0))
    assert tube.start_mm == build.to_patient(place)


def test_a_bent_patient_is_the_same_on_flipped_and_swapped_axes() -> None:
    thorax = draw_thorax(SMALL, build=BENT)
    encode = Reorientation((1, 2, 0), (True, False, True))
    other = draw_thorax(encode.grid(SMALL), build=BENT)
    assert np.mean(encode.apply(thorax.lobes.labels) != other.lobes.labels) < 1e-4
    assert np.mean(encode.apply(thorax.ct.hu) != other.ct.hu) < 1e-4


def test_a_larger_body_has_larger_lungs_in_proportion() -> None:
    wide, standard = (
        volumes_ml(build, (7.0, 6.0, 6.0)) for build in (ThoraxBuild(width=1.2, depth=1.1, height=0.9), ThoraxBuild())
    )
    assert wide == pytest.approx(1.2 * 1.1 * 0.9 * standard, rel=0.05)


def test_an_incomplete_fissure_is_not_seen_at_the_hilum_and_the_lobes_stay() -> None:
    fine = Grid.axial((1, 230, 200), (0.7, 0.7, 0.7), (-150.0, -75.0, 30.0), frame_of_reference_uid="1.2.3")
    whole = ThoraxBuild(noise_hu=0.0)
    parts = [replace(whole, right_oblique=replace(whole.right_oblique, seen=seen)) for seen in (1.0, 0.6, 0.0)]
    drawn = [draw_thorax(fine, build=build) for build in parts]
    assert all(np.array_equal(drawn[0].lobes.labels, other.lobes.labels) for other in drawn)
    lateral = np.broadcast_to(fine.coordinates_mm()[0], fine.shape) < -20 - 0.4 * 115
    lost = [drawn[0].ct.hu - other.ct.hu > 50 for other in drawn]
    assert not lost[0].any()
    assert lost[1].any()
    assert not lost[1][lateral].any()
    assert lost[2][lateral].any()


def test_noise_and_blur_are_as_strong_as_the_build_says() -> None:
    x, y, z = SMALL.coordinates_mm()
    liver = np.broadcast_to((abs(x + 80) < 25) & (abs(y) < 30) & (z < -128), SMALL.shape)
    noisy = draw_thorax(SMALL, build=ThoraxBuild(noise_hu=25.0)).ct.hu
    assert noisy[liver].std() == pytest.approx(25.0, rel=0.1)
    sharp, soft = (draw_thorax(SMALL, build=ThoraxBuild(noise_hu=0.0, blur_mm=mm)).ct.hu for mm in (0.0, 3.0))
    assert not sharp[liver].std()
    assert np.percentile(np.abs(np.diff(soft, axis=2)), 99) < 0.7 * np.percentile(np.abs(np.diff(sharp, axis=2)), 99)
    assert soft.mean() == pytest.approx(sharp.mean(), abs=1.0)


def test_another_seed_gives_other_noise_and_the_same_anatomy() -> None:
    first, second = (draw_thorax(SMALL, build=ThoraxBuild(noise_seed=seed)) for seed in (1, 2))
    assert np.array_equal(first.lobes.labels, second.lobes.labels)
    difference = first.ct.hu - second.ct.hu
    assert difference[first.lobes.lungs].std() == pytest.approx(9.0 * np.sqrt(2), rel=0.1)
    assert first.ct.source.series_instance_uid != second.ct.source.series_instance_uid


def test_a_mediastinum_drawn_to_the_left_makes_the_right_lung_larger() -> None:
    shifted = draw_thorax(SMALL, build=ThoraxBuild(mediastinum_shift_mm=20.0))
    straight = draw_thorax(SMALL)
    change_ml = {
        side: sum(
            t.lobes.volume_ml(lobe) * sign
            for t, sign in ((shifted, 1), (straight, -1))
            for lobe in Lobe
            if lobe.side is side
        )
        for side in Side
    }
    assert change_ml[Side.RIGHT] > 150
    assert change_ml[Side.LEFT] < -150
    along = [np.argwhere(t.airway).mean(axis=0)[2] for t in (shifted, straight)]
    assert along[0] > along[1] + 2
