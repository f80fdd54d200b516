"""From a finished run to its signed bundle: the network of each fold, its calibration, and a page that says what it is.

    networks, kernels in 16 bits ─┐
    patients of each fold ─▶ conformal interval (not with one fold) ─┼─▶ bundle ─▶ manifest ─▶ signature
    all training patients ─▶ fingerprint ─┘

No held-out patient is looked at. The same run and key give the same bytes. The parent's digest stands in the manifest,
and so do the split and the number of the store's key, by which a later run knows whom these networks know.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from inference.ensemble_perfusion import FINGERPRINT_FILE, INTERVAL_FILE
from inference.model_card import CARD_FILE, WEIGHTS_FILE
from inference.models.bundle_folder import BundleDraft, write_bundle
from inference.models.manifest import PAGE_FILE, ModelManifest
from inference.models.signature import key_id, make_key_pair, read_private_key
from training.case_files import case_file, read_case
from training.errors import StudyIncomplete
from training.fingerprint import fingerprint_of
from training.fold_models import FoldModel, read_fold_model
from training.insilico.files.whole_folder import write_whole
from training.job_card import CAVEAT, RETRAINED_CAVEAT
from training.jobs import CASES
from training.model_calibration import calibration_of
from training.monai_metadata import inference_config, metadata
from training.retraining.retraining import Retraining
from training.retraining.run_folder import KEY_FILE, MODEL, PUBLIC_KEY_FILE
from training.retraining.site_page import SitePage, site_page
from training.retraining.start_model import MADE_BY_FOLDS, MADE_BY_SPLIT, MADE_BY_STORE

INTENDED_USE = (
    "Research on the prediction of relative lung perfusion from planning CT. Not a medical device; not for decisions "
    "about any patient."
)
_TASK = "Relative lung perfusion, as a perfusion SPECT would show it, from a planning CT and its lung lobes."
_LICENSE = (
    "The licence of this model is for the hospital to say that trained it; that of the model it was fine-tuned from "
    "applies as well.\n"
)


def export_site_bundle(run: Retraining, *, key: Path | None, version: str, signer: str) -> ModelManifest:
    """Make the bundle of a finished run, in place of one that lies there.

    Args:
        run: all its jobs are done.
        key: private key to sign with; None takes that of the run, made if there is none.
        version: of the model; empty for digits that follow from recipe, pairs and start.
        signer: who signs, in his own words; empty for a sentence that names the run.

    Raises:
        StudyIncomplete: a job is not done.
        ModelError: the key, or what would become the bundle, cannot be used.
    """
    models = tuple(read_fold_model(run.folder, job.name) for job in run.fold_jobs)
    path = key or run.folder / KEY_FILE
    if key is None and not path.exists():
        make_key_pair(path)
    private = read_private_key(path)
    name, version = run.read.recipe.name, version or version_of(run)
    calibration = _calibration(run, models)
    page = SitePage(
        name, version, _caveat(run), trained_on(run), signer or _signer(run), key_id(private.public_key()), INTENDED_USE
    )
    draft = BundleDraft(
        name=name,
        version=version,
        trained_on=trained_on(run),
        intended_use=INTENDED_USE,
        caveat=_caveat(run),
        members=_folders(models),
        signer=signer or _signer(run),
        files={
            **_members(models),
            **{file: _json(document) for file, document in calibration.items()},
            **_about(run, models, version),
            PAGE_FILE: site_page(page, run, models, calibration).encode(),
            "docs/license.txt": _LICENSE.encode(),
        },
        made_from=_made_from(run, models),
        parent_sha256=run.start.content_sha256,
    )
    manifest = write_bundle(run.folder / MODEL, draft, private)
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    write_whole(run.folder / PUBLIC_KEY_FILE, public)
    return manifest


def version_of(run: Retraining) -> str:
    """Eight digits that follow from what the run was made from: another model never has the same."""
    jobs = "".join(job.digest for job in run.jobs)
    return hashlib.sha256(f"{run.read.sha256}{jobs}".encode()).hexdigest()[:8]


def trained_on(run: Retraining) -> str:
    """The patients in one sentence."""
    kind = "In-silico patients only" if run.plan.data == "in-silico" else "Clinical"
    return (
        f"{kind}: {len(run.fold_jobs)} network(s) fine-tuned from {run.start.identity.label()} on "
        f"{len(run.plan.pairs)} pairs of {run.plan.patients} patients of the study store {run.record.store_key}."
    )


def _caveat(run: Retraining) -> str:
    return CAVEAT if run.plan.data == "in-silico" else RETRAINED_CAVEAT


def _signer(run: Retraining) -> str:
    return f"whoever keeps the study store {run.record.store_key}"


def _folders(models: tuple[FoldModel, ...]) -> tuple[str, ...]:
    return tuple(f"models/fold{model.job.fold}" for model in models)


def _members(models: tuple[FoldModel, ...]) -> dict[str, bytes]:
    files = {}
    for folder, model in zip(_folders(models), models, strict=True):
        files[f"{folder}/{CARD_FILE}"] = _json(asdict(model.card))
        files[f"{folder}/{WEIGHTS_FILE}"] = model.weights
    return files


def _calibration(run: Retraining, models: tuple[FoldModel, ...]) -> dict[str, Mapping[str, Any]]:
    """Fingerprint and, with folds, interval; by path in the bundle."""
    try:
        if len(models) == 1:
            cases = (read_case(case_file(run.folder / CASES, pair.name)) for pair in run.plan.pairs)
            statistics = [case.facts.input_statistics for case in cases]
            return {FINGERPRINT_FILE: fingerprint_of(statistics, trained_on=trained_on(run)).document()}
        fingerprint, interval = calibration_of(
            run.folder,
            [model.network() for model in models],
            [model.job.test for model in models],
            trained_on=trained_on(run),
        )
    except ValueError as fault:
        raise StudyIncomplete(str(run.folder), f"its cases give no calibration: {fault}") from fault
    return {FINGERPRINT_FILE: fingerprint.document(), INTERVAL_FILE: interval.document()}


def _about(run: Retraining, models: tuple[FoldModel, ...], version: str) -> dict[str, bytes]:
    """Files for people who know MONAI."""
    card, kind = models[0].card, run.plan.data
    about = metadata(
        card,
        name=run.read.recipe.name,
        model_version=version,
        task=_TASK,
        description=f"{trained_on(run)} Weights are safetensors, in models/fold*/. Research only.",
    ) | {
        "changelog": {version: "as fine-tuned by `perfnode train`"},
        "authors": _signer(run),
        "copyright": "see docs/license.txt",
        "data_source": trained_on(run),
        "data_type": f"{kind} CT and SPECT",
        "references": [],
    }
    return {
        "configs/metadata.json": _json(about),
        "configs/inference.json": _json(inference_config(_folders(models), card)),
    }


def _made_from(run: Retraining, models: tuple[FoldModel, ...]) -> dict[str, str]:
    first = models[0]
    return {
        "data": run.plan.data,
        MADE_BY_STORE: run.record.store_key,
        MADE_BY_SPLIT: run.record.held_out,
        MADE_BY_FOLDS: str(run.record.folds),
        "start": run.record.start,
        "start_sha256": run.record.start_sha256,
        "recipe_sha256": run.read.sha256,
        "cases_sha256": first.job.cases_sha256,
        "seed": str(first.job.seed),
        "trained_by": ", ".join(f"{name} {number}" for name, number in sorted(first.result.versions.items())),
        "device": first.result.device,
    }


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
