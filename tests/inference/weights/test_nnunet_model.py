"""Published models of nnU-Net as one file: what is kept, what is refused, and that no program in them runs."""

import json
import shutil
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from inference.errors import ModelNotFound, UnusableWeights
from inference.weights.nnunet_model import Plan, pack, unpack
from inference.weights.published_weights import TOTALSEGMENTATOR_LOBES
from tests.stand_in_weights import (
    DATASET,
    DATASET_JSON,
    PLANS,
    checkpoint_of,
    direction_tensors,
    nnunet_folder,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return nnunet_folder(tmp_path_factory.mktemp("nnunet"))


@pytest.fixture(scope="module")
def packed(folder: Path) -> bytes:
    return pack(TOTALSEGMENTATOR_LOBES, folder)[0]


def changed(original: Mapping[str, Any], *path: str, value: Any) -> dict[str, Any]:
    copy: dict[str, Any] = deepcopy(dict(original))
    place = copy
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return copy


FULLRES = ("configurations", "3d_fullres")


def test_folder_zip_and_a_folder_around_them_give_the_same_file(tmp_path: Path, folder: Path, packed: bytes) -> None:
    archive = Path(shutil.make_archive(str(tmp_path / DATASET), "zip", folder.parent, folder.name))
    assert pack(TOTALSEGMENTATOR_LOBES, archive)[0] == packed
    assert pack(TOTALSEGMENTATOR_LOBES, folder.parent)[0] == packed
    assert pack(TOTALSEGMENTATOR_LOBES, next(folder.iterdir()))[0] == packed


def test_the_plan_holds_what_the_published_files_say(packed: bytes) -> None:
    plan, _ = unpack(packed)
    assert plan.dataset == DATASET
    assert plan.spacing_mm == (8.0, 8.0, 8.0)
    assert plan.patch == (32, 32, 32)
    assert (plan.clip_hu, plan.mean_hu, plan.deviation_hu) == ((-1000.0, 1000.0), -500.0, 300.0)
    assert plan.features == (8, 8, 8)
    assert plan.strides == ((1, 1, 1), (2, 2, 2), (2, 2, 2))
    assert plan.labels == DATASET_JSON["labels"]
    assert len(plan.checkpoint_sha256) == 64


def test_spacing_follows_the_axes_of_the_patient_not_those_of_the_network(tmp_path: Path) -> None:
    plans = changed(PLANS, *FULLRES, "spacing", value=[1.0, 2.0, 3.0])
    plans["transpose_forward"] = [2, 0, 1]
    plan, _ = unpack(pack(TOTALSEGMENTATOR_LOBES, nnunet_folder(tmp_path, plans=plans))[0])
    assert plan.axes == (2, 0, 1)
    assert plan.spacing_mm == (2.0, 3.0, 1.0)  # axis 0 of the network, at 1 mm, is the patient's axis 2


def test_every_tensor_of_the_network_comes_from_its_namesake(tmp_path: Path) -> None:
    """With random numbers in all tensors, an exchanged pair or a forgotten one would be seen."""
    generator = torch.Generator().manual_seed(7)
    tensors = {name: torch.rand(tensor.shape, generator=generator) for name, tensor in direction_tensors().items()}
    source = nnunet_folder(tmp_path, checkpoint=checkpoint_of(tensors))
    _, network = unpack(pack(TOTALSEGMENTATOR_LOBES, source)[0])
    given = {tensor.numpy().tobytes(): name for name, tensor in tensors.items()}
    names = [given.pop(parameter.numpy().tobytes()) for parameter in network.parameters()]
    assert len(set(names)) == len(names)
    cancelled = {name for name in tensors if name.endswith(".conv.bias")}
    deeper = {"decoder.seg_layers.0.weight", "decoder.seg_layers.0.bias"}
    assert set(given.values()) == cancelled | deeper  # left out: before a norm, and for deep supervision


def test_plans_of_newer_versions_say_the_same(tmp_path: Path, packed: bytes) -> None:
    plans = deepcopy(PLANS)
    configuration = plans["configurations"]["3d_fullres"]
    for old in ("UNet_class_name", "UNet_base_num_features", "num_pool_per_axis", "unet_max_num_features"):
        del configuration[old]
    configuration["architecture"] = {
        "network_class_name": "dynamic_network_architectures.architectures.unet.PlainConvUNet",
        "arch_kwargs": {
            "n_stages": 3,
            "features_per_stage": [8, 8, 8],
            "conv_op": "torch.nn.modules.conv.Conv3d",
            "kernel_sizes": configuration.pop("conv_kernel_sizes"),
            "strides": configuration.pop("pool_op_kernel_sizes"),
            "n_conv_per_stage": configuration.pop("n_conv_per_stage_encoder"),
            "n_conv_per_stage_decoder": configuration.pop("n_conv_per_stage_decoder"),
            "conv_bias": True,
            "norm_op": "torch.nn.modules.instancenorm.InstanceNorm3d",
            "norm_op_kwargs": {"eps": 1e-05, "affine": True},
            "dropout_op": None,
            "dropout_op_kwargs": None,
            "nonlin": "torch.nn.LeakyReLU",
            "nonlin_kwargs": {"inplace": True},
        },
    }
    new, _ = unpack(pack(TOTALSEGMENTATOR_LOBES, nnunet_folder(tmp_path, plans=plans))[0])
    old_plan, _ = unpack(packed)
    assert (new.features, new.kernel, new.strides) == (old_plan.features, old_plan.kernel, old_plan.strides)
    configuration["architecture"]["arch_kwargs"]["norm_op"] = "torch.nn.modules.batchnorm.BatchNorm3d"
    with pytest.raises(UnusableWeights, match="of a shape that is not supported"):
        pack(TOTALSEGMENTATOR_LOBES, nnunet_folder(tmp_path / "other", plans=plans))


@pytest.mark.parametrize(
    ("plans", "reason"),
    [
        (changed(PLANS, *FULLRES, "UNet_class_name", value="ResidualEncoderUNet"), "ResidualEncoderUNet"),
        (changed(PLANS, *FULLRES, "n_conv_per_stage_decoder", value=[1, 2]), "not supported"),
        (changed(PLANS, *FULLRES, "conv_kernel_sizes", value=[[1, 3, 3], [3, 3, 3], [3, 3, 3]]), "not supported"),
        (changed(PLANS, *FULLRES, "pool_op_kernel_sizes", value=[[2, 2, 2]] * 3), "not supported"),
        (changed(PLANS, *FULLRES, "normalization_schemes", value=["ZScoreNormalization"]), "not supported"),
        (changed(PLANS, *FULLRES, "use_mask_for_norm", value=[True]), "not supported"),
        (changed(PLANS, *FULLRES, "previous_stage", value="3d_lowres"), "not supported"),
        (changed(PLANS, *FULLRES, "UNet_base_num_features", value=4), "its tensors are not those of its plan"),
        (changed(PLANS, "configurations", value={"2d": {}}), "lacks '3d_fullres'"),
        (changed(PLANS, *FULLRES, "patch_size", value=[32, 32]), "lacks"),
        (changed(PLANS, "transpose_forward", value=[0, 0, 0]), "lacks"),
    ],
)
def test_a_network_or_input_that_is_not_ours_is_refused(tmp_path: Path, plans: dict[str, Any], reason: str) -> None:
    with pytest.raises(UnusableWeights, match=reason):
        pack(TOTALSEGMENTATOR_LOBES, nnunet_folder(tmp_path, plans=plans))


@pytest.mark.parametrize(
    ("dataset", "reason"),
    [
        (changed(DATASET_JSON, "labels", value={"background": 0, "lung": 1}), "2 classes, not 25"),
        (changed(DATASET_JSON, "channel_names", value={"0": "CT", "1": "PET"}), "not supported"),
        (
            changed(
                DATASET_JSON,
                "labels",
                value={name.replace("lung_middle", "lung_third"): n for name, n in DATASET_JSON["labels"].items()},
            ),
            "no class lung_middle_lobe_right",
        ),
        (changed(DATASET_JSON, "labels", value=dict.fromkeys(DATASET_JSON["labels"], 1)), "25 classes, not 25"),
    ],
)
def test_classes_that_are_not_the_published_ones_are_refused(
    tmp_path: Path, dataset: dict[str, Any], reason: str
) -> None:
    with pytest.raises(UnusableWeights, match=reason):
        pack(TOTALSEGMENTATOR_LOBES, nnunet_folder(tmp_path, dataset=dataset))


class _Program:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[Path]]:
        return Path.touch, (self.path,)


