"""Lobes from TotalSegmentator (Wasserthal et al., Radiol Artif Intell 2023;5(5):e230024): a third engine.

TotalSegmentator's network for 24 organs draws the five lobes among them. What its program does with a CT for
`task="total"` and the lobes as `roi_subset` is done here in the same steps: axes along superior, anterior and right;
1.5 mm by linear interpolation, HU cut to whole numbers; the network in overlapping tiles; the most likely class; the
nearest voxel back on the grid of the CT. The program itself is not used. It would bring about ninety packages, writes
into the home folder, downloads weights, and reports its use to a server of its makers unless told not to.

Weights come from the model store only (`perfnode models import totalsegmentator-lobes`). When memory runs out the
network runs in half precision or on the CPU (`execution`); its tiles cannot be smaller than those it was trained with.
"""

from copy import copy
from typing import Literal

import numpy as np
from jaxtyping import Float32, UInt8

from inference.anatomy import Lobe
from inference.errors import ModelError, StoredModelDamaged
from inference.execution import Device, Execution, ExecutionRecord, ladder_of
from inference.geometry import Reorientation, Shape
from inference.lobes import as_found, contiguous
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume, LobeMap
from inference.weights.model_store import StoredModel
from inference.weights.nnunet_model import Plan, unpack

LOBE_OF_TOTALSEGMENTATOR = {
    "lung_upper_lobe_left": Lobe.LUL,
    "lung_lower_lobe_left": Lobe.LLL,
    "lung_upper_lobe_right": Lobe.RUL,
    "lung_middle_lobe_right": Lobe.RML,
    "lung_lower_lobe_right": Lobe.RLL,
}
"""Names of classes in TotalSegmentator's class map and in the `dataset.json` of its weights."""

VERSION = "1"
"""Of the steps around the network."""

_STEP = 0.8
"""Distance of tiles in sides of a tile, as TotalSegmentator 2.18 has it for `total`."""


class TotalSegmentatorLobes:
    """A `LobeSegmenter` that sees fissures; holds the network, so make it once."""

    def __init__(self, stored: StoredModel, device: Literal["auto", "cpu", "cuda"] = "auto") -> None:
        """Read the weights, whose digest is compared first, and build the network.

        Args:
            stored: `totalsegmentator-lobes` of a model store.
            device: `auto` takes a GPU when there is one; `cuda` insists on it.

        Raises:
            StoredModelDamaged: the file is gone, changed, or was not made by an import.
            ModelError: a GPU is wanted and there is none.
        """
        import torch

        if device == "cuda" and not torch.cuda.is_available():
            raise ModelError("The configuration wants a GPU for TotalSegmentator, and there is none.")
        try:
            self._plan, self._network = unpack(stored.read())
        except ValueError as fault:
            raise StoredModelDamaged(stored.name, str(fault)) from fault
        self.identity = _identity(self._plan, stored.sha256)
        self._lobe_of_class = _lobe_values(self._plan)
        place: Device = "cpu" if device == "cpu" or not torch.cuda.is_available() else "cuda"
        self._execution = Execution(place)

    def ladder(self) -> tuple[Execution, ...]:
        """The ways to run it on its device, see `execution`."""
        return ladder_of(self._execution.device, has_smaller_tiles=False)

    def on(self, execution: Execution) -> "TotalSegmentatorLobes":
        """The same network, to run that way."""
        other = copy(self)
        other._execution = execution
        return other

    def record(self, why: str) -> ExecutionRecord:
        """How it runs."""
        way = self._execution
        return ExecutionRecord(
            network=self.identity.name,
            device=way.device,
            precision="float16" if way.half_precision else "float32",
            tile=self._plan.patch,
            rung=way.rung,
            why=why,
            numbers_differ=way.half_precision,
        )

    def segment(self, ct: CtVolume) -> LobeMap:
        """Lobes on the grid of `ct`, for any patient position; a lobe of which nothing was found is empty.

        Raises:
            LungsNotFound: less lung than `lobes.LEAST_LUNG_ML`.
            OutOfMemory: run this way, the network needs more memory than there is.
        """
        return as_found(LobeMap(contiguous(self.as_drawn(ct)), ct.grid, self.identity))

    def as_drawn(self, ct: CtVolume) -> UInt8[np.ndarray, "a b c"]:
        """Labels as TotalSegmentator would draw them, scattered parts and all.

        Raises:
            OutOfMemory: run this way, the network needs more memory than there is.
        """
        from inference.torch_memory import memory_guarded

        axes = Reorientation.to_patient_axes(ct.grid)
        hu = axes.apply(ct.hu)[:, ::-1, ::-1]  # superior, anterior, right
        spacing_mm = axes.grid(ct.grid).spacing_mm
        found = memory_guarded(lambda: self._found(hu, spacing_mm))
        return np.ascontiguousarray(axes.undo(found[:, ::-1, ::-1]))

    def _found(
        self, hu: Float32[np.ndarray, "s a r"], spacing_mm: tuple[float, float, float]
    ) -> UInt8[np.ndarray, "s a r"]:
        import torch

        from inference.torch_memory import precision_of
        from inference.totalsegmentator.nnunet_tiles import class_numbers

        plan = self._plan
        image = network_input(hu, spacing_mm, plan)
        device = torch.device(self._execution.device)
        self._network.to(device)
        with precision_of(self._execution):
            classes = class_numbers(
                self._network, image.transpose(plan.axes).copy(), tile=plan.patch, step=_STEP, device=device
            )
        lobes = self._lobe_of_class[classes].transpose([plan.axes.index(axis) for axis in range(3)])
        return _nearest(lobes, hu.shape)


