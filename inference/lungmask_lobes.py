"""Lobes from lungmask: the learned segmenter (Hofmanninger et al., Eur Radiol Exp 2020;4:50).

The network LTRCLobes draws the lobes, R231 the lungs, and lungmask's own `LMInferer` fuses them; nothing of lungmask is
rewritten here. This file adds what it lacks: the identity of the weights (lungmask checks no hash), an image whose
orientation is certain, our label values, and an answer instead of a traceback when there are no weights.

When memory runs out it takes one slice at a time, half precision, or the CPU (`execution`).

lungmask's import silences every UserWarning of the process and logs to standard output. Both are undone; it is
imported when a segmenter is made, never before.
"""

import hashlib
import logging
import warnings
from copy import copy
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any, Literal
from urllib.error import URLError

import numpy as np
from jaxtyping import UInt8

from inference.anatomy import Lobe
from inference.errors import ModelError, ModelNotFound
from inference.execution import Device, Execution, ExecutionRecord, ladder_of
from inference.geometry import Reorientation
from inference.images import to_image
from inference.lobes import contiguous, require_complete
from inference.model_card import ModelIdentity
from inference.volumes import CtVolume, LobeMap

LOBE_OF_LUNGMASK = {1: Lobe.LUL, 2: Lobe.LLL, 3: Lobe.RUL, 4: Lobe.RML, 5: Lobe.RLL}
"""Labels of LTRCLobes as lungmask's README gives them."""

_CLASSES = {"R231": 3, "LTRCLobes": 6}
"""Output channels: background and two lungs; background and five lobes."""


@dataclass(frozen=True, slots=True)
class LungmaskSettings:
    """Where lungmask's weights are and how it runs."""

    r231_weights: Path | None = None
    """State dict of the lung network; None takes lungmask's own copy, downloaded once where there is internet."""
    ltrclobes_weights: Path | None = None
    """State dict of the lobe network, likewise."""
    batch_size: int = 1
    """Slices at a time; on a CPU one is fastest, on a GPU about 20."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """`auto` takes a GPU when there is one; `cuda` insists on it."""


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """A file of weights and the digest of its bytes."""

    path: Path
    sha256: str

    @classmethod
    def read(cls, path: Path) -> "WeightsFile":
        """Take the digest of an existing file."""
        with path.open("rb") as file:
            return cls(path, hashlib.file_digest(file, "sha256").hexdigest())


class LungmaskLobes:
    """A `LobeSegmenter` that sees fissures; holds both networks, so make it once."""

    def __init__(self, settings: LungmaskSettings) -> None:
        """Load both networks.

        Raises:
            ModelNotFound: a file is absent, or no file is named and lungmask's own copy cannot be had.
            ModelError: a file is not a state dict of the network it should be (swapped files are noticed), or a
                GPU is wanted and there is none.
        """
        mask = import_lungmask()
        if settings.device == "cuda" and not mask.torch.cuda.is_available():
            raise ModelError("The configuration wants a GPU for lungmask, and there is none.")
        self.r231 = WeightsFile.read(_weights_path("R231", settings.r231_weights, mask))
        self.ltrclobes = WeightsFile.read(_weights_path("LTRCLobes", settings.ltrclobes_weights, mask))
        self.identity = _identity(self.r231, self.ltrclobes)
        self._inferer = _load(mask, self.r231, self.ltrclobes, settings)
        self._batch_size = settings.batch_size
        self._execution = Execution(_device(mask, settings))

    def ladder(self) -> tuple[Execution, ...]:
        """The ways to run lungmask on its device, see `execution`."""
        return ladder_of(self._execution.device, has_smaller_tiles=self._batch_size > 1)

    def on(self, execution: Execution) -> "LungmaskLobes":
        """The same networks, to run that way."""
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
            tile=(self._slices(),),
            rung=way.rung,
            why=why,
            numbers_differ=way.half_precision,  # each slice is seen alone, however many go at a time
        )

    def segment(self, ct: CtVolume) -> LobeMap:
        """Lobes on the grid of `ct`.

        lungmask gets slices from bottom to top, rows to posterior and columns to the left, for any patient position.

        Raises:
            LungsNotFound: less lung than `lobes.LEAST_LUNG_ML`.
            LobesIncomplete: the networks found no voxel of a lobe.
            OutOfMemory: run this way, the networks need more memory than there is.
        """
        from inference.torch_memory import memory_guarded

        axes = Reorientation.to_patient_axes(ct.grid)
        image = to_image(axes.apply(ct.hu), axes.grid(ct.grid))
        found = memory_guarded(lambda: self._found(image))
        labels = np.ascontiguousarray(axes.undo(to_lobe_values(found)))
        return require_complete(LobeMap(contiguous(labels), ct.grid, self.identity))

    def _found(self, image: Any) -> UInt8[np.ndarray, "a b c"]:
        """What lungmask finds; its inferer reads device and batch size anew for every patient."""
        from inference.torch_memory import precision_of

        inferer, device = self._inferer, self._execution.device
        inferer.batch_size = self._slices()
        inferer.device = next(inferer.model.to(device).parameters()).device
        inferer.fillmodelm.to(device)
        with precision_of(self._execution):
            found: UInt8[np.ndarray, "a b c"] = inferer.apply(image)
        return found

    def _slices(self) -> int:
        return 1 if self._execution.smaller_tiles else self._batch_size


def to_lobe_values(found: UInt8[np.ndarray, "a b c"]) -> UInt8[np.ndarray, "a b c"]:
    """Labels of LTRCLobes as values of `Lobe`; anything else is background."""
    values = np.zeros(256, dtype=np.uint8)
    for label, lobe in LOBE_OF_LUNGMASK.items():
        values[label] = lobe.value
    converted: UInt8[np.ndarray, "a b c"] = values[found]
    return converted


def import_lungmask() -> ModuleType:
    """Lungmask's `mask` module, without what its import does to warnings and to standard output."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from lungmask import mask
    logger = logging.getLogger("lungmask")
    for handler in tuple(logger.handlers):
        logger.removeHandler(handler)
    logger.propagate = True
    logger.setLevel(logging.WARNING)
    module: ModuleType = mask
    return module