def test_a_program_in_the_checkpoint_does_not_run(tmp_path: Path) -> None:
    checkpoint = {**checkpoint_of(direction_tensors()), "notes": _Program(tmp_path / "was-run")}
    with pytest.raises(UnusableWeights, match="more than tensors and plain values"):
        pack(TOTALSEGMENTATOR_LOBES, nnunet_folder(tmp_path, checkpoint=checkpoint))
    assert not (tmp_path / "was-run").exists()


@pytest.mark.parametrize("checkpoint", [{"weights": 1}, [1, 2], {"network_weights": {}}])
def test_a_checkpoint_without_tensors_is_refused(tmp_path: Path, checkpoint: Any) -> None:
    with pytest.raises(UnusableWeights):
        pack(TOTALSEGMENTATOR_LOBES, nnunet_folder(tmp_path, checkpoint=checkpoint))


def test_files_that_are_no_model_are_refused(tmp_path: Path, folder: Path) -> None:
    with pytest.raises(ModelNotFound, match=r"Dataset291_TotalSegmentator_part1_organs_1559subj\.zip"):
        pack(TOTALSEGMENTATOR_LOBES, tmp_path / "absent.zip")
    archive = Path(shutil.make_archive(str(tmp_path / "whole"), "zip", folder.parent, folder.name))
    content = archive.read_bytes()
    middle = content.index(b"checkpoint_final.pth") + 3000
    changed_byte = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    for name, wrong in (("cut", content[:-400]), ("text", b"404"), ("changed", changed_byte)):
        (tmp_path / name).write_bytes(wrong)
        with pytest.raises(UnusableWeights):
            pack(TOTALSEGMENTATOR_LOBES, tmp_path / name)
    with zipfile.ZipFile(tmp_path / "lacks", "w") as lacking:
        for name in ("plans.json", "fold_0/checkpoint_final.pth"):
            lacking.write(next(folder.iterdir()) / name, f"m/{name}")
    with pytest.raises(UnusableWeights, match="no whole zip"):
        pack(TOTALSEGMENTATOR_LOBES, tmp_path / "lacks")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UnusableWeights, match="0 trained models"):
        pack(TOTALSEGMENTATOR_LOBES, tmp_path / "empty")
    for name in ("one", "two"):
        shutil.copytree(folder, tmp_path / "both" / name)
    with pytest.raises(UnusableWeights, match="2 trained models"):
        pack(TOTALSEGMENTATOR_LOBES, tmp_path / "both")


