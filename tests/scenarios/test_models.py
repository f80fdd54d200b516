"""Models by configuration: a network's objects name its weights; what must not be used stops process and start."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from pydicom import dcmread

from dicom_node.objects import codes
from inference.checkpoint import save_model
from inference.model_card import WEIGHTS_FILE, ModelCard, ModelIdentity
from inference.models.manifest import ModelManifest
from inference.networks import build_network
from tests.running_node import perfnode
from tests.stand_in_models import CAVEAT, stand_in_bundle, stand_in_key

pytestmark = pytest.mark.slow  # `make test-long`


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


@pytest.fixture
def bundle(tmp_path: Path) -> ModelManifest:
    """A signed bundle of random networks in `tmp_path/stand-in`, and a site file that trusts its signer."""
    manifest = stand_in_bundle(tmp_path / "stand-in", stand_in_key(tmp_path))
    (tmp_path / "site.toml").write_text(
        '[inference]\nperfusion = "bundle"\nmodel_folder = "stand-in"\n'
        'trusted_keys = ["site.pem.pub"]\ndevice = "cpu"\n'
    )
    return manifest


def test_objects_of_a_bundle_name_it_and_its_caveat(
    tmp_path: Path, bundle: ModelManifest, thorax_files: list[Path]
) -> None:
    site = str(tmp_path / "site.toml")
    done = perfnode("process", str(thorax_files[0].parent), "--out", str(tmp_path / "out"), "--config", site)
    assert done.returncode == 0, done.stdout + done.stderr
    perfusion = dcmread(tmp_path / "out" / "parametric-map.dcm")
    assert f"stand-in 0 ({bundle.content_sha256()[:12]})" in list(perfusion.SoftwareVersions)
    assert CAVEAT in perfusion.ImageComments
    assert "RESEARCH" in perfusion.ImageComments
    assert perfusion.ContentQualification == "RESEARCH"
    assert codes.METHOD_NETWORK.value in str(perfusion)
    assert codes.METHOD_DENSITOMETRIC.value not in str(perfusion)


def _altered(folder: Path) -> None:
    (folder / "stand-in" / "docs" / "README.md").write_text("Validated in ten clinics.")


def _foreign(folder: Path) -> None:
    (folder / "site.toml").write_text('[inference]\nperfusion = "bundle"\nmodel_folder = "stand-in"\n')


@pytest.mark.parametrize(("change", "code"), [(_altered, "MODEL_ALTERED"), (_foreign, "MODEL_SIGNER_UNKNOWN")])
def test_a_node_does_not_start_with_a_bundle_that_nobody_it_trusts_has_signed(
    tmp_path: Path, bundle: ModelManifest, change: Callable[[Path], None], code: str
) -> None:
    change(tmp_path)
    done = perfnode("serve", "--config", str(tmp_path / "site.toml"))
    assert done.returncode == 2
    assert code in done.stderr
