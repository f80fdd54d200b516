"""The running node while models change: none of its cases is lost, each object says who made it, shadow stays apart."""

import json
import time
from collections.abc import Iterator, Sequence
from copy import deepcopy
from pathlib import Path

import pytest
from pydicom import Dataset, dcmread
from typer.testing import CliRunner

from dicom_node.cli import app
from dicom_node.commands.model_choice import serving_identity
from dicom_node.jobs.attempts import CaseState
from dicom_node.jobs.stages import Stage
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from dicom_node.settings.config import read_settings
from inference.ct.instances import ct_instances
from inference.model_card import ModelIdentity
from inference.models.signature import PUBLIC_SUFFIX
from inference.phantom.thorax import DigitalThorax
from tests.peers import eventually, free_port
from tests.running_node import CASE_LIMIT_S, RunningNode, running_node, save_instances
from tests.stand_in_models import density_files, passing_evaluation, stand_in_bundle, stand_in_key

pytestmark = pytest.mark.slow  # `make test-long`

ROLLBACK_LIMIT_S = 60.0
"""Of the issue."""


@pytest.fixture
def archives(tmp_path: Path) -> Iterator[tuple[StorageFolder, StorageFolder]]:
    """The clinical archive and the one for research."""
    folders = [StorageFolder(tmp_path / n, AeAddress(n.upper(), "127.0.0.1", free_port())) for n in ("pacs", "lab")]
    for folder in folders:
        folder.start()
    yield folders[0], folders[1]
    for folder in folders:
        folder.stop()


def as_series(images: Sequence[Dataset], number: int, folder: Path) -> list[Path]:
    """The same CT once more as another series of another study."""
    changed = deepcopy(list(images))
    for index, image in enumerate(changed, start=1):
        image.StudyInstanceUID = f"2.25.7000{number}"
        image.SeriesInstanceUID = f"2.25.7000{number}.1"
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = f"2.25.7000{number}.1.{index}"
    return save_instances(changed, folder / str(number))


def models(site: Path, *arguments: str) -> str:
    """`perfnode models` in this process, which has loaded what it needs."""
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["models", *arguments, "--config", str(site)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.stdout


def promote(site: Path, version: str) -> None:
    """Promote by command, as its two people do."""
    settings = read_settings(site)
    model = settings.model_registry().find(f"stand-in@{version}")
    identity = ModelIdentity(model.name, model.version, model.content_sha256)
    path = site.with_name("evaluation.json")
    path.write_bytes(passing_evaluation(identity, serving_identity(settings)).encoded())
    models(site, "promote", model.reference, "--evaluation", str(path), "--by", "Ann", "--approved-by", "Ben")


def made_by(folder: StorageFolder) -> dict[str, set[str]]:
    """By study, every model that its objects name as the one that made them; each object names one."""
    found: dict[str, set[str]] = {}
    for path in folder.instances():
        header = dcmread(path, stop_before_pixels=True)
        names = [text for text in header.SoftwareVersions if text.startswith("stand-in ")]
        assert len(names) == 1, path
        found.setdefault(str(header.StudyInstanceUID).removeprefix("2.25.7000"), set()).add(names[0].split()[1])
    return found


def have(node: RunningNode, cases: int, file: str) -> bool:
    """Whether so many cases have come so far that they have this file."""
    return len(list((node.data_dir / "cases").glob(f"*/{file}"))) >= cases


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """A site file whose registry has the stand-in models 1, 2 and 3; the first is in force."""
    key = stand_in_key(tmp_path)
    path = tmp_path / "node" / "site.toml"
    path.parent.mkdir()
    path.write_text(f'[node]\ndata_dir = "data"\n[inference]\nperfusion = "bundle"\n{keys(tmp_path)}')
    for version in "123":
        stand_in_bundle(tmp_path / version, key, density_files(int(version)), version)
        models(path, "import", str(tmp_path / version))
    promote(path, "1")
    return path


def keys(folder: Path) -> str:
    return f'trusted_keys = ["{folder / "site.pem"}{PUBLIC_SUFFIX}"]\ndevice = "cpu"\n'


@pytest.mark.timeout(1200)
def test_models_change_while_cases_run_and_none_is_lost(
    tmp_path: Path, site: Path, archives: tuple[StorageFolder, StorageFolder], thorax: DigitalThorax
) -> None:
    pacs, lab = archives
    images, addresses = ct_instances(thorax.ct), [pacs.address, lab.address]
    orders = ['verify = "none"\nobjects = ["parametric-map"]', 'mode = "research"\nobjects = ["parametric-map"]']
    with running_node(site.parent, addresses, orders=orders, perfusion=f'bundle"\n{keys(tmp_path)}# "') as node:
        node.send(as_series(images, 1, tmp_path))
        assert eventually(lambda: have(node, 1, "ct.json"), CASE_LIMIT_S), node.log()
        promote(site, "2")  # while the first case is on its way
        node.finished_cases(1)
        models(site, "shadow", "stand-in@3", "--by", "Ann", "--to", "d1")  # for later cases, not for the first
        node.send(as_series(images, 2, tmp_path))
        assert eventually(lambda: have(node, 2, "result.json"), CASE_LIMIT_S), node.log()
        began_at = time.monotonic()
        back = node.perfnode("models", "rollback", "--by", "Ann", "--reason", "worse")  # while the second one is
        assert (back.returncode, time.monotonic() - began_at < ROLLBACK_LIMIT_S) == (0, True), back.stderr
        node.send(as_series(images, 3, tmp_path))
        cases = node.finished_cases(3)
        assert [case.state for case in cases] == [CaseState.DELIVERED] * 3
        made = made_by(pacs)
        assert made["1"] in ({"1"}, {"2"})
        assert {study: made[study] for study in "23"} == {"2": {"2"}, "3": {"1"}}
        assert eventually(lambda: len(lab.instances()) == 2, CASE_LIMIT_S), node.log()
        assert made_by(lab) == {study: {"3"} for study in "23"}
        told = json.loads(models(site, "shadow", "--report", "--json"))["cases"]
        assert {(case["candidate"].split()[1], case["in_use"].split()[1]) for case in told} == {("3", "2"), ("3", "1")}
        assert eventually(lambda: all(not a.is_active for case in node.cases() for a in case.attempts), 60.0)
        beside = {a.id.unit for case in node.cases() for a in case.attempts if a.id.is_aside}
        assert beside == {"candidate", "research.d1"}
        assert [(case.state, case.stage) for case in node.cases()] == [(CaseState.DELIVERED, Stage.DELIVER)] * 3
