"""A model comes into force and out of it again by command; what is processed next is made by it and says so."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from pydicom import dcmread
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.commands.model_choice import serving_identity
from dicom_node.errors import SelfTestFailed
from dicom_node.settings.config import read_settings
from dicom_node.watching.job_metrics import ServingModel
from inference.errors import EvaluationOfAnotherModel, ModelError
from inference.model_card import ModelIdentity
from inference.models.signature import PUBLIC_SUFFIX
from tests.running_node import perfnode
from tests.stand_in_models import density_files, passing_evaluation, stand_in_bundle, stand_in_files, stand_in_key

pytestmark = pytest.mark.slow  # `make test-long`

PEOPLE = ("--by", "Ann", "--approved-by", "Ben")


def models(site: Path, *arguments: str) -> Result:
    """Run `perfnode models` in this process."""
    return CliRunner(env={"COLUMNS": "200"}).invoke(app, ["models", *arguments, "--config", str(site)])


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles `1` and `2`, which recognise the digital thorax, `random`, which does not, and the key."""
    folder = tmp_path_factory.mktemp("bundles")
    key = stand_in_key(folder)
    for seed in (1, 2):
        stand_in_bundle(folder / str(seed), key, density_files(seed), str(seed))
    stand_in_bundle(folder / "random", key, stand_in_files(), "9")
    return folder


@pytest.fixture
def site(tmp_path: Path, bundles: Path) -> Path:
    """A site file that uses what is in force."""
    path = tmp_path / "site.toml"
    path.write_text(
        f'[inference]\nperfusion = "bundle"\ntrusted_keys = ["{bundles / "site.pem"}{PUBLIC_SUFFIX}"]\ndevice = "cpu"\n'
    )
    return path


def evaluated(site: Path, name: str) -> str:
    """A passing evaluation of an imported model against what makes the maps now."""
    settings = read_settings(site)
    model = settings.model_registry().find(name)
    identity = ModelIdentity(model.name, model.version, model.content_sha256)
    document = passing_evaluation(identity, serving_identity(settings))
    path = site.with_name("evaluation.json")
    path.write_bytes(document.encoded())
    return str(path)


def made_by(site: Path, series: Path, out: str) -> str:
    """Which model the objects of a CT name, processed as the node does it."""
    done = perfnode("process", str(series), "--out", str(site.parent / out), "--config", str(site))
    assert done.returncode == 0, done.stdout + done.stderr
    for path in (site.parent / out).glob("*.dcm"):
        assert any(text.startswith("stand-in ") for text in dcmread(path).SoftwareVersions), path
    versions = dcmread(site.parent / out / "parametric-map.dcm").SoftwareVersions
    return next(text for text in versions if text.startswith("stand-in "))


