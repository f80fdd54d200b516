"""From six in-silico patients as DICOM to a signed model, its evaluation and a comparison, by the commands."""

import json
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import typer
from pydicom import dcmread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from typer.testing import CliRunner, Result

from inference.atlas.atlas_lobes import AtlasLobes
from inference.ensemble_perfusion import EnsemblePerfusion
from inference.models.bundle import ModelBundle, read_bundle
from inference.models.evaluation import Evaluation
from inference.models.signature import read_trusted_keys
from tests.training.retraining.small_start import write_network, write_recipe, write_start
from tests.training.retraining.small_store import NAMES, make_patients, make_store
from training.case_files import case_file, read_case
from training.case_preparation import prepared_case
from training.commands.retraining import compare, evaluate, train
from training.history import read_history
from training.insilico.files.patient_files import PatientFolder
from training.pairs.review import decide
from training.retraining.errors import PairsMixed, StartUnusable
from training.retraining.plan import pairs_at_hand
from training.retraining.retraining import Retraining
from training.retraining.split import SplitRule
from training.store.header import read_key_id
from training.store.pseudonyms import Pseudonyms
from training.store.study_store import StudyStore

pytestmark = pytest.mark.slow  # `make test-retraining`
app = typer.Typer()
for command in (train, evaluate, compare):
    app.command()(command)


