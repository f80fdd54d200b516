"""What `perfnode models` refuses: files that were changed, cut, pickled or are foreign; and shadow by command."""

import json
import pickle
import shutil
import signal
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.commands.model_choice import serving_identity
from dicom_node.settings.config import read_settings
from dicom_node.shadow.comparisons import CaseComparison, Comparisons
from inference.errors import ModelError
from inference.map_comparison import MapComparison
from inference.model_card import ModelIdentity
from inference.models.shipped import SHIPPED_MODEL
from inference.models.signature import PUBLIC_SUFFIX, read_private_key
from tests.stand_in_models import (
    density_files,
    passing_evaluation,
    signed_anew,
    stand_in_bundle,
    stand_in_key,
)

pytestmark = pytest.mark.slow  # `make test-long`

PEOPLE = ("--by", "Ann", "--approved-by", "Ben")
WEIGHTS = "models/fold0/weights.safetensors"


def models(site: Path, *arguments: str) -> Result:
    """Run `perfnode models` in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["models", *arguments, "--config", str(site)])


def code_of(done: Result) -> str:
    """Code of the fault that ended a command, which `perfnode` prints with exit status 2."""
    assert isinstance(done.exception, ModelError), (done.output, done.exception)
    return done.exception.code


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles `1` and `2` and the key that signed them."""
    folder = tmp_path_factory.mktemp("bundles")
    key = stand_in_key(folder)
    for seed in (1, 2):
        stand_in_bundle(folder / str(seed), key, density_files(seed), str(seed))
    return folder


@pytest.fixture
def site(tmp_path: Path, bundles: Path) -> Path:
    """A site that uses what is in force, with a clinical and a research destination."""
    path = tmp_path / "site.toml"
    peer = 'ae_title = "X"\nhost = "127.0.0.1"\nport = 104\n'
    path.write_text(
        f'[inference]\nperfusion = "bundle"\ntrusted_keys = ["{bundles / "site.pem"}{PUBLIC_SUFFIX}"]\ndevice = "cpu"\n'
        f'[[destinations]]\nname = "pacs"\n{peer}[[destinations]]\nname = "lab"\nmode = "research"\n{peer}'
    )
    return path


def evaluated(site: Path, name: str) -> str:
    settings = read_settings(site)
    model = settings.model_registry().find(name)
    identity = ModelIdentity(model.name, model.version, model.content_sha256)
    path = site.with_name("evaluation.json")
    path.write_bytes(passing_evaluation(identity, serving_identity(settings)).encoded())
    return str(path)


def tampered(folder: Path, bundles: Path) -> None:
    content = bytearray((folder / WEIGHTS).read_bytes())
    content[-1] ^= 1
    (folder / WEIGHTS).write_bytes(content)


def cut(folder: Path, bundles: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-8])


def pickled(folder: Path, bundles: Path) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps({"weights": [1.0]}))


def foreign(folder: Path, bundles: Path) -> None:
    (folder / "models" / "fold0" / "run.py").write_text("print('hello')")


