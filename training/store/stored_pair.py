"""A pair as it is handed over, and as it lies in the store with its manifest, `pair.json`."""

import hashlib
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Final, Literal

import numpy as np
from jaxtyping import Float64
from pydantic import TypeAdapter, ValidationError

from training.errors import StoreUnusable

MANIFEST: Final = "pair.json"
FORMAT: Final = 1

LinkName = Literal["frame-of-reference", "registration-object", "registered"]
Role = Literal["ct", "nuclear", "registration"]


@dataclass(frozen=True, slots=True)
class StoredLink:
    """How it is known where the perfusion image lies on the CT, and where that is."""

    kind: LinkName
    nuclear_to_ct: tuple[float, ...]
    """16 numbers, row by row: a rigid transformation of patient coordinates of the image into those of the CT, mm."""
    quality: Mapping[str, float] = field(default_factory=dict)
    """Figures by name."""
    problems: tuple[str, ...] = ()
    """Codes, not sentences: a sentence may name a patient."""

    def __post_init__(self) -> None:
        """Let nothing in that a name could hide in.

        Raises:
            ValueError: not 16 finite numbers of a rigid transformation, or names that are no words of a program.
        """
        matrix = np.array(self.nuclear_to_ct, dtype=np.float64)
        if matrix.size != 16 or not np.isfinite(matrix).all():
            raise ValueError("a link is a matrix of 16 finite numbers")
        turn = matrix.reshape(4, 4)[:3, :3]
        if np.abs(turn @ turn.T - np.eye(3)).max() > 1e-3 or np.linalg.det(turn) < 0.0:
            raise ValueError("a link is a rotation and a shift")
        if not all(re.fullmatch("[a-z][a-z0-9_]*", name) and math.isfinite(v) for name, v in self.quality.items()):
            raise ValueError("figures of a link are finite and have names in small letters")
        if not all(re.fullmatch("[A-Z][A-Z0-9_]*", code) for code in self.problems):
            raise ValueError("problems of a link are told by their codes")

    @property
    def matrix(self) -> Float64[np.ndarray, "4 4"]:
        """The transformation."""
        return np.array(self.nuclear_to_ct, dtype=np.float64).reshape(4, 4)


@dataclass(frozen=True, slots=True)
class PairFiles:
    """A pair as the hospital has it."""

    ct: tuple[Path, ...]
    """All files of one CT series."""
    nuclear: tuple[Path, ...]
    """The one NM object, or all files of one PET series."""
    registration: Path | None
    """The Spatial Registration object that links them, if the link is from one."""
    link: StoredLink


@dataclass(frozen=True, slots=True)
class StoredFile:
    """One file of a pair in the manifest."""

    path: str
    """From the folder of the pair."""
    role: Role
    size_bytes: int
    sha256: str
    """Of all bytes of the file."""
    sop_instance_uid: str
    pixels_sha256: str
    """Of its pixel values, to find the same image again; empty if it has none, or one value only."""


@dataclass(frozen=True, slots=True)
class PairManifest:
    """What `pair.json` says."""

    name: str
    patient: str
    person: str
    """Keyed hash of name and birth date; empty where one was missing."""
    birth: str
    """Keyed hash of birth date and patient; empty where there was no date."""
    link: StoredLink
    warnings: tuple[str, ...]
    files: tuple[StoredFile, ...]

    def write(self, folder: Path) -> None:
        """Write it into the folder of the pair."""
        text = json.dumps({"format": FORMAT, **asdict(self)}, indent=1) + "\n"
        (folder / MANIFEST).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> "PairManifest":
        """Read it.

        Raises:
            StoreUnusable: it is missing or damaged.
        """
        try:
            content = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
            if not isinstance(content, dict) or content.pop("format", None) != FORMAT:
                raise ValueError(f"it is not of format {FORMAT}")
            return TypeAdapter(cls).validate_python(content)
        except ValidationError as fault:  # before ValueError, of which it is one
            raise StoreUnusable(str(folder), f"{MANIFEST}: {fault.errors()[0]['msg']}") from fault
        except (OSError, ValueError) as fault:
            raise StoreUnusable(str(folder), f"{MANIFEST}: {fault}") from fault

    def of(self, role: Role) -> tuple[StoredFile, ...]:
        """Files of one role."""
        return tuple(file for file in self.files if file.role == role)


@dataclass(frozen=True, slots=True)
class StoredPair:
    """A pair in the store: files to read and what is known of them."""

    folder: Path
    manifest: PairManifest

    @property
    def name(self) -> str:
        """Unlike that of any other pair, and the same when the same pair comes again."""
        return self.manifest.name

    @property
    def patient(self) -> str:
        """Pseudonym; also Patient ID and Patient's Name in all files."""
        return self.manifest.patient

    @property
    def link(self) -> StoredLink:
        """Where the perfusion image lies on the CT."""
        return self.manifest.link

    @property
    def warnings(self) -> tuple[str, ...]:
        """Codes of what a person has to look at (`entry`)."""
        return self.manifest.warnings

    @property
    def ct(self) -> tuple[Path, ...]:
        """Files of the CT, in the order of slices."""
        return self._paths("ct")

    @property
    def nuclear(self) -> tuple[Path, ...]:
        """The file of the SPECT, or files of the PET in the order of slices."""
        return self._paths("nuclear")

    @property
    def registration(self) -> Path | None:
        """The Spatial Registration object, if there is one."""
        return next(iter(self._paths("registration")), None)

    def _paths(self, role: Role) -> tuple[Path, ...]:
        return tuple(self.folder / file.path for file in self.manifest.of(role))


def file_sha256(path: Path) -> str:
    """SHA-256 of all bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
