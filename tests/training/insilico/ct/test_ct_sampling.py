"""Sampling a body: exact partial volume, the stated sharpness, nothing moved."""

import numpy as np
import pytest

from inference.geometry import Grid
from training.insilico.ct.ct_sampling import PlaneSampling, share_below, slice_weights
from training.insilico.ct.reconstruction_kernel import ReconstructionKernel

UID = "2.25.1"
BODY = Grid.axial((60, 40, 50), (1.0, 1.0, 1.0), (-24.5, -19.5, 0.0), frame_of_reference_uid=UID)
SOFT = ReconstructionKernel("SOFT", 2.4)


def slices_of(count: int, spacing_mm: float, first_mm: float, pixel_mm: float = 1.0) -> Grid:
    rows, columns = (round(extent / pixel_mm) for extent in (40.0, 50.0))
    half = 0.5 * pixel_mm
    origin = (-25.0 + half, -20.0 + half, first_mm)
    return Grid.axial((count, rows, columns), (spacing_mm, pixel_mm, pixel_mm), origin, frame_of_reference_uid=UID)


def test_half_of_a_slice_profile_lies_below_its_centre_and_its_width_is_the_thickness() -> None:
    height = np.linspace(-10.0, 10.0, 20001)
    below = share_below(height, 5.0)
    assert below[[0, 10000, -1]] == pytest.approx([0.0, 0.5, 1.0], abs=1e-6)
    profile = np.diff(below)
    wide = height[:-1][profile >= 0.5 * profile.max()]
    assert wide[-1] - wide[0] == pytest.approx(5.0, abs=0.05)


@pytest.mark.parametrize("thickness_mm", [0.6, 1.0, 3.0, 5.0])
def test_weights_of_each_slice_add_up_to_one_even_at_the_ends(thickness_mm: float) -> None:
    weights = slice_weights(BODY, slices_of(60, 1.0, -0.5), thickness_mm)
    assert weights.sum(axis=1) == pytest.approx(np.ones(60), abs=1e-5)
    assert weights.min() >= 0.0


def test_a_slab_thinner_than_a_slice_has_its_share_of_contrast() -> None:
    line = np.full((60, 1), -800.0, np.float32)
    line[30] = 200.0  # 1 mm thick around z = 30
    scanned = slice_weights(BODY, slices_of(11, 5.0, 5.0), 5.0) @ line
    assert scanned[5, 0] == pytest.approx(-800.0 + 1000.0 / 5.0, abs=2.0)
    assert scanned.sum() + 800.0 * 11 == pytest.approx(200.0, abs=1.0)  # nothing is lost over neighbouring slices


@pytest.mark.parametrize("axis", [1, 2])
def test_an_edge_spreads_over_the_stated_width(axis: int) -> None:
    plane = np.full(BODY.shape[1:], -1000.0, np.float32)
    plane[20:] = 0.0
    sampling = PlaneSampling.between(BODY, slices_of(1, 1.0, 0.0, pixel_mm=0.1), SOFT)
    if axis == 2:
        plane = np.full(BODY.shape[1:], -1000.0, np.float32)
        plane[:, 25:] = 0.0
    pixels = sampling.of(plane)
    edge = pixels[:, 250] if axis == 1 else pixels[200]
    spread = np.diff(edge)[50:-50]
    wide = np.flatnonzero(spread >= 0.5 * spread.max())
    assert 0.1 * (wide[-1] - wide[0] + 1) == pytest.approx(SOFT.fwhm_mm, abs=0.15)


def test_edge_enhancement_overshoots_and_keeps_even_regions() -> None:
    plane = np.zeros(BODY.shape[1:], np.float32)
    plane[:, 25:] = 100.0
    lung = PlaneSampling.between(BODY, slices_of(1, 1.0, 0.0), ReconstructionKernel("LUNG", 2.0, 1.0)).of(plane)
    assert lung[20, 12] == pytest.approx(0.0, abs=0.5)
    assert lung[20, 38] == pytest.approx(100.0, abs=0.5)
    assert 104.0 < lung[20, 20:35].max() < 130.0


def test_a_ball_stays_where_it_is_on_any_pixels() -> None:
    centre = np.array([6.3, -4.2])
    x, y = (part[0] for part in BODY.coordinates_mm()[:2])
    plane = np.where(np.hypot(x - centre[0], y - centre[1]) < 6.0, 40.0, -1000.0).astype(np.float32)
    slices = Grid.axial((1, 64, 64), (1.0, 1.3, 1.3), (-42.0, -40.0, 0.0), frame_of_reference_uid=UID)
    weight = PlaneSampling.between(BODY, slices, SOFT).of(plane) + 1000.0
    gx, gy = (part[0] for part in slices.coordinates_mm()[:2])
    found = np.array([(weight * gx).sum(), (weight * gy).sum()]) / weight.sum()
    assert found == pytest.approx(centre, abs=0.25)


def test_air_lies_around_the_body() -> None:
    wide = Grid.axial((1, 20, 20), (1.0, 10.0, 10.0), (-95.0, -95.0, 0.0), frame_of_reference_uid=UID)
    pixels = PlaneSampling.between(BODY, wide, SOFT).of(np.full(BODY.shape[1:], 30.0, np.float32))
    assert pixels[0, 0] == -1000.0
    assert pixels[10, 10] == pytest.approx(30.0, abs=0.01)


def test_a_flat_couch_goes_on_beyond_the_body() -> None:
    plane = np.full(BODY.shape[1:], -1000.0, np.float32)
    plane[35:38] = -600.0  # from side to side
    wide = Grid.axial((1, 40, 120), (1.0, 1.0, 1.0), (-59.5, -19.5, 0.0), frame_of_reference_uid=UID)
    sharp = ReconstructionKernel("SHARP", 1.0)
    row = PlaneSampling.between(BODY, wide, sharp, couch_mm=80.0).of(plane)[36] > -800.0
    assert (row.sum(), row.argmax()) == (80, 20)
    assert (PlaneSampling.between(BODY, wide, sharp).of(plane)[36] > -800.0).sum() == 50


def test_a_kernel_never_shows_the_voxels_of_the_body_as_blocks() -> None:
    ramp = np.broadcast_to(np.arange(50, dtype=np.float32) * 20.0, (40, 50)).copy()
    sampling = PlaneSampling.between(BODY, slices_of(1, 1.0, 0.0, pixel_mm=0.2), ReconstructionKernel("SHARP", 0.2))
    steps = np.diff(sampling.of(ramp)[100, 50:-50])
    assert steps.max() < 1.5 * steps.mean()
