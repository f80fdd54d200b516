"""Where weights come from, and how networks run over slices."""

import hashlib
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.errors import ModelError, ModelNotFound, StoredModelDamaged
from inference.execution import Execution, Rung
from inference.lungmask import networks as lungmask_networks
from inference.lungmask.networks import Pace, SliceNetwork, WeightsFile, dtype_of, find_weights, scores_by_module
from inference.weights.model_store import ModelStore
from inference.weights.published_weights import PUBLISHED
from tests import lungmask_standins

PACE = Pace("cpu", torch.float32, 1)
NATIVE = {"amx_bf16": True}


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("weights")
    return lungmask_standins.save(lungmask_standins.blobs(3, seed=4), folder / "r231.pth")


@pytest.fixture(scope="module")
def network(weights: Path) -> SliceNetwork:
    return SliceNetwork("R231", WeightsFile.read(weights))


@pytest.fixture(scope="module")
def pixels() -> np.ndarray:
    return np.random.default_rng(5).random((4, 64, 64), dtype=np.float32)


def imported(folder: Path, weights: Path) -> ModelStore:
    """A store with the stand-in under the published name; its digest takes the place of the published one."""
    sha256 = hashlib.sha256(weights.read_bytes()).hexdigest()
    known = {**PUBLISHED, "lungmask-r231": replace(PUBLISHED["lungmask-r231"], sha256_start=sha256[:8])}
    store = ModelStore(folder, known)
    store.import_file("lungmask-r231", weights)
    return store


def test_weights_come_from_the_store_when_no_file_is_named(weights: Path, tmp_path: Path) -> None:
    imported(tmp_path, weights)
    found = find_weights("R231", None, tmp_path)
    assert found.sha256 == WeightsFile.read(weights).sha256
    assert found.path.is_relative_to(tmp_path)
    SliceNetwork("R231", found)


def test_a_named_file_goes_before_the_store(weights: Path, tmp_path: Path) -> None:
    imported(tmp_path / "store", weights)
    named = shutil.copy(weights, tmp_path / "named.pth")
    assert find_weights("R231", named, tmp_path / "store").path == named


def test_stored_weights_whose_bytes_changed_are_refused(weights: Path, tmp_path: Path) -> None:
    path = find_weights("R231", None, imported(tmp_path, weights).folder).path
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(StoredModelDamaged):
        find_weights("R231", None, tmp_path)


@pytest.mark.parametrize("has_store", [True, False])
def test_without_weights_the_error_names_the_command_and_nothing_is_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_store: bool
) -> None:
    def fetch(*arguments: object, **options: object) -> None:
        raise AssertionError("somebody asked the internet")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr(torch.hub, "download_url_to_file", fetch)
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", fetch)
    with pytest.raises(ModelNotFound, match="perfnode models import lungmask-ltrclobes") as caught:
        find_weights("LTRCLobes", None, tmp_path / "store" if has_store else None)
    assert "atlas" in caught.value.remedy
    assert not list(tmp_path.rglob("*"))


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"absent\.pth of lungmask's R231 was not found"):
        find_weights("R231", tmp_path / "absent.pth", None)


def test_a_network_of_other_classes_is_refused(weights: Path) -> None:
    with pytest.raises(ModelError, match="swapped"):
        SliceNetwork("LTRCLobes", WeightsFile.read(weights))


def test_only_wanted_slices_are_looked_at(network: SliceNetwork, pixels: np.ndarray) -> None:
    everything = network.labels(pixels, PACE)
    assert all(image.any() for image in everything)
    wanted = np.array([False, True, False, True])
    some = network.labels(pixels, PACE, wanted)
    np.testing.assert_array_equal(some[wanted], everything[wanted])
    assert not some[~wanted].any()
    assert not network.labels(pixels, PACE, np.zeros(4, dtype=bool)).any()


def test_a_batch_that_does_not_come_out_even_leaves_no_slice_behind(network: SliceNetwork, pixels: np.ndarray) -> None:
    np.testing.assert_array_equal(network.labels(pixels, replace(PACE, batch_size=3)), network.labels(pixels, PACE))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_mixed_precision_of_the_module_gives_scores_nearby(
    network: SliceNetwork, weights: Path, pixels: np.ndarray, dtype: torch.dtype
) -> None:
    """What a GPU runs in mode `fast`; the CPU stands in for it."""
    module: Any = lungmask_standins.network(3)
    module.load_state_dict(torch.load(weights))
    slices = torch.from_numpy(pixels[:1, None])
    with torch.inference_mode():
        exact = network.scores(slices, PACE)
        mixed = scores_by_module(module, slices, Pace("cpu", dtype, 1))
    assert mixed.dtype == torch.float32
    assert 0 < float((mixed - exact).abs().mean()) < 0.1 * float(exact.std())


@pytest.mark.parametrize(
    ("precision", "way", "capabilities", "dtype"),
    [
        ("exact", Execution("cpu"), NATIVE, torch.float32),
        ("exact", Execution("cuda"), NATIVE, torch.float32),
        ("exact", Execution("cuda", Rung.HALF_PRECISION), NATIVE, torch.float16),
        ("exact", Execution("cpu", Rung.CPU), NATIVE, torch.float32),
        ("fast", Execution("cpu"), NATIVE, torch.bfloat16),
        ("fast", Execution("cpu"), {"avx512_f": True, "amx_bf16": False}, torch.float32),
        ("fast", Execution("cuda"), {}, torch.float16),
        ("fast", Execution("cpu", Rung.CPU), NATIVE, torch.bfloat16),
    ],
)
def test_sixteen_bits_only_where_wanted_and_where_the_device_has_them(
    monkeypatch: pytest.MonkeyPatch,
    precision: lungmask_networks.Precision,
    way: Execution,
    capabilities: dict[str, bool],
    dtype: torch.dtype,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert dtype_of(precision, way) == dtype
