"""What makes a model bundle a MONAI Bundle: `configs/metadata.json` and `configs/inference.json`.

After MONAI's bundle specification (docs.monai.io, "MONAI Bundle Specification"). Two things differ, and the files say
so: weights are safetensors and not a pickled `model.pt`, and there is one network for each fold. The node reads neither
file; they are for people who know MONAI, whose `ConfigParser` builds the networks from `inference.json` in a Python
that has this project.
"""

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from inference.channels import Channel
from inference.model_card import ModelCard

SCHEMA = "https://github.com/Project-MONAI/MONAI-extra-test-data/releases/download/0.8.1/meta_schema_20240725.json"
_CHANNELS: Mapping[str, str] = {
    Channel.HU: "mean CT number in the window of the model card, 0 to 1",
    Channel.LUNGS: "share of the voxel that is lung",
    Channel.LUNG_HU: "mean CT number of the lung in the voxel, in the window",
    Channel.PARENCHYMA: "CT number of the darkest ninth of the lung in the voxel, -1000 to -600 HU as 0 to 1",
    Channel.SPREAD: "standard deviation of the CT number within the lung of the voxel, over 250 HU",
    Channel.BELOW_950: "share of the voxel that is lung below -950 HU",
    Channel.BELOW_910: "share of the voxel that is lung below -910 HU",
    Channel.ABOVE_500: "share of the voxel that is lung above -500 HU",
    Channel.HEIGHT: "height above the lowest lung, patient supine, over 250 mm",
    Channel.DEPTH: "distance to the nearest voxel that is mostly not lung, over 50 mm, at most 1",
}


def metadata(card: ModelCard, *, name: str, model_version: str, task: str, description: str) -> dict[str, Any]:
    """Content of `configs/metadata.json`.

    Args:
        card: of a member; all are fed alike.
        name: of the bundle.
        model_version: of the bundle.
        task: what the model is for, in one sentence.
        description: what it is, in a few.
    """
    shape = list(card.window_size)
    common = {"type": "image", "spatial_shape": shape, "dtype": "float32", "is_patch_data": False}
    channels = {str(place): _CHANNELS[channel] for place, channel in enumerate(card.channels)}
    image = {
        **{**common, "format": "magnitude", "modality": "CT"},
        **{"num_channels": len(channels), "value_range": [0, 1], "channel_def": channels},
    }
    perfusion = {
        **{**common, "format": "magnitude", "modality": "n/a"},
        **{"num_channels": 1, "value_range": [], "channel_def": {"0": "perfusion, positive, in no unit of its own"}},
    }
    return {
        "schema": SCHEMA,
        "name": name,
        "version": model_version,
        "changelog": {model_version: "as trained by this project's study"},
        "monai_version": version("monai"),
        "pytorch_version": version("torch").partition("+")[0],
        "numpy_version": version("numpy"),
        "required_packages_version": {"perfusion-node": _own_version(), "safetensors": version("safetensors")},
        "optional_packages_version": {},
        "task": task,
        "description": description,
        "intended_use": card.intended_use,
        "authors": "the perfusion-node project",
        "copyright": "the perfusion-node project; Apache-2.0, see docs/license.txt",
        "data_source": "in-silico patients of perfusion-node (docs/cohort.md); no real patient",
        "data_type": "in-silico CT and SPECT",
        "references": ["Ren L. et al., Front Oncol 2022;12:883516, doi:10.3389/fonc.2022.883516 (design of the study)"],
        "network_data_format": {"inputs": {"image": image}, "outputs": {"pred": perfusion}},
    }


def inference_config(members: tuple[str, ...], card: ModelCard) -> dict[str, Any]:
    """Content of `configs/inference.json`: networks and inferer as MONAI's `ConfigParser` builds them.

    Args:
        members: folders of the networks in the bundle.
        card: of one of them.
    """
    return {
        "imports": ["$import pathlib"],
        "bundle_root": ".",
        "networks": [
            {
                "_target_": "inference.checkpoint.load_network",
                "folder": f"$pathlib.Path(@bundle_root) / {member!r}",
            }
            for member in members
        ],
        "network_def": "@networks#0",
        "inferer": {
            "_target_": "SlidingWindowInferer",
            "roi_size": list(card.window_size),
            "sw_batch_size": 1,
            "overlap": 0.5,
            "mode": "gaussian",
        },
    }


def _own_version() -> str:
    return version("perfusion-node")