def network_input(
    hu: Float32[np.ndarray, "s a r"], spacing_mm: tuple[float, float, float], plan: Plan
) -> Float32[np.ndarray, "d e f"]:
    """HU at the spacing of a plan, as its network wants them, axes still superior, anterior, right.

    The middles of the outermost voxels stay where they are, as in TotalSegmentator, so the true spacing differs from
    the plan's by less than a voxel over the whole length.
    """
    from scipy.ndimage import zoom

    factors = [have / want for have, want in zip(spacing_mm, plan.spacing_mm, strict=True)]
    resampled = hu if _same(factors) else zoom(hu, factors, output=np.float64, order=1, mode="nearest")
    image = resampled.astype(np.int32).astype(np.float32)
    np.clip(image, *plan.clip_hu, out=image)
    image -= plan.mean_hu
    image /= plan.deviation_hu
    return image


def _nearest(lobes: UInt8[np.ndarray, "d e f"], shape: Shape) -> UInt8[np.ndarray, "s a r"]:
    from scipy.ndimage import zoom

    factors = [wanted / have for wanted, have in zip(shape, lobes.shape, strict=True)]
    resampled: UInt8[np.ndarray, "s a r"] = zoom(lobes, factors, order=0, mode="nearest")
    return resampled


def _same(factors: list[float]) -> bool:
    return all(factor == 1.0 for factor in factors)


def _lobe_values(plan: Plan) -> UInt8[np.ndarray, " classes"]:
    """Our label of each class of the network; 0 for all that are no lobe."""
    values = np.zeros(max(plan.labels.values()) + 1, dtype=np.uint8)
    for name, lobe in LOBE_OF_TOTALSEGMENTATOR.items():
        values[plan.labels[name]] = lobe.value
    return values


def _identity(plan: Plan, sha256: str) -> ModelIdentity:
    """The version says which training set and which weights; Software Versions has 64 characters (PS3.5 6.2)."""
    dataset = plan.dataset.split("_", 1)[0].lower()[:12]
    return ModelIdentity("totalsegmentator", f"{VERSION}+{dataset}.{sha256[:8]}", sha256)
