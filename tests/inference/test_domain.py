"""One digital thorax as it is, and scanned in ways that its training never saw."""

from dataclasses import replace

import numpy as np
import pytest

from inference.domain import STATISTICS, input_statistics
from inference.errors import GridMismatch
from inference.fingerprint import DomainDistance, Fingerprint
from inference.geometry import Grid
from inference.phantom.thorax import DigitalThorax
from inference.volumes import CtVolume, LobeMap
from training.fingerprint import fingerprint_of

TRAINED_ON = "Digital thoraxes with small differences."


@pytest.fixture(scope="module")
def measured(thorax: DigitalThorax) -> dict[str, float]:
    return input_statistics(thorax.ct, thorax.lobes)


@pytest.fixture(scope="module")
def fingerprint(measured: dict[str, float]) -> Fingerprint:
    """Forty patients like this one, each statistic a little different: the ranges are then the tolerances."""
    random = np.random.default_rng(5)
    patients = [{name: value * (1.0 + 0.01 * random.normal()) for name, value in measured.items()} for _ in range(40)]
    return fingerprint_of(patients, trained_on=TRAINED_ON)


def distance(fingerprint: Fingerprint, ct: CtVolume, lobes: LobeMap) -> DomainDistance:
    return fingerprint.distance(input_statistics(ct, lobes))


def on_grid(thorax: DigitalThorax, ct_hu: np.ndarray, labels: np.ndarray, grid: Grid) -> tuple[CtVolume, LobeMap]:
    uids = tuple(f"1.4.{k}" for k in range(grid.shape[0]))
    ct = CtVolume(
        np.ascontiguousarray(ct_hu, dtype=np.float32), grid, replace(thorax.ct.source, sop_instance_uids=uids)
    )
    return ct, LobeMap(np.ascontiguousarray(labels), grid, thorax.lobes.segmenter)


def test_statistics_have_the_values_of_the_drawing(thorax: DigitalThorax, measured: dict[str, float]) -> None:
    inside = thorax.lobes.lungs
    assert set(measured) == set(STATISTICS)
    between, down, across = thorax.ct.grid.spacing_mm
    assert measured["slice_spacing"] == pytest.approx(between)
    assert measured["pixel_spacing"] == pytest.approx((down * across) ** 0.5)
    assert measured["lung_volume"] == pytest.approx(np.count_nonzero(inside) * thorax.ct.grid.voxel_volume_ml)
    assert measured["lung_hu_50"] == pytest.approx(np.median(thorax.ct.hu[inside]), abs=3.0)
    assert measured["dense_share"] == pytest.approx(100.0 * np.mean(thorax.ct.hu[inside] > -500.0), abs=0.5)
    levels = np.flatnonzero(inside.any(axis=(1, 2)))
    assert measured["lung_height"] == pytest.approx(between * (levels[-1] - levels[0] + 1), abs=2.0 * between)
    assert measured["gradient"] > 0.0
    assert 0.0 < measured["blood"] < 130.0


def test_the_same_patient_has_the_same_statistics_however_the_ct_is_stored(
    thorax: DigitalThorax, measured: dict[str, float]
) -> None:
    axes = (0, 2, 1)
    affine = thorax.ct.grid.affine[:, [0, 2, 1, 3]]
    frame = thorax.ct.grid.frame_of_reference_uid
    grid = Grid(tuple(thorax.ct.hu.transpose(axes).shape), affine, frame)  # type: ignore[arg-type]
    found = input_statistics(*on_grid(thorax, thorax.ct.hu.transpose(axes), thorax.lobes.labels.transpose(axes), grid))
    exact = ("lung_volume", "lung_height", "gradient", "blood", "low_attenuation", "texture", "right_share")
    assert {name: found[name] for name in exact} == pytest.approx({name: measured[name] for name in exact}, rel=1e-4)


def test_the_patient_itself_is_inside(fingerprint: Fingerprint, thorax: DigitalThorax) -> None:
    assert distance(fingerprint, thorax.ct, thorax.lobes).score < 0.5


def scanned(thorax: DigitalThorax, what: str) -> tuple[CtVolume, LobeMap]:
    hu, labels, grid = thorax.ct.hu, thorax.lobes.labels, thorax.ct.grid
    if what == "thick slices":  # two into one
        even = hu.shape[0] // 2 * 2
        return on_grid(thorax, 0.5 * (hu[:even:2] + hu[1:even:2]), labels[:even:2], _with_slices(grid, 2))
    if what == "noise":
        return on_grid(thorax, hu + np.random.default_rng(1).normal(0.0, 60.0, hu.shape), labels, grid)
    if what == "smooth kernel":
        mean = (hu[:, :, :-2] + hu[:, :, 1:-1] + hu[:, :, 2:]) / 3.0
        return on_grid(thorax, np.concatenate([hu[:, :, :1], mean, hu[:, :, -1:]], axis=2), labels, grid)
    if what == "contrast":
        return on_grid(thorax, np.where((hu > 0.0) & (hu < 150.0), hu + 150.0, hu), labels, grid)
    if what == "inspiration":
        return on_grid(thorax, np.where(labels > 0, np.maximum(hu - 100.0, -1000.0), hu), labels, grid)
    if what == "prone":
        return on_grid(thorax, np.flip(hu, 1), np.flip(labels, 1), grid)
    if what == "one lung":
        return on_grid(thorax, hu, np.where(labels > 3, np.uint8(0), labels), grid)
    raise ValueError(what)


def _with_slices(grid: Grid, factor: int) -> Grid:
    slices, rows, columns = grid.shape
    between, down, across = grid.spacing_mm
    spacing = (factor * between, down, across)
    return Grid.axial(
        (slices // factor, rows, columns), spacing, grid.origin_mm, frame_of_reference_uid=grid.frame_of_reference_uid
    )


@pytest.mark.parametrize(
    ("what", "leading"),
    [
        ("thick slices", {"slice_spacing"}),
        ("noise", {"noise"}),
        ("smooth kernel", {"noise", "noise_grain"}),
        ("contrast", {"blood"}),
        ("inspiration", {"lung_hu_25", "lung_hu_50", "low_attenuation"}),
        ("prone", {"gradient"}),
        ("one lung", {"right_share"}),
    ],
)
def test_another_kind_of_ct_is_outside_and_the_statistic_says_why(
    fingerprint: Fingerprint, thorax: DigitalThorax, what: str, leading: set[str]
) -> None:
    found = distance(fingerprint, *scanned(thorax, what))
    assert found.score > 1.0
    assert leading <= {deviation.name for deviation in found.beyond}


def test_lobes_of_another_grid_are_refused(thorax: DigitalThorax) -> None:
    slices, rows, columns = thorax.ct.grid.shape
    grid = thorax.ct.grid.cropped((slice(0, slices), slice(0, rows), slice(0, columns - 1)))
    with pytest.raises(GridMismatch):
        input_statistics(thorax.ct, LobeMap(thorax.lobes.labels[:, :, :-1].copy(), grid, thorax.lobes.segmenter))
