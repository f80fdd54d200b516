import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from inference.function_regions import DEFAULT_RULE, RULES, find_function_regions, function_rule, levels
from inference.geometry import Grid
from inference.model_card import ModelIdentity
from inference.perfusion import relative_to_lung_mean
from inference.volumes import FunctionBasis, FunctionRule, PerfusionMap

SHAPE = (12, 14, 16)
GRID = Grid.axial(SHAPE, (5.0, 4.0, 5.0), (0.0, 0.0, 0.0), frame_of_reference_uid="1.2.3")  # 0.1 ml per voxel
PLAIN = FunctionRule("plain", FunctionBasis.PERCENTILE, 50.0, 50.0, smallest_island_ml=0.0, smallest_hole_ml=0.0)


def perfusion_of(uptake: np.ndarray, lungs: np.ndarray) -> PerfusionMap:
    values = relative_to_lung_mean(uptake.astype(np.float32), lungs)
    return PerfusionMap(values, lungs, GRID, ModelIdentity("drawn", "1"))


def ramp() -> np.ndarray:
    """Uptake that rises from slice to slice, without ties."""
    return 1.0 + np.arange(np.prod(SHAPE), dtype=float).reshape(SHAPE) / np.prod(SHAPE)


def lungs_box() -> np.ndarray:
    lungs = np.zeros(SHAPE, dtype=bool)
    lungs[1:-1, 1:-1, 1:-1] = True
    return lungs


@given(
    seed=st.integers(0, 10_000),
    rule=st.sampled_from(sorted(RULES)),
    sigma=st.floats(0.0, 2.5),
)
@settings(max_examples=60, deadline=None)
def test_regions_are_disjoint_inside_the_lungs_and_without_small_islands(seed: int, rule: str, sigma: float) -> None:
    rng = np.random.default_rng(seed)
    lungs = ndimage.gaussian_filter(rng.random(SHAPE), 2.0) > 0.48
    lungs[5, 5, 5] = True
    perfusion = perfusion_of(0.01 + ndimage.gaussian_filter(rng.random(SHAPE), sigma), lungs)
    regions = find_function_regions(perfusion, RULES[rule])
    assert not (regions.high & regions.low).any()
    assert not ((regions.high | regions.low) & ~lungs).any()
    for region in (regions.high, regions.low):
        parts = cc3d.connected_components(region.copy(), connectivity=6)
        assert (np.bincount(parts.ravel())[1:] * GRID.voxel_volume_ml > RULES[rule].smallest_island_ml - 1e-6).all()
    again = find_function_regions(perfusion, RULES[rule])
    assert (again.high == regions.high).all()
    assert (again.low == regions.low).all()


@pytest.mark.parametrize(
    ("rule", "high_share", "low_share"),
    [("median", 0.5, 0.5), ("thirds-66-34", 0.66, 0.34), ("top-bottom-third", 1 / 3, 1 / 3), ("quartiles", 0.25, 0.25)],
)
def test_named_percentile_rules_give_the_stated_shares_of_the_lungs(
    rule: str, high_share: float, low_share: float
) -> None:
    lungs = lungs_box()
    regions = find_function_regions(perfusion_of(ramp(), lungs), function_rule(rule))
    assert regions.high.sum() / lungs.sum() == pytest.approx(high_share, abs=0.01)
    assert regions.low.sum() / lungs.sum() == pytest.approx(low_share, abs=0.01)
    assert regions.high[-2, 7, 7]
    assert regions.low[1, 7, 7]


def test_a_fraction_of_mean_is_measured_from_the_lung_mean() -> None:
    rule = RULES["fraction-of-mean"]
    assert levels(perfusion_of(ramp(), lungs_box()), rule) == pytest.approx((1.0, 0.7), abs=1e-6)


def test_the_default_is_the_median_rule_and_unknown_names_are_answered_with_the_known_ones() -> None:
    assert DEFAULT_RULE.name == "median"
    with pytest.raises(ValueError, match=r"no function rule 'best'; known are median, .*quartiles"):
        function_rule("best")


def test_every_named_rule_states_itself_in_ascii_under_its_own_name() -> None:
    for name, rule in RULES.items():
        assert rule.name == name
        assert f"Rule {name}:" in rule.statement()
        assert rule.statement().isascii()


def island(voxels: int, rule: FunctionRule) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """High, low and the island: a row of `voxels` of high perfusion in the low half of a box of lung."""
    uptake = ramp()
    where = np.zeros(SHAPE, dtype=bool)
    where[2, 6, 4 : 4 + voxels] = True
    uptake[where] = 2.5
    regions = find_function_regions(perfusion_of(uptake, lungs_box()), rule)
    return regions.high, regions.low, where


def test_an_island_under_the_limit_leaves_its_region_and_stays_out_of_the_other() -> None:
    high, low, where = island(4, DEFAULT_RULE)  # 0.4 ml: under 0.5 ml, over the 0.2 ml of a hole
    assert not high[where].any()
    assert not low[where].any()


def test_an_island_at_the_limit_stays() -> None:
    high, _, where = island(5, DEFAULT_RULE)
    assert high[where].all()


def test_a_hole_under_the_limit_is_filled() -> None:
    high, low, where = island(1, DEFAULT_RULE)
    assert not high[where].any()
    assert low[where].all()


def test_without_limits_nothing_is_removed_or_filled_and_the_median_fills_the_lungs() -> None:
    high, low, where = island(1, PLAIN)
    assert high[where].all()
    assert ((high | low) == lungs_box()).all()


def test_a_hole_that_belongs_to_the_other_region_is_not_taken_from_it() -> None:
    rule = FunctionRule("holes", FunctionBasis.PERCENTILE, 50.0, 50.0, smallest_island_ml=0.0, smallest_hole_ml=1.0)
    high, low, where = island(3, rule)
    assert high[where].all()
    assert not low[where].any()


def test_a_map_without_lungs_has_no_regions() -> None:
    nothing = np.zeros(SHAPE, dtype=bool)
    perfusion = PerfusionMap(np.zeros(SHAPE, dtype=np.float32), nothing, GRID, ModelIdentity("drawn", "1"))
    regions = find_function_regions(perfusion)
    assert not regions.high.any()
    assert not regions.low.any()


def test_a_speck_of_lung_that_hangs_on_nothing_is_in_neither_region() -> None:
    lungs = lungs_box()
    lungs[:, :3] = False
    lungs[6, 1, 6] = True
    regions = find_function_regions(perfusion_of(ramp(), lungs))
    assert not regions.high[6, 1, 6]
    assert not regions.low[6, 1, 6]
    assert (regions.high | regions.low).sum() == lungs.sum() - 1
