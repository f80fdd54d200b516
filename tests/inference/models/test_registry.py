"""The registry keeps what a trusted person signed, once for each name and version, and gives it back byte for byte."""

import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from inference.errors import InvalidModelBundle, ModelError, ModelNotRegistered, ModelStoreUnwritable
from inference.models.bundle import read_bundle
from inference.models.bundle_file import unpack_bundle
from inference.models.registry import ModelRegistry
from inference.models.signature import TrustedKeys, make_key_pair, read_trusted_keys
from tests.stand_in_models import stand_in_bundle, stand_in_files, stand_in_key


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two versions of a bundle in folders `1` and `2`, and the key that signed them."""
    folder = tmp_path_factory.mktemp("made")
    files = stand_in_files()
    stand_in_bundle(folder / "1", stand_in_key(folder), files, "1")
    changed = {path: content for path, content in files.items() if "fold1" not in path}
    stand_in_bundle(folder / "2", stand_in_key(folder), changed, "2")
    return folder


@pytest.fixture(scope="module")
def trusted(made: Path) -> TrustedKeys:
    return read_trusted_keys([made / "site.pem.pub"])


@pytest.fixture
def registry(tmp_path: Path) -> ModelRegistry:
    return ModelRegistry(tmp_path / "registry")


def content(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_a_bundle_is_kept_as_it_was_signed_and_found_by_name_version_or_digest(
    made: Path, registry: ModelRegistry, trusted: TrustedKeys
) -> None:
    assert registry.models() == ()
    first = registry.take(made / "1", trusted)
    assert registry.find("stand-in") == first
    second = registry.take(made / "2", trusted)
    assert registry.models() == (first, second)
    assert content(registry.path(first)) == content(made / "1")
    assert registry.find("stand-in@2") == second
    assert registry.find(first.content_sha256[:8]) == first
    for wrong in ("stand-in", "stand-in@3", first.content_sha256[:7], "", "../stand-in@1"):
        with pytest.raises(ModelNotRegistered):
            registry.find(wrong)
    assert registry.read(first, trusted).identity == read_bundle(made / "1", trusted).identity
    assert registry.verify(trusted) == {"stand-in@1": "", "stand-in@2": ""}


def test_an_export_is_one_file_that_another_site_imports_to_the_same_bytes(
    made: Path, registry: ModelRegistry, trusted: TrustedKeys, tmp_path: Path
) -> None:
    model = registry.take(made / "1", trusted)
    for name in ("a.zip", "b.zip"):
        registry.export(model, tmp_path / name, trusted)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    other = ModelRegistry(tmp_path / "other")
    assert other.take(tmp_path / "a.zip", trusted) == model
    assert content(other.path(model)) == content(made / "1")
    with pytest.raises(FileExistsError):
        registry.export(model, tmp_path / "a.zip", trusted)
    link = tmp_path / "link.zip"  # leads nowhere, so that looking first does not find it
    link.symlink_to(tmp_path / "nowhere")
    with pytest.raises(FileExistsError):
        registry.export(model, link, trusted)
    assert link.is_symlink()
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".part")] == []


def test_a_name_and_version_stand_for_one_model_for_ever(
    made: Path, registry: ModelRegistry, trusted: TrustedKeys, tmp_path: Path
) -> None:
    model = registry.take(made / "1", trusted)
    before = content(registry.folder)
    assert registry.take(made / "1", trusted) == model
    stand_in_bundle(tmp_path / "other", made / "site.pem", stand_in_files(1), "1")
    with pytest.raises(ModelError) as caught:
        registry.take(tmp_path / "other", trusted)
    assert caught.value.code == "MODEL_VERSION_TAKEN"
    stand_in_bundle(tmp_path / "words", made / "site.pem", {**stand_in_files(), "docs/README.md": b"Better."}, "1")
    with pytest.raises(ModelError) as caught:  # the same numbers under other words are another bundle too
        registry.take(tmp_path / "words", trusted)
    assert caught.value.code == "MODEL_VERSION_TAKEN"
    assert content(registry.folder) == before


def _tampered(bundle: Path) -> None:
    weights = bundle / "models" / "fold0" / "weights.safetensors"
    changed = bytearray(weights.read_bytes())
    changed[-1] ^= 1
    weights.write_bytes(changed)


def _truncated(bundle: Path) -> None:
    os.truncate(bundle / "models" / "fold0" / "weights.safetensors", 100)


def _pickled(bundle: Path) -> None:
    (bundle / "models" / "fold0" / "weights.safetensors").write_bytes(pickle.dumps({"a": 1}))


def _with_a_program(bundle: Path) -> None:
    (bundle / "models" / "model.pt").write_bytes(pickle.dumps({"a": 1}))


def _linked(bundle: Path) -> None:
    page = bundle / "docs" / "README.md"
    page.rename(bundle.parent / "page.md")
    page.symlink_to(bundle.parent / "page.md")


def _resigned(bundle: Path) -> None:
    make_key_pair(bundle.parent / "foreign.pem")
    shutil.rmtree(bundle)
    stand_in_bundle(bundle, bundle.parent / "foreign.pem", stand_in_files(1))


def _gone(bundle: Path) -> None:
    shutil.rmtree(bundle)


@pytest.mark.parametrize(
    ("change", "packed", "code"),
    [
        (_tampered, False, "MODEL_ALTERED"),
        (_tampered, True, "MODEL_ALTERED"),
        (_truncated, False, "MODEL_ALTERED"),
        (_truncated, True, "MODEL_ALTERED"),
        (_pickled, False, "MODEL_ALTERED"),
        (_pickled, True, "MODEL_ALTERED"),
        (_with_a_program, False, "MODEL_ALTERED"),
        (_with_a_program, True, "INVALID_MODEL_BUNDLE"),
        (_resigned, False, "MODEL_SIGNER_UNKNOWN"),
        (_resigned, True, "MODEL_SIGNER_UNKNOWN"),
        (_linked, False, "MODEL_ALTERED"),
        (_gone, False, "MODEL_NOT_FOUND"),
    ],
)
def test_what_was_tampered_with_cut_pickled_or_signed_by_others_is_not_imported(
    made: Path,
    registry: ModelRegistry,
    trusted: TrustedKeys,
    tmp_path: Path,
    change: Callable[[Path], None],
    packed: bool,
    code: str,
) -> None:
    source = tmp_path / "source"
    shutil.copytree(made / "1", source)
    change(source)
    if packed:
        with zipfile.ZipFile(tmp_path / "source.zip", "w") as file:
            for path, bytes_ in content(source).items():
                file.writestr(path, bytes_)
        source = tmp_path / "source.zip"
    with pytest.raises(ModelError) as caught:
        registry.take(source, trusted)
    assert caught.value.code == code
    assert registry.models() == ()
    assert not list(registry.folder.rglob("*.part"))


@pytest.mark.parametrize("name", ["../../escaped.json", "/escaped.json", "models/a.pt", ".hidden.json", "a\\b.json"])
def test_a_zip_with_a_name_that_no_bundle_has_is_refused(
    registry: ModelRegistry, trusted: TrustedKeys, tmp_path: Path, name: str
) -> None:
    with zipfile.ZipFile(tmp_path / "bad.zip", "w") as file:
        file.writestr(name, b"x")
    with pytest.raises(InvalidModelBundle):
        registry.take(tmp_path / "bad.zip", trusted)
    assert [path for path in tmp_path.rglob("*") if "escaped" in path.name] == []


def test_a_zip_that_was_cut_or_would_fill_the_disk_is_refused(
    made: Path, registry: ModelRegistry, trusted: TrustedKeys, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = registry.take(made / "1", trusted)
    registry.export(model, tmp_path / "whole.zip", trusted)
    whole = (tmp_path / "whole.zip").read_bytes()
    other = ModelRegistry(tmp_path / "other")
    for size in (0, 10, len(whole) // 2, len(whole) - 1):
        (tmp_path / "cut.zip").write_bytes(whole[:size])
        with pytest.raises(InvalidModelBundle):
            other.take(tmp_path / "cut.zip", trusted)
    monkeypatch.setattr("inference.models.bundle_file.MOST_BYTES", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("models/a.json", bytes(64 << 20))
    with pytest.raises(InvalidModelBundle, match="more than"):
        other.take(tmp_path / "bomb.zip", trusted)
    with pytest.raises(InvalidModelBundle, match="more than"):
        unpack_bundle(tmp_path / "bomb.zip", tmp_path / "bomb")
    assert (tmp_path / "bomb" / "models" / "a.json").stat().st_size <= 3 << 20  # not the 64 MiB it holds
    assert other.models() == ()


def test_weights_that_do_not_fit_their_card_are_refused_at_import(
    made: Path, registry: ModelRegistry, trusted: TrustedKeys, tmp_path: Path
) -> None:
    files = stand_in_files(1)
    card = "models/fold0/model_card.json"
    files[card] = files[card].replace(b'"channels": [4, 8]', b'"channels": [8, 8]')
    stand_in_bundle(tmp_path / "odd", made / "site.pem", files)
    with pytest.raises(ModelError) as caught:
        registry.take(tmp_path / "odd", trusted)
    assert caught.value.code == "INVALID_MODEL_CARD"
    assert registry.models() == ()


def test_a_model_that_was_changed_in_the_registry_is_found_and_not_exported(
    made: Path, registry: ModelRegistry, trusted: TrustedKeys, tmp_path: Path
) -> None:
    model = registry.take(made / "1", trusted)
    _tampered(registry.path(model))
    assert registry.verify(trusted)["stand-in@1"].startswith("MODEL_ALTERED")
    with pytest.raises(ModelError, match="is not the one that was signed"):
        registry.export(model, tmp_path / "a.zip", trusted)
    assert not (tmp_path / "a.zip").exists()
    shutil.rmtree(registry.path(model))
    shutil.copytree(made / "2", registry.path(model))  # whole and signed, but another one
    assert registry.verify(trusted) == {"stand-in@1": "is in the folder of another model"}
    with pytest.raises(ModelError) as caught:
        registry.read(model, trusted)
    assert caught.value.code == "MODEL_VERSION_TAKEN"


def test_what_a_killed_import_left_is_removed_and_a_folder_that_cannot_be_made_is_a_known_error(
    made: Path, registry: ModelRegistry, trusted: TrustedKeys, tmp_path: Path
) -> None:
    (registry.folder / "bundles" / ".1.dead.part" / "models").mkdir(parents=True)
    (registry.folder / ".dead.part").touch()
    assert registry.models() == ()
    registry.take(made / "1", trusted)
    assert sorted(path.name for path in registry.folder.iterdir()) == [".lock", "bundles"]
    assert [path.name for path in (registry.folder / "bundles").iterdir()] == ["stand-in@1"]
    (tmp_path / "file").touch()
    with pytest.raises(ModelStoreUnwritable):
        ModelRegistry(tmp_path / "file" / "registry").take(made / "1", trusted)
