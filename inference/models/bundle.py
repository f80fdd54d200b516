"""Reading a model bundle: nothing in it is used before all of it is what a trusted person signed.

The order of the checks matters. The signature over the manifest comes first, then every file against the manifest, and
only then is a card or a tensor looked at. Files are read once: the bytes that were compared are those that are parsed,
so nothing can be exchanged in between. Nothing in a bundle is a program, and nothing in it is run.
"""

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import safetensors
from safetensors import SafetensorError

from inference.errors import (
    CheckpointMismatch,
    InvalidModelBundle,
    ModelAltered,
    ModelNotFound,
    ModelSignatureInvalid,
    ModelSignerUnknown,
    UnusableWeights,
)
from inference.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard, ModelIdentity
from inference.models.manifest import MANIFEST_FILE, ListedFile, ModelManifest
from inference.models.signature import SIGNATURE_BYTES, SIGNATURE_FILE, TrustedKeys, is_signed_by

if TYPE_CHECKING:  # torch is for those who want the networks, not for those who look who signed
    from inference.networks import PerfusionNetwork

SUMS_FILE = "SHA256SUMS"
_UNLISTED = {MANIFEST_FILE, SIGNATURE_FILE, SUMS_FILE}
_LARGEST_MANIFEST_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, eq=False)
class ModelBundle:
    """A bundle whose every byte was checked."""

    folder: Path
    manifest: ModelManifest
    cards: tuple[ModelCard, ...]
    """Of the members, in their order; they agree in network and input."""
    _content: Mapping[str, bytes] = field(repr=False)

    @property
    def identity(self) -> ModelIdentity:
        """Name, version, digest of all members and caveat, for every object made with this model."""
        return self.manifest.identity()

    def networks(self) -> "tuple[PerfusionNetwork, ...]":
        """The members, in evaluation mode on the CPU.

        Raises:
            InvalidModelCard: the weights of one do not fit its card.
        """
        from inference.checkpoint import network_of

        weights = (self._content[f"{member}/{WEIGHTS_FILE}"] for member in self.manifest.members)
        return tuple(network_of(card, content) for card, content in zip(self.cards, weights, strict=True))

    def document(self, path: str) -> dict[str, Any] | None:
        """A JSON object of the bundle, such as `calibration/fingerprint.json`; None where it has no such file.

        Raises:
            InvalidModelBundle: the file is no JSON object.
        """
        if (content := self._content.get(path)) is None:
            return None
        try:
            found = json.loads(content)
        except ValueError as fault:
            raise InvalidModelBundle(str(self.folder), f"{path} is not JSON") from fault
        if not isinstance(found, dict):
            raise InvalidModelBundle(str(self.folder), f"{path} is no JSON object")
        return found

    def text(self, path: str) -> str | None:
        """A text of the bundle, such as `docs/README.md`; None where it has no such file. Bad letters are replaced."""
        content = self._content.get(path)
        return None if content is None else content.decode(errors="replace")


def read_bundle(folder: Path, trusted: TrustedKeys) -> ModelBundle:
    """Read and check a whole bundle.

    Args:
        folder: the bundle.
        trusted: public keys whose signature counts here.

    Raises:
        ModelNotFound: there is no such folder, or no manifest in it.
        ModelSignerUnknown: it is signed with another key.
        ModelSignatureInvalid: the signature is absent or cut, or the manifest was changed after it was signed.
        InvalidModelBundle: the manifest cannot be read, or members want different input.
        ModelAltered: files were changed, cut, removed or added.
        InvalidModelCard: a card is unusable.
        CheckpointMismatch: a card names other weights than those beside it.
        UnusableWeights: a file of weights is no safetensors file, for instance a pickle.
    """
    manifest = _signed_manifest(folder, trusted)
    content = _intact_files(folder, manifest)
    cards = tuple(_card(member, content) for member in manifest.members)
    contracts = {json.dumps(_contract(card), sort_keys=True) for card in cards}
    if len(contracts) > 1:
        raise InvalidModelBundle(str(folder), "its members are not fed alike")
    return ModelBundle(folder, manifest, cards, content)


