from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.execution import ExecutionRecord, Rung
from inference.function_regions import DEFAULT_RULE
from inference.model_card import ModelIdentity
from inference.quality.checks import check_execution, check_map, check_regions
from inference.quality.findings import Severity
from inference.volumes import FunctionRegions, LobeMap, PerfusionMap
from tests.lung_blocks import NETWORK, codes, grid_of, the


def drawn(values: np.ndarray) -> PerfusionMap:
    lungs = np.zeros(values.shape, dtype=bool)
    lungs[1:-1] = True
    return PerfusionMap(values.astype(np.float32), lungs, grid_of(values.shape), ModelIdentity("drawn", "1"))


def good_values() -> np.ndarray:
    values = np.zeros((6, 4, 4))
    values[1:-1] = np.linspace(0.5, 1.5, 64).reshape(4, 4, 4)
    return values


def parts() -> tuple[LobeMap, PerfusionMap, FunctionRegions]:
    perfusion = drawn(good_values())
    labels = np.where(perfusion.lungs, np.uint8(Lobe.RUL), np.uint8(0))
    high = perfusion.values >= 1.0
    regions = FunctionRegions(high, perfusion.lungs & ~high, perfusion.grid, DEFAULT_RULE)
    return LobeMap(labels, perfusion.grid, NETWORK), perfusion, regions


def test_a_good_map_and_its_regions_give_no_finding() -> None:
    assert check_map(drawn(good_values())) == ()
    assert check_regions(*parts()) == ()


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


def test_a_map_without_lung_is_rejected() -> None:
    empty = drawn(np.zeros((2, 4, 4)))
    assert codes(check_map(empty), Severity.REJECT) == {"MAP_EMPTY"}


def test_a_flat_map_is_flagged_and_a_constant_one_rejected() -> None:
    values = good_values()
    nearly = np.where(values > 0, 1.0 + (values - 1.0) * 0.05, 0.0)
    assert codes(check_map(drawn(nearly)), Severity.FLAG) == {"MAP_VARIATION"}
    assert codes(check_map(drawn(np.where(values > 0, 1.0, 0.0))), Severity.REJECT) == {"MAP_VARIATION"}


def test_a_spike_is_flagged() -> None:
    values = good_values()
    values[2, 2, 2] = 4.0
    values[1:-1] /= values[1:-1].mean()
    assert codes(check_map(drawn(values))) == {"MAP_PEAK"}


def test_regions_that_overlap_or_leave_the_lungs_are_rejected() -> None:
    lobes, perfusion, regions = parts()
    high = regions.high.copy()
    high[regions.low] = True
    assert the(
        check_regions(lobes, perfusion, replace(regions, high=high)), "REGIONS_OVERLAP"
    ).measured == np.count_nonzero(regions.low)
    outside = regions.low.copy()
    outside[0, 0, :3] = True
    assert the(check_regions(lobes, perfusion, replace(regions, low=outside)), "REGIONS_OUTSIDE_LUNGS").measured == 3.0


def test_a_map_of_other_lungs_is_rejected() -> None:
    lobes, perfusion, regions = parts()
    labels = lobes.labels.copy()
    labels[1, 0, :2] = 0
    found = check_regions(replace(lobes, labels=labels), perfusion, regions)
    assert the(found, "MAP_LUNGS_DIFFER").measured == 2.0
    assert codes(found, Severity.REJECT) == {"MAP_LUNGS_DIFFER", "REGIONS_OUTSIDE_LUNGS"}
    more = lobes.labels.copy()
    more[0, 0, :3] = Lobe.RUL
    assert the(check_regions(replace(lobes, labels=more), perfusion, regions), "MAP_LUNGS_DIFFER").measured == 3.0


def test_a_region_without_a_voxel_is_flagged_by_name() -> None:
    lobes, perfusion, regions = parts()
    found = check_regions(lobes, perfusion, replace(regions, low=np.zeros_like(regions.low)))
    assert codes(found, Severity.FLAG) == {"REGION_EMPTY"}
    assert "no low-functional lung" in found[0].sentence


def test_a_network_that_ran_on_less_memory_is_said() -> None:
    record = ExecutionRecord("net", "cuda", "float16", (64, 64, 64), Rung.HALF_PRECISION, "OUT_OF_MEMORY", True)
    usual = replace(record, rung=Rung.CONFIGURED)
    same = replace(record, numbers_differ=False)
    found = check_execution((usual, record, same))
    assert [(f.code, f.severity, f.measured) for f in found] == [
        ("RAN_ON_LESS_MEMORY", Severity.FLAG, 2.0),
        ("RAN_ON_LESS_MEMORY", Severity.NOTE, 2.0),
    ]
