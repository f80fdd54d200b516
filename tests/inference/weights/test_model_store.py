"""The model store: only the published file gets in, whole or not at all, and nothing in a file is ever run."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from inference.errors import (
    ModelError,
    ModelNotFound,
    ModelStoreUnwritable,
    StoredModelDamaged,
    UnknownModel,
    UnusableWeights,
    WeightsDigestMismatch,
)
from inference.weights.model_store import ModelStore
from inference.weights.published_weights import PUBLISHED
from tests.stand_in_weights import known_as, lungmask_file, nnunet_folder

NAME = "lungmask-r231"


@pytest.fixture(scope="module")
def published_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stand-in for the file of lungmask's R231."""
    return lungmask_file(tmp_path_factory.mktemp("published"), 3)


@pytest.fixture
def store(tmp_path: Path, published_file: Path) -> ModelStore:
    """An empty store that takes the stand-in for the published file."""
    return ModelStore(tmp_path / "models", known_as(published_file, NAME))


def files_of(store: ModelStore) -> list[str]:
    return sorted(path.name for path in store.folder.rglob("*") if path.is_file() and path.name != ".lock")


def test_the_known_files_are_those_that_lungmask_itself_names() -> None:
    from inference.weights.lungmask_package import import_lungmask

    urls = import_lungmask().MODEL_URLS
    for name, model in (("lungmask-r231", "R231"), ("lungmask-ltrclobes", "LTRCLobes")):
        weights = PUBLISHED[name]
        assert (weights.url, weights.classes) == urls[model]
        assert weights.file_name.removesuffix(".pth").endswith(f"-{weights.sha256_start}")
        assert len(weights.sha256_start) == 8


def test_an_imported_file_is_found_with_its_digest_and_where_it_came_from(
    store: ModelStore, published_file: Path
) -> None:
    assert store.find(NAME) is None
    imported = store.import_file(NAME, published_file)
    found = store.find(NAME)
    assert found == imported
    assert imported.sha256 == hashlib.sha256(published_file.read_bytes()).hexdigest() == imported.source_sha256
    assert imported.path == store.folder / "files" / f"{imported.sha256}.pth"
    assert imported.path.read_bytes() == published_file.read_bytes() == imported.read()
    assert imported.imported_from == published_file.name
    assert files_of(store) == sorted([f"{NAME}.json", imported.path.name])
    assert store.list() == (imported,)
    assert store.verify() == {NAME: ""}


def test_other_accounts_may_read_what_was_imported(store: ModelStore, published_file: Path) -> None:
    before = os.umask(0o022)
    try:
        imported = store.import_file(NAME, published_file)
    finally:
        os.umask(before)
    assert imported.path.stat().st_mode & 0o777 == 0o644
    assert (store.folder / f"{NAME}.json").stat().st_mode & 0o777 == 0o644
    assert imported.path.parent.stat().st_mode & 0o777 == 0o755


def test_the_same_file_again_changes_nothing(store: ModelStore, published_file: Path) -> None:
    first = store.import_file(NAME, published_file)
    entry = (store.folder / f"{NAME}.json").read_bytes()
    shutil.copy(published_file, store.folder.parent / "another-name.pth")
    assert store.import_file(NAME, store.folder.parent / "another-name.pth") == first
    assert (store.folder / f"{NAME}.json").read_bytes() == entry
    assert len(files_of(store)) == 2


def test_a_file_with_other_digits_is_refused_and_nothing_stays(store: ModelStore, tmp_path: Path) -> None:
    other = lungmask_file(tmp_path, 3, value=1.0)
    with pytest.raises(WeightsDigestMismatch) as caught:
        store.import_file(NAME, other)
    assert caught.value.got_sha256 == hashlib.sha256(other.read_bytes()).hexdigest()
    assert caught.value.published_start in str(caught.value)
    assert store.find(NAME) is None
    assert files_of(store) == []


