"""What each channel says of lungs whose answers are known by construction."""

from dataclasses import replace

import numpy as np
import pytest

from inference.anatomy import Lobe
from inference.channels import SUBVOXEL_CHANNELS, Channel
from inference.geometry import Grid
from inference.model_card import ModelCard, ModelIdentity
from inference.preprocessing import NetworkInput, network_input, seen_lobes, window_padding
from inference.volumes import CtVolume, LobeMap, SeriesReference

FRAME = "1.2.3"
GRID = Grid.axial((36, 48, 60), (1.6, 1.6, 1.6), (0.0, 0.0, 0.0), frame_of_reference_uid=FRAME)
CARD = ModelCard(
    identity=ModelIdentity("tiny", "0", weights_sha256="0" * 64),
    network="UNet",
    network_arguments={"channels": [4, 8], "strides": [2]},
    input_spacing_mm=(4.8, 4.8, 4.8),
    hu_window=(-1000.0, 100.0),
    window_size=(16, 16, 16),
    trained_on="Nothing.",
    intended_use="Tests.",
    channels=(*SUBVOXEL_CHANNELS, "left"),
)
ALL_LUNG = np.full(GRID.shape, Lobe.RLL.value, np.uint8)


def seen(hu: np.ndarray, labels: np.ndarray = ALL_LUNG, grid: Grid = GRID, card: ModelCard = CARD) -> NetworkInput:
    source = SeriesReference("1.2", "1.3", FRAME, tuple(f"1.4.{k}" for k in range(grid.shape[0])))
    lobes = LobeMap(labels, grid, ModelIdentity("known", "1"))
    return network_input(CtVolume(hu.astype(np.float32), grid, source), lobes, card)


def channel(of: NetworkInput, name: Channel, card: ModelCard = CARD) -> np.ndarray:
    return of.channels[card.channels.index(name)]


def even(hu: float) -> np.ndarray:
    return np.full(GRID.shape, hu)


def test_even_lung_has_its_density_and_no_spread() -> None:
    lung = seen(even(-780.0))
    assert channel(lung, Channel.HU) == pytest.approx(0.2, abs=1 / 2048)
    assert channel(lung, Channel.LUNG_HU) == pytest.approx(0.2, abs=1 / 2048)
    assert (channel(lung, Channel.LUNGS) == 1.0).all()
    for name in (Channel.SPREAD, Channel.BELOW_910, Channel.BELOW_950, Channel.ABOVE_500, Channel.LEFT):
        assert (channel(lung, name) == 0.0).all()


def test_one_vessel_part_in_27_is_seen_as_such() -> None:
    hu = even(-780.0)
    hu[1::3, 1::3, 1::3] = 40.0
    lung = seen(hu)
    assert channel(lung, Channel.ABOVE_500) == pytest.approx(1 / 27, abs=1 / 2048)
    assert channel(lung, Channel.LUNG_HU) == pytest.approx((220 * 26 + 1040) / 27 / 1100, abs=1 / 2048)
    expected_hu = np.sqrt(1 / 27 - 1 / 27**2) * 820.0
    assert channel(lung, Channel.SPREAD) == pytest.approx(expected_hu / 250.0, abs=1 / 1024)


def test_lung_between_vessels_is_as_dense_as_without_them() -> None:
    dense, darker = even(-780.0), even(-790.0)
    for hu in (dense, darker):
        hu[::3] = 40.0  # a third of every voxel is a vessel
    assert channel(seen(dense), Channel.PARENCHYMA) == pytest.approx(220 / 400, abs=1 / 2048)
    assert channel(seen(darker), Channel.PARENCHYMA) == pytest.approx(210 / 400, abs=1 / 2048)
    assert channel(seen(even(40.0)), Channel.PARENCHYMA) == pytest.approx(1.0)


def test_lung_between_vessels_is_the_mean_of_the_three_darkest_of_27_parts() -> None:
    hu = even(-700.0)
    for place, value in ((0, -900.0), (1, -860.0), (2, -820.0)):
        hu[1::3, 1::3, place::3] = value
    assert channel(seen(hu), Channel.PARENCHYMA) == pytest.approx(140 / 400, abs=1 / 2048)


def test_lung_between_vessels_is_found_where_a_voxel_holds_little_lung() -> None:
    labels = ALL_LUNG.copy()
    labels[1:, 1:, :] = 0
    labels[:1, :1, 1:] = 0  # of the first voxel one part in 27 is lung
    hu = np.where(labels > 0, -840.0, -1000.0)
    assert channel(seen(hu, labels), Channel.PARENCHYMA)[0, 0, 0] == pytest.approx(0.4, abs=1 / 2048)


def test_emphysema_counts_by_its_level() -> None:
    hu = even(-850.0)
    hu[::3] = -930.0
    hu[1::3, ::3] = -980.0
    lung = seen(hu)
    assert channel(lung, Channel.BELOW_950) == pytest.approx(1 / 9, abs=1 / 2048)
    assert channel(lung, Channel.BELOW_910) == pytest.approx(1 / 3 + 1 / 9, abs=1 / 2048)