def test_a_zip_that_unpacks_to_far_too_much_is_not_read(tmp_path: Path, folder: Path) -> None:
    home = next(folder.iterdir())
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("m/plans.json", b" " * (1 << 27))
        archive.write(home / "dataset.json", "m/dataset.json")
        archive.write(home / "fold_0" / "checkpoint_final.pth", "m/fold_0/checkpoint_final.pth")
    assert (tmp_path / "bomb.zip").stat().st_size < 1 << 20
    with pytest.raises(UnusableWeights, match=r"plans\.json is larger"):
        pack(TOTALSEGMENTATOR_LOBES, tmp_path / "bomb.zip")


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"\2\0\0\0\0\0\0\0{}"])
def test_bytes_that_were_not_packed_here_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="not a packed model"):
        unpack(content)


def test_a_packed_file_lacks_nothing(packed: bytes) -> None:
    import safetensors.torch

    plan, _ = unpack(packed)
    tensors = safetensors.torch.load(packed)
    tensors.pop("output_block.conv.conv.bias")
    text = json.loads(packed[8 : 8 + int.from_bytes(packed[:8], "little")])["__metadata__"]
    assert isinstance(plan, Plan)
    with pytest.raises(ValueError, match="not a packed model"):
        unpack(safetensors.torch.save(tensors, text))


def test_a_bias_before_a_norm_makes_no_difference() -> None:
    """Why those of the published networks may be left out."""
    norm = torch.nn.InstanceNorm3d(2, affine=True, eps=1e-5)
    values = torch.rand(1, 2, 8, 8, 8, generator=torch.Generator().manual_seed(1))
    assert torch.allclose(norm(values), norm(values + torch.tensor([3.0, -2.0]).reshape(1, 2, 1, 1, 1)), atol=1e-5)
    assert np.isfinite(values.numpy()).all()