class _Program:
    """What a pickle runs when it is read carelessly."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], object], tuple[Path]]:
        return Path.touch, (self.path,)


def _with_a_program(path: Path) -> None:
    torch.save({"weight": torch.zeros(1), "run": _Program(path.parent / "was-run")}, path)


def _plain_pickle(path: Path) -> None:
    path.write_bytes(pickle.dumps(_Program(path.parent / "was-run")))


def _other_network(path: Path) -> None:
    shutil.copy(lungmask_file(path.parent, 6), path)


def _cut(path: Path) -> None:
    whole = lungmask_file(path.parent, 3).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def _text(path: Path) -> None:
    path.write_text("404: Not Found")


def _nothing(path: Path) -> None:
    path.touch()


def _list_of_tensors(path: Path) -> None:
    torch.save([torch.zeros(3)], path)


@pytest.mark.parametrize(
    "write", [_with_a_program, _plain_pickle, _other_network, _cut, _text, _nothing, _list_of_tensors]
)
def test_bytes_that_are_not_the_network_are_refused_even_with_the_right_digits(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    path = tmp_path / "file.pth"
    write(path)
    store = ModelStore(tmp_path / "models", known_as(path, NAME))
    with pytest.raises(UnusableWeights):
        store.import_file(NAME, path)
    assert not (tmp_path / "was-run").exists()
    assert store.find(NAME) is None
    assert files_of(store) == []


def test_the_program_would_have_run_with_a_careless_reader(tmp_path: Path) -> None:
    _with_a_program(tmp_path / "file.pth")
    torch.load(tmp_path / "file.pth", weights_only=False)
    assert (tmp_path / "was-run").exists()


@pytest.mark.parametrize("name", ["lungmask-r321", "", "../lungmask-r231", "files"])
def test_only_known_names_are_taken(store: ModelStore, published_file: Path, name: str) -> None:
    for ask in (store.find, store.require, store.remove, lambda each: store.import_file(each, published_file)):
        with pytest.raises(UnknownModel, match="lungmask-r231, lungmask-ltrclobes, totalsegmentator-lobes"):
            ask(name)
    assert not store.folder.exists()


@pytest.mark.parametrize("name", ["absent.pth", "."])
def test_a_file_that_cannot_be_read_is_named(store: ModelStore, tmp_path: Path, name: str) -> None:
    with pytest.raises(ModelNotFound, match="File "):
        store.import_file(NAME, tmp_path / name)


def test_absent_weights_are_an_error_with_the_commands(store: ModelStore) -> None:
    with pytest.raises(ModelNotFound) as caught:
        store.require(NAME)
    assert "perfnode models fetch lungmask-r231" in caught.value.remedy
    assert "perfnode models import lungmask-r231 unet_r231-d5d2fc3d.pth" in caught.value.remedy
    assert PUBLISHED[NAME].url in caught.value.remedy
    assert not store.folder.exists()


def test_removing_takes_the_file_and_leaves_the_others(tmp_path: Path, published_file: Path) -> None:
    lobes = lungmask_file(tmp_path, 6)
    known = {
        **known_as(published_file, NAME),
        "lungmask-ltrclobes": known_as(lobes, "lungmask-ltrclobes")["lungmask-ltrclobes"],
    }
    store = ModelStore(tmp_path / "models", known)
    assert store.remove(NAME) is False
    store.import_file(NAME, published_file)
    kept = store.import_file("lungmask-ltrclobes", lobes)
    assert store.remove(NAME) is True
    assert files_of(store) == sorted(["lungmask-ltrclobes.json", kept.path.name])
    assert store.list() == (kept,)
    assert store.remove(NAME) is False


def test_weights_that_were_replaced_leave_nothing_behind(tmp_path: Path) -> None:
    store = ModelStore(tmp_path / "models")
    first = store.import_file("totalsegmentator-lobes", nnunet_folder(tmp_path / "a"))
    from tests.stand_in_weights import checkpoint_of, direction_tensors

    tensors = direction_tensors()
    tensors["decoder.seg_layers.1.bias"][0] = 2.5
    other = nnunet_folder(tmp_path / "b", checkpoint=checkpoint_of(tensors))
    second = store.import_file("totalsegmentator-lobes", other)
    assert first.sha256 != second.sha256
    assert files_of(store) == sorted(["totalsegmentator-lobes.json", second.path.name])


@pytest.mark.parametrize(
    ("damage", "seen_by_find"),
    [
        (lambda path: path.unlink(), True),
        (lambda path: path.write_bytes(path.read_bytes()[:-1]), True),
        (lambda path: path.write_bytes(b"\1" + path.read_bytes()[1:]), False),
    ],
    ids=["gone", "cut", "changed"],
)
def test_a_damaged_file_is_seen_and_cured_by_importing_again(
    store: ModelStore, published_file: Path, damage: Callable[[Path], object], seen_by_find: bool
) -> None:
    stored = store.import_file(NAME, published_file)
    damage(stored.path)
    assert store.verify()[NAME] != ""
    with pytest.raises(StoredModelDamaged):
        store.find(NAME) if seen_by_find else stored.require_intact()
    with pytest.raises(StoredModelDamaged):
        stored.read()
    again = store.import_file(NAME, published_file)
    assert store.verify() == {NAME: ""}
    assert again.path.read_bytes() == published_file.read_bytes()


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"file": "x"', '{"file": "../../etc/passwd", "name": "lungmask-r231"}']
)
def test_an_entry_that_cannot_be_read_is_damage_and_nothing_else(
    store: ModelStore, published_file: Path, text: str
) -> None:
    store.import_file(NAME, published_file)
    (store.folder / f"{NAME}.json").write_text(text)
    with pytest.raises(StoredModelDamaged):
        store.find(NAME)
    assert store.verify()[NAME] != ""
    store.import_file(NAME, published_file)
    assert store.verify() == {NAME: ""}


def test_a_store_that_cannot_be_written_is_named(tmp_path: Path, published_file: Path) -> None:
    (tmp_path / "file").touch()
    store = ModelStore(tmp_path / "file" / "models", known_as(published_file, NAME))
    with pytest.raises(ModelStoreUnwritable, match="models cannot be written: Not a directory"):
        store.import_file(NAME, published_file)


_IMPORT = """
import sys
from pathlib import Path
from inference.weights.model_store import ModelStore
from tests.stand_in_weights import known_as
folder, path = Path(sys.argv[1]), Path(sys.argv[2])
store = ModelStore(folder / "models", known_as(path, "lungmask-r231"))
"""


def test_imports_at_the_same_time_do_not_disturb_each_other(tmp_path: Path, published_file: Path) -> None:
    program = _IMPORT + (
        "import torch\n"
        "(folder / f'ready-{sys.argv[3]}').touch()\n"
        "while len(list(folder.glob('ready-*'))) < 2: pass\n"
        "for _ in range(8): store.import_file('lungmask-r231', path)\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), str(published_file)]
    running = [subprocess.Popen([*command, str(k)], stderr=subprocess.PIPE, text=True) for k in range(2)]
    for process in running:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    store = ModelStore(tmp_path / "models", known_as(published_file, NAME))
    assert store.verify() == {NAME: ""}
    assert len(files_of(store)) == 2


def test_an_import_killed_at_any_step_leaves_all_or_nothing(tmp_path: Path, published_file: Path) -> None:
    """A child is killed at its first, second, … step that touches the store; the next import then finds its way."""
    program = (
        _IMPORT
        + """