def perfnode(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@dataclass(frozen=True)
class Site:
    """What a hospital has before it trains, and the words of its command."""

    folder: Path
    store: StudyStore
    start: Path

    @property
    def words(self) -> tuple[object, ...]:
        trusted = ("--trust", self.folder / "key.pem.pub")
        device = ("--device", "cpu", "--parallel", 2)
        return (self.store.folder, "--recipe", self.folder / "recipe", "--start", self.start, *trusted, *device)

    @property
    def run(self) -> Path:
        return self.folder / "run"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    folder = tmp_path_factory.mktemp("site")
    store = make_store(make_patients(folder / "made"), folder / "store")
    write_recipe(folder / "recipe")
    return Site(folder, store, write_start(folder / "start", key=folder / "key.pem"))


@pytest.fixture(scope="module")
def trained(site: Site) -> str:
    """The run, which was stopped once and gone on with; what the command said."""
    stopped = perfnode("train", *site.words, "--out", site.run, "--stop-after", 1)
    assert stopped.exit_code == 75, stopped.output
    assert not (site.run / "model").exists()
    done = perfnode("train", *site.words, "--out", site.run)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def bundle(site: Site, trained: str) -> ModelBundle:
    return read_bundle(site.run / "model", read_trusted_keys([site.run / "model-key.pem.pub"]))


def test_a_dry_run_says_what_it_would_take_and_writes_nothing(site: Site) -> None:
    done = perfnode("train", *site.words, "--out", site.folder / "never", "--dry-run")
    assert done.exit_code == 0, done.output
    for said in ("6 accepted pairs of 6 patients", "2 patients held out", "4 pairs to prepare", "12 steps of", "disk"):
        assert said in done.output
    assert not (site.folder / "never").exists()


def test_the_model_is_signed_and_says_what_it_was_made_from(site: Site, bundle: ModelBundle) -> None:
    manifest = bundle.manifest
    start = read_bundle(site.start, read_trusted_keys([site.folder / "key.pem.pub"]))
    assert manifest.parent_sha256 == start.manifest.content_sha256()
    assert manifest.made_from["held_out"] == "1 of 3"
    assert (manifest.made_from["data"], "In-silico" in manifest.trained_on) == ("in-silico", True)
    assert len(manifest.members) == 2
    assert bundle.identity.weights_sha256 != start.identity.weights_sha256
    assert EnsemblePerfusion.of(bundle, device="cpu").identity == bundle.identity
    assert bundle.document("calibration/conformal.json") is not None
    assert "in-silico patients" in str(bundle.text("docs/README.md"))


def test_no_file_of_a_run_knows_the_held_out(site: Site, trained: str) -> None:
    held_out = SplitRule(3, 1).held_out(site.store.patients())
    assert len(held_out) == 2
    files = [path for path in site.run.rglob("*") if path.is_file()]
    assert not [path for path in files for name in held_out if name in path.name or name.encode() in path.read_bytes()]
    assert len(list((site.run / "cases").glob("*.npz"))) == 4


def test_a_case_is_what_the_study_makes_of_the_same_patient_but_has_no_truth(site: Site, trained: str) -> None:
    pair = next(pair for pair in site.store.pairs() if case_file(site.run / "cases", pair.name).exists())
    case = read_case(case_file(site.run / "cases", pair.name))
    key = Pseudonyms.from_file(site.folder / "store.key", store=site.store.folder)
    names = {key.patient(f"INSILICO-{name}"): name for name in NAMES}
    patient = PatientFolder.open(site.folder / "made" / "cohort" / names[pair.patient])
    card = read_bundle(site.start, read_trusted_keys([site.folder / "key.pem.pub"])).cards[0]
    wanted = prepared_case(patient, card, segmenter=AtlasLobes())
    assert np.array_equal(case.lungs, wanted.lungs)
    assert np.array_equal(case.lobes, wanted.lobes)
    assert case.channels == pytest.approx(wanted.channels, abs=1e-3)
    assert case.target == pytest.approx(wanted.target, rel=2e-3, abs=1e-3)
    assert (case.facts.has_truth, bool(case.truth.any()), wanted.facts.has_truth) == (False, False, True)


def test_the_same_command_again_trains_nothing_and_gives_the_same_bytes(
    site: Site, trained: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "tensorboard", None)  # as where it is not installed
    files = sorted(path for path in (site.run / "model").rglob("*") if path.is_file())
    before = {path: path.read_bytes() for path in files}
    results = {path: path.stat().st_mtime_ns for path in site.run.rglob("result.json")}
    again = perfnode("train", *site.words, "--out", site.run)
    assert again.exit_code == 0, again.output
    assert "pip install perfusion-node[tensorboard]" in again.output
    assert {path: path.read_bytes() for path in before} == before
    assert {path: path.stat().st_mtime_ns for path in site.run.rglob("result.json")} == results
    assert len(results) == 4


def test_learning_curves_are_those_of_the_history(site: Site, trained: str) -> None:
    looks = read_history(site.run / "jobs/retraining/fold0/seed1")
    curves = EventAccumulator(str(site.run / "tensorboard/retraining/fold0/seed1"))
    curves.Reload()
    shown = {event.step: event.value for event in curves.Scalars("validation/spearman")}
    assert shown == pytest.approx({look.step: look.validation_spearman for look in looks}, abs=1e-6)
    assert len(looks) == 4
    assert len(curves.Scalars("training/loss")) == 3


def test_an_evaluation_is_on_the_held_out_and_a_promotion_can_read_it(
    site: Site, bundle: ModelBundle, tmp_path: Path
) -> None:
    out = tmp_path / "evaluation.json"
    trust = ("--trust", site.folder / "key.pem.pub", "--device", "cpu")
    done = perfnode("evaluate", site.run, "--store", site.store.folder, "--against", site.start, "--out", out, *trust)
    assert done.exit_code == 0, done.output
    document = Evaluation.parse(out.read_bytes())
    assert document.patients == SplitRule(3, 1).held_out(site.store.patients())
    assert (document.data, document.verdict) == ("in-silico", "pass")
    start = read_bundle(site.start, read_trusted_keys([site.folder / "key.pem.pub"]))
    document.require_pass(bundle.identity, start.identity)
    assert "non-inferiority" in document.method


def test_a_network_that_learned_nothing_fails_against_the_baseline(site: Site, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "strict", margin=0.0)
    out = tmp_path / "evaluation.json"
    words = ("--against", "baseline", "--recipe", recipe, "--out", out, "--device", "cpu")
    done = perfnode("evaluate", write_network(tmp_path / "net"), "--store", site.store.folder, *words)
    assert done.exit_code == 1, done.output
    figures = {figure.name: figure for figure in Evaluation.parse(out.read_bytes()).figures}
    assert not figures["spearman-eroded"].passes()
    assert figures["spearman-eroded"].difference < -0.1


def test_a_comparison_holds_each_patient_and_its_differences_are_those_of_the_values(
    site: Site, trained: str, tmp_path: Path
) -> None:
    out = tmp_path / "comparison.json"
    done = perfnode("compare", site.run, "baseline", "--store", site.store.folder, "--out", out, "--device", "cpu")
    assert done.exit_code == 0, done.output
    found = json.loads(out.read_text())
    assert (found["held_out"], found["data"], len(found["patients"])) == ("1 of 3", "in-silico", 2)
    assert (found["one"]["name"], found["other"]["content_sha256"]) == ("small-site", "")
    for row in found["scores"]:
        assert row["difference"] == pytest.approx(np.mean(row["one"]) - np.mean(row["other"]), abs=1e-9)
        assert row["low"] <= row["difference"] <= row["high"]
        assert row["corrected_p"] >= row["p"]
    assert any(row["difference"] != 0 for row in found["scores"])


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"fewest": 7}, "TOO_FEW_PAIRS"),
        ({"fewest_held_out": 3, "fewest": 5}, "HELD_OUT_TOO_SMALL"),
        ({"validation_parts": 1000}, "PART_EMPTY"),
        ({"steps": 0}, "RECIPE"),
    ],
)
def test_what_cannot_be_trained_is_told_by_its_code(
    site: Site, tmp_path: Path, changes: dict[str, object], code: str
) -> None:
    recipe = write_recipe(tmp_path / "recipe", **changes)
    done = perfnode("train", *site.words, "--recipe", recipe, "--out", tmp_path / "run")
    assert (done.exit_code, done.output.split(":")[0]) == (2, code)
    assert not (tmp_path / "run").exists()


