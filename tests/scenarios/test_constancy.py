"""The node sends itself CTs: it knows its answer again, stops when that moves, and goes on when a person accepts it."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dicom_node.commissioning.drift import CHARTED
from dicom_node.constancy.own_series import SELF_TEST_RULE
from dicom_node.constancy.stop import SELF_TEST_FAILED
from dicom_node.jobs.attempts import CaseState
from dicom_node.network.addresses import AeAddress
from dicom_node.network.storage_folder import StorageFolder
from inference.ct.instances import ct_instances
from inference.phantom.thorax import DEFAULT_GRID, draw_thorax
from tests.peers import eventually, free_port
from tests.running_node import RunningNode, running_node, save_instances

pytestmark = pytest.mark.timeout(7200)
LONG_S = 3600.0
"""Ends a test that would never end; nothing here depends on how fast the computer is."""


@pytest.fixture(scope="module")
def pacs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StorageFolder]:
    folder = StorageFolder(tmp_path_factory.mktemp("pacs"), AeAddress("PACS", "127.0.0.1", free_port()))
    folder.start()
    yield folder
    folder.stop()


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory, pacs: StorageFolder) -> Iterator[RunningNode]:
    orders = ['verify = "none"\nobjects = ["structure-set"]']
    tables = '[watchdog]\nevery_s = 600\n[self_test]\nevery_h = 0\n[[rules]]\nname = "ct"\naction = "process"\n'
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


def check_of(node: RunningNode) -> dict[str, Any]:
    """What health says of the answer; of the port and its haste nothing is asked here."""
    checks: dict[str, dict[str, Any]] = json.loads(node.perfnode("health", "--json").stdout)["checks"]
    return checks["answer"]


def test_an_answer_that_moves_stops_patients_until_a_person_accepts_it(
    node: RunningNode, pacs: StorageFolder, answer_file: Path
) -> None:
    kept = json.loads(answer_file.read_text())
    kept["figures"]["lung_volume"]["value"] *= 1.02
    answer_file.write_text(json.dumps(kept))
    assert check_of(node)["ok"]

    moved = node.perfnode("selftest", "--json")
    told = json.loads(moved.stdout)
    assert (moved.returncode, told["outcome"], told["code"]) == (1, "failed", SELF_TEST_FAILED)
    assert [c["name"] for c in told["comparisons"] if not c["passes"]] == ["lung_volume"]
    assert told["made_since"] == [], "there was no patient since the last one that passed"
    assert node.perfnode("health").returncode == 1
    assert check_of(node)["code"] == SELF_TEST_FAILED

    thorax = draw_thorax(DEFAULT_GRID.with_spacing((5.0, 3.0, 3.0)))
    node.send(save_instances(ct_instances(thorax.ct), node.folder / "patient"))
    assert eventually(lambda: SELF_TEST_FAILED in node.perfnode("jobs", "--json").stdout, LONG_S), node.log()
    assert set(rules(node)) == {SELF_TEST_RULE}

    accepted = node.perfnode("selftest", "--accept", "--by", "A. Physicist")
    assert accepted.returncode == 0, accepted.stdout + accepted.stderr
    assert json.loads(answer_file.read_text())["recorded"]["by"] == "A. Physicist"
    assert eventually(lambda: rules(node).count("ct") == 1, LONG_S), node.log()
    assert len(pacs.instances()) == 1, "nothing of a self-test goes to a destination of patients"
    assert check_of(node)["ok"]
    assert "accept-answer" in (node.data_dir / "audit" / "audit.log").read_text()

    drift = node.perfnode("drift", "--json", "--out", str(node.folder / "drift"))
    found = json.loads(drift.stdout)
    patients = {c["name"]: c for c in found["patients"]["charts"]}
    assert set(patients) == set(CHARTED) - {"out_of_domain"}, "the baseline has no training to be far from"
    assert {len(chart["values"]) for chart in patients.values()} == {1}, "self-tests are no patients"
    assert patients["lung_volume"]["values"][0] * 1.02 == pytest.approx(kept["figures"]["lung_volume"]["value"])
    assert {len(chart["values"]) for chart in found["self-tests"]["charts"]} == {3}
    assert found["patients"]["made_by"] == found["self-tests"]["made_by"]
    assert (node.folder / "drift" / "patients" / "lung_hu.svg").exists()


def test_a_reference_set_is_recorded_compared_and_reported(node: RunningNode, pacs: StorageFolder) -> None:
    reference, out = node.folder / "reference", node.folder / "report"
    thorax = draw_thorax(DEFAULT_GRID.with_spacing((8.0, 5.0, 5.0)))
    paths = save_instances(ct_instances(thorax.ct), reference / "thorax")
    before, asked = len(pacs.instances()), ("commission", str(reference), "--out", str(out), "--by", "A. Physicist")

    recorded = node.perfnode(*asked, "--record")
    assert recorded.returncode == 0, recorded.stdout + recorded.stderr
    stored = json.loads((reference / "thorax" / "expected.json").read_text())
    assert stored["recorded"]["by"] == "A. Physicist"
    (case,) = json.loads((out / "commissioning.json").read_text())["cases"]
    assert {c["stored"] for c in case["comparisons"]} == {c["found"] for c in case["comparisons"]}
    stored["figures"]["right_share"]["value"] += 1.0
    (reference / "thorax" / "expected.json").write_text(json.dumps(stored))

    compared = node.perfnode(*asked)
    assert compared.returncode == 1, compared.stdout + compared.stderr
    report = json.loads((out / "commissioning.json").read_text())
    assert (report["passes"], report["by"]) == (False, "A. Physicist")
    (case,) = report["cases"]
    assert (case["name"], case["state"]) == ("thorax", "moved")
    assert [c["name"] for c in case["comparisons"] if not c["passes"]] == ["right_share"]
    assert case["made_by"] == case["stored_by"] == stored["made_by"]
    assert (out / "commissioning.pdf").read_bytes().startswith(b"%PDF-")
    assert len(pacs.instances()) == before

    paths[0].unlink()
    other = node.perfnode(*asked)
    assert (other.returncode, "other-ct" in other.stdout) == (1, True), "another CT is compared with nothing"
