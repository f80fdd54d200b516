"""The contract beside the weights.

A model is a folder with `model_card.json` and `weights.safetensors`. The card binds training to inference: which
network, at which spacing, with which HU window, trained on what, for which use; and the SHA-256 of the weights,
checked before a single tensor is read. Engines without weights have an identity too: every result names its maker.
"""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from inference.channels import DEFAULT_CHANNELS, Channel
from inference.errors import InvalidModelCard, ModelNotFound

CARD_FILE = "model_card.json"
WEIGHTS_FILE = "weights.safetensors"


@dataclass(frozen=True, slots=True)
class ModelIdentity:
    """Who made a segmentation or a map. Written into every DICOM object."""

    name: str
    version: str
    weights_sha256: str = ""
    """Empty for engines without weights."""
    caveat: str = ""
    """What a reader must know about the result, one ASCII sentence; empty when there is nothing to say."""

    def label(self) -> str:
        """`name version (first digits of the hash)` for software versions and pages."""
        digest = f" ({self.weights_sha256[:12]})" if self.weights_sha256 else ""
        return f"{self.name} {self.version}{digest}"


@dataclass(frozen=True, slots=True)
class ModelCard:
    """What a perfusion network is and how it must be fed."""

    identity: ModelIdentity
    network: str
    """`AttentionResidualUnet`, or a class of `monai.networks.nets`, for example `UNet`; see `networks`."""
    network_arguments: dict[str, Any]
    """Keyword arguments of the class; plain JSON values."""
    input_spacing_mm: tuple[float, float, float]
    """Slice, row and column spacing at which the network was trained."""
    hu_window: tuple[float, float]
    """HU range mapped to 0 … 1."""
    window_size: tuple[int, int, int]
    """Slices, rows and columns of one sliding window."""
    trained_on: str
    """Cohort in one sentence, saying in-silico or clinical."""
    intended_use: str
    channels: tuple[str, ...] = DEFAULT_CHANNELS
    """What the network is shown, in this order: names of `Channel`."""
    lungwise: bool = False
    """Each lung is shown alone, the left one mirrored onto the right; else both lungs at once."""

    @classmethod
    def read(cls, folder: Path) -> "ModelCard":
        """Read and check the card of a model folder.

        Raises:
            ModelNotFound: there is no card in `folder`.
            InvalidModelCard: it is not JSON, lacks a field, or holds an impossible value.
        """
        path = folder / CARD_FILE
        if not path.is_file():
            raise ModelNotFound(f"Model card {path}", "Give the folder of a model in the configuration.")
        return cls.parse(path.read_bytes())

    @classmethod
    def parse(cls, content: bytes) -> "ModelCard":
        """Read and check the bytes of a card.

        Raises:
            InvalidModelCard: they are not JSON, lack a field, or hold an impossible value.
        """
        try:
            fields = json.loads(content)
            fields["identity"] = ModelIdentity(**fields["identity"])
            fields["channels"] = tuple(fields.get("channels", DEFAULT_CHANNELS))
            for name, length in (("input_spacing_mm", 3), ("hu_window", 2), ("window_size", 3)):
                fields[name] = tuple(fields[name])
                if len(fields[name]) != length:
                    raise ValueError(f"{name} needs {length} values")
            card = cls(**fields)
        except (ValueError, TypeError, KeyError) as fault:
            raise InvalidModelCard(str(fault)) from fault
        card._check()
        return card

    def write(self, folder: Path) -> None:
        """Write the card into a model folder."""
        text = json.dumps(asdict(self), indent=2, sort_keys=True)
        (folder / CARD_FILE).write_text(text + "\n", encoding="utf-8")

    def _check(self) -> None:
        if not self.hu_window[0] < self.hu_window[1]:
            raise InvalidModelCard(f"HU window {self.hu_window} is empty")
        if min(self.input_spacing_mm) <= 0 or min(self.window_size) < 1:
            raise InvalidModelCard("spacing and window size must be positive")
        if unknown := [name for name in self.channels if name not in list(Channel)]:
            raise InvalidModelCard(f"channels {unknown} are not among {', '.join(Channel)}")
        if not self.channels or len(set(self.channels)) < len(self.channels):
            raise InvalidModelCard(f"channels {list(self.channels)} must be at least one, each once")
        if not isinstance(self.lungwise, bool):
            raise InvalidModelCard(f"lungwise is {self.lungwise!r}, not true or false")
        if len(self.identity.weights_sha256) != 64:
            raise InvalidModelCard("weights_sha256 must have 64 hexadecimal digits")
