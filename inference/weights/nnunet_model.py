"""A trained network of nnU-Net (Isensee et al., Nat Methods 2021;18:203-211) as one file, run by MONAI.

nnU-Net's own package would bring some sixty others, torchvision among them, and reads checkpoints in a way that runs
whatever they hold. Its plain U-Net is also in MONAI, which is here already: `DynUNet`, from the same paper. Where a
published model is such a U-Net, its tensors fit one to one, and `make test-totalsegmentator` compares the numbers with
those of nnU-Net itself.

`pack` reads the published folder or zip once and keeps what is needed: the tensors under MONAI's names, and a `Plan`
made from `plans.json` and `dataset.json`. Biases of convolutions before an instance norm are left out, since the norm
takes every constant away again.
"""

import hashlib
import json
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

from inference.errors import ModelNotFound, UnusableWeights
from inference.weights.pickled_tensors import read_pickled_tensors
from inference.weights.published_weights import PublishedWeights

_PLANS, _DATASET, _CHECKPOINT = "plans.json", "dataset.json", "fold_0/checkpoint_final.pth"
_CONFIGURATION = "3d_fullres"
_LARGEST_BYTES = {_PLANS: 1 << 26, _DATASET: 1 << 26, _CHECKPOINT: 1 << 31}
"""A file that unpacks to more is not read; the published ones have about 20 kB, 20 kB and 250 MB at most."""
_METADATA = "perfusion-node"
_CONVOLUTIONS = 2
"""In each block of MONAI's U-Net, and of every plan that nnU-Net makes by itself."""

Triple = tuple[int, int, int]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Plan:
    """What a network of nnU-Net expects and gives, from its `plans.json` and `dataset.json`."""

    dataset: str
    """Name of the training set."""
    spacing_mm: tuple[float, float, float]
    """Of the input, along superior, anterior and right."""
    axes: Triple
    """Which of superior, anterior and right is axis 0, 1 and 2 of the network."""
    patch: Triple
    """Voxels of one tile, along the axes of the network."""
    clip_hu: tuple[float, float]
    mean_hu: float
    deviation_hu: float
    """The input is HU, clipped, minus the mean, by the deviation."""
    features: tuple[int, ...]
    """Channels of each stage, from the top."""
    kernel: Triple
    strides: tuple[Triple, ...]
    labels: dict[str, int]
    """Output channel of each class; 0 is background."""
    checkpoint_sha256: str
    """Of the checkpoint that was packed."""

    @classmethod
    def parse(cls, text: str) -> "Plan":
        """A plan as `pack` wrote it."""
        fields = json.loads(text)
        for name in ("spacing_mm", "axes", "patch", "clip_hu", "features", "kernel"):
            fields[name] = tuple(fields[name])
        fields["strides"] = tuple(tuple(stride) for stride in fields["strides"])
        return cls(**fields)


def pack(weights: PublishedWeights, path: Path) -> tuple[bytes, str]:
    """A published model as one safetensors file; the same model gives the same bytes.

    Args:
        weights: what it should be.
        path: the published zip, or its unpacked folder or one around it.

    Returns:
        The file, and the SHA-256 of the checkpoint that it was made from.

    Raises:
        ModelNotFound: there is no such file or folder.
        UnusableWeights: it is no trained model of nnU-Net, or none that MONAI's U-Net can stand for.
    """
    import safetensors.torch

    found = _read_zip(weights, path) if path.is_file() else _read_folder(weights, path)
    sha256 = hashlib.sha256(found[_CHECKPOINT]).hexdigest()
    plan = _plan(weights, found[_PLANS], found[_DATASET], sha256)
    checkpoint = read_pickled_tensors(weights.name, BytesIO(found.pop(_CHECKPOINT)))
    tensors = checkpoint.get("network_weights") if isinstance(checkpoint, Mapping) else None
    if not isinstance(tensors, Mapping):
        raise UnusableWeights(weights.name, "its checkpoint holds no network_weights")
    chosen = {}
    for name, parameter in build(plan).named_parameters():
        tensor = tensors.get(_name_in_nnunet(name, len(plan.strides)))
        if tensor is None or tensor.shape != parameter.shape:
            raise UnusableWeights(weights.name, f"its tensors are not those of its plan ({name})")
        chosen[name] = tensor.detach().float().contiguous().clone()
    metadata = {_METADATA: json.dumps(asdict(plan), sort_keys=True)}  # one key: the order of several is not fixed
    return safetensors.torch.save(chosen, metadata), sha256


