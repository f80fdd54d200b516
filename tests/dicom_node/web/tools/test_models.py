"""Models on the page: what is in service, what was promoted and by whom, and the one in shadow. Only to look at."""

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from dicom_node.settings.config import NodeSettings, read_settings
from dicom_node.shadow.comparisons import CaseComparison, Comparisons
from dicom_node.web.app import create_app
from dicom_node.web.tools.model_facts import models_here, one_model, shadow_report
from dicom_node.web.tools.models import rendered, router
from inference.densitometric import DensitometricBaseline
from inference.map_comparison import MapComparison
from inference.models.promotion import HISTORY_FILE, promote, rollback
from inference.models.registry import RegisteredModel
from inference.models.shadow import SHADOW_FILE, start_shadow
from inference.models.shipped import trusted_keys
from inference.models.signature import PUBLIC_SUFFIX
from tests.dicom_node.web.conftest import PASSWORD, browser, sign_in
from tests.stand_in_models import passing_evaluation, stand_in_bundle, stand_in_files, stand_in_key

CANDIDATE = "stand-in@2"


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bundles `1` and `2` and the key that signed them."""
    folder = tmp_path_factory.mktemp("bundles")
    key = stand_in_key(folder)
    for members, version in enumerate(("1", "2"), start=1):
        stand_in_bundle(folder / version, key, stand_in_files(members), version)
    return folder


@pytest.fixture
def settings(node_folder: Path, bundles: Path) -> NodeSettings:
    """A site that has promoted `stand-in@1`, and imported `stand-in@2`."""
    site = node_folder / "site.toml"
    trusted = f'trusted_keys = ["{bundles / "site.pem"}{PUBLIC_SUFFIX}"]\ndevice = "cpu"'
    site.write_text(site.read_text().replace('perfusion = "densitometric"', f'perfusion = "bundle"\n{trusted}'))
    found = read_settings(site)
    registry, keys = found.model_registry(), trusted_keys(found.engine.trusted_keys)
    models = [registry.take(bundles / version, keys) for version in ("1", "2")]
    _promote(found, models[0])
    return found


def _promote(settings: NodeSettings, model: RegisteredModel) -> None:
    registry, keys = settings.model_registry(), trusted_keys(settings.engine.trusted_keys)
    identity = registry.read(model, keys).identity
    serving = DensitometricBaseline.identity
    evaluation = passing_evaluation(identity, serving).encoded()
    promote(registry, model, evaluation, lambda: serving, keys, by="Ann", approved_by="Ben")


def _shadow(settings: NodeSettings) -> None:
    registry = settings.model_registry()
    model = registry.find(CANDIDATE)
    in_use = registry.read(registry.find("stand-in@1"), trusted_keys(settings.engine.trusted_keys)).identity
    start_shadow(registry, model, in_use, settings.engine.trusted_keys, by="Cy")
    kept = Comparisons(registry.folder, model.content_sha256)
    for number, difference in enumerate((1.0, 3.0, 8.0)):
        figures = MapComparison(difference, 5.0, None if number else 0.9, 0.8, 0.7, {"Lung_LUL": -2.0})
        kept.keep(CaseComparison(f"{number:016x}", f"2026-11-2{number}", "candidate", "in use", 4.0, figures))
    kept.keep(CaseComparison("f" * 16, "2026-11-25", "candidate", "", code="OUT_OF_MEMORY", message="no room"))


@pytest.fixture
def viewer(settings: NodeSettings) -> TestClient:
    with browser(create_app(settings)) as client:
        assert sign_in(client, "viewer-1", PASSWORD).status_code == 303
        yield client


def test_what_is_in_service_and_who_said_so(settings: NodeSettings) -> None:
    here = models_here(settings)
    assert here.in_service["name"] == "stand-in 1"
    assert "folder" not in here.in_service
    assert {model.reference: model.state for model in here.models} == {"stand-in@1": "in force", CANDIDATE: "imported"}
    (change,) = here.history
    assert (change.what, change.by, change.approved_by) == ("promote", "Ann", "Ben")
    assert len(change.evaluation_sha256) == 64


def test_history_has_the_newest_first(settings: NodeSettings) -> None:
    _promote(settings, settings.model_registry().find(CANDIDATE))
    rollback(settings.model_registry(), settings.engine.trusted_keys, by="Dee", reason="too dark")
    here = models_here(settings)
    assert [(change.what, change.by, change.reason) for change in here.history] == [
        ("rollback", "Dee", "too dark"),
        ("promote", "Ann", ""),
        ("promote", "Ann", ""),
    ]
    assert here.in_service["name"] == "stand-in 1"


def test_a_history_that_cannot_be_relied_on_is_an_alarm_and_no_failure(
    settings: NodeSettings, viewer: TestClient
) -> None:
    (settings.model_registry().folder / HISTORY_FILE).write_text("altered\n")
    here = models_here(settings)
    assert here.history == []
    assert here.history_problem.startswith("MODEL_CHOICE_DAMAGED")
    assert "MODEL_CHOICE_DAMAGED" in here.in_service["problem"]
    page = viewer.get("/tools/models")
    assert page.status_code == 200
    assert 'class="alarm"' in page.text


def test_one_model_is_read_and_checked(settings: NodeSettings, viewer: TestClient) -> None:
    model = one_model(settings, CANDIDATE)
    assert (model.reference, model.problem) == (CANDIDATE, "")
    assert model.facts["signed_by"].startswith("the tests")
    page = viewer.get(f"/tools/models/{CANDIDATE}")
    assert page.status_code == 200
    assert model.sha256 in page.text
    found = viewer.get(f"/api/v1/models/{CANDIDATE}").json()
    assert found["facts"] == model.facts
    weights = next(settings.model_registry().path(settings.model_registry().find(CANDIDATE)).rglob("*.safetensors"))
    weights.chmod(0o600)
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    assert one_model(settings, CANDIDATE).problem.startswith("MODEL_ALTERED")
    assert viewer.get(f"/tools/models/{CANDIDATE}").status_code == 200


def test_a_model_that_is_not_here(viewer: TestClient) -> None:
    assert viewer.get("/tools/models/nobody@1").status_code == 404
    answer = viewer.get("/api/v1/models/nobody@1")
    assert (answer.status_code, answer.json()["code"]) == (404, "MODEL_NOT_REGISTERED")
    page = viewer.get("/tools/models/%3Cscript%3Ealert(1)")
    assert (page.status_code, "<script>alert" in page.text) == (404, False)


def test_the_page_of_a_model_lets_no_html_through() -> None:
    shown = str(
        rendered("# Title\n\n<script>x</script> [a](javascript:alert) ![p](http://x/y)\n\n| a |\n|---|\n| b |\n")
    )
    assert "<script" not in shown
    assert "javascript:alert" not in re.findall(r'href="([^"]*)"', shown)
    assert "<img" not in shown
    assert "<h2>Title</h2>" in shown
    assert "<table>" in shown


def test_the_shadow_report_sums_up_as_the_command_does(settings: NodeSettings, viewer: TestClient) -> None:
    assert shadow_report(settings).reference == ""
    assert "No model runs in shadow" in viewer.get("/tools/models/shadow").text
    _shadow(settings)
    report = shadow_report(settings)
    assert (report.reference, report.by, report.cases) == (CANDIDATE, "Cy", 4)
    compared, failed = report.pairs
    spread = compared.figures["mean difference, % of the lung mean"]
    assert spread is not None
    assert (spread.lowest, spread.median, spread.highest) == (1.0, 3.0, 8.0)
    rank = compared.figures["Spearman correlation"]
    assert rank is not None
    assert rank.lowest == rank.highest == 0.9
    assert (failed.cases, failed.without_a_map) == (1, 1)
    assert report.newest[0].code == "OUT_OF_MEMORY"
    page = viewer.get("/tools/models/shadow")
    assert page.status_code == 200
    assert "no room" in page.text
    assert viewer.get("/api/v1/models/shadow").json()["cases"] == 4
    assert {model.reference: model.state for model in models_here(settings).models}[CANDIDATE] == "in shadow"


def test_a_shadow_that_cannot_be_read_is_an_alarm(settings: NodeSettings, viewer: TestClient) -> None:
    (settings.model_registry().folder / SHADOW_FILE).write_text("{")
    assert shadow_report(settings).problem.startswith("SHADOW_UNREADABLE")
    assert viewer.get("/tools/models/shadow").status_code == 200


def test_nothing_can_be_changed_here() -> None:
    assert {method for route in router.routes for method in route.methods} == {"GET"}  # type: ignore[attr-defined]
