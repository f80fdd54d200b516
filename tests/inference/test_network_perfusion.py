from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.stats import spearmanr
from torch import nn

from inference.checkpoint import save_model
from inference.engine import FoundLobes, perfuse
from inference.errors import GridMismatch, ImplausibleResult, OutOfMemory
from inference.execution import ExecutionRecord
from inference.function_regions import DEFAULT_RULE
from inference.geometry import Grid
from inference.model_card import ModelCard, ModelIdentity
from inference.network_perfusion import NetworkPerfusion, smaller_window
from inference.networks import PerfusionNetwork, build_network
from inference.phantom.thorax import draw_thorax
from inference.preprocessing import network_input, onto_ct, window_padding
from inference.quality.checks import Severity, check_map
from inference.volumes import CtVolume, LobeMap, SeriesReference

FRAME = "1.2.3"
# Uneven spacing, and an odd origin, so that a mixed-up axis or a half voxel cannot hide.
GRID = Grid.axial((30, 48, 56), (5.0, 3.0, 2.5), (-63.0, -71.0, -80.0), frame_of_reference_uid=FRAME)


def a_card(*, spacing_mm: tuple[float, float, float] = (4.0, 4.0, 4.0)) -> ModelCard:
    return ModelCard(
        identity=ModelIdentity("tiny", "0", weights_sha256="0" * 64, caveat="Random weights."),
        network="UNet",
        network_arguments={"channels": [4, 8], "strides": [2]},
        input_spacing_mm=spacing_mm,
        hu_window=(-1000.0, 0.0),
        window_size=(16, 24, 24),
        trained_on="Nothing.",
        intended_use="Tests.",
    )


class FirstChannel(nn.Module):
    """A body that says what it sees: softplus(20 x) is close to 20 x for x well above 0."""

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        return 20.0 * channels[:, :1]


def seeing_network(card: ModelCard) -> NetworkPerfusion:
    return NetworkPerfusion(PerfusionNetwork(card, FirstChannel()), device="cpu")


def random_network() -> PerfusionNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return build_network(a_card())


def patient(grid: Grid) -> tuple[CtVolume, LobeMap]:
    """Lung of -900 HU in a box given in mm, with a dense ball that is neither central nor symmetric."""
    x, y, z = (np.broadcast_to(axis, grid.shape) for axis in grid.coordinates_mm())
    lungs = (abs(x) < 50) & (abs(y) < 50) & (abs(z + 10) < 50)
    ball = (x - 22) ** 2 + (y + 14) ** 2 + (z + 30) ** 2 < 15**2
    hu = np.where(ball, -300.0, np.where(lungs, -900.0, 40.0)).astype(np.float32)
    source = SeriesReference("1.2", "1.3", FRAME, tuple(f"1.4.{k}" for k in range(grid.shape[0])))
    lobes = LobeMap(lungs.astype(np.uint8), grid, ModelIdentity("box", "1"))
    return CtVolume(hu, grid, source), lobes


def centre_mm(values: np.ndarray, grid: Grid) -> np.ndarray:
    """Centre of mass of what stands out."""
    where = np.argwhere(values > 0.5 * values.max())
    return grid.to_patient_mm(where.astype(float)).mean(axis=0)


def flipped(grid: Grid, *axes: int) -> Grid:
    affine = grid.affine.copy()
    corner = np.zeros(3)
    for axis in axes:
        corner[axis] = grid.shape[axis] - 1
        affine[:3, axis] *= -1
    affine[:3, 3] = grid.to_patient_mm(corner)
    return Grid(grid.shape, affine, FRAME)


def transposed(grid: Grid) -> Grid:
    """Rows and columns exchanged."""
    affine = grid.affine[:, [0, 2, 1, 3]]
    return Grid((grid.shape[0], grid.shape[2], grid.shape[1]), affine, FRAME)


@pytest.mark.parametrize("grid", [GRID, flipped(GRID, 0), flipped(GRID, 1, 2), transposed(GRID)])
@pytest.mark.parametrize("spacing_mm", [(4.0, 4.0, 4.0), (6.0, 3.5, 5.0), (2.0, 2.0, 2.0)])
def test_what_the_network_sees_lands_where_it_is_in_the_patient(
    grid: Grid, spacing_mm: tuple[float, float, float]
) -> None:
    ct, lobes = patient(grid)
    perfusion = seeing_network(a_card(spacing_mm=spacing_mm)).predict(ct, lobes)
    assert perfusion.grid.matches(ct.grid)
    ball = ct.hu == -300
    assert perfusion.values[ball].mean() > 3 * np.median(perfusion.values[lobes.lungs])
    found = ball_only(perfusion.values, ct, lobes)
    np.testing.assert_allclose(centre_mm(found, grid), [22, -14, -30], atol=1.0)


