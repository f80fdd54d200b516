from pathlib import Path

import numpy as np
import pytest
import torch

from inference.model_card import ModelCard, ModelIdentity
from inference.networks import build_network
from tests.training.drawn_cases import drawn_case
from training.errors import PredictionUnusable
from training.prediction import predicted, read_prediction, write_prediction
from training.study_case import StudyCase


@pytest.fixture(scope="module")
def case() -> StudyCase:
    return drawn_case("LC-001", seed=3)


def card(channels: tuple[str, ...], window: tuple[int, int, int]) -> ModelCard:
    return ModelCard(
        ModelIdentity("t", "1"),
        "UNet",
        {"channels": [4, 8], "strides": [2]},
        (4.8, 4.8, 4.8),
        (-1000.0, 100.0),
        window,
        "Nothing.",
        "Tests.",
        channels=channels,
    )


def test_a_map_is_that_of_the_network_over_its_mean_in_the_lungs(case: StudyCase) -> None:
    torch.manual_seed(0)
    network = build_network(card(("hu", "lungs"), case.grid.shape)).eval()
    values = predicted(network, case, torch.device("cpu"))
    with torch.inference_mode():
        direct = network(torch.from_numpy(case.channels.copy())[None])[0, 0].numpy()
    assert values[case.lungs].mean() == pytest.approx(1.0, abs=1e-5)
    assert np.allclose(values[case.lungs], direct[case.lungs] / direct[case.lungs].mean(), atol=1e-5)
    assert not values[~case.lungs].any()


def test_a_network_is_shown_the_channels_of_its_card_in_their_order(case: StudyCase) -> None:
    network = build_network(card(("lungs", "hu"), case.grid.shape)).eval()
    shown = []
    network.body.register_forward_pre_hook(lambda _, arguments: shown.append(arguments[0].numpy()))
    predicted(network, case, torch.device("cpu"))
    assert np.array_equal(shown[0][0], case.channels[::-1])


def test_a_map_is_kept_in_sixteen_bits_within_the_lungs(tmp_path: Path, case: StudyCase) -> None:
    path = tmp_path / "LC-001.npz"
    write_prediction(path, case.target, case)
    back = read_prediction(path, case)
    assert back.dtype == np.float32
    assert np.array_equal(back, case.target.astype(np.float16).astype(np.float32))
    assert path.stat().st_size < 2 * int(case.lungs.sum()) + 500


@pytest.mark.parametrize("content", [None, b"no picture"])
def test_a_map_that_cannot_be_read_says_where(tmp_path: Path, case: StudyCase, content: bytes | None) -> None:
    path = tmp_path / "LC-001.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(PredictionUnusable) as refused:
        read_prediction(path, case)
    assert refused.value.path == str(path)


def test_a_map_of_other_lungs_is_refused(tmp_path: Path, case: StudyCase) -> None:
    np.savez_compressed(tmp_path / "x.npz", values=np.ones(7, np.float16))
    with pytest.raises(PredictionUnusable, match=f"has 7 voxels, LC-001 has {case.lungs.sum()}"):
        read_prediction(tmp_path / "x.npz", case)