def unsigned(folder: Path, bundles: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["intended_use"] = "Everything."
    (folder / "manifest.json").write_text(json.dumps(manifest))


def names_a_pickle(folder: Path, bundles: Path) -> None:
    """Signed by the right key, and yet a file that could hold a program."""
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["models/model.pt"] = manifest["files"].pop(WEIGHTS)
    (folder / "manifest.json").write_text(json.dumps(manifest))
    signed_anew(folder, read_private_key(bundles / "site.pem"))


DAMAGES = {
    tampered: "MODEL_ALTERED",
    cut: "MODEL_ALTERED",
    pickled: "MODEL_ALTERED",
    foreign: "MODEL_ALTERED",
    unsigned: "MODEL_SIGNATURE_INVALID",
    names_a_pickle: "INVALID_MODEL_BUNDLE",
}


@pytest.mark.parametrize(("damage", "code"), DAMAGES.items(), ids=lambda part: getattr(part, "__name__", None))
def test_a_damaged_bundle_is_refused_by_every_command(
    site: Path, bundles: Path, tmp_path: Path, damage: Callable[[Path, Path], None], code: str
) -> None:
    shutil.copytree(bundles / "1", tmp_path / "damaged")
    damage(tmp_path / "damaged", bundles)
    assert code_of(models(site, "import", str(tmp_path / "damaged"))) == code
    assert read_settings(site).model_registry().models() == ()
    assert models(site, "import", str(bundles / "1")).exit_code == 0
    evaluation = evaluated(site, "stand-in")
    registry = read_settings(site).model_registry()
    stored = registry.path(registry.find("stand-in"))
    damage(stored, bundles)
    for arguments in (
        ("show", "stand-in"),
        ("export", "stand-in", str(tmp_path / "1.zip")),
        ("promote", "stand-in", "--evaluation", evaluation, *PEOPLE),
        ("shadow", "stand-in", "--by", "Ann"),
    ):
        # One whose manifest cannot be read has no name any more.
        unknown = ("MODEL_NOT_REGISTERED",) if damage is names_a_pickle else ()
        assert code_of(models(site, *arguments)) in (code, *unknown), arguments
    in_use_elsewhere = site.read_text().replace('"bundle"', '"densitometric"')  # so that only the registry is read
    site.write_text(in_use_elsewhere)
    verified = models(site, "verify")
    assert (verified.exit_code, code in verified.stdout) == (1, True), verified.output
    assert not (tmp_path / "1.zip").exists()
    assert json.loads(models(site, "history", "--json").stdout)["changes"] == []
    assert "no model runs in shadow" in models(site, "shadow").stdout


def test_an_exported_file_that_was_cut_changed_or_is_something_else_is_not_imported(
    site: Path, bundles: Path, tmp_path: Path
) -> None:
    assert models(site, "import", str(bundles / "1")).exit_code == 0
    whole = tmp_path / "1.zip"
    assert models(site, "export", "stand-in", str(whole)).exit_code == 0
    content = whole.read_bytes()
    registry = read_settings(site).model_registry()
    shutil.rmtree(registry.folder)
    flipped = bytearray(content)
    flipped[len(content) // 2] ^= 1
    with zipfile.ZipFile(tmp_path / "more.zip", "w") as more, zipfile.ZipFile(whole) as old:
        for name in old.namelist():
            more.writestr(name, old.read(name))
        more.writestr("../../outside.txt", "x")
    wrong = {
        "cut.zip": content[: len(content) * 2 // 3],
        "changed.zip": bytes(flipped),
        "more.zip": (tmp_path / "more.zip").read_bytes(),
        "pickle.zip": pickle.dumps({"weights": 1}),
        "empty.zip": b"",
    }
    for name, content in wrong.items():
        (tmp_path / name).write_bytes(content)
        assert code_of(models(site, "import", str(tmp_path / name))) in ("INVALID_MODEL_BUNDLE", "MODEL_ALTERED"), name
    assert read_settings(site).model_registry().models() == ()
    assert not list(registry.folder.rglob("*.part"))
    assert models(site, "import", str(whole)).exit_code == 0


def test_shadow_is_started_shown_reported_and_ended_by_command(site: Path, bundles: Path) -> None:
    for version in "12":
        assert models(site, "import", str(bundles / version)).exit_code == 0
    assert "no model ran in shadow" in models(site, "shadow", "--off").stdout
    assert models(site, "shadow", "--report").exit_code == 2
    for arguments in (("--to", "pacs"), ("--to", "unknown")):
        assert models(site, "shadow", "stand-in@1", "--by", "Ann", *arguments).exit_code == 2
    assert models(site, "shadow", "stand-in@1", "--off").exit_code == 2
    assert code_of(models(site, "shadow", "stand-in@1")) == "SHADOW_REFUSED"
    assert code_of(models(site, "shadow", "nobody", "--by", "Ann")) == "MODEL_NOT_REGISTERED"
    done = models(site, "shadow", "stand-in@1", "--by", "Ann", "--to", "lab")
    assert f"runs in shadow of {SHIPPED_MODEL}" in done.stdout, done.output
    assert json.loads(models(site, "shadow", "--json").stdout)["shadow"]["destination"] == "lab"
    states = {m["name"]: m["state"] for m in json.loads(models(site, "list", "--json").stdout)["perfusion_models"]}
    assert states == {"stand-in@1": "in shadow", "stand-in@2": "imported"}
    assert "no case yet" in models(site, "shadow", "--report").stdout
    _keep_two(site)
    told = json.loads(models(site, "shadow", "--report", "--json").stdout)
    (spread,) = [pair["figures"]["Spearman correlation"] for pair in told["pairs"] if not pair["without_a_map"]]
    assert spread == pytest.approx({"median": 0.85, "lowest": 0.8, "highest": 0.9})
    assert sum(pair["without_a_map"] for pair in told["pairs"]) == 1
    shown = models(site, "shadow", "--report").stdout
    for words in (
        "Spearman correlation: 0.85 (0.8 to 0.9)",
        "lobes Lung_RUL -3.0 Lung_LLL +1.0",
        "no map: STAGE_CRASHED",
        "points: 2.5 (2 to 3)",
    ):
        assert words in shown, shown
    assert models(site, "shadow", "--off").exit_code == 0
    assert "no model runs in shadow" in models(site, "shadow").stdout
    assert "Lung_RUL" in models(site, "shadow", "stand-in@1", "--report").stdout
    trail = "".join(path.read_text() for path in (site.parent / "perfnode-data" / "audit").rglob("*.log"))
    assert all(action in trail for action in ("shadow-model", "end-shadow"))


def _keep_two(site: Path) -> None:
    """Two cases that were compared, and one that gave no map."""
    registry = read_settings(site).model_registry()
    store = Comparisons(registry.folder, registry.find("stand-in@1").content_sha256)
    for case, rank, points in (("a", 0.8, -3.0), ("b", 0.9, 2.0)):
        figures = MapComparison(0.0, 5.0, rank, 0.9, 0.8, {"Lung_RUL": points, "Lung_LLL": 1.0})
        store.keep(CaseComparison(case, "2026-11-26T12:00:00+00:00", "stand-in 1", "baseline 1", 2.0, figures))
    store.keep(CaseComparison("c", "2026-11-26T12:00:01+00:00", "stand-in 1", "", code="STAGE_CRASHED", message="x"))


@pytest.mark.parametrize(
    ("event", "file", "in_force", "lines"), [("os.rename", "in-force.json", None, 0), ("open", "history.jsonl", "1", 1)]
)
def test_kill_9_in_the_command_leaves_the_old_model_or_the_new_one_and_all_commands_go_on(
    site: Path, bundles: Path, event: str, file: str, in_force: str | None, lines: int
) -> None:
    for version in "12":
        assert models(site, "import", str(bundles / version)).exit_code == 0
    command = ("models", "promote", "stand-in@1", "--evaluation", evaluated(site, "stand-in@1"), *PEOPLE)
    program = Path(__file__).with_name("killed_promotion.py")
    killed = subprocess.run(
        [sys.executable, str(program), event, file, *command, "--config", str(site)], capture_output=True, check=False
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    states = {m["name"]: m["state"] for m in json.loads(models(site, "list", "--json").stdout)["perfusion_models"]}
    assert states == {"stand-in@1": "in force" if in_force else "imported", "stand-in@2": "imported"}
    assert len(json.loads(models(site, "history", "--json").stdout)["changes"]) == lines
    assert (models(site, "verify").exit_code == 0) or in_force is None
    done = models(site, "promote", "stand-in@2", "--evaluation", evaluated(site, "stand-in@2"), *PEOPLE)
    assert done.exit_code == 0, (done.output, done.exception)
    assert not list(read_settings(site).model_registry().folder.glob(".*.part"))
    changes = json.loads(models(site, "history", "--json").stdout)["changes"]
    assert [change["model"]["version"] for change in changes] == ([in_force] if in_force else []) + ["2"]