def test_another_recipe_is_not_mixed_into_a_run(site: Site, trained: str, tmp_path: Path) -> None:
    recipe = write_recipe(tmp_path / "recipe", steps=8)
    done = perfnode("train", *site.words, "--recipe", recipe, "--out", site.run)
    assert (done.exit_code, "OTHER_STUDY" in done.output, "--redo" in done.output) == (2, True, True)
    assert (site.run / "recipe/retraining.toml").read_bytes() == (site.folder / "recipe/retraining.toml").read_bytes()


def test_a_start_that_knows_the_held_out_is_refused(site: Site, trained: str, tmp_path: Path) -> None:
    made_from = {"store_key": read_key_id(site.store.folder), "held_out": "1 of 4"}
    key = site.folder / "key.pem"
    start = write_start(tmp_path / "start", key=key, made_from={**made_from, "folds": "2"})
    words = {"recipe": site.folder / "recipe", "trusted": [site.folder / "key.pem.pub"]}
    with pytest.raises(StartUnusable, match="judge it"):
        Retraining.planned(site.store, tmp_path / "run", start=start, **words)
    same = write_start(tmp_path / "same", key=key, made_from={**made_from, "held_out": "1 of 3", "folds": "2"})
    assert Retraining.planned(site.store, tmp_path / "run", start=same, **words).plan.patients == 4
    with pytest.raises(StartUnusable, match="one network of a retraining"):
        Retraining.planned(site.store, tmp_path / "run", start=site.run / "jobs/retraining/fold0/seed1", **words)


def test_a_damaged_pair_is_named_and_nothing_is_trained_without_it(site: Site, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(site.store.folder, tmp_path / "store"))
    shutil.copy(site.folder / "store.key", tmp_path / "store.key")
    held_out = SplitRule(3, 1).held_out(site.store.patients())
    pair = next(pair for pair in StudyStore.open(folder).pairs() if pair.patient not in held_out)
    for path in pair.ct[5:]:
        path.unlink()
    run = Retraining.planned(
        StudyStore.open(folder),
        tmp_path / "run",
        recipe=site.folder / "recipe",
        start=site.start,
        trusted=[site.folder / "key.pem.pub"],
    )
    only = replace(run, plan=replace(run.plan, pairs=tuple(each for each in run.plan.pairs if each.name == pair.name)))
    cases = tmp_path / "run" / "cases"
    cases.mkdir(parents=True)
    (cases / "Popted0out-00000001.npz").write_bytes(b"of a patient who is no longer in the store")
    with pytest.raises(Exception, match=rf"(?s)1 accepted pair.*{pair.name}: [A-Z_]+: ") as caught:
        only.prepare(workers=1)
    assert getattr(caught.value, "code", "") == "PAIRS_UNUSABLE"
    assert list(cases.glob("*.npz")) == []


def test_unreviewed_pairs_are_left_out_and_said(site: Site, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(site.store.folder, tmp_path / "store"))
    shutil.copy(site.folder / "store.key", tmp_path / "store.key")
    store = StudyStore.open(folder)
    first, second, *_ = store.pairs()
    for each, accepted in ((first, False), (second, True)):
        decide(store, each.name, is_accepted=accepted, by="a test", reason="so")
    manifest = second.folder / "pair.json"
    manifest.write_text(manifest.read_text().replace('"warnings": [', '"warnings": [\n  "ANEW",'))  # another pair now
    at_hand = pairs_at_hand(store)
    assert (len(at_hand.accepted), at_hand.unreviewed, at_hand.rejected) == (4, 1, 1)
    done = perfnode("train", folder, *site.words[1:], "--out", tmp_path / "run")
    assert (done.exit_code, done.output.split(":")[0]) == (2, "PAIRS_UNREVIEWED")


def test_clinical_and_invented_pairs_are_not_mixed(site: Site, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(site.store.folder, tmp_path / "store"))
    shutil.copy(site.folder / "store.key", tmp_path / "store.key")
    pairs = StudyStore.open(folder).pairs()
    assert pairs_at_hand(StudyStore.open(folder)).data == "in-silico"
    for count, pair in enumerate(pairs, start=1):
        dataset = dcmread(pair.nuclear[0])
        dataset.Manufacturer = "SIEMENS"
        dataset.save_as(pair.nuclear[0])
        if count < len(pairs):
            with pytest.raises(PairsMixed):
                pairs_at_hand(StudyStore.open(folder))
    assert pairs_at_hand(StudyStore.open(folder)).data == "clinical"
