import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import torch

from inference.checkpoint import load_network, save_model
from inference.errors import CheckpointMismatch, InvalidModelCard, ModelNotFound
from inference.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard, ModelIdentity
from inference.networks import ALLOWED_NETWORKS, PerfusionNetwork, build_network

ARGUMENTS: dict[str, dict[str, Any]] = {
    "AttentionResidualUnet": {"channels": [4, 8], "strides": [2]},
    "AttentionUnet": {"channels": [4, 8], "strides": [2]},
    "BasicUNet": {"features": [4, 4, 8, 8, 8, 4]},
    "DynUNet": {
        "kernel_size": [3, 3, 3],
        "strides": [1, 2, 2],
        "upsample_kernel_size": [2, 2],
        "filters": [4, 8, 16],
    },
    "SegResNet": {"init_filters": 8, "blocks_down": [1, 1], "blocks_up": [1]},
    "UNet": {"channels": [4, 8], "strides": [2]},
}


def card(network: str = "UNet", **arguments: Any) -> ModelCard:
    return ModelCard(
        identity=ModelIdentity("tiny", "0"),
        network=network,
        network_arguments=arguments or ARGUMENTS[network],
        input_spacing_mm=(6.0, 6.0, 6.0),
        hu_window=(-1000.0, 0.0),
        window_size=(32, 32, 32),
        trained_on="Nothing; random weights.",
        intended_use="Tests.",
    )


def tiny_network() -> PerfusionNetwork:
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return build_network(card()).eval()


def change_card(folder: Path, **fields: Any) -> None:
    path = folder / CARD_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_saved_model_is_loaded_with_the_same_weights_and_a_card_that_names_their_hash(tmp_path: Path) -> None:
    network = tiny_network()
    written = save_model(tmp_path / "model", network)
    loaded = load_network(tmp_path / "model")
    content = (tmp_path / "model" / WEIGHTS_FILE).read_bytes()
    assert written.identity.weights_sha256 == hashlib.sha256(content).hexdigest()
    assert loaded.card == ModelCard.read(tmp_path / "model")
    assert loaded.card.identity == written.identity
    assert not loaded.training
    channels = torch.linspace(0, 1, 2 * 16**3).reshape(1, 2, 16, 16, 16)
    with torch.inference_mode():
        assert torch.equal(loaded(channels), network(channels))


def test_equal_weights_give_equal_bytes(tmp_path: Path) -> None:
    save_model(tmp_path / "a", tiny_network())
    save_model(tmp_path / "b", tiny_network())
    for name in (CARD_FILE, WEIGHTS_FILE):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


@pytest.mark.parametrize("position", [0, 20, -1])
def test_one_changed_byte_is_refused_before_any_tensor_is_read(tmp_path: Path, position: int) -> None:
    """The first byte is part of the header's length: reading it at all would fail in another way."""
    save_model(tmp_path, tiny_network())
    content = bytearray((tmp_path / WEIGHTS_FILE).read_bytes())
    content[position] ^= 0xFF
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    with pytest.raises(CheckpointMismatch) as refused:
        load_network(tmp_path)
    assert refused.value.got_sha256 == hashlib.sha256(content).hexdigest()


def test_the_hash_is_checked_before_the_network_is_even_built(tmp_path: Path) -> None:
    save_model(tmp_path, tiny_network())
    (tmp_path / WEIGHTS_FILE).write_bytes(b"not safetensors")
    change_card(tmp_path, network="NoSuchNetwork")
    with pytest.raises(CheckpointMismatch):
        load_network(tmp_path)


def test_a_pickle_with_the_right_hash_is_not_executed(tmp_path: Path) -> None:
    save_model(tmp_path, tiny_network())
    torch.save(tiny_network().body.state_dict(), tmp_path / WEIGHTS_FILE)
    digest = hashlib.sha256((tmp_path / WEIGHTS_FILE).read_bytes()).hexdigest()
    change_card(tmp_path, identity={"name": "tiny", "version": "0", "weights_sha256": digest, "caveat": ""})
    with pytest.raises(InvalidModelCard, match="do not fit UNet"):
        load_network(tmp_path)