def unpack(content: bytes) -> tuple[Plan, Any]:
    """The plan and the network, in evaluation mode on the CPU, of a file that `pack` made.

    Raises:
        ValueError: it is no such file.
    """
    import safetensors.torch
    import torch

    length = int.from_bytes(content[:8], "little")
    try:
        plan = Plan.parse(json.loads(content[8 : 8 + length])["__metadata__"][_METADATA])
        tensors = safetensors.torch.load(content)
        network = build(plan)
        with torch.no_grad():
            for name, parameter in network.named_parameters():
                parameter.copy_(tensors[name])
    except (ValueError, KeyError, TypeError, RuntimeError, safetensors.SafetensorError) as fault:
        raise ValueError(f"not a packed model of nnU-Net ({type(fault).__name__})") from fault
    return plan, network.eval().requires_grad_(False)


def build(plan: Plan) -> Any:
    """MONAI's `DynUNet` with the shape of a plan and fresh weights."""
    from monai.networks.nets import DynUNet

    return DynUNet(
        spatial_dims=3,
        in_channels=1,
        out_channels=len(plan.labels),
        kernel_size=[plan.kernel] * len(plan.strides),
        strides=plan.strides,
        upsample_kernel_size=plan.strides[1:],
        filters=plan.features,
        norm_name=("INSTANCE", {"affine": True, "eps": 1e-5}),
        act_name=("leakyrelu", {"inplace": True, "negative_slope": 0.01}),
        trans_bias=True,
    )


def _name_in_nnunet(name: str, stages: int) -> str:
    """How nnU-Net calls a parameter of `DynUNet`.

    `upsamples.0.conv_block.conv1.conv.weight` is `decoder.stages.0.convs.0.conv.weight` there.
    """
    room, *rest = name.split(".")
    if room == "output_block":
        return f"decoder.seg_layers.{stages - 2}.{rest[-1]}"
    if room == "upsamples" and rest[1] == "transp_conv":
        return f"decoder.transpconvs.{rest[0]}.{rest[-1]}"
    if room == "upsamples":
        block, rest = f"decoder.stages.{rest[0]}", rest[2:]
    elif room == "downsamples":
        block, rest = f"encoder.stages.{int(rest[0]) + 1}.0", rest[1:]
    else:
        block = f"encoder.stages.{0 if room == 'input_block' else stages - 1}.0"
    layer = rest[0]
    return f"{block}.convs.{int(layer[-1]) - 1}.{layer[:-1]}.{rest[-1]}"


def _plan(weights: PublishedWeights, plans_json: bytes, dataset_json: bytes, checkpoint_sha256: str) -> Plan:
    """The plan, once it is sure that MONAI's U-Net and our pre-processing are what it asks for."""
    try:
        plans, dataset = json.loads(plans_json), json.loads(dataset_json)
        configuration = plans["configurations"][_CONFIGURATION]
        features, kernels, strides = _architecture(weights, configuration)
        labels = {str(name): int(value) for name, value in dataset["labels"].items()}
        forward = [int(axis) for axis in plans["transpose_forward"]]
        spacing_mm = [float(step) for step in configuration["spacing"]]
        intensity = plans["foreground_intensity_properties_per_channel"]["0"]
        plan = Plan(
            dataset=str(plans["dataset_name"]),
            spacing_mm=_three([spacing_mm[forward.index(axis)] for axis in range(3)]),
            axes=_three(forward),
            patch=_three([int(side) for side in configuration["patch_size"]]),
            clip_hu=(float(intensity["percentile_00_5"]), float(intensity["percentile_99_5"])),
            mean_hu=float(intensity["mean"]),
            deviation_hu=max(float(intensity["std"]), 1e-8),
            features=tuple(int(count) for count in features),
            kernel=_three([int(side) for side in kernels[0]]),
            strides=tuple(_three([int(side) for side in stride]) for stride in strides),
            labels=labels,
            checkpoint_sha256=checkpoint_sha256,
        )
        asked = (
            *(configuration["normalization_schemes"], configuration["use_mask_for_norm"]),
            *(configuration.get("previous_stage"), len(dataset["channel_names"])),
        )
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as fault:
        raise UnusableWeights(weights.name, f"its plans.json or dataset.json lacks {fault}") from fault
    alike = all(list(kernel) == list(kernels[0]) for kernel in kernels)
    if asked != (["CTNormalization"], [False], None, 1) or not alike or plan.strides[0] != (1, 1, 1):
        raise UnusableWeights(weights.name, "its plan asks for a network or an input that is not supported here")
    if len(labels) != weights.classes or sorted(labels.values()) != list(range(weights.classes)):
        raise UnusableWeights(weights.name, f"it has {len(labels)} classes, not {weights.classes}")
    if lacking := [label for label in weights.labels if label not in labels]:
        raise UnusableWeights(weights.name, f"it has no class {', '.join(lacking)}")
    return plan


