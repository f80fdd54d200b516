"""Lobes from lungmask: the learned segmenter (Hofmanninger et al., Eur Radiol Exp 2020;4:50).

The network LTRCLobes draws the lobes and R231 the lungs. What R231 calls lung and LTRCLobes leaves empty goes to the
lobes around it, and lobes outside the lungs are dropped. This is lungmask's own fusion, with lungmask's networks and
weights and, in mode `exact`, its very labels, in less time (`lungmask_slices`, `lungmask_layers`,
`lungmask_postprocessing` say how, and why labels stay the same). This file adds what lungmask lacks: the identity of
the weights, patient axes that are certain, our label values, and an answer instead of a traceback without weights.

Mode `fast` computes mostly in 16 bits and shows LTRCLobes only the slices where R231 found lung. Neither keeps the
very same labels: 16 bits move borders by a voxel here and there. And what LTRCLobes sees where there is no lung counts
too, since lungmask keeps the largest part of each label of the whole volume: where it takes bowel for a lobe larger
than the true one, the true one is given away. So `exact` looks at all slices, and `fast` is said in the result.

When memory runs out it takes one slice at a time, half precision, or the CPU (`execution`).
"""

import hashlib
from copy import copy
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from inference.anatomy import Lobe
from inference.errors import ModelError
from inference.execution import Device, Execution, ExecutionRecord, ladder_of
from inference.geometry import Reorientation
from inference.lobes import as_found, contiguous
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume, LobeMap
from inference.weights.lungmask_package import import_lungmask

if TYPE_CHECKING:
    from inference.lungmask.networks import Pace, WeightsFile

LOBE_OF_LUNGMASK = {1: Lobe.LUL, 2: Lobe.LLL, 3: Lobe.RUL, 4: Lobe.RML, 5: Lobe.RLL}
"""Labels of LTRCLobes as lungmask's README gives them."""

_FAST_CAVEAT = (
    "Lobes were found in reduced precision (fast 2): borders may differ by a voxel from those of full precision."
)
"""With a number that changes whenever the labels of `fast` do: the version has no room for it (VR LO)."""
_SLICES_OF_A_GPU = 20
"""Slices at a time where the settings leave it open; lungmask's own number."""


@dataclass(frozen=True, slots=True)
class LungmaskSettings:
    """Where lungmask's weights are and how it runs."""

    r231_weights: Path | None = None
    """State dict of the lung network; None takes it from the model store."""
    ltrclobes_weights: Path | None = None
    """State dict of the lobe network, likewise."""
    model_store: Path | None = None
    """Folder of the model store; None for none."""
    precision: Literal["exact", "fast"] = "exact"
    """`exact`: float32 and lungmask's very labels. `fast`: mostly 16 bits, and lobes only where there is lung."""
    batch_size: int | None = None
    """Slices at a time; None for what is fastest: one on a CPU, 20 on a GPU."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU when there is one; `cuda` insists on it."""