def ball_only(values: np.ndarray, ct: CtVolume, lobes: LobeMap) -> np.ndarray:
    """The map at least 12 mm inside the box of lung, where only the ball stands out."""
    x, y, z = ct.grid.coordinates_mm()
    return np.where((abs(x) < 38) & (abs(y) < 38) & (abs(z + 10) < 38), values, 0)


@pytest.mark.parametrize("grid", [flipped(GRID, 0), flipped(GRID, 1, 2), transposed(GRID)])
def test_the_network_sees_the_same_patient_however_the_ct_is_stored(grid: Grid) -> None:
    reference = network_input(*patient(GRID), a_card())
    seen = network_input(*patient(grid), a_card())
    assert seen.channels.shape == reference.channels.shape
    np.testing.assert_allclose(seen.grid.affine, reference.grid.affine, atol=1e-6)
    np.testing.assert_allclose(seen.channels, reference.channels, atol=1e-5)


def test_input_is_windowed_hu_and_lung_mask_at_the_spacing_of_the_card_around_the_lungs() -> None:
    ct, lobes = patient(GRID)
    seen = network_input(ct, lobes, a_card())
    assert seen.grid.spacing_mm == pytest.approx((4.0, 4.0, 4.0))
    windowed, mask = seen.channels
    assert (windowed.min(), windowed.max()) == (pytest.approx(0.1, abs=1e-3), 1.0)
    assert (mask.min(), mask.max()) == (0.0, 1.0)
    index = tuple(np.round(seen.grid.to_index(np.array([-20.0, 20.0, 0.0]))).astype(int))
    assert windowed[index] == pytest.approx(0.1, abs=1e-3)
    assert mask[index] == 1.0


def test_a_smooth_field_survives_the_way_to_the_network_and_back() -> None:
    ct, lobes = patient(GRID)
    x, y, z = ct.grid.coordinates_mm()
    field = (-500.0 + 2.0 * x - 1.0 * y + 1.5 * z + np.zeros(GRID.shape)).astype(np.float32)
    seen = network_input(CtVolume(field, GRID, ct.source), lobes, a_card())
    back = onto_ct(seen.channels[0], seen, ct) * 1000.0 - 1000.0
    inside = ball_only(np.ones(GRID.shape), ct, lobes) > 0
    np.testing.assert_allclose(back[inside], field[inside], atol=2.0)  # half a voxel would be 4 HU


def test_a_saved_network_predicts_the_same_map_on_every_run(tmp_path: Path) -> None:
    saved = save_model(tmp_path, random_network())
    ct, lobes = patient(GRID)
    first = NetworkPerfusion.load(tmp_path, device="cpu").predict(ct, lobes)
    second = NetworkPerfusion.load(tmp_path, device="cpu").predict(ct, lobes)
    assert first.values.tobytes() == second.values.tobytes()
    assert first.model == saved.identity
    assert [f for f in check_map(first) if f.code != "MAP_VARIATION"] == []
    assert (first.lungs == lobes.lungs).all()


def test_lungs_smaller_than_a_window_and_at_the_edge_of_the_ct_are_predicted_everywhere() -> None:
    grid = Grid.axial((12, 20, 20), (4.0, 3.0, 3.0), (-30.0, -30.0, -30.0), frame_of_reference_uid=FRAME)
    ct, lobes = patient(grid)
    assert lobes.lungs.all()
    values = seeing_network(a_card()).predict(ct, lobes).values
    far_from_the_ball = ct.hu == -900
    assert values[far_from_the_ball].min() > 0.5 * np.median(values)


def test_density_shown_by_the_network_follows_the_digital_thorax() -> None:
    grid = Grid.axial((56, 64, 72), (5.0, 5.0, 5.0), (-178.0, -150.0, -152.0), frame_of_reference_uid=FRAME)
    thorax = draw_thorax(grid)
    perfusion = seeing_network(a_card(spacing_mm=(5.0, 5.0, 5.0))).predict(thorax.ct, thorax.lobes)
    lungs = thorax.lobes.lungs
    assert spearmanr(perfusion.values[lungs], thorax.ct.hu[lungs]).statistic > 0.7
    assert perfusion.values[thorax.low_region].mean() < perfusion.values[lungs & ~thorax.low_region].mean()


def test_a_network_that_says_nan_is_refused() -> None:
    class Nan(nn.Module):
        def forward(self, channels: torch.Tensor) -> torch.Tensor:
            return channels[:, :1] * float("nan")

    with pytest.raises(ImplausibleResult):
        NetworkPerfusion(PerfusionNetwork(a_card(), Nan()), device="cpu").predict(*patient(GRID))


def test_lobes_of_another_grid_are_a_bug_that_shows() -> None:
    ct, _ = patient(GRID)
    _, lobes = patient(flipped(GRID, 0))
    with pytest.raises(GridMismatch):
        seeing_network(a_card()).predict(ct, lobes)


