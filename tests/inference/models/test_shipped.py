"""The model that comes with the node: whole, signed by the project, small, and good enough to start a node with."""

import json

import pytest

from dicom_node.selftest import run_self_test
from dicom_node.settings.config import parse_settings
from inference.models.bundle import ModelBundle
from inference.models.manifest import PAGE_FILE
from inference.models.shipped import SHIPPED_MODEL, read_chosen_bundle, shipped_model_folder

LARGEST_MB = 10.0


@pytest.fixture(scope="module")
def shipped() -> ModelBundle:
    if not shipped_model_folder().is_dir():
        pytest.skip("this checkout has no shipped model: perfnode study export OUT --to configs/models/...")
    return read_chosen_bundle(None)


def test_it_is_small_and_says_that_it_is_in_silico_research(shipped: ModelBundle) -> None:
    files = [path for path in shipped.folder.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) / 1e6 <= LARGEST_MB
    assert shipped.identity.name == SHIPPED_MODEL
    assert shipped.manifest.qualification == "RESEARCH"
    for said in (shipped.manifest.trained_on, shipped.manifest.caveat):
        assert "in-silico" in said.lower()
    page = shipped.text(PAGE_FILE)
    assert page is not None
    assert "Research only" in page
    assert json.loads((shipped.folder / "configs" / "metadata.json").read_text())["name"] == SHIPPED_MODEL


def test_its_networks_load_and_it_brings_interval_and_fingerprint(shipped: ModelBundle) -> None:
    from inference.ensemble_perfusion import FINGERPRINT_FILE, INTERVAL_FILE
    from inference.fingerprint import Fingerprint
    from inference.uncertainty import ConformalInterval

    networks = shipped.networks()
    interval, fingerprint = shipped.document(INTERVAL_FILE), shipped.document(FINGERPRINT_FILE)
    assert interval is not None
    assert fingerprint is not None
    assert len(ConformalInterval.of(interval).patients) == len(networks) == 3
    assert "in-silico" in Fingerprint.of(fingerprint).trained_on.lower()


def test_a_node_with_it_recognises_the_digital_thorax(shipped: ModelBundle) -> None:
    run_self_test(parse_settings({"inference": {"perfusion": "bundle", "device": "cpu"}}))
