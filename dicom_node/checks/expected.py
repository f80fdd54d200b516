"""What objects of one result should hold: masks, map and figures, from the result itself or from other objects.

Before objects are sent they are compared with the result that they were made from. For files alone, the segmentation
stands for the regions and the Parametric Map for the map.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Bool, Float32

from dicom_node.objects.codes import RoiName
from inference.anatomy import Lobe, Side, lobes_of
from inference.volumes import LobarPerfusion, LobarTable

if TYPE_CHECKING:  # what a result holds, not the engine and what it loads
    from inference.engine import PerfusionResult

Mask = Bool[np.ndarray, "slices rows columns"]


def comparable(name: str) -> str:
    """A name for comparison: systems change case, and sites replace `^` by `_`."""
    return name.strip().casefold().replace("^", "_")


LUNGS = (comparable(RoiName.LUNGS), *(comparable(side.tg263) for side in Side))
"""Both lungs, left, right."""
LOBES = tuple(comparable(lobe.tg263) for lobe in Lobe)
"""In the order of `Lobe`."""
FUNCTION = (comparable(RoiName.HIGH), comparable(RoiName.LOW))
GROUPS = (LUNGS, LOBES, FUNCTION)
"""Regions that are written together or not at all, by comparable name."""


@dataclass(frozen=True, slots=True, eq=False)
class Expected:
    """What to compare with; every part may be absent. Slices are those of the CT."""

    masks: Mapping[str, Callable[[], Mask]] = field(default_factory=dict)
    """Regions by comparable name, each made when it is asked for: together they would be many times the labels."""
    percent: Callable[[int], Float32[np.ndarray, "rows columns"]] | None = None
    """Slice k of the map in percent of the mean over both lungs."""
    lobar: LobarTable | None = None
    is_complete: bool = False
    """Whether `masks` has every region there can be, so that any other is a fault."""

    @classmethod
    def of_result(cls, result: "PerfusionResult") -> "Expected":
        """What objects of this result should hold."""
        lobes, regions, values = result.lobes, result.regions, result.perfusion.values
        masks: dict[str, Callable[[], Mask]] = {
            comparable(RoiName.LUNGS): lambda: lobes.lungs,
            **{comparable(side.tg263): partial(lobes.lung, side) for side in Side},
            **{comparable(lobe.tg263): partial(lobes.mask, lobe) for lobe in Lobe},
            comparable(RoiName.HIGH): lambda: regions.high,
            comparable(RoiName.LOW): lambda: regions.low,
        }
        return cls(MappingProxyType(masks), lambda k: values[k] * np.float32(100.0), result.lobar, is_complete=True)

    @classmethod
    def of_objects(
        cls,
        segments: Mapping[str, Callable[[], Mask]],
        percent: Float32[np.ndarray, "slices rows columns"] | None,
        voxel_volume_ml: float,
    ) -> "Expected":
        """What follows from a segmentation and a map.

        A group of regions is written together, and one without a voxel has no segment: so a lobe that is absent
        beside others is empty, as after its removal.

        Args:
            segments: masks by segment label.
            percent: the values of a Parametric Map.
            voxel_volume_ml: volume of a voxel of both.
        """
        masks = {comparable(label): mask for label, mask in segments.items()}
        for group in (LOBES, FUNCTION):
            if present := [masks[name] for name in group if name in masks]:
                masks |= {name: partial(_empty, present[0]) for name in group if name not in masks}
        if all(name in masks for name in LOBES):
            lobes = dict(masks)
            for name, parts in (
                (LUNGS[0], LOBES),
                *((comparable(side.tg263), tuple(comparable(lobe.tg263) for lobe in lobes_of(side))) for side in Side),
            ):
                masks.setdefault(name, partial(_union, tuple(lobes[part] for part in parts)))
        by_slice = None if percent is None else (lambda k: percent[k])
        lobar = None if percent is None else _lobar(masks, percent, voxel_volume_ml)
        return cls(MappingProxyType(masks), by_slice, lobar)

    def group_of(self, name: str) -> tuple[str, ...]:
        """The regions written together with this one, by comparable name."""
        return next((group for group in GROUPS if name in group), (name,))


def _empty(other: Callable[[], Mask]) -> Mask:
    return np.zeros_like(other())


def _union(parts: tuple[Callable[[], Mask], ...]) -> Mask:
    whole = parts[0]().copy()
    for part in parts[1:]:
        whole |= part()
    return whole


def _lobar(
    masks: Mapping[str, Callable[[], Mask]], percent: Float32[np.ndarray, "slices rows columns"], voxel_volume_ml: float
) -> LobarTable | None:
    """The lobar table of a segmentation and a map; None without all lobes and both function regions."""
    if any(name not in masks for name in (*LOBES, *FUNCTION)) or masks[LOBES[0]]().shape != percent.shape:
        return None
    sums = list(_lobe_sums(masks, percent))
    total = sum(perfused for _, perfused, _, _ in sums)
    return {
        lobe: LobarPerfusion(
            volume_ml=voxels * voxel_volume_ml,
            mean_perfusion=perfused / max(voxels, 1) / 100.0,
            perfusion_fraction=perfused / total if total > 0 else 0.0,
            high_fraction=high / max(voxels, 1),
            low_fraction=low / max(voxels, 1),
        )
        for lobe, (voxels, perfused, high, low) in zip(Lobe, sums, strict=True)
    }


def _lobe_sums(
    masks: Mapping[str, Callable[[], Mask]], percent: Float32[np.ndarray, "slices rows columns"]
) -> Iterator[tuple[int, float, int, int]]:
    """Per lobe: voxels, sum of percent, voxels of high and of low function."""
    high, low = (masks[name]() for name in FUNCTION)
    for name in LOBES:
        lobe = masks[name]()
        yield (
            int(np.count_nonzero(lobe)),
            float(percent[lobe].sum(dtype=np.float64)),
            int(np.count_nonzero(high & lobe)),
            int(np.count_nonzero(low & lobe)),
        )