def test_a_model_is_imported_promoted_used_taken_back_and_exported_by_command(
    site: Path, bundles: Path, thorax_files: list[Path]
) -> None:
    for version in "12":
        done = models(site, "import", str(bundles / version))
        assert done.exit_code == 0, done.output
        assert "not in force" in done.stdout
    label = ServingModel(read_settings(site))
    assert label.label().startswith("insilico-perfusion ")  # nothing was promoted: the shipped one
    digests = {}
    for version in "12":
        done = models(
            site, "promote", f"stand-in@{version}", "--evaluation", evaluated(site, f"stand-in@{version}"), *PEOPLE
        )
        assert done.exit_code == 0, (done.output, done.exception)
        assert "Spearman correlation: +0.15 (0.1 to 0.2); needed better: passed" in done.stdout
        assert "from its next job on" in done.stdout
        digests[version] = read_settings(site).model_registry().find(f"stand-in@{version}").content_sha256[:12]
        assert label.label() == f"stand-in {version} ({digests[version]})"
    assert made_by(site, thorax_files[0].parent, "new") == f"stand-in 2 ({digests['2']})"
    done = models(site, "rollback", "--by", "Ann", "--reason", "the new one is worse")
    assert done.exit_code == 0, done.output
    assert made_by(site, thorax_files[0].parent, "old") == f"stand-in 1 ({digests['1']})"
    listed = json.loads(models(site, "list", "--json").stdout)
    states = {model["name"]: model["state"] for model in listed["perfusion_models"]}
    assert states == {"stand-in@1": "in force", "stand-in@2": "imported"}
    assert listed["perfusion"]["name"] == "stand-in 1"
    changes = json.loads(models(site, "history", "--json").stdout)["changes"]
    assert [change["what"] for change in changes] == ["promote", "promote", "rollback"]
    assert "the new one is worse" in models(site, "history").stdout
    assert "stand-in 2" in models(site, "show", "stand-in@2").stdout
    assert models(site, "export", "stand-in@2", str(site.parent / "2.zip")).exit_code == 0
    assert models(site, "export", "stand-in@2", str(site.parent / "2.zip")).exit_code == 2
    assert models(site, "import", str(site.parent / "2.zip")).exit_code == 0
    assert models(site, "verify").exit_code == 0
    trail = "".join(path.read_text() for path in (site.parent / "perfnode-data" / "audit").rglob("*.log"))
    for action in ("import-model", "promote-model", "rollback-model", "export-model"):
        assert action in trail
    registry = read_settings(site).model_registry()
    (registry.path(registry.find("stand-in@2")) / "docs" / "README.md").write_text("Validated.")
    damaged = models(site, "verify")
    assert (damaged.exit_code, "stand-in@2 MODEL_ALTERED" in damaged.stdout) == (1, True)


def test_what_must_not_come_into_force_changes_nothing(site: Path, bundles: Path) -> None:
    assert models(site, "import", str(bundles / "1")).exit_code == 0
    assert models(site, "import", str(bundles / "random")).exit_code == 0
    of_another = evaluated(site, "stand-in@1")
    with_own = ("promote", "stand-in@9", "--evaluation", of_another, *PEOPLE)
    refused = models(site, *with_own).exception
    assert isinstance(refused, SelfTestFailed)  # the node could not start with it
    alone = ("promote", "stand-in@1", "--evaluation", of_another, "--by", "Ann", "--approved-by", "ann")
    for arguments, code in (
        (alone, "PROMOTION_REFUSED"),
        (("promote", "unknown", "--evaluation", of_another, *PEOPLE), "MODEL_NOT_REGISTERED"),
        (("promote", "stand-in@1", "--evaluation", str(site), *PEOPLE), "EVALUATION_UNUSABLE"),
        (("rollback", "--by", "Ann", "--reason", "x"), "PROMOTION_REFUSED"),
        (("import", str(site)), "INVALID_MODEL_BUNDLE"),
        (("import", str(site.with_name("absent"))), "MODEL_NOT_FOUND"),
    ):
        fault = models(site, *arguments).exception
        assert isinstance(fault, ModelError), arguments
        assert fault.code == code
    evaluated(site, "stand-in@9")
    fault = models(site, "promote", "stand-in@1", "--evaluation", of_another, *PEOPLE).exception
    assert isinstance(fault, EvaluationOfAnotherModel)
    assert json.loads(models(site, "history", "--json").stdout)["changes"] == []
    assert models(site, "promote", "stand-in@1").exit_code == 2  # without an evaluation


def test_a_site_that_does_not_use_what_is_in_force_is_told_so(site: Path, bundles: Path) -> None:
    assert models(site, "import", str(bundles / "1")).exit_code == 0
    site.write_text(site.read_text().replace('"bundle"', '"densitometric"'))
    done = models(site, "promote", "stand-in", "--evaluation", evaluated(site, "stand-in"), *PEOPLE)
    assert done.exit_code == 0, (done.output, done.exception)
    assert "THIS SITE DOES NOT USE IT" in done.stdout
