import json

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.errors import GridMismatch, InvalidModelCard
from inference.geometry import Grid
from inference.uncertainty import ConformalInterval, Uncertainty, region_means, uncertainty_of

GRID = Grid.axial((2, 3, 4), (5.0, 5.0, 5.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2")


def interval(members: int = 2, *, voxels: tuple[float, ...] = (0.1, 0.4), **changes: object) -> ConformalInterval:
    fields = {
        "level": 0.9,
        "voxel_share": 0.8,
        "patients": (11,) * members,
        "voxels": voxels,
        "regions": {Lobe.RUL.tg263: voxels, "Lung_R": voxels},
        "usual_spread": 0.05,
        "calibrated_on": "Nobody, in silico.",
    }
    return ConformalInterval(**{**fields, **changes})  # type: ignore[arg-type]


def two_maps() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Two members that differ by 0.2 everywhere; the first slice is lung: RUL, and its last column LUL."""
    lungs = np.zeros(GRID.shape, dtype=bool)
    lungs[0] = True
    lobes = np.where(lungs, np.uint8(Lobe.RUL), np.uint8(0))
    lobes[0, :, 3] = Lobe.LUL
    first = np.full(GRID.shape, 0.5, dtype=np.float32)
    return np.stack([first, first + np.float32(0.2)]), lungs, lobes


def test_spread_is_the_standard_deviation_over_members_and_0_outside() -> None:
    maps, lungs, lobes = two_maps()
    known = uncertainty_of(maps, lungs, lobes, GRID)
    np.testing.assert_allclose(known.spread[lungs], 0.2 / np.sqrt(2.0), rtol=1e-6)
    assert not known.spread[~lungs].any()
    assert not known.upper[~lungs].any()
    assert known.mean_spread == pytest.approx(0.2 / np.sqrt(2.0))


def test_the_interval_reaches_from_the_lowest_to_the_highest_of_the_members_intervals() -> None:
    maps, lungs, lobes = two_maps()
    known = uncertainty_of(maps, lungs, lobes, GRID, interval())
    # 0.5 +- 0.1 and 0.7 +- 0.4
    np.testing.assert_allclose(known.lower[lungs], 0.3, rtol=1e-6)
    np.testing.assert_allclose(known.upper[lungs], 1.1, rtol=1e-6)
    region = known.regions["Lung_RUL"]
    assert (region.below, region.above) == pytest.approx((0.3, 0.5))  # from their mean, 0.6
    assert region.spread == pytest.approx(0.2 / np.sqrt(2.0))


def test_no_interval_ends_below_0() -> None:
    maps, lungs, lobes = two_maps()
    assert uncertainty_of(maps, lungs, lobes, GRID, interval(voxels=(0.9, 0.1))).lower.min() == 0.0


def test_a_region_that_was_not_calibrated_has_a_spread_and_no_range() -> None:
    maps, lungs, lobes = two_maps()
    known = uncertainty_of(maps, lungs, lobes, GRID, interval())
    assert set(known.regions) == {"Lung_RUL", "Lung_LUL", "Lung_R", "Lung_L"}
    assert known.regions["Lung_LUL"].below is None
    assert known.regions["Lung_LUL"].spread > 0.0


def test_a_single_network_has_no_spread() -> None:
    maps, lungs, lobes = two_maps()
    assert uncertainty_of(maps[:1], lungs, lobes, GRID).mean_spread == 0.0


def test_a_side_counts_its_lobes_by_their_volume() -> None:
    labels = np.array([Lobe.RUL, Lobe.RUL, Lobe.RUL, Lobe.RLL, Lobe.LLL], dtype=np.uint8)
    means = region_means(np.array([1.0, 1.0, 1.0, 5.0, 7.0]), labels)
    assert means == {"Lung_RUL": 1.0, "Lung_RLL": 5.0, "Lung_R": 2.0, "Lung_LLL": 7.0, "Lung_L": 7.0}


def test_an_interval_survives_json() -> None:
    document = json.loads(json.dumps(interval().document()))
    assert ConformalInterval.of(document).document() == interval().document()


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"level": 1.0},
        {"voxels": [0.1]},
        {"voxels": [0.1, -0.1]},
        {"regions": {"Lung_RUL": [0.1, 0.2, 0.3]}},
        {"regions": {"Liver": [0.1, 0.2]}},
        {"usual_spread": float("nan")},
        {"patients": None},
        {"more": 1},
    ],
)
def test_an_unusable_interval_is_refused(change: dict[str, object]) -> None:
    with pytest.raises(InvalidModelCard, match="conformal interval"):
        ConformalInterval.of({**interval().document(), **change})


def test_the_statement_says_what_is_promised_and_is_ascii() -> None:
    maps, lungs, lobes = two_maps()
    said = uncertainty_of(maps, lungs, lobes, GRID, interval()).statement()
    assert said.isascii()
    assert all(part in said for part in ("90 % of patients", "11 + 11 held-out", "in silico"))
    assert "No interval" in uncertainty_of(maps, lungs, lobes, GRID).statement()


def test_the_digest_knows_every_part() -> None:
    maps, lungs, lobes = two_maps()
    first, other = (uncertainty_of(maps, lungs, lobes, GRID, interval(usual_spread=each)) for each in (0.05, 0.06))
    assert first.sha256() == other.sha256() != uncertainty_of(maps, lungs, lobes, GRID).sha256()
    assert uncertainty_of(maps[::-1] * 1.5, lungs, lobes, GRID, interval()).sha256() != first.sha256()


def test_maps_of_another_shape_are_refused() -> None:
    flat = np.zeros((1, 1, 1), dtype=np.float32)
    with pytest.raises(GridMismatch):
        Uncertainty(flat, flat, flat, GRID, 0.0)