def _architecture(weights: PublishedWeights, configuration: dict[str, Any]) -> tuple[list[Any], list[Any], list[Any]]:
    """Channels, kernels and strides of a plain U-Net, as plans of nnU-Net before and since version 2.3 say them."""
    if "architecture" not in configuration:
        kind, convolutions = configuration["UNet_class_name"], configuration["n_conv_per_stage_encoder"]
        base, most = configuration["UNet_base_num_features"], configuration["unet_max_num_features"]
        features = [min(base * 2**stage, most) for stage in range(len(convolutions))]
        kernels, strides = configuration["conv_kernel_sizes"], configuration["pool_op_kernel_sizes"]
        convolutions, usual = [*convolutions, *configuration["n_conv_per_stage_decoder"]], True
    else:
        kind = configuration["architecture"]["network_class_name"].rsplit(".", 1)[-1]
        asked = configuration["architecture"]["arch_kwargs"]
        features, kernels, strides = asked["features_per_stage"], asked["kernel_sizes"], asked["strides"]
        convolutions = [*asked["n_conv_per_stage"], *asked["n_conv_per_stage_decoder"]]
        usual = (
            asked["norm_op"].endswith("InstanceNorm3d")
            and asked["norm_op_kwargs"] == {"eps": 1e-5, "affine": True}
            and asked["nonlin"].endswith("LeakyReLU")
            and set(asked["nonlin_kwargs"] or {}) <= {"inplace"}
            and asked["conv_bias"] is True
            and asked["dropout_op"] is None
        )
    if kind != "PlainConvUNet" or not usual or set(convolutions) != {_CONVOLUTIONS}:
        raise UnusableWeights(weights.name, f"its network is a {kind} of a shape that is not supported here")
    return features, kernels, strides


def _three(values: list[T]) -> tuple[T, T, T]:
    first, second, third = values
    return first, second, third


def _read_folder(weights: PublishedWeights, path: Path) -> dict[str, bytes]:
    if not path.is_dir():
        raise ModelNotFound(f"File or folder {path}", f"It should be {weights.file_name}, or what that unpacks to.")
    homes = [plans.parent for plans in path.rglob(_PLANS) if (plans.parent / _CHECKPOINT).is_file()]
    if len(homes) != 1:
        raise UnusableWeights(weights.name, _count(len(homes)))
    try:
        return {name: (homes[0] / name).read_bytes() for name in _LARGEST_BYTES}
    except OSError as fault:
        raise UnusableWeights(weights.name, f"a file of it cannot be read ({fault.strerror})") from fault


def _read_zip(weights: PublishedWeights, path: Path) -> dict[str, bytes]:
    try:
        with zipfile.ZipFile(path) as archive:
            names = set(archive.namelist())
            homes = [
                str(PurePosixPath(name).parent)
                for name in names
                if PurePosixPath(name).name == _PLANS and f"{PurePosixPath(name).parent}/{_CHECKPOINT}" in names
            ]
            if len(homes) != 1:
                raise UnusableWeights(weights.name, _count(len(homes)))
            return {
                name: _member(weights, archive, f"{homes[0]}/{name}", largest)
                for name, largest in _LARGEST_BYTES.items()
            }
    except (zipfile.BadZipFile, zlib.error, OSError, EOFError, KeyError, RuntimeError) as fault:
        raise UnusableWeights(weights.name, f"it is no whole zip file ({type(fault).__name__})") from fault


def _member(weights: PublishedWeights, archive: zipfile.ZipFile, name: str, largest: int) -> bytes:
    if archive.getinfo(name).file_size > largest:
        raise UnusableWeights(weights.name, f"{PurePosixPath(name).name} is larger than any published one")
    return archive.read(name)


def _count(models: int) -> str:
    return f"it holds {models} trained models ({_PLANS} beside {_CHECKPOINT}), not one"
