"""What a model bundle says of itself: which files it has, what they are, and who signed that list.

The manifest names every file of the bundle with its SHA-256 and its length. It is signed (`signature`), so one
signature stands for every byte. Its text comes from outside and is checked here; the same content gives the same bytes.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from inference.model_card import CARD_FILE, WEIGHTS_FILE, ModelIdentity

MANIFEST_FILE = "manifest.json"
PAGE_FILE = "docs/README.md"
"""The model's page for people, after the template AID-RT."""
DECIDING_FOLDERS = ("models/", "calibration/")
"""What lies here decides the numbers of a map; the rest of a bundle tells about it."""

_STRICT = ConfigDict(extra="forbid")
_PART = r"[A-Za-z0-9_][A-Za-z0-9_.-]*"
_SUFFIX = r"\.(json|safetensors|md|txt|png)"
FilePath = Annotated[str, Field(pattern=rf"^({_PART}/)*{_PART}{_SUFFIX}$", max_length=200)]
"""Inside the bundle. Hidden files, ways out of the folder and files that can hold programs are impossible by form."""
FolderPath = Annotated[str, Field(pattern=rf"^models/{_PART}$", max_length=200)]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Sentence = Annotated[str, Field(min_length=1, max_length=400, pattern=r"^[ -~]+$")]
"""Printable ASCII, as it goes into DICOM objects."""


@dataclass(frozen=True, slots=True, config=_STRICT)
class ListedFile:
    """One file of a bundle."""

    sha256: Digest
    size_bytes: Annotated[int, Field(ge=0, strict=True)]

    @classmethod
    def of(cls, content: bytes) -> "ListedFile":
        """What a manifest says of these bytes."""
        return cls(hashlib.sha256(content).hexdigest(), len(content))


@dataclass(frozen=True, slots=True, config=_STRICT)
class ModelManifest:
    """The signed list of what a bundle is and holds."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,30}$")]
    version: Annotated[str, Field(pattern=r"^[0-9A-Za-z][0-9A-Za-z.+-]{0,15}$")]
    qualification: Literal["RESEARCH"]
    """Content qualification of what the model makes. There is no clinical evidence for any model of this project."""
    trained_on: Sentence
    """Cohort in one sentence, saying in-silico or clinical."""
    intended_use: Sentence
    caveat: Sentence
    """What a reader of every result must know."""
    members: Annotated[tuple[FolderPath, ...], Field(min_length=1)]
    """Folders of the networks whose mean is the map, each with a card and weights."""
    signer: Sentence
    """Who holds the key, in his own words; only the key itself proves anything."""
    key_id: Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]
    """Which key signs the manifest (`signature.key_id`)."""
    files: Annotated[Mapping[FilePath, ListedFile], Field(min_length=1)]
    """Every file of the bundle but the manifest, its signature and SHA256SUMS."""
    made_from: Mapping[str, str] = Field(default_factory=dict)
    """Facts of the making, such as the arm of the study and the digest of its recipe; for people."""
    parent_sha256: Annotated[str, Field(pattern=r"^([0-9a-f]{64})?$")] = ""
    """`content_sha256` of the model that this one was fine-tuned from; empty where there is none."""
    format: Literal["perfusion-node model bundle 1"] = "perfusion-node model bundle 1"
    """A signature over anything else can never be taken for one over a manifest."""

    @classmethod
    def parse(cls, content: bytes) -> "ModelManifest":
        """Read the bytes of a manifest.

        Raises:
            ValueError: they are no manifest; the message names each mistake.
        """
        try:
            manifest = TypeAdapter(cls).validate_json(content)
        except ValidationError as fault:
            raise ValueError("; ".join(_told(error["loc"], error["msg"]) for error in fault.errors()[:5])) from fault
        if len(set(manifest.members)) < len(manifest.members):
            raise ValueError("members: one of them is named twice")
        wanted = [f"{member}/{name}" for member in manifest.members for name in (CARD_FILE, WEIGHTS_FILE)]
        if absent := [path for path in wanted if path not in manifest.files]:
            raise ValueError(f"it does not list {', '.join(absent)}")
        return manifest

    def encoded(self) -> bytes:
        """The bytes of the manifest as they lie in the bundle and are signed."""
        fields: dict[str, Any] = asdict(self)
        fields = {"format": fields.pop("format"), **dict(sorted(fields.items()))}
        fields["files"] = dict(sorted(fields["files"].items()))
        return (json.dumps(fields, indent=1) + "\n").encode()

    def sums(self) -> str:
        """Text of SHA256SUMS, as `sha256sum --check` reads it."""
        return "".join(f"{file.sha256}  {path}\n" for path, file in sorted(self.files.items()))

    def content_sha256(self) -> str:
        """Digest of all files that decide the numbers of a map, in one.

        `grep -E '  (models|calibration)/' SHA256SUMS | sha256sum` prints the same. A better text on the model's page
        does not make another model of it; another weight or another calibration does.
        """
        lines = self.sums().splitlines(keepends=True)
        deciding = [line for line in lines if line.split("  ", 1)[1].startswith(DECIDING_FOLDERS)]
        return hashlib.sha256("".join(deciding).encode()).hexdigest()

    def identity(self) -> ModelIdentity:
        """What every object made with this model says."""
        return ModelIdentity(self.name, self.version, self.content_sha256(), self.caveat)


def _told(location: tuple[int | str, ...], message: str) -> str:
    return f"{'.'.join(map(str, location))}: {message}" if location else message
