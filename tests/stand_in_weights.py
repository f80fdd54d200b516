"""Files of the form of published weights, with numbers of our own: for tests, and nothing else.

`nnunet_folder` writes what TotalSegmentator publishes: plans, dataset and a checkpoint under the names that nnU-Net
gives its tensors, written out here once more so that a wrong name in our own table is seen. Its network knows
directions: a voxel at which HU rise towards the patient's right is a right upper lobe, and so on (`RISES_TOWARDS`).
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from inference.anatomy import Lobe
from inference.weights.lungmask_package import import_lungmask
from inference.weights.published_weights import PUBLISHED, PublishedWeights

DATASET = "Dataset291_TotalSegmentator_part1_organs_1559subj"
TRAINER = "nnUNetTrainerNoMirroring__nnUNetPlans__3d_fullres"
ORGANS = (
    *("background", "spleen", "kidney_right", "kidney_left", "gallbladder", "liver", "stomach", "pancreas"),
    *("adrenal_gland_right", "adrenal_gland_left", "lung_upper_lobe_left", "lung_lower_lobe_left"),
    *("lung_upper_lobe_right", "lung_middle_lobe_right", "lung_lower_lobe_right", "esophagus", "trachea"),
    *("thyroid_gland", "small_bowel", "duodenum", "colon", "urinary_bladder", "prostate"),
    *("kidney_cyst_left", "kidney_cyst_right"),
)
"""Classes of the published network in their order (TotalSegmentator 2.18, map_to_binary.py, class_map_part_organs)."""

RISES_TOWARDS = {
    Lobe.RUL: ("lung_upper_lobe_right", (0, 0, 1)),
    Lobe.LUL: ("lung_upper_lobe_left", (0, 0, -1)),
    Lobe.RML: ("lung_middle_lobe_right", (0, 1, 0)),
    Lobe.LLL: ("lung_lower_lobe_left", (0, -1, 0)),
    Lobe.RLL: ("lung_lower_lobe_right", (1, 0, 0)),
}
"""Class and direction (superior, anterior, right) of each lobe in the network of `nnunet_folder`."""

FEATURES = (8, 8, 8)
PLANS: dict[str, Any] = {
    "dataset_name": DATASET,
    "plans_name": "nnUNetPlans",
    "image_reader_writer": "NibabelIOWithReorient",
    "transpose_forward": [0, 1, 2],
    "transpose_backward": [0, 1, 2],
    "original_median_spacing_after_transp": [8.0, 8.0, 8.0],
    "original_median_shape_after_transp": [60, 60, 60],
    "experiment_planner_used": "ExperimentPlanner",
    "label_manager": "LabelManager",
    "foreground_intensity_properties_per_channel": {
        "0": {
            **{"max": 3000.0, "mean": -500.0, "median": -600.0, "min": -1024.0},
            **{"percentile_00_5": -1000.0, "percentile_99_5": 1000.0, "std": 300.0},
        }
    },
    "configurations": {
        "3d_fullres": {
            "data_identifier": "nnUNetPlans_3d_fullres",
            "preprocessor_name": "DefaultPreprocessor",
            "batch_size": 2,
            "patch_size": [32, 32, 32],
            "median_image_size_in_voxels": [60.0, 60.0, 60.0],
            "spacing": [8.0, 8.0, 8.0],
            "normalization_schemes": ["CTNormalization"],
            "use_mask_for_norm": [False],
            "UNet_class_name": "PlainConvUNet",
            "UNet_base_num_features": 8,
            "n_conv_per_stage_encoder": [2, 2, 2],
            "n_conv_per_stage_decoder": [2, 2],
            "num_pool_per_axis": [2, 2, 2],
            "pool_op_kernel_sizes": [[1, 1, 1], [2, 2, 2], [2, 2, 2]],
            "conv_kernel_sizes": [[3, 3, 3], [3, 3, 3], [3, 3, 3]],
            "unet_max_num_features": 8,
            "resampling_fn_data": "resample_data_or_seg_to_shape",
            "resampling_fn_seg": "resample_data_or_seg_to_shape",
            "resampling_fn_data_kwargs": {"is_seg": False, "order": 3, "order_z": 0, "force_separate_z": None},
            "resampling_fn_seg_kwargs": {"is_seg": True, "order": 1, "order_z": 0, "force_separate_z": None},
            "resampling_fn_probabilities": "resample_data_or_seg_to_shape",
            "resampling_fn_probabilities_kwargs": {
                **{"is_seg": False, "order": 1, "order_z": 0, "force_separate_z": None}
            },
            "batch_dice": False,
        }
    },
}
"""Plans as nnU-Net wrote them when the published weights were trained (before version 2.3), with a small network."""
DATASET_JSON: dict[str, Any] = {
    "name": "TotalSegmentator",
    "channel_names": {"0": "CT"},
    "labels": {name: number for number, name in enumerate(ORGANS)},
    "numTraining": 1559,
    "file_ending": ".nii.gz",
    "overwrite_image_reader_writer": "NibabelIOWithReorient",
}


def lungmask_file(folder: Path, classes: int, *, value: float = 0.0) -> Path:
    """A state dict of lungmask's U-Net whose every number is `value`; small, as a number is kept once per tensor."""
    import_lungmask()
    from lungmask.resunet import UNet

    with torch.device("meta"):
        network = UNet(n_classes=classes, padding=True, depth=5, up_mode="upsample", batch_norm=True)
    state = {
        name: torch.full((), value).to(tensor.dtype).expand(tensor.shape)
        for name, tensor in network.state_dict().items()
    }
    path = folder / f"unet-{classes}-{value:g}.pth"
    torch.save(state, path)
    return path


