"""A bundle is used when every byte of it is what a trusted person signed, and never otherwise."""

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from inference.errors import (
    CheckpointMismatch,
    InvalidModelBundle,
    InvalidModelCard,
    ModelAltered,
    ModelError,
    ModelKeyUnusable,
    ModelNotFound,
    ModelSignatureInvalid,
    ModelSignerUnknown,
    UnusableWeights,
)
from inference.models.bundle import read_bundle
from inference.models.bundle_folder import write_bundle
from inference.models.manifest import ListedFile, ModelManifest
from inference.models.shipped import PROJECT_KEYS, read_chosen_bundle, shipped_model_folder, trusted_keys
from inference.models.signature import TrustedKeys, key_id, make_key_pair, read_private_key, read_trusted_keys
from tests.stand_in_models import (
    CAVEAT,
    signed_anew,
    stand_in_bundle,
    stand_in_card,
    stand_in_draft,
    stand_in_files,
    stand_in_key,
    stand_in_network,
)

WEIGHTS = "models/fold1/weights.safetensors"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a bundle and the key that signed it; nobody changes it."""
    folder = tmp_path_factory.mktemp("made")
    stand_in_bundle(folder / "stand-in", stand_in_key(folder))
    return folder


@pytest.fixture
def bundle(made: Path, tmp_path: Path) -> Path:
    """A copy of the bundle to change."""
    return Path(shutil.copytree(made / "stand-in", tmp_path / "stand-in"))


@pytest.fixture
def trusted(made: Path) -> TrustedKeys:
    return read_trusted_keys([made / "site.pem.pub"])


def test_a_bundle_gives_its_networks_and_says_who_it_is(bundle: Path, trusted: TrustedKeys) -> None:
    found = read_bundle(bundle, trusted)
    networks = found.networks()
    assert [network.training for network in networks] == [False, False]
    for seed, network in enumerate(networks):
        wanted = stand_in_network(stand_in_card(), seed).body.state_dict()
        for name, tensor in network.body.state_dict().items():
            exact = wanted[name].half().float() if wanted[name].dim() > 1 else wanted[name]
            assert tensor.dtype == wanted[name].dtype
            assert torch.equal(tensor, exact), name
    assert found.identity.label().startswith("stand-in 0 (")
    assert found.identity.caveat == CAVEAT
    assert found.text("docs/README.md") == "# Stand-in\n\nRandom weights.\n"
    assert found.text("docs/absent.md") is None
    assert found.document("calibration/fingerprint.json") is None


def test_the_identity_is_the_digest_of_what_decides_the_numbers(made: Path, tmp_path: Path) -> None:
    def digest(**changed: bytes) -> str:
        files = stand_in_files() | {name.replace("__", "/").replace("_", "."): text for name, text in changed.items()}
        return stand_in_draft(files).manifest("0" * 16).content_sha256()

    assert digest(docs__README_md=b"other words") == digest()
    assert digest(calibration__fingerprint_json=b"{}") != digest()
    other = stand_in_files()
    other[WEIGHTS] = other[WEIGHTS][:-1] + bytes([other[WEIGHTS][-1] ^ 1])
    assert stand_in_draft(other).manifest("0" * 16).content_sha256() != digest()
    sums = [line for line in (made / "stand-in" / "SHA256SUMS").read_text().splitlines(True) if "  models/" in line]
    assert hashlib.sha256("".join(sums).encode()).hexdigest() == digest()


def _cut(folder: Path) -> None:
    os.truncate(folder / WEIGHTS, 100)


def _flip(path: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        content = bytearray((folder / path).read_bytes())
        content[len(content) // 2] ^= 1
        (folder / path).write_bytes(content)

    return change


def _pickled(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps({"a": 1}))


def _added_pickle(folder: Path) -> None:
    (folder / "models" / "model.pt").write_bytes(pickle.dumps({"a": 1}))


def _hidden(folder: Path) -> None:
    (folder / ".hidden").touch()


def _linked_file(folder: Path) -> None:
    (folder / WEIGHTS).rename(folder.parent / "elsewhere")
    (folder / WEIGHTS).symlink_to(folder.parent / "elsewhere")


def _linked_folder(folder: Path) -> None:
    (folder / "models").rename(folder.parent / "elsewhere")
    (folder / "models").symlink_to(folder.parent / "elsewhere")


def _linked_beside(folder: Path) -> None:
    (folder / "more").symlink_to(folder.parent)


def _absent(folder: Path) -> None:
    (folder / WEIGHTS).unlink()


def _members_swapped(folder: Path) -> None:
    one, other = folder / "models" / "fold0", folder / "models" / "fold1"
    one.rename(folder / "models" / "x")
    other.rename(one)
    (folder / "models" / "x").rename(other)


def _sums(folder: Path) -> None:
    (folder / "SHA256SUMS").write_text("")


@pytest.mark.parametrize(
    ("change", "path"),
    [
        (_cut, WEIGHTS),
        (_flip(WEIGHTS), WEIGHTS),
        (_flip("docs/README.md"), "docs/README.md"),
        (_pickled, WEIGHTS),
        (_absent, WEIGHTS),
        (_added_pickle, "models/model.pt"),
        (_hidden, ".hidden"),
        (_linked_file, WEIGHTS),
        (_linked_folder, "models"),
        (_linked_beside, "more"),
        (_members_swapped, "models/fold0/model_card.json"),
        (_sums, "SHA256SUMS"),
    ],
)
def test_what_was_changed_after_signing_is_named_and_refused(
    bundle: Path, trusted: TrustedKeys, change: Callable[[Path], None], path: str
) -> None:
    change(bundle)
    with pytest.raises(ModelAltered) as caught:
        read_bundle(bundle, trusted)
    assert path in caught.value.problems
    assert caught.value.code == "MODEL_ALTERED"


def _rewritten(folder: Path, **changes: object) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda folder: _rewritten(folder, caveat="None."), ModelSignatureInvalid),
        (lambda folder: _rewritten(folder, key_id="0" * 16), ModelSignerUnknown),
        (_flip("manifest.sig"), ModelSignatureInvalid),
        (lambda folder: os.truncate(folder / "manifest.sig", 63), ModelSignatureInvalid),
        (lambda folder: (folder / "manifest.sig").unlink(), ModelSignatureInvalid),
        (lambda folder: os.truncate(folder / "manifest.json", 200), InvalidModelBundle),
        (lambda folder: (folder / "manifest.json").write_bytes(b"x" * (1 << 21)), InvalidModelBundle),
        (lambda folder: (folder / "manifest.json").unlink(), ModelNotFound),
        (shutil.rmtree, ModelNotFound),
    ],
)
def test_a_manifest_that_is_not_the_signed_one_is_refused(
    bundle: Path, trusted: TrustedKeys, change: Callable[[Path], None], fault: type[ModelError]
) -> None:
    change(bundle)
    with pytest.raises(fault):
        read_bundle(bundle, trusted)


def test_a_signature_counts_only_where_its_key_is_trusted(bundle: Path, made: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelSignerUnknown, match="the tests") as caught:
        read_bundle(bundle, trusted_keys())
    assert caught.value.key_id == key_id(read_private_key(made / "site.pem").public_key())
    make_key_pair(tmp_path / "other.pem")
    with pytest.raises(ModelSignerUnknown):
        read_bundle(bundle, trusted_keys([tmp_path / "other.pem.pub"]))
    assert read_chosen_bundle(bundle, [made / "site.pem.pub"]).manifest.name == "stand-in"


def test_a_manifest_cannot_claim_the_key_of_another(bundle: Path, made: Path, tmp_path: Path) -> None:
    """Signed by one trusted person in the name of another trusted person."""
    make_key_pair(tmp_path / "other.pem")
    signed_anew(bundle, read_private_key(tmp_path / "other.pem"))
    both = read_trusted_keys([made / "site.pem.pub", tmp_path / "other.pem.pub"])
    with pytest.raises(ModelSignatureInvalid):
        read_bundle(bundle, both)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": "perfusion-node model bundle 2"},
        {"qualification": "PRODUCT"},
        {"unknown": 1},
        {"members": []},
        {"members": ["models/fold0", "models/fold0"]},
        {"members": ["models/fold7"]},
        {"members": ["../fold0"]},
        {"caveat": "not\nASCII lines"},
        {"version": "1" * 17},
    ],
)
def test_what_a_trusted_person_signed_by_mistake_is_still_no_bundle(
    bundle: Path, made: Path, trusted: TrustedKeys, changes: dict[str, object]
) -> None:
    _rewritten(bundle, **changes)
    signed_anew(bundle, read_private_key(made / "site.pem"))
    with pytest.raises(InvalidModelBundle):
        read_bundle(bundle, trusted)


@pytest.mark.parametrize(
    "path", ["../a.json", "/a.json", "a/../b.json", ".a.json", "a/.b.json", "a.pt", "a.pkl", "a.py", "a\\b.json", ""]
)
def test_no_file_of_a_bundle_lies_elsewhere_or_can_hold_a_program(path: str) -> None:
    manifest = stand_in_draft().manifest("0" * 16)
    listed = {**manifest.files, path: ListedFile.of(b"")}
    fields = {
        **json.loads(manifest.encoded()),
        "files": {k: {"sha256": v.sha256, "size_bytes": v.size_bytes} for k, v in listed.items()},
    }
    with pytest.raises(ValueError, match="files"):
        ModelManifest.parse(json.dumps(fields).encode())


def test_a_signed_pickle_is_refused_before_it_is_read(made: Path, tmp_path: Path, trusted: TrustedKeys) -> None:
    """Even its owner cannot have a program run: the file would have to be safetensors."""
    files = stand_in_files()
    files[WEIGHTS] = pickle.dumps({"a": 1})
    card = json.loads(files["models/fold1/model_card.json"])
    card["identity"]["weights_sha256"] = hashlib.sha256(files[WEIGHTS]).hexdigest()
    files["models/fold1/model_card.json"] = json.dumps(card).encode()
    with pytest.raises(UnusableWeights):
        stand_in_bundle(tmp_path / "pickled", made / "site.pem", files)
    assert not (tmp_path / "pickled").exists()


def test_members_must_be_fed_alike_and_fit_their_cards(made: Path, tmp_path: Path) -> None:
    files, card_file = stand_in_files(), "models/fold1/model_card.json"
    card = json.loads(files[card_file])
    for changes, fault in (
        ({"hu_window": [-900.0, 0.0]}, InvalidModelBundle),
        ({"identity": {**card["identity"], "weights_sha256": "0" * 64}}, CheckpointMismatch),
        ({"hu_window": [0.0, 0.0]}, InvalidModelCard),
    ):
        changed = files | {card_file: json.dumps({**card, **changes}).encode()}
        with pytest.raises(fault):
            stand_in_bundle(tmp_path / "odd", made / "site.pem", changed)
    assert list(tmp_path.iterdir()) == []


def test_the_same_content_and_key_give_the_same_bytes(made: Path, tmp_path: Path) -> None:
    stand_in_bundle(tmp_path / "stand-in", made / "site.pem")
    for one in (made / "stand-in").rglob("*"):
        if one.is_file():
            assert (tmp_path / "stand-in" / one.relative_to(made / "stand-in")).read_bytes() == one.read_bytes()


def test_a_bundle_replaces_a_bundle_and_nothing_else(made: Path, bundle: Path, trusted: TrustedKeys) -> None:
    key = read_private_key(made / "site.pem")
    write_bundle(bundle, replace(stand_in_draft(), version="2"), key)
    assert read_bundle(bundle, trusted).manifest.version == "2"
    assert [path.name for path in bundle.parent.iterdir()] == ["stand-in"]
    with pytest.raises(InvalidModelBundle):
        write_bundle(bundle, replace(stand_in_draft(), name="No Name"), key)
    assert read_bundle(bundle, trusted).manifest.version == "2"
    other = bundle.parent / "other"
    other.mkdir()
    (other / "thesis.md").write_text("years of work")
    with pytest.raises(InvalidModelBundle, match="not overwritten"):
        write_bundle(other, stand_in_draft(), key)
    assert (other / "thesis.md").is_file()


def test_keys_are_for_their_owner_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "k.pem"
    public = make_key_pair(path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(read_trusted_keys([tmp_path / "k.pem.pub"])) == [key_id(public)]
    with pytest.raises(ModelKeyUnusable, match="exists"):
        make_key_pair(path)
    with pytest.raises(ModelKeyUnusable, match="no public key"):
        read_trusted_keys([path])
    with pytest.raises(ModelKeyUnusable, match="no private key"):
        read_private_key(tmp_path / "k.pem.pub")
    with pytest.raises(ModelKeyUnusable, match="cannot be read"):
        read_private_key(tmp_path / "absent")


@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl on this machine")
def test_keys_of_another_kind_are_refused_and_openssl_checks_ours(bundle: Path, made: Path, tmp_path: Path) -> None:
    subprocess.run(
        ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", tmp_path / "ec.pem"], check=True
    )
    subprocess.run(
        ["openssl", "ec", "-in", tmp_path / "ec.pem", "-pubout", "-out", tmp_path / "ec.pub"],
        check=True,
        capture_output=True,
    )
    with pytest.raises(ModelKeyUnusable, match="not for Ed25519"):
        read_private_key(tmp_path / "ec.pem")
    with pytest.raises(ModelKeyUnusable, match="not for Ed25519"):
        read_trusted_keys([tmp_path / "ec.pub"])
    check = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(made / "site.pem.pub"), "-rawin", "-in"]
    check += [str(bundle / "manifest.json"), "-sigfile", str(bundle / "manifest.sig")]
    assert subprocess.run(check, check=False, capture_output=True).returncode == 0
    _rewritten(bundle, caveat="None.")
    assert subprocess.run(check, check=False, capture_output=True).returncode != 0
    assert subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=bundle, check=False).returncode == 0


def test_looking_at_a_bundle_loads_no_torch(bundle: Path, made: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from inference.models.shipped import read_chosen_bundle;"
        f"read_chosen_bundle(Path({str(bundle)!r}), [Path({str(made / 'site.pem.pub')!r})]);"
        "print(sorted({'torch', 'monai', 'scipy'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_private_key_of_the_project_is_not_in_the_project() -> None:
    assert all(len(bytes.fromhex(key)) == 32 for key in PROJECT_KEYS)
    root = shipped_model_folder().parents[2]
    for folder in ("configs", "inference", "training"):
        for path in (root / folder).rglob("*"):
            assert not path.is_file() or b"PRIVATE KEY" not in path.read_bytes() or path.suffix == ".pyc", path