import json, os, signal, torch
from tests.inference.weights.test_model_store import files_of
fate, steps = {}, 0
while True:
    steps += 1
    child = os.fork()
    if child == 0:
        seen = 0
        def hook(event, arguments):
            global seen
            if event in ("open", "os.rename", "os.remove", "os.mkdir") and str(store.folder) in str(arguments[0]):
                seen += 1
                if seen == steps:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        store.import_file("lungmask-r231", path)
        os._exit(0)
    died = os.waitpid(child, 0)[1] != 0
    fate[steps] = store.find("lungmask-r231") is not None and store.verify() == {"lungmask-r231": ""}
    if not died:
        break
    store.remove("lungmask-r231")
    fate[steps] = (fate[steps], files_of(store))
print(json.dumps(fate))
"""
    )
    command = [sys.executable, "-W", "ignore", "-c", program, str(tmp_path), str(published_file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    fates = list(json.loads(done.stdout).values())
    assert len(fates) > 8
    assert fates[-1] is True
    assert [left for _, left in fates[:-1]] == [[]] * (len(fates) - 1)
    known = [whole for whole, _ in fates[:-1]]
    assert known == sorted(known)  # from some step on it is there, whole; before that there is nothing
    assert known[0] is False


def test_half_an_import_is_removed_by_the_next_one(store: ModelStore, published_file: Path) -> None:
    (store.folder / "files").mkdir(parents=True)
    (store.folder / "files" / "0123.part").write_bytes(b"half")
    (store.folder / "files" / f"{'0' * 64}.pth").write_bytes(b"no entry names it")
    stored = store.import_file(NAME, published_file)
    assert files_of(store) == sorted([f"{NAME}.json", stored.path.name])


def test_errors_have_codes_and_are_permanent() -> None:
    kinds = (UnknownModel, WeightsDigestMismatch, UnusableWeights, StoredModelDamaged, ModelStoreUnwritable)
    assert all(issubclass(kind, ModelError) and kind.permanent for kind in kinds)
    assert len({kind.code for kind in kinds}) == len(kinds)


def test_looking_for_weights_loads_no_torch() -> None:
    program = (
        "import sys; from pathlib import Path; from inference.weights.model_store import ModelStore; "
        "ModelStore(Path('nowhere')).list(); assert not {'torch', 'lungmask', 'requests'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr


def test_a_file_in_the_old_format_of_torch_is_read(tmp_path: Path, published_file: Path) -> None:
    """lungmask's were saved in 2020, before the present format was the rule."""
    state = torch.load(published_file, weights_only=True)
    path = tmp_path / "old.pth"
    torch.save(state, path, _use_new_zipfile_serialization=False)
    assert not path.read_bytes().startswith(b"PK")
    store = ModelStore(tmp_path / "models", known_as(path, NAME))
    assert store.import_file(NAME, path).read() == path.read_bytes()