class LungmaskLobes:
    """A `LobeSegmenter` that sees fissures; holds both networks, so make it once."""

    def __init__(self, settings: LungmaskSettings) -> None:
        """Load both networks; they go to their device with the first patient, where full memory is met.

        Raises:
            ModelNotFound: a file is absent, or no file is named and the model store has none.
            ModelError: a file is not a state dict of the network it should be (swapped files are noticed), or a
                GPU is wanted and there is none.
        """
        device = _device(settings)
        from inference.lungmask.networks import SliceNetwork, dtype_of, find_weights

        self.r231 = find_weights("R231", settings.r231_weights, settings.model_store)
        self.ltrclobes = find_weights("LTRCLobes", settings.ltrclobes_weights, settings.model_store)
        self.identity = _identity(self.r231, self.ltrclobes, settings)
        self._settings = settings
        self._execution = Execution(device)
        only_on_cpu = dtype_of(settings.precision, self._execution) if device == "cpu" else None
        self._lung_network = SliceNetwork("R231", self.r231, only_on_cpu=only_on_cpu)
        self._lobe_network = SliceNetwork("LTRCLobes", self.ltrclobes, only_on_cpu=only_on_cpu)

    def ladder(self) -> tuple[Execution, ...]:
        """The ways to run lungmask on its device, see `execution`."""
        return ladder_of(self._execution.device, has_smaller_tiles=self._slices() > 1)

    def on(self, execution: Execution) -> "LungmaskLobes":
        """The same networks, to run that way."""
        other = copy(self)
        other._execution = execution
        return other

    def record(self, why: str) -> ExecutionRecord:
        """How it runs."""
        way, precision = self._execution, str(self._pace().dtype).removeprefix("torch.")
        return ExecutionRecord(
            network=self.identity.name,
            device=way.device,
            precision=precision,
            tile=(self._slices(),),
            rung=way.rung,
            why=why,
            numbers_differ=precision != "float32" or self._settings.precision == "fast",
        )

    def segment(self, ct: CtVolume) -> LobeMap:
        """Lobes on the grid of `ct`.

        lungmask gets slices from bottom to top, rows to posterior and columns to the left, for any patient position.

        Raises:
            LungsNotFound: less lung than `lobes.LEAST_LUNG_ML`.
            OutOfMemory: run this way, the networks need more memory than there is.
        """
        from inference.torch_memory import memory_guarded

        axes = Reorientation.to_patient_axes(ct.grid)
        found = memory_guarded(lambda: self.found(axes.apply(ct.hu)))
        labels = np.ascontiguousarray(axes.undo(to_lobe_values(found)))
        return as_found(LobeMap(contiguous(labels), ct.grid, self.identity))

    def found(self, hu: Float32[np.ndarray, "slices rows columns"]) -> UInt8[np.ndarray, "slices rows columns"]:
        """Lungmask's labels (`LOBE_OF_LUNGMASK`) of HU with patient axes, before our own checks and changes."""
        from inference.lungmask.postprocessing import clean
        from inference.lungmask.slices import prepare, put_back

        slices, pace = prepare(hu), self._pace()
        lungs = clean(self._lung_network.labels(slices.pixels, pace))
        fast = self._settings.precision == "fast"
        wanted: Bool[np.ndarray, " slices"] | None = np.any(lungs, axis=(1, 2)) if fast else None
        lobes = clean(self._lobe_network.labels(slices.pixels, pace, wanted))
        return fuse(put_back(lobes, slices), put_back(lungs, slices))

    def _pace(self) -> "Pace":
        from inference.lungmask.networks import Pace, dtype_of

        way = self._execution
        return Pace(way.device, dtype_of(self._settings.precision, way), self._slices())

    def _slices(self) -> int:
        if self._execution.smaller_tiles:
            return 1
        if self._settings.batch_size is not None:
            return self._settings.batch_size
        return 1 if self._execution.device == "cpu" else _SLICES_OF_A_GPU


def fuse(lobes: UInt8[np.ndarray, "a b c"], lungs: UInt8[np.ndarray, "a b c"]) -> UInt8[np.ndarray, "a b c"]:
    """Lobes inside the lungs only, lung without a lobe given to the lobes around it; changes `lobes`."""
    from inference.lungmask.postprocessing import clean

    spare = int(lobes.max()) + 1
    lobes[(lobes == 0) & (lungs > 0)] = spare
    lobes[lungs == 0] = 0
    return clean(lobes, spare)


def to_lobe_values(found: UInt8[np.ndarray, "a b c"]) -> UInt8[np.ndarray, "a b c"]:
    """Labels of LTRCLobes as values of `Lobe`; anything else is background."""
    values = np.zeros(256, dtype=np.uint8)
    for label, lobe in LOBE_OF_LUNGMASK.items():
        values[label] = lobe.value
    converted: UInt8[np.ndarray, "a b c"] = values[found]
    return converted


def _identity(r231: "WeightsFile", ltrclobes: "WeightsFile", settings: LungmaskSettings) -> ModelIdentity:
    """Both digests in the version, eight digits each; their joint digest as the digest of the weights.

    The joint digest is SHA-256 over the two hexadecimal digests, lobes first, joined by a line feed. That lobes were
    found in reduced precision is a caveat, which travels with every object made from them.
    """
    joint = hashlib.sha256(f"{ltrclobes.sha256}\n{r231.sha256}".encode("ascii")).hexdigest()
    return ModelIdentity(
        "lungmask",
        f"{version('lungmask')}+ltrclobes.{ltrclobes.sha256[:8]}.r231.{r231.sha256[:8]}",
        joint,
        caveat=_FAST_CAVEAT if settings.precision == "fast" else "",
    )


def _device(settings: LungmaskSettings) -> Device:
    """Where lungmask itself would run."""
    torch = import_lungmask().torch
    if settings.device == "cpu":
        return "cpu"
    if torch.cuda.is_available():
        return "cuda"
    if settings.device == "cuda":
        raise ModelError("The configuration wants a GPU for lungmask, and there is none.")
    return "mps" if torch.backends.mps.is_available() else "cpu"
