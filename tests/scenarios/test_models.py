"""Models by configuration: a network's objects name its weights; what must not be used stops process and start."""

from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import dcmread

from inference.checkpoint import save_model
from inference.model_card import WEIGHTS_FILE, ModelCard, ModelIdentity
from inference.networks import build_network
from tests.running_node import perfnode


@pytest.fixture
def model(tmp_path: Path) -> ModelCard:
    """A tiny network with random weights in `tmp_path/model`, and a site file that uses it."""
    card = ModelCard(
        identity=ModelIdentity("tiny", "0", weights_sha256="0" * 64, caveat="Random weights, for tests."),
        network="UNet",
        network_arguments={"channels": [4, 8], "strides": [2]},
        input_spacing_mm=(6.0, 6.0, 6.0),
        hu_window=(-1000.0, 0.0),
        window_size=(32, 32, 32),
        trained_on="Nothing.",
        intended_use="Tests.",
    )
    with torch.random.fork_rng():
        torch.manual_seed(5)
        network = build_network(card)
    (tmp_path / "model").mkdir()
    (tmp_path / "site.toml").write_text('[inference]\nperfusion = "network"\nmodel_folder = "model"\ndevice = "cpu"\n')
    return save_model(tmp_path / "model", network)


def test_objects_of_a_network_name_its_weights_and_caveat(
    tmp_path: Path, model: ModelCard, thorax_files: list[Path]
) -> None:
    site = str(tmp_path / "site.toml")
    done = perfnode("process", str(thorax_files[0].parent), "--out", str(tmp_path / "out"), "--config", site)
    assert done.returncode == 0, done.stdout + done.stderr
    perfusion = dcmread(tmp_path / "out" / "parametric-map.dcm")
    assert any(model.identity.weights_sha256[:12] in version for version in perfusion.SoftwareVersions)
    assert "Random weights" in perfusion.ImageComments
    values = np.frombuffer(perfusion.FloatPixelData, "<f4")
    assert np.isfinite(values).all()
    assert values[values > 0].mean() == pytest.approx(100.0, abs=0.1)


def test_changed_weights_are_refused(tmp_path: Path, model: ModelCard, thorax_files: list[Path]) -> None:
    weights = tmp_path / "model" / WEIGHTS_FILE
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(content)
    site = str(tmp_path / "site.toml")
    done = perfnode("process", str(thorax_files[0].parent), "--out", str(tmp_path / "out"), "--config", site)
    assert done.returncode == 2
    assert done.stderr.startswith("CHECKPOINT_MISMATCH")
    assert not (tmp_path / "out").exists()


def test_a_node_whose_model_does_not_recognise_the_digital_thorax_refuses_to_start(
    tmp_path: Path, model: ModelCard
) -> None:
    done = perfnode("serve", "--config", str(tmp_path / "site.toml"))
    assert done.returncode == 2
    assert "SELF_TEST_FAILED" in done.stderr
    assert "poorly perfused region" in done.stderr


def test_a_node_without_the_weights_it_needs_says_what_to_do(tmp_path: Path) -> None:
    site = tmp_path / "site.toml"
    site.write_text('[inference]\nlobes = "lungmask"\nr231_weights = "no.pth"\nltrclobes_weights = "no.pth"\n')
    done = perfnode("serve", "--config", str(site))
    assert done.returncode == 2
    assert "MODEL_NOT_FOUND" in done.stderr
    assert "Correct the path" in done.stderr
