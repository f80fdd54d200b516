"""The models that a site may put into force: signed bundles that were imported, each under its name and version.

    perfusion-models/
        bundles/ours@2/     a bundle, as it was signed; never changed
        evaluations/        documents that promotions rest on, by their SHA-256 (`promotion`)
        in-force.json       which model makes the maps (`promotion`)
        history.jsonl       which did before, and who said so (`history`)

A name and a version stand for one model for ever: the same bundle again changes nothing, and another one under the
same version is refused. A bundle gets its folder when it is whole, checked and on the disk. An import that is killed
leaves a part folder, which the next one removes.
"""

import fcntl
import hashlib
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from inference.errors import ModelError, ModelNotRegistered, ModelStoreUnwritable, ModelVersionTaken
from inference.models.bundle import ModelBundle, read_bundle
from inference.models.bundle_file import OUTER_FILES, pack_bundle, unpack_bundle
from inference.models.manifest import MANIFEST_FILE, ModelManifest
from inference.models.signature import TrustedKeys
from inference.models.whole_files import FOLDER_MODE, PART, publish_folder

_BUNDLES = "bundles"
_LOCK = ".lock"


@dataclass(frozen=True, slots=True)
class RegisteredModel:
    """A model in the registry."""

    name: str
    version: str
    content_sha256: str
    """Of what decides the numbers of a map; it is in every object made with the model."""
    manifest_sha256: str
    """Of the signed manifest, and so of every byte of the bundle."""

    @property
    def reference(self) -> str:
        """`name@version`, as commands take it."""
        return f"{self.name}@{self.version}"


class ModelRegistry:
    """The registry in a folder, which need not exist before the first import."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def models(self) -> tuple[RegisteredModel, ...]:
        """All models, in order of name and version. Only manifests are read, and nothing is checked."""
        found = (_registered(path) for path in sorted((self.folder / _BUNDLES).glob("*@*")))
        return tuple(model for model in found if model is not None)

    def find(self, name: str) -> RegisteredModel:
        """The model of that name, `name@version`, or first digits (8 or more) of its digest.

        Raises:
            ModelNotRegistered: none is called so, or several are.
        """
        models = self.models()
        found = [model for model in models if name in (model.name, model.reference)]
        if not found and len(name) >= 8:
            found = [model for model in models if model.content_sha256.startswith(name)]
        if len(found) != 1:
            raise ModelNotRegistered(name, tuple(model.reference for model in found or models))
        return found[0]

    def path(self, model: RegisteredModel) -> Path:
        """Folder of its bundle."""
        return self.folder / _BUNDLES / model.reference

    def read(self, model: RegisteredModel, trusted: TrustedKeys) -> ModelBundle:
        """The bundle of a model, with every check of `read_bundle`.

        Raises:
            ModelVersionTaken: the folder holds another bundle than the one that was registered.
            ModelError: it must not be used; each leaf says why.
        """
        bundle = read_bundle(self.path(model), trusted)
        if _registered(self.path(model)) != model:
            raise ModelVersionTaken(model.reference, model.manifest_sha256)
        return bundle

    def take(self, source: Path, trusted: TrustedKeys) -> RegisteredModel:
        """Import a bundle, a folder or a zip file of `export`; the same one again changes nothing.

        Raises:
            ModelVersionTaken: another bundle has this name and version.
            ModelStoreUnwritable: the registry cannot be written.
            ModelError: it must not be used; each leaf says why. Nothing was imported.
        """
        manifest = None if source.is_file() else read_bundle(source, trusted).manifest
        with self.changing():
            part = self.folder / _BUNDLES / f".{source.name}.{uuid.uuid4().hex}{PART}"
            try:
                if manifest is None:
                    unpack_bundle(source, part)
                else:
                    _copy(source, manifest, part)
                bundle = read_bundle(part, trusted)
                bundle.networks()  # weights that do not fit their cards are found here, not at the first patient
                return self._publish(part, bundle.manifest)
            finally:
                shutil.rmtree(part, ignore_errors=True)

    def export(self, model: RegisteredModel, file: Path, trusted: TrustedKeys) -> None:
        """Write a model as one zip file, which `take` reads; the same model gives the same bytes.

        Raises:
            FileExistsError: `file` exists.
            OSError: it cannot be written; nothing is left of it.
            ModelError: the bundle in the registry is damaged or no longer trusted.
        """
        manifest = self.read(model, trusted).manifest
        if file.exists():
            raise FileExistsError(file)
        part = file.with_name(f".{uuid.uuid4().hex}{PART}")
        try:
            pack_bundle(self.path(model), (*manifest.files, *OUTER_FILES), part)
            file.hardlink_to(part)
        finally:
            part.unlink(missing_ok=True)

    def verify(self, trusted: TrustedKeys) -> dict[str, str]:
        """Read every model again: what is wrong with each, by reference; empty text for nothing."""
        problems = {}
        for path in sorted((self.folder / _BUNDLES).glob("*@*")):
            try:
                manifest = read_bundle(path, trusted).manifest
                misplaced = path.name != f"{manifest.name}@{manifest.version}"
                problems[path.name] = "is in the folder of another model" if misplaced else ""
            except ModelError as fault:
                problems[path.name] = f"{fault.code}: {fault}"
        return problems

    @contextmanager
    def changing(self) -> Iterator[None]:
        """The folder, made if absent, while no other process changes it; what a dead one left half is removed.

        Raises:
            ModelStoreUnwritable: it cannot be written, or the disk is full.
        """
        try:
            (self.folder / _BUNDLES).mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
            with (self.folder / _LOCK).open("a") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                for abandoned in (self.folder / _BUNDLES).glob(f".*{PART}"):
                    shutil.rmtree(abandoned)
                for abandoned in self.folder.glob(f".*{PART}"):
                    abandoned.unlink()
                yield
        except OSError as fault:
            raise ModelStoreUnwritable(str(self.folder), fault.strerror or type(fault).__name__) from fault

    def _publish(self, part: Path, manifest: ModelManifest) -> RegisteredModel:
        model = _model(part, manifest)
        place = self.path(model)
        if place.exists():
            if _registered(place) != model:
                raise ModelVersionTaken(model.reference, model.manifest_sha256)
            return model
        publish_folder(part, place)
        return model


def _registered(path: Path) -> RegisteredModel | None:
    """What lies in a folder of the registry, by its manifest; None where that cannot be read."""
    try:
        return _model(path, ModelManifest.parse((path / MANIFEST_FILE).read_bytes()))
    except (OSError, ValueError):
        return None


def _model(folder: Path, manifest: ModelManifest) -> RegisteredModel:
    digest = hashlib.sha256((folder / MANIFEST_FILE).read_bytes()).hexdigest()
    return RegisteredModel(manifest.name, manifest.version, manifest.content_sha256(), digest)


def _copy(source: Path, manifest: ModelManifest, target: Path) -> None:
    for path in (*manifest.files, *OUTER_FILES):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source / path, target / path, follow_symlinks=False)
