import os
from functools import cache
from pathlib import Path

import cc3d
import numpy as np
import pytest
import SimpleITK as sitk

from inference.anatomy import Lobe, Side, lobes_of
from inference.atlas.atlas_lobes import AtlasLobes, draw_lobes
from inference.atlas.lobar_atlas import SHARE_OF_BOTH_LUNGS, FittedAtlas
from inference.atlas.lungs import Lungs
from inference.geometry import Grid, Reorientation
from inference.images import to_array, to_grid
from inference.phantom.thorax import DigitalThorax, ThoraxVariant, draw_thorax
from inference.volumes import CtVolume, LobeMap, SeriesReference

DATA = Path(os.environ.get("PERFUSION_TEST_DATA", Path(__file__).parents[3] / "../shared/data"))
GRID = Grid.axial((76, 96, 96), (4.0, 4.0, 4.0), (-190.0, -184.0, -150.0), frame_of_reference_uid="1.2.3")


def dice(a: np.ndarray, b: np.ndarray) -> float:
    return 2.0 * np.count_nonzero(a & b) / (np.count_nonzero(a) + np.count_nonzero(b))


@cache
def standard_thorax() -> DigitalThorax:
    return draw_thorax(GRID)


@cache
def lobes_of_the_thorax() -> LobeMap:
    return AtlasLobes().segment(standard_thorax().ct)


def boxy_lungs() -> Lungs:
    x, y, z = GRID.coordinates_mm()
    deep = (np.abs(y) < 90) & (np.abs(z) < 120)
    return Lungs(deep & (x < -10) & (x > -130), deep & (x > 10) & (x < 110), GRID)


def middle_mm(lobes: LobeMap, lobe: Lobe) -> np.ndarray:
    index = np.argwhere(lobes.mask(lobe)).astype(np.float64)
    middle: np.ndarray = lobes.grid.to_patient_mm(index).mean(axis=0)
    return middle


def assert_lobes_lie_where_lobes_lie(lobes: LobeMap) -> None:
    """Positions in the patient that hold for everyone: LPS, so smaller x is right, smaller y is front."""
    at = {lobe: middle_mm(lobes, lobe) for lobe in Lobe}
    for lobe in lobes_of(Side.RIGHT):
        assert all(at[lobe][0] < at[other][0] for other in lobes_of(Side.LEFT))
    assert at[Lobe.RUL][2] > at[Lobe.RML][2] > at[Lobe.RLL][2] - 20
    assert at[Lobe.RUL][2] > at[Lobe.RLL][2] + 40
    assert at[Lobe.LUL][2] > at[Lobe.LLL][2] + 40
    assert at[Lobe.RLL][1] > at[Lobe.RML][1] + 40
    assert at[Lobe.LLL][1] > at[Lobe.LUL][1] + 20


def test_the_published_shares_sum_to_both_lungs() -> None:
    assert sum(SHARE_OF_BOTH_LUNGS.values()) == pytest.approx(1.0)


def test_every_lung_voxel_gets_one_lobe_of_its_own_side() -> None:
    lungs = boxy_lungs()
    labels, _ = draw_lobes(lungs)
    for side in Side:
        assert np.array_equal(np.isin(labels, lobes_of(side)), lungs.side(side))


def test_lobes_of_a_box_have_about_their_published_shares() -> None:
    labels, _ = draw_lobes(boxy_lungs())
    for side in Side:
        whole = sum(SHARE_OF_BOTH_LUNGS[lobe] for lobe in lobes_of(side))
        for lobe in lobes_of(side):
            share = np.count_nonzero(labels == lobe) / np.count_nonzero(np.isin(labels, lobes_of(side)))
            assert share == pytest.approx(SHARE_OF_BOTH_LUNGS[lobe] / whole, abs=0.05)


def test_a_fissure_moves_no_further_than_anatomy_allows() -> None:
    x, y, z = GRID.coordinates_mm()
    almost_all_at_the_top = (np.abs(x + 60) < 40) & (np.abs(y) < 80) & (np.abs(z) < 120)
    almost_all_at_the_top &= (z > 60) | ((np.abs(y) < 10) & (np.abs(x + 60) < 10))
    atlas = FittedAtlas.fit(almost_all_at_the_top, GRID, Side.RIGHT)
    assert atlas.oblique_shift == 0.15
    labels, _ = draw_lobes(Lungs(almost_all_at_the_top, np.zeros_like(almost_all_at_the_top), GRID))
    assert np.count_nonzero(labels == Lobe.RLL) < 0.4 * np.count_nonzero(labels)


