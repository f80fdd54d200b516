"""Model bundles for tests: real files and real signatures, networks with random weights. They predict nothing."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path

import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from torch.nn.functional import interpolate

from inference.model_card import CARD_FILE, WEIGHTS_FILE, ModelCard, ModelIdentity
from inference.models.bundle_folder import BundleDraft, write_bundle
from inference.models.evaluation import EvaluatedModel, Evaluation, Figure
from inference.models.manifest import ModelManifest
from inference.models.signature import make_key_pair, read_private_key
from inference.networks import PerfusionNetwork, build_network
from training.fold_models import shipped_weights

CAVEAT = "Random weights, for tests."


def stand_in_card(window: int = 32) -> ModelCard:
    """A tiny network on a coarse grid; its weights are not known yet."""
    return ModelCard(
        identity=ModelIdentity("member", "0", caveat=CAVEAT),
        network="UNet",
        network_arguments={"channels": [4, 8], "strides": [2]},
        input_spacing_mm=(8.0, 8.0, 8.0),
        hu_window=(-1000.0, 0.0),
        window_size=(window, window, window),
        trained_on="Nothing.",
        intended_use="Tests.",
    )


def stand_in_network(card: ModelCard, seed: int) -> PerfusionNetwork:
    """A network of a card with random weights, the same ones for one seed."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build_network(card)


def stand_in_files(members: int = 2) -> dict[str, bytes]:
    """Files of a bundle with that many random networks."""
    files = {"docs/README.md": b"# Stand-in\n\nRandom weights.\n"}
    for fold in range(members):
        card = stand_in_card()
        files |= _member_files(card, stand_in_network(card, fold), fold)
    return files


def density_files(seed: int = 0, *, steps: int = 60) -> dict[str, bytes]:
    """Files of a bundle whose one network gives back the density that it is shown, more or less.

    That is just enough for the self-test of the node. Each seed gives another network; more steps of its training, one
    that keeps closer to the density.
    """
    network = stand_in_network(stand_in_card(), seed).train()
    random = torch.Generator().manual_seed(seed)
    optimizer = torch.optim.Adam(network.parameters(), lr=0.02)
    for _ in range(steps):
        hu = interpolate(torch.rand((2, 1, 8, 8, 8), generator=random), scale_factor=4, mode="trilinear")
        shown = torch.cat([hu, (hu < 0.6).float()], 1)
        loss = ((network(shown) - hu - 0.02) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return {**stand_in_files(0), **_member_files(stand_in_card(), network, 0)}


def _member_files(card: ModelCard, network: PerfusionNetwork, fold: int) -> dict[str, bytes]:
    weights = shipped_weights(network.body.state_dict())
    identity = replace(card.identity, weights_sha256=hashlib.sha256(weights).hexdigest())
    return {
        f"models/fold{fold}/{CARD_FILE}": json.dumps(asdict(replace(card, identity=identity))).encode(),
        f"models/fold{fold}/{WEIGHTS_FILE}": weights,
    }


def passing_evaluation(model: ModelIdentity, serving: ModelIdentity) -> Evaluation:
    """An invented document that says that a model is better than the one in use."""
    figure = Figure("Spearman correlation", "", "higher", "better", 0.0, (0.7, 0.8), (0.6, 0.6), 0.1, 0.2, 0.15)
    return Evaluation(
        model=EvaluatedModel.of(model),
        compared_with=EvaluatedModel.of(serving),
        data="in-silico",
        data_sha256="0" * 64,
        made_by="the tests",
        made_at="2026-11-26T12:00:00+00:00",
        method="Invented for tests.",
        confidence=0.95,
        patients=("p1", "p2"),
        figures=(figure,),
        verdict="pass",
    )


def stand_in_key(folder: Path) -> Path:
    """A private key in a file of `folder`; the public one lies beside it with `.pub` added."""
    path = folder / "site.pem"
    if not path.exists():
        make_key_pair(path)
    return path


def stand_in_bundle(
    folder: Path, key: Path, files: Mapping[str, bytes] | None = None, version: str = "0"
) -> ModelManifest:
    """A bundle in `folder`, signed with the private key of a file."""
    return write_bundle(folder, stand_in_draft(files, version), read_private_key(key))


def stand_in_draft(files: Mapping[str, bytes] | None = None, version: str = "0") -> BundleDraft:
    """A bundle that is not written yet."""
    files = stand_in_files() if files is None else files
    return BundleDraft(
        name="stand-in",
        version=version,
        trained_on="Nothing; random weights.",
        intended_use="Tests.",
        caveat=CAVEAT,
        members=tuple(sorted(path.rsplit("/", 1)[0] for path in files if path.endswith(WEIGHTS_FILE))),
        signer="the tests",
        files=files,
    )


def signed_anew(folder: Path, key: Ed25519PrivateKey) -> None:
    """Sign the manifest of a bundle as it lies there, whatever it says."""
    (folder / "manifest.sig").write_bytes(key.sign((folder / "manifest.json").read_bytes()))
