"""From a finished study to a signed model bundle, with one command: `perfnode study export`.

    main arm, first seed ─▶ network of each fold, kernels in 16 bits ─┐
    held-out patients    ─▶ conformal interval                        ├─▶ bundle ─▶ manifest ─▶ signature
    training patients    ─▶ fingerprint                               │
    scores, recipe       ─▶ page after AID-RT, MONAI's metadata ──────┘

The same study and the same key give the same bytes. Nothing is trained or chosen here.
"""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from inference.ensemble_perfusion import FINGERPRINT_FILE, INTERVAL_FILE
from inference.model_card import CARD_FILE, WEIGHTS_FILE
from inference.models.bundle_folder import BundleDraft, write_bundle
from inference.models.manifest import PAGE_FILE, ModelManifest
from inference.models.signature import key_id, make_key_pair, read_private_key
from training.errors import StudyIncomplete
from training.fold_models import FinishedStudy, read_finished_study
from training.job_card import CAVEAT
from training.model_calibration import calibration_of
from training.model_card_page import PageFacts, model_page
from training.monai_metadata import inference_config, metadata

KEY_FILE = "signing-key.pem"
"""Private key in the folder of a study, made where none is named. It is not part of any bundle."""
INTENDED_USE = (
    "Research on the prediction of relative lung perfusion from planning CT. Not a medical device; not for decisions "
    "about any patient."
)
_TASK = "Relative lung perfusion, as a perfusion SPECT would show it, from a planning CT and its lung lobes."
_LICENSE = (
    "The files of this model are licensed under the Apache License, Version 2.0, as the project is that made them.\n"
    "SPDX-License-Identifier: Apache-2.0\nhttps://www.apache.org/licenses/LICENSE-2.0\n"
)


def export_bundle(
    study: Path, to: Path, *, key: Path | None = None, version: str = "1", signer: str = "the perfusion-node project"
) -> ModelManifest:
    """Make the model bundle of a finished study; the name of the folder `to` is the name of the model.

    Args:
        study: folder of the study.
        to: the bundle; one that lies there already is replaced.
        key: private key to sign with; None takes that of the study, made if there is none.
        version: of the model.
        signer: who signs, in his own words.

    Raises:
        TrainingError: the study is not finished, or its files cannot be used.
        ModelError: the key, or what would become the bundle, cannot be used.
    """
    finished = read_finished_study(study)
    path = key or study / KEY_FILE
    if key is None and not path.exists():
        make_key_pair(path)
    private = read_private_key(path)
    calibration = _calibration(finished)
    facts = PageFacts(
        to.name, version, CAVEAT, INTENDED_USE, _trained_on(finished), signer, key_id(private.public_key())
    )
    files = {
        **_members(finished),
        **{name: _json(document) for name, document in calibration.items()},
        **_about(finished, to.name, version),
        PAGE_FILE: model_page(facts, finished, calibration).encode(),
        "docs/license.txt": _LICENSE.encode(),
    }
    draft = BundleDraft(
        name=to.name,
        version=version,
        trained_on=_trained_on(finished),
        intended_use=INTENDED_USE,
        caveat=CAVEAT,
        members=_folders(finished),
        signer=signer,
        files=files,
        made_from=_made_from(finished),
    )
    return write_bundle(to, draft, private)


def _folders(finished: FinishedStudy) -> tuple[str, ...]:
    return tuple(f"models/fold{model.job.fold}" for model in finished.models)


def _members(finished: FinishedStudy) -> dict[str, bytes]:
    files = {}
    for folder, model in zip(_folders(finished), finished.models, strict=True):
        files[f"{folder}/{CARD_FILE}"] = _json(asdict(model.card))
        files[f"{folder}/{WEIGHTS_FILE}"] = model.weights
    return files


def _calibration(finished: FinishedStudy) -> dict[str, dict[str, Any]]:
    """The documents of the bundle that come from held-out and training patients, by path."""
    try:
        fingerprint, interval = calibration_of(
            finished.folder,
            [model.network() for model in finished.models],
            [model.job.test for model in finished.models],
            trained_on=_trained_on(finished),
        )
    except ValueError as fault:
        raise StudyIncomplete(str(finished.folder), f"its cases give no calibration: {fault}") from fault
    return {FINGERPRINT_FILE: fingerprint.document(), INTERVAL_FILE: interval.document()}


def _about(finished: FinishedStudy, name: str, version: str) -> dict[str, bytes]:
    card = finished.models[0].card
    description = (
        f"The mean of {len(finished.models)} networks ({card.network}), one for each fold of the study "
        f"{finished.recipe.study.name}. {_trained_on(finished)} Weights are safetensors, in models/fold*/; the node "
        "that this bundle is made for reads no configuration in it. Research only."
    )
    about = metadata(card, name=name, model_version=version, task=_TASK, description=description)
    return {
        "configs/metadata.json": _json(about),
        "configs/inference.json": _json(inference_config(_folders(finished), card)),
    }


def _trained_on(finished: FinishedStudy) -> str:
    tested = sum(len(model.job.test) for model in finished.models)
    before = finished.recipe.study.cohort.pretraining_cases
    first = f" after pre-training on {before} without" if finished.models[0].job.needs else ""
    return (
        f"In-silico patients only: {len(finished.models)} networks, each fine-tuned on its folds of {tested} invented "
        f"patients with lung cancer{first}."
    )


def _made_from(finished: FinishedStudy) -> dict[str, str]:
    first = finished.models[0]
    return {
        "study": finished.recipe.study.name,
        "arm": finished.recipe.study.main_arm,
        "seed": str(finished.seed),
        "recipe_sha256": finished.recipe_sha256,
        "cases_sha256": first.job.cases_sha256,
        "trained_by": ", ".join(f"{name} {number}" for name, number in sorted(first.result.versions.items())),
        "device": first.result.device,
    }


def _json(content: dict[str, Any]) -> bytes:
    return (json.dumps(content, indent=1, sort_keys=True) + "\n").encode()