def _signed_manifest(folder: Path, trusted: TrustedKeys) -> ModelManifest:
    if not (folder / MANIFEST_FILE).is_file():
        remedy = 'A bundle holds manifest.json. For a bare model folder write perfusion = "network".'
        raise ModelNotFound(f"Model bundle {folder}", remedy)
    content, signature = _head(folder / MANIFEST_FILE), _signature(folder)
    signer = next((number for number, key in trusted.items() if is_signed_by(key, signature, content)), None)
    try:
        manifest = ModelManifest.parse(content)
    except ValueError as fault:
        raise InvalidModelBundle(str(folder), f"its manifest cannot be read: {fault}") from fault
    if signer is None and manifest.key_id not in trusted:
        raise ModelSignerUnknown(str(folder), manifest.signer, manifest.key_id)
    if signer is None or signer != manifest.key_id:
        raise ModelSignatureInvalid(str(folder), "the manifest is not the one that was signed")
    return manifest


def _head(path: Path) -> bytes:
    with path.open("rb") as file:
        content = file.read(_LARGEST_MANIFEST_BYTES + 1)
    if len(content) > _LARGEST_MANIFEST_BYTES:
        raise InvalidModelBundle(str(path.parent), "its manifest is larger than 1 MiB")
    return content


def _signature(folder: Path) -> bytes:
    path = folder / SIGNATURE_FILE
    if not path.is_file():
        raise ModelSignatureInvalid(str(folder), f"{SIGNATURE_FILE} is absent")
    with path.open("rb") as file:
        signature = file.read(SIGNATURE_BYTES + 1)
    if len(signature) != SIGNATURE_BYTES:
        raise ModelSignatureInvalid(str(folder), f"{SIGNATURE_FILE} does not have {SIGNATURE_BYTES} bytes")
    return signature


def _intact_files(folder: Path, manifest: ModelManifest) -> dict[str, bytes]:
    """All listed files, once it is sure that they are what was signed and that there is nothing else."""
    content: dict[str, bytes] = {}
    problems: dict[str, str] = {}
    for path, listed in sorted(manifest.files.items()):
        problem, content[path] = _compared(folder, path, listed)
        if problem:
            problems[path] = problem
    problems |= dict.fromkeys(_found(folder) - set(manifest.files) - _UNLISTED, "is not part of it")
    if not (folder / SUMS_FILE).is_file() or (folder / SUMS_FILE).read_bytes() != manifest.sums().encode():
        problems[SUMS_FILE] = "does not repeat the manifest"
    if problems:
        raise ModelAltered(str(folder), dict(sorted(problems.items())))
    return content


def _compared(folder: Path, name: str, listed: ListedFile) -> tuple[str, bytes]:
    """What is wrong with a file, and its bytes; empty for nothing."""
    path = folder / name
    if any(part.is_symlink() for part in (path, *path.parents[: name.count("/")])):
        return "is a link", b""
    if not path.is_file():
        return "is absent", b""
    if (size_bytes := path.stat().st_size) != listed.size_bytes:
        return f"has {size_bytes} bytes, not {listed.size_bytes}", b""
    content = path.read_bytes()
    return ("", content) if ListedFile.of(content) == listed else ("has other bytes", b"")


def _found(folder: Path) -> set[str]:
    """Every name in the folder that is no plain folder, as a path inside it; links are not followed."""
    found = set()
    for place, folders, files in os.walk(folder):
        here = Path(place)
        links = [name for name in folders if (here / name).is_symlink()]
        found |= {(here / name).relative_to(folder).as_posix() for name in (*files, *links)}
    return found


def _card(member: str, content: Mapping[str, bytes]) -> ModelCard:
    card = ModelCard.parse(content[f"{member}/{CARD_FILE}"])
    weights = content[f"{member}/{WEIGHTS_FILE}"]
    sha256 = ListedFile.of(weights).sha256
    if card.identity.weights_sha256 != sha256:
        raise CheckpointMismatch(card.identity.weights_sha256, sha256)
    try:
        safetensors.deserialize(weights)  # type: ignore[no-untyped-call]
    except SafetensorError as fault:
        raise UnusableWeights(member, f"it is no safetensors file ({fault})") from fault
    return card


def _contract(card: ModelCard) -> dict[str, Any]:
    """What a card says of the input and the network: all members must be fed alike for their mean to mean anything."""
    return asdict(replace(card, identity=ModelIdentity("", ""), trained_on="", intended_use=""))