def test_a_patient_lies_in_the_middle_of_the_window_as_in_training() -> None:
    class Witness(FirstChannel):
        seen: torch.Tensor

        def forward(self, channels: torch.Tensor) -> torch.Tensor:
            self.seen = channels
            return super().forward(channels)

    body, card = Witness(), replace(a_card(), window_size=(40, 33, 36), channels=("lungs", "height", "hu"))
    ct, lobes = patient(GRID)
    NetworkPerfusion(PerfusionNetwork(card, body), device="cpu").predict(ct, lobes)
    channels = network_input(ct, lobes, card).channels
    padding = window_padding(channels.shape[1:], card.window_size)
    np.testing.assert_array_equal(body.seen[0].numpy(), np.pad(channels, ((0, 0), *padding)))


# When memory runs out


class FullAbove(nn.Module):
    """A network for which a window of more voxels than this is too much, as torch says it of a GPU."""

    def __init__(self, voxels: int) -> None:
        super().__init__()
        self.voxels = voxels

    def forward(self, channels: torch.Tensor) -> torch.Tensor:
        if channels[0, 0].numel() > self.voxels:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return 20.0 * channels[:, :1]


def test_a_window_that_does_not_fit_is_halved_and_the_result_says_so() -> None:
    ct, lobes = patient(GRID)
    network = NetworkPerfusion(PerfusionNetwork(a_card(), FullAbove(8 * 12 * 12)), device="cpu")
    found = FoundLobes(lobes, ())
    result = perfuse(ct, found, network, DEFAULT_RULE)
    (record,) = result.execution
    assert record == ExecutionRecord(
        "tiny", "cpu", "float32", (8, 12, 12), "smaller-tiles", "OUT_OF_MEMORY", numbers_differ=True
    )
    (finding,) = [f for f in result.findings if f.code == "RAN_ON_LESS_MEMORY"]
    assert finding.severity is Severity.FLAG
    assert "tiles of 8 x 12 x 12 in float32 on cpu" in finding.sentence
    usual = perfuse(ct, found, seeing_network(a_card()), DEFAULT_RULE)
    assert usual.execution[0].rung == "configured"
    assert not [f for f in usual.findings if f.code == "RAN_ON_LESS_MEMORY"]
    np.testing.assert_allclose(result.perfusion.values, usual.perfusion.values, atol=0.02)


def test_a_network_that_fits_no_window_runs_out_of_memory() -> None:
    ct, lobes = patient(GRID)
    network = NetworkPerfusion(PerfusionNetwork(a_card(), FullAbove(10)), device="cpu")
    with pytest.raises(OutOfMemory):
        perfuse(ct, FoundLobes(lobes, ()), network, DEFAULT_RULE)


def test_results_of_two_ways_to_run_have_two_digests() -> None:
    ct, lobes = patient(GRID)
    result = perfuse(ct, FoundLobes(lobes, ()), seeing_network(a_card()), DEFAULT_RULE)
    (record,) = result.execution
    ways = [
        result,
        replace(result, execution=(replace(record, rung="half-precision", precision="float16"),)),
        replace(result, execution=(replace(record, rung="cpu", why="OUT_OF_MEMORY"),)),
    ]
    assert len({way.content_sha256() for way in ways}) == 3
    killed = replace(result, execution=(replace(record, rung="cpu", why="STAGE_OUT_OF_MEMORY"),))
    assert killed.content_sha256() == ways[2].content_sha256()  # the same objects come of it
    other_machine = replace(result, execution=(replace(record, device="cuda"),))
    assert other_machine.content_sha256() == result.content_sha256()


@pytest.mark.parametrize(
    ("network", "arguments", "window", "smaller"),
    [
        ("UNet", {"strides": [2]}, (16, 24, 24), (8, 12, 12)),
        ("UNet", {"strides": [2, 2, 2, 2]}, (96, 96, 64), (48, 48, 32)),
        ("UNet", {"strides": [2, 2, 2, 2]}, (16, 48, 48), (16, 16, 16)),
        ("DynUNet", {"strides": [[1, 1, 1], [1, 2, 2], [2, 2, 2]]}, (8, 24, 24), (4, 12, 12)),
        ("BasicUNet", {}, (64, 96, 96), (32, 48, 48)),
        ("SegResNet", {}, (16, 16, 16), (16, 16, 16)),
    ],
)
def test_a_smaller_window_fits_the_reductions_of_its_network(
    network: str, arguments: dict[str, object], window: tuple[int, ...], smaller: tuple[int, ...]
) -> None:
    card = replace(a_card(), network=network, network_arguments=arguments, window_size=window)
    assert smaller_window(card) == smaller