def test_weights_of_another_architecture_do_not_fit(tmp_path: Path) -> None:
    save_model(tmp_path, tiny_network())
    change_card(tmp_path, network_arguments={"channels": [4, 16], "strides": [2]})
    with pytest.raises(InvalidModelCard, match="do not fit UNet"):
        load_network(tmp_path)


def test_a_card_from_before_there_were_more_channels_is_still_read(tmp_path: Path) -> None:
    save_model(tmp_path, tiny_network())
    path = tmp_path / CARD_FILE
    fields = json.loads(path.read_text())
    assert fields.pop("channels") == ["hu", "lungs"]
    assert fields.pop("lungwise") is False
    path.write_text(json.dumps(fields))
    assert ModelCard.read(tmp_path) == load_network(tmp_path).card
    assert ModelCard.read(tmp_path).channels == ("hu", "lungs")


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"channels": ["hu", "vesselness"]}, "vesselness"),
        ({"channels": ["hu", "hu"]}, "each once"),
        ({"channels": []}, "at least one"),
        ({"channels": [["hu"]]}, "channels"),
        ({"lungwise": "yes"}, "lungwise"),
    ],
)
def test_a_card_that_asks_for_what_cannot_be_shown_is_refused(
    tmp_path: Path, fields: dict[str, Any], reason: str
) -> None:
    save_model(tmp_path, tiny_network())
    change_card(tmp_path, **fields)
    with pytest.raises(InvalidModelCard, match=reason):
        ModelCard.read(tmp_path)


@pytest.mark.parametrize("name", ALLOWED_NETWORKS)
def test_every_allowed_network_is_saved_and_loaded_with_all_its_weights(tmp_path: Path, name: str) -> None:
    """DynUNet has every block under two names; on disk each tensor lies once."""
    saved = build_network(card(name))
    save_model(tmp_path, saved)
    loaded = load_network(tmp_path).body.state_dict()
    for key, tensor in saved.body.state_dict().items():
        assert torch.equal(loaded[key], tensor), key
    content = (tmp_path / WEIGHTS_FILE).read_bytes()
    assert len(content) < 4 * sum(tensor.numel() for tensor in saved.body.parameters()) + 40_000


@pytest.mark.parametrize("missing", [CARD_FILE, WEIGHTS_FILE])
def test_an_incomplete_folder_says_what_is_missing(tmp_path: Path, missing: str) -> None:
    save_model(tmp_path, tiny_network())
    (tmp_path / missing).unlink()
    with pytest.raises(ModelNotFound, match=missing):
        load_network(tmp_path)


@pytest.mark.parametrize("name", ALLOWED_NETWORKS)
def test_every_allowed_network_maps_two_channels_to_one_positive_one(name: str) -> None:
    network = build_network(card(name)).eval()
    channels = torch.zeros(1, 2, 32, 32, 32)
    with torch.inference_mode():
        output = network(channels)
    assert output.shape == (1, 1, *channels.shape[2:])
    assert (output > 0).all()


@pytest.mark.parametrize(
    ("network", "arguments", "reason"),
    [
        ("Sequential", {"channels": [4, 8]}, "is not one of"),
        ("__class__", {"channels": [4, 8]}, "is not one of"),
        ("UNet", {"channels": [4, 8], "strides": [2], "out_channels": 3}, "out_channels is 3"),
        ("UNet", {"channels": [4, 8], "strides": [2], "in_channels": 1}, "in_channels is 1"),
        ("UNet", {"channels": [4, 8], "strides": [2], "spatial_dims": 2}, "spatial_dims is 2"),
        ("UNet", {"chanels": [4, 8]}, "refuses its arguments"),
        ("UNet", {"channels": [4], "strides": []}, "refuses its arguments"),
        ("DynUNet", {**ARGUMENTS["DynUNet"], "deep_supervision": True}, "deep_supervision"),
    ],
)
def test_a_card_with_an_unusable_network_says_why(network: str, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidModelCard, match=reason):
        build_network(card(network, **arguments))