def _weights_path(network: str, named: Path | None, mask: ModuleType) -> Path:
    if named is not None:
        if not named.is_file():
            raise ModelNotFound(f"Weights {named} of lungmask's {network}", "Correct the path in the configuration.")
        return named
    import torch

    url: str = mask.MODEL_URLS[network][0]
    cached = Path(torch.hub.get_dir()) / "checkpoints" / url.rsplit("/", 1)[-1]
    if not cached.is_file():
        try:
            cached.parent.mkdir(parents=True, exist_ok=True)
            torch.hub.download_url_to_file(url, str(cached), progress=False)
        except (URLError, OSError) as fault:
            raise ModelNotFound(
                f"Weights of lungmask's {network}",
                f"Fetch {url} on a machine with internet and name the file in the configuration, "
                "or use the atlas engine, which needs none.",
            ) from fault
    return cached


def _identity(r231: WeightsFile, ltrclobes: WeightsFile) -> ModelIdentity:
    """Both digests in the version, eight digits each; their joint digest as the digest of the weights.

    The joint digest is SHA-256 over the two hexadecimal digests, lobes first, joined by a line feed.
    """
    joint = hashlib.sha256(f"{ltrclobes.sha256}\n{r231.sha256}".encode("ascii")).hexdigest()
    return ModelIdentity(
        "lungmask", f"{version('lungmask')}+ltrclobes.{ltrclobes.sha256[:8]}.r231.{r231.sha256[:8]}", joint
    )


def _device(mask: ModuleType, settings: LungmaskSettings) -> Device:
    """Where lungmask itself would run."""
    if settings.device == "cpu":
        return "cpu"
    if mask.torch.cuda.is_available():
        return "cuda"
    return "mps" if mask.torch.backends.mps.is_available() else "cpu"


def _load(mask: ModuleType, r231: WeightsFile, ltrclobes: WeightsFile, settings: LungmaskSettings) -> Any:
    try:
        inferer = mask.LMInferer(
            modelname="LTRCLobes",
            modelpath=str(ltrclobes.path),
            fillmodel="R231",
            fillmodel_path=str(r231.path),
            force_cpu=True,  # they go to their device with the first patient, where full memory is met
            batch_size=settings.batch_size,
            tqdm_disable=True,
        )
    # torch.load and load_state_dict raise errors of many kinds for one fact: these bytes are not that network.
    except Exception as fault:
        raise ModelError(f"The weights of lungmask cannot be loaded ({type(fault).__name__}).") from fault
    for network, model in (("LTRCLobes", inferer.model), ("R231", inferer.fillmodelm)):
        if model.last.out_channels != _CLASSES[network]:
            raise ModelError(
                f"The weights named for lungmask's {network} have {model.last.out_channels} classes, "
                f"not {_CLASSES[network]}: are the two files swapped?"
            )
    return inferer
