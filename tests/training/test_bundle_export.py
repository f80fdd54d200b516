"""A finished study becomes a signed bundle that the node reads, that MONAI reads, and that says what it is."""

import json
import shutil
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from inference.engine import EngineSettings, build_engine
from inference.models.bundle import ModelBundle, read_bundle
from inference.models.manifest import PAGE_FILE
from inference.models.signature import key_id, read_private_key, read_trusted_keys
from inference.phantom.thorax import DigitalThorax
from tests.training.finished_study import PATIENTS, finish, finished_study
from training.bundle_export import CAVEAT, export_bundle
from training.commands.study import app
from training.errors import StudyIncomplete
from training.fold_models import read_finished_study, shipped_weights
from training.jobs import Job, Result, read_record, write_record

FOLD = "jobs/full-fine-tuning/fold1/seed5"


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return finished_study(tmp_path_factory.mktemp("finished"))


@pytest.fixture(scope="module")
def folder(study: Path) -> Path:
    """The bundle, made by the command; its key lies in the study."""
    to = study.parent / "small-model"
    done = CliRunner().invoke(app, ["export", str(study), "--to", str(to), "--version", "1.2"])
    assert done.exit_code == 0, done.output
    assert "small-model 1.2" in done.output
    return to


@pytest.fixture
def bundle(study: Path, folder: Path) -> ModelBundle:
    return read_bundle(folder, read_trusted_keys([study / "signing-key.pem.pub"]))


@pytest.fixture
def copy(study: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(study, tmp_path / "study"))


def test_its_members_are_the_networks_of_the_folds_rounded_to_16_bits(study: Path, bundle: ModelBundle) -> None:
    assert bundle.manifest.members == ("models/fold0", "models/fold1")
    for fold, network in enumerate(bundle.networks()):
        trained = load_file(study / f"jobs/full-fine-tuning/fold{fold}/seed5/weights.safetensors")
        here = network.body.state_dict()
        assert set(here) == set(trained)
        for name, tensor in here.items():
            wanted = trained[name].half() if trained[name].dim() > 1 else trained[name]
            assert torch.equal(tensor, wanted.to(tensor.dtype)), name


def test_the_engine_of_a_bundle_draws_a_map_that_says_which_model_made_it(
    study: Path, folder: Path, bundle: ModelBundle, thorax: DigitalThorax
) -> None:
    settings = EngineSettings(
        perfusion="bundle", model_folder=folder, trusted_keys=(study / "signing-key.pem.pub",), device="cpu"
    )
    perfusion = build_engine(settings).perfusion.predict(thorax.ct, thorax.lobes)
    assert perfusion.model == bundle.identity
    assert perfusion.model.caveat == CAVEAT
    assert perfusion.values[thorax.lobes.lungs].mean() == pytest.approx(1.0, abs=1e-4)
    assert perfusion.uncertainty is not None
    assert perfusion.domain is not None
    assert perfusion.domain.score > 1.0  # drawn statistics are not those of a thorax
    assert "In-silico" in perfusion.domain.trained_on


def test_the_same_study_and_key_give_the_same_bytes(study: Path, folder: Path, tmp_path: Path) -> None:
    export_bundle(study, tmp_path / "small-model", version="1.2")
    for path in folder.rglob("*"):
        if path.is_file():
            assert (tmp_path / "small-model" / path.relative_to(folder)).read_bytes() == path.read_bytes(), path


def test_it_is_signed_with_the_key_that_is_named(study: Path, bundle: ModelBundle, tmp_path: Path) -> None:
    from inference.models.signature import make_key_pair

    public = make_key_pair(tmp_path / "site.pem")
    manifest = export_bundle(study, tmp_path / "other", key=tmp_path / "site.pem", signer="Ward 3")
    assert (manifest.name, manifest.signer, manifest.key_id) == ("other", "Ward 3", key_id(public))
    own = key_id(read_private_key(study / "signing-key.pem").public_key())
    assert own == bundle.manifest.key_id
    assert own != key_id(public)
    assert (study / "signing-key.pem").stat().st_mode & 0o777 == 0o600


def test_its_page_has_the_six_sections_and_the_figures_of_patients_not_seen(study: Path, bundle: ModelBundle) -> None:
    page = bundle.text(PAGE_FILE)
    assert page is not None
    headings = [line for line in page.splitlines() if line.startswith("## ")]
    assert [heading[3] for heading in headings] == list("012345")
    results = [read_record(study / f"jobs/full-fine-tuning/fold{k}/seed5/result.json", Result) for k in (0, 1)]
    scores = [each["against"]["spect"]["scores"]["spearman"] for one in results for each in one.scores.values()]
    row = next(line for line in page.splitlines() if "Spearman R**" in line)
    assert len(scores) == 4
    assert f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}" in row
    assert "noise ceiling" in page
    assert CAVEAT in page
    assert "no clinic has tested this model" in page
    assert "4 in-silico patients with lung cancer" in page