def test_what_is_not_lung_counts_in_the_mean_only() -> None:
    labels = ALL_LUNG.copy()
    labels[:, :, 31:] = 0  # cuts coarse voxels of columns 30 to 32: one part in three is lung
    hu = np.where(labels > 0, -890.0, 100.0)
    lung = seen(hu, labels)
    cut = (slice(None), slice(None), 10)
    assert channel(lung, Channel.LUNGS)[cut] == pytest.approx(1 / 3, abs=1 / 2048)
    assert channel(lung, Channel.HU)[cut] == pytest.approx(0.7, abs=1 / 2048)
    assert channel(lung, Channel.LUNG_HU)[cut] == pytest.approx(0.1, abs=1 / 2048)
    assert channel(lung, Channel.SPREAD)[cut] == pytest.approx(0.0, abs=1 / 2048)
    beyond = (slice(None), slice(None), slice(11, None))
    for name in set(SUBVOXEL_CHANNELS) - {"hu"}:
        assert (channel(lung, Channel(name))[beyond] == 0.0).all(), name


def test_height_falls_to_the_back_and_depth_grows_inwards() -> None:
    labels = np.zeros(GRID.shape, np.uint8)
    labels[6:30, 9:39, 6:54] = Lobe.RUL.value
    lung = seen(even(-850.0), labels)
    index = np.round(lung.grid.to_index(np.array([[46.0, 60.0, 29.0], [46.0, 40.8, 29.0]]))).astype(int)
    back, middle = (tuple(each) for each in index)
    steps = back[1] - middle[1]
    rise = channel(lung, Channel.HEIGHT)[middle] - channel(lung, Channel.HEIGHT)[back]
    assert rise == pytest.approx(4.8 * steps / 250.0, abs=1 / 1024)
    inside = channel(lung, Channel.HEIGHT)[lung.lungs >= 0.5]
    assert inside.min() == 0.0
    depth = channel(lung, Channel.DEPTH)
    assert depth.max() == pytest.approx(4.8 * 4 / 50.0, abs=1 / 1024)  # 24 slices are 8 coarse ones: 4 from the face
    assert depth[middle] > depth[back]


def test_left_and_lobes_are_told_by_most_of_the_voxel() -> None:
    labels = ALL_LUNG.copy()
    labels[:, :, 31:] = Lobe.LUL.value
    labels[18:, :, :31] = Lobe.RUL.value
    lung = seen(even(-850.0), labels)
    left = channel(lung, Channel.LEFT)
    assert (left[:, :, :10] == 0.0).all()
    assert left[:, :, 10] == pytest.approx(2 / 3, abs=1 / 2048)
    assert (left[:, :, 11:] == 1.0).all()
    found = seen_lobes(LobeMap(labels, GRID, ModelIdentity("known", "1")), lung)
    assert (found[:, :, 10:] == Lobe.LUL).all()
    assert (found[:6, :, :10] == Lobe.RLL).all()
    assert (found[6:, :, :10] == Lobe.RUL).all()


def test_statistics_do_not_depend_on_how_fine_the_ct_is() -> None:
    rough = np.random.default_rng(2).normal(-850.0, 60.0, GRID.shape)
    finer = Grid.axial((72, 96, 120), (0.8, 0.8, 0.8), (-0.4, -0.4, -0.4), frame_of_reference_uid=FRAME)
    rng = np.random.default_rng(3)
    noise = rng.normal(0.0, 100.0, (36, 48, 60, 2, 2, 2))
    noise -= noise.mean(axis=(3, 4, 5), keepdims=True)  # noise that the mean over a part takes away
    noise = noise.transpose(0, 3, 1, 4, 2, 5).reshape(finer.shape)
    fine = rough.repeat(2, 0).repeat(2, 1).repeat(2, 2) + noise
    wide = replace(CARD, hu_window=(-2000.0, 1000.0))  # so that nothing is cut off
    coarse_ct = seen(rough, card=wide)
    fine_ct = seen(fine, np.full(finer.shape, Lobe.RLL.value, np.uint8), finer, wide)
    np.testing.assert_allclose(fine_ct.channels, coarse_ct.channels, atol=1.1 / 2048)
    assert channel(coarse_ct, Channel.SPREAD, wide).mean() == pytest.approx(60.0 * np.sqrt(26 / 27) / 250.0, rel=0.02)


def test_16_bits_hold_all_channels_exactly() -> None:
    rough = np.random.default_rng(2).normal(-850.0, 150.0, GRID.shape)
    values = seen(rough).channels
    assert (values.astype(np.float16).astype(np.float32) == values).all()
    assert values.min() >= 0.0
    assert values.max() <= 1.0


@pytest.mark.parametrize(
    ("shape", "padding"),
    [((10, 16, 20), ((3, 3), (0, 0), (0, 0))), ((16, 15, 13), ((0, 0), (0, 1), (1, 2)))],
)
def test_a_volume_lies_in_the_middle_of_its_window(shape: tuple[int, int, int], padding: tuple[object, ...]) -> None:
    assert window_padding(shape, (16, 16, 16)) == padding