def test_the_fissures_run_as_in_the_body() -> None:
    atlas = FittedAtlas.fit(boxy_lungs().right, GRID, Side.RIGHT)
    back_top, front_bottom = np.array([-70.0, 80.0, 100.0]), np.array([-70.0, -80.0, -100.0])
    front_top, back_bottom = np.array([-70.0, -80.0, 100.0]), np.array([-70.0, 80.0, -100.0])
    front_middle = np.array([-70.0, -80.0, -20.0])
    labels = atlas.labels(np.stack([front_top, back_top, back_bottom, front_middle]))
    assert [Lobe(int(v)) for v in labels] == [Lobe.RUL, Lobe.RUL, Lobe.RLL, Lobe.RML]
    height, depth, laterality = atlas.normalised(np.stack([front_bottom, back_top]))
    assert height[0] < 0.15 < 0.85 < height[1]
    assert depth[0] < 0.1 < 0.9 < depth[1]
    assert np.all((laterality > 0.4) & (laterality < 0.6))


def test_laterality_runs_from_the_mediastinum_to_the_ribs_on_both_sides() -> None:
    lungs = boxy_lungs()
    for side, medial_mm, lateral_mm in ((Side.RIGHT, -14.0, -126.0), (Side.LEFT, 14.0, 106.0)):
        atlas = FittedAtlas.fit(lungs.side(side), GRID, side)
        _, _, laterality = atlas.normalised(np.array([[medial_mm, 0.0, 0.0], [lateral_mm, 0.0, 0.0]]))
        assert laterality[0] < 0.05
        assert laterality[1] > 0.95


@pytest.mark.parametrize(
    "flips", [(False, False, False), (False, True, True), (True, False, True), (True, True, False)]
)
def test_any_patient_position_gives_the_same_lobes_in_the_patient(flips: tuple[bool, bool, bool]) -> None:
    ct = standard_thorax().ct
    encode = Reorientation((0, 1, 2), flips)
    turned = CtVolume(np.ascontiguousarray(encode.apply(ct.hu)), encode.grid(GRID), ct.source)
    lobes = AtlasLobes().segment(turned)
    assert_lobes_lie_where_lobes_lie(lobes)
    expected = lobes_of_the_thorax()
    for lobe in Lobe:
        assert dice(encode.undo(lobes.mask(lobe)), expected.mask(lobe)) > 0.995


def test_lobes_of_the_digital_thorax_agree_with_its_own() -> None:
    thorax, lobes = standard_thorax(), lobes_of_the_thorax()
    found = {lobe: dice(lobes.mask(lobe), thorax.lobes.mask(lobe)) for lobe in Lobe}
    assert min(found.values()) > 0.8, found
    assert np.mean(list(found.values())) > 0.9, found
    assert (
        lobes.segmenter.caveat
        == "Approximate lobes: atlas fitted to the lungs, fissures followed where the CT shows them."
    )


def test_the_same_ct_gives_the_same_bytes() -> None:
    again = AtlasLobes().segment(standard_thorax().ct)
    assert again.labels.tobytes() == lobes_of_the_thorax().labels.tobytes()


def test_one_lung_alone_has_its_own_lobes_and_the_others_stay_empty() -> None:
    thorax = draw_thorax(GRID, variant=ThoraxVariant.ONE_LUNG)
    lobes = AtlasLobes().segment(thorax.ct)
    assert {lobe for lobe in Lobe if lobes.mask(lobe).any()} == {Lobe.RUL, Lobe.RML, Lobe.RLL}


def test_a_real_planning_like_ct_gets_five_plausible_lobes() -> None:
    folder = DATA / "ct/lungdx_A0001"
    if not folder.is_dir():
        pytest.skip("PERFUSION_TEST_DATA has no ct/lungdx_A0001")
    # SimpleITK's own reader: independent of ours, and it sorts by position.
    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder)), sitk.sitkFloat32)
    grid = to_grid(image, frame_of_reference_uid="1.2.3")
    uids = tuple(f"1.2.9.{k}" for k in range(grid.shape[0]))
    lobes = AtlasLobes().segment(CtVolume(to_array(image), grid, SeriesReference("1.2.7", "1.2.8", "1.2.3", uids)))
    assert_lobes_lie_where_lobes_lie(lobes)
    total_ml = sum(lobes.volume_ml(lobe) for lobe in Lobe)
    assert 5200 < total_ml < 5900
    for lobe in Lobe:
        assert lobes.volume_ml(lobe) / total_ml == pytest.approx(SHARE_OF_BOTH_LUNGS[lobe], abs=0.05)
        assert cc3d.connected_components(lobes.mask(lobe), connectivity=6).max() == 1