def test_what_a_bundle_must_not_hold_is_not_in_it(study: Path, folder: Path) -> None:
    files = [path for path in folder.rglob("*") if path.is_file()]
    content = b"".join(path.read_bytes() for path in files)
    assert b"PRIVATE KEY" not in content
    assert str(study).encode() not in content
    assert not [name for name in PATIENTS if name.encode() in content]
    assert {path.suffix for path in files} == {".json", ".md", ".safetensors", ".sig", ".txt", ""}


def _unfinished(study: Path) -> None:
    (study / FOLD / "result.json").unlink()


def _other_weights(study: Path) -> None:
    (study / FOLD / "weights.safetensors").write_bytes((study / FOLD / "weights.safetensors").read_bytes()[:-1] + b"!")


def _other_plan(study: Path) -> None:
    job = read_record(study / FOLD / "job.json", Job)
    write_record(study / FOLD / "job.json", replace(job, seed=6))


def _other_patients(study: Path) -> None:
    finish(study, replace(read_record(study / FOLD / "job.json", Job), cases_sha256="other"))


def _no_statistics(study: Path) -> None:
    from training.case_files import read_case, write_case

    for path in (study / "cases").iterdir():
        case = read_case(path)
        write_case(path, replace(case, facts=replace(case.facts, input_statistics={})))


@pytest.mark.parametrize("change", [_unfinished, _other_weights, _other_plan, _other_patients, _no_statistics])
def test_a_study_that_is_not_whole_makes_no_model(copy: Path, change: Any, tmp_path: Path) -> None:
    change(copy)
    with pytest.raises(StudyIncomplete):
        export_bundle(copy, tmp_path / "model")
    assert not (tmp_path / "model").exists()


def test_a_number_too_large_for_16_bits_keeps_its_32(study: Path) -> None:
    network = read_finished_study(study).models[0].network()
    state = {name: tensor.clone() for name, tensor in network.body.state_dict().items()}
    kernel = next(name for name, tensor in state.items() if tensor.dim() > 1)
    state[kernel].view(-1)[0] = 1e6
    from safetensors.torch import load

    kept = load(shipped_weights(state))
    assert kept[kernel].dtype == torch.float32
    assert torch.equal(kept[kernel], state[kernel])


def test_monai_reads_the_bundle_and_its_networks_are_the_same(bundle: ModelBundle) -> None:
    from monai.bundle import ConfigParser

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parser = ConfigParser()
        parser.read_config(bundle.folder / "configs" / "inference.json")
        parser.read_meta(bundle.folder / "configs" / "metadata.json")
        parser["bundle_root"] = str(bundle.folder)
        networks = parser.get_parsed_content("networks")
        inferer = parser.get_parsed_content("inferer")
    data = parser["_meta_#network_data_format"]
    image, pred = data["inputs"]["image"], data["outputs"]["pred"]
    seen = torch.rand(1, image["num_channels"], *image["spatial_shape"])
    with torch.inference_mode():
        for one, other in zip(networks, bundle.networks(), strict=True):
            answer = inferer(seen, one)
            assert torch.allclose(answer, other(seen), atol=1e-5)
            assert answer.shape == (1, pred["num_channels"], *pred["spatial_shape"])


def test_the_metadata_have_what_the_specification_of_monai_asks_for(folder: Path) -> None:
    """Keys and types of docs/source/mb_specification.rst; MONAI's own JSON schema is a file on the internet."""
    meta = json.loads((folder / "configs" / "metadata.json").read_text())
    text = ("schema", "version", "monai_version", "pytorch_version", "numpy_version", "task", "description", "authors")
    for key in (*text, "copyright", "intended_use", "data_source", "data_type", "name"):
        assert isinstance(meta[key], str), key
        assert meta[key], key
    assert meta["version"] in meta["changelog"]
    assert all(isinstance(each, str) for each in meta["references"])
    for key in ("required_packages_version", "optional_packages_version"):
        assert all(isinstance(each, str) for each in meta[key].values())
    tensors = [*meta["network_data_format"]["inputs"].values(), *meta["network_data_format"]["outputs"].values()]
    assert len(tensors) == 2
    for tensor in tensors:
        assert tensor["type"] == "image"
        assert (tensor["format"], tensor["dtype"], tensor["is_patch_data"]) == ("magnitude", "float32", False)
        assert len(tensor["spatial_shape"]) == 3
        assert set(tensor["channel_def"]) == {str(place) for place in range(tensor["num_channels"])}
        assert len(tensor["value_range"]) in (0, 2)
        assert isinstance(tensor["modality"], str)
