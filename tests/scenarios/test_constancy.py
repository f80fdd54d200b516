"""The node sends itself CTs: it knows its answer again, stops when that moves, and goes on when a person accepts it."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from dicom_node.constancy.own_series import SELF_TEST_RULE
from dicom_node.constancy.stop import SELF_TEST_FAILED
from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from inference.ct.instances import ct_instances
from inference.phantom.thorax import DEFAULT_GRID, draw_thorax
from tests.peers import eventually, free_port
from tests.running_node import CASE_LIMIT_S, RunningNode, running_node, save_instances


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path_factory.mktemp("pacs"), AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, pacs: StorageFolder) -> Iterator[RunningNode]:
    orders = ['verify = "none"\nobjects = ["structure-set"]']
    tables = '[[rules]]\nname = "ct"\naction = "process"\n'
    with running_node(tmp_path_factory.mktemp("node"), [pacs.address], orders=orders, tables=tables) as running:
        yield running


@pytest.fixture(scope="module")
def answer_file(node: RunningNode) -> Path:
    """What the node keeps of its first self-test."""
    first = node.perfnode("selftest", "--json")
    assert (first.returncode, json.loads(first.stdout)["is_first"]) == (0, True), first.stdout + first.stderr
    (path,) = (node.data_dir / "constancy" / "answers").glob("*.json")
    return path


def rules(node: RunningNode) -> list[str]:
    return sorted(node.folder_of(case).record().rule for case in node.cases() if case.state is CaseState.DELIVERED)


def test_an_answer_that_moves_stops_patients_until_a_person_accepts_it(
    node: RunningNode, pacs: StorageFolder, answer_file: Path
) -> None:
    kept = json.loads(answer_file.read_text())
    kept["figures"]["lung_volume"]["value"] *= 1.02
    answer_file.write_text(json.dumps(kept))

    moved = node.perfnode("selftest", "--json")
    told = json.loads(moved.stdout)
    assert (moved.returncode, told["outcome"], told["code"]) == (1, "failed", SELF_TEST_FAILED)
    assert [c["name"] for c in told["comparisons"] if not c["passes"]] == ["lung_volume"]
    health = node.perfnode("health")
    assert health.returncode == 1
    assert f"FAIL  answer      {SELF_TEST_FAILED}" in health.stdout

    thorax = draw_thorax(DEFAULT_GRID.with_spacing((5.0, 3.0, 3.0)))
    node.send(save_instances(ct_instances(thorax.ct), node.folder / "patient"))
    assert eventually(lambda: SELF_TEST_FAILED in node.perfnode("jobs", "--json").stdout, 60.0), node.log()
    assert set(rules(node)) == {SELF_TEST_RULE}

    accepted = node.perfnode("selftest", "--accept", "--by", "A. Physicist")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert eventually(lambda: rules(node).count("ct") == 1, CASE_LIMIT_S), node.log()
    assert len(pacs.instances()) == 1, "nothing of a self-test goes to a destination of patients"
    assert node.perfnode("health").returncode == 0
    charts = {c["name"]: c for c in json.loads(node.perfnode("drift", "--json").stdout)["charts"]}
    assert {len(chart["values"]) for chart in charts.values()} == {1}, "self-tests are no patients"
    assert charts["lung_volume"]["values"][0] * 1.02 == pytest.approx(kept["figures"]["lung_volume"]["value"])


def test_a_reference_set_is_compared_and_reported(node: RunningNode, pacs: StorageFolder, answer_file: Path) -> None:
    reference, out = node.folder / "reference", node.folder / "report"
    thorax = draw_thorax(DEFAULT_GRID.with_spacing((5.0, 3.0, 3.0)))
    save_instances(ct_instances(thorax.ct), reference / "thorax")
    stored = json.loads(answer_file.read_text())  # the same thorax, the same model: the same answer
    stored["figures"]["right_share"]["value"] += 1.0
    (reference / "thorax" / "expected.json").write_text(json.dumps(stored))
    before = len(pacs.instances())

    compared = node.perfnode("commission", str(reference), "--out", str(out))
    assert compared.returncode == 1, compared.stdout + compared.stderr
    report = json.loads((out / "commissioning.json").read_text())
    assert report["passes"] is False
    (case,) = report["cases"]
    assert (case["name"], case["state"]) == ("thorax", "moved")
    assert [c["name"] for c in case["comparisons"] if not c["passes"]] == ["right_share"]
    assert case["made_by"] == case["stored_by"] == stored["made_by"]
    assert (out / "commissioning.pdf").read_bytes().startswith(b"%PDF-")
    assert len(pacs.instances()) == before