def known_as(path: Path, name: str, known: Mapping[str, PublishedWeights] = PUBLISHED) -> dict[str, PublishedWeights]:
    """The known weights, of which one was published with the digits of this file."""
    digits = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
    return {**known, name: replace(known[name], sha256_start=digits)}


def direction_tensors() -> dict[str, torch.Tensor]:
    """Tensors of a plain U-Net with `FEATURES`, under nnU-Net's names, that knows directions.

    The first convolution takes a difference along each direction; its result goes through the topmost skip connection
    unchanged. All other tensors are 0, biases of convolutions are not: they must make no difference.
    """
    tensors: dict[str, torch.Tensor] = {}
    top, middle, bottom = FEATURES
    _block(tensors, "encoder.stages.0.0", (1, top))
    _block(tensors, "encoder.stages.1.0", (top, middle))
    _block(tensors, "encoder.stages.2.0", (middle, bottom))
    for number, (below, here) in enumerate(((bottom, middle), (middle, top))):
        tensors[f"decoder.transpconvs.{number}.weight"] = torch.zeros(below, here, 2, 2, 2)
        tensors[f"decoder.transpconvs.{number}.bias"] = torch.zeros(here)
        _block(tensors, f"decoder.stages.{number}", (2 * here, here))
        tensors[f"decoder.seg_layers.{number}.weight"] = torch.zeros(len(ORGANS), here, 1, 1, 1)
        tensors[f"decoder.seg_layers.{number}.bias"] = torch.zeros(len(ORGANS))
    first = tensors["encoder.stages.0.0.convs.0.conv.weight"]
    for channel, (organ, direction) in enumerate(RISES_TOWARDS.values()):
        step = np.array(direction)
        first[channel, 0][tuple(1 + step)], first[channel, 0][tuple(1 - step)] = 1, -1
        tensors["encoder.stages.0.0.convs.1.conv.weight"][channel, channel, 1, 1, 1] = 1
        tensors["decoder.stages.1.convs.0.conv.weight"][channel, top + channel, 1, 1, 1] = (
            1  # after what comes from below
        )
        tensors["decoder.stages.1.convs.1.conv.weight"][channel, channel, 1, 1, 1] = 1
        tensors["decoder.seg_layers.1.weight"][ORGANS.index(organ), channel] = 1
    tensors["decoder.seg_layers.1.bias"][0] = 1.5
    return tensors


def _block(tensors: dict[str, torch.Tensor], name: str, channels: tuple[int, int]) -> None:
    inputs, outputs = channels
    for number, before in enumerate((inputs, outputs)):
        room = f"{name}.convs.{number}"
        tensors[f"{room}.conv.weight"] = torch.zeros(outputs, before, 3, 3, 3)
        tensors[f"{room}.conv.bias"] = torch.full((outputs,), 7.0)
        tensors[f"{room}.norm.weight"] = torch.ones(outputs)
        tensors[f"{room}.norm.bias"] = torch.zeros(outputs)


def checkpoint_of(tensors: Mapping[str, torch.Tensor]) -> dict[str, Any]:
    """A checkpoint as nnU-Net's trainer saves it: tensors under all their names, and numbers of numpy in its notes."""
    every = dict(tensors)
    for name, tensor in tensors.items():
        for layer, place in ((".conv.", ".all_modules.0."), (".norm.", ".all_modules.1.")):
            if layer in name:
                every[name.replace(layer, place)] = tensor
    every |= {f"decoder.{name}": tensor for name, tensor in every.items() if name.startswith("encoder.")}
    return {
        "network_weights": every,
        "optimizer_state": {"state": {0: {"momentum_buffer": torch.zeros(3)}}, "param_groups": [{"lr": 0.01}]},
        "grad_scaler_state": {"scale": 65536.0},
        "logging": {"ema_fg_dice": [np.float64(0.9)], "train_losses": [np.float32(-0.8)], "epoch": [np.int64(3)]},
        "_best_ema": np.float64(0.93),
        "current_epoch": 1000,
        "init_args": {"plans": PLANS, "configuration": "3d_fullres", "fold": 0, "device": torch.device("cpu")},
        "trainer_name": "nnUNetTrainerNoMirroring",
        "inference_allowed_mirroring_axes": None,
    }


def nnunet_folder(
    parent: Path,
    *,
    plans: Mapping[str, Any] = PLANS,
    dataset: Mapping[str, Any] = DATASET_JSON,
    checkpoint: Any = None,
) -> Path:
    """A folder laid out as TotalSegmentator publishes it; its name is that of the data set."""
    home = parent / DATASET / TRAINER
    (home / "fold_0").mkdir(parents=True)
    (home / "plans.json").write_text(json.dumps(plans))
    (home / "dataset.json").write_text(json.dumps(dataset))
    torch.save(checkpoint or checkpoint_of(direction_tensors()), home / "fold_0" / "checkpoint_final.pth")
    return parent / DATASET
