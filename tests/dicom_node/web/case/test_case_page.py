"""The page of a case and what the JSON API says of it, for whoever may see patients and whoever may not."""

import json
from html import unescape
from re import sub
from typing import Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from dicom_node.audit.reading import read_entries
from dicom_node.audit.trail import StudyTransfer
from dicom_node.durable_files import write_json
from dicom_node.jobs.case_choice import CaseChoice, write_choice
from dicom_node.results.result_files import read_ct, read_result
from dicom_node.results.uncertainty_files import uncertainty_facts
from dicom_node.review.decision import Action, Deciding, Wish
from dicom_node.review.rating import Changes
from dicom_node.review.review_log import ReviewLog
from dicom_node.settings.config import NodeSettings
from dicom_node.shadow.comparisons import CaseComparison, Comparisons
from dicom_node.web.access.rights import PageRole
from inference.anatomy import Lobe
from inference.function_regions import RULES
from inference.map_comparison import MapComparison
from tests.dicom_node.web.case.conftest import SECRETS, AddCase
from tests.dicom_node.web.case.stories import DELIVERED as CASE
from tests.dicom_node.web.conftest import ClientFor


def text_of(client: TestClient, address: str = f"/cases/{CASE}", status: int = 200) -> str:
    """What a person reads on a page."""
    answer = client.get(address)
    assert answer.status_code == status, answer.text
    return " ".join(unescape(sub(r"<[^>]*>", " ", answer.text)).split())


def details(client: TestClient) -> dict[str, Any]:
    answer = client.get(f"/api/v1/cases/{CASE}/details")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_a_name_that_is_a_program_is_shown_as_text(add_case: AddCase, client_for: ClientFor) -> None:
    add_case(CASE)
    client = client_for(PageRole.OPERATOR)
    html = client.get(f"/cases/{CASE}").text
    assert "&lt;script&gt;alert(1)&lt;/script&gt;, Ottilie" in html
    assert "<script>alert" not in html
    assert "<b>OT-4711</b>" not in html
    assert details(client)["patient"]["patient_id"] == "<b>OT-4711</b>"
    assert "born 1951-12-24" in text_of(client)


@pytest.mark.parametrize("role", list(PageRole))
def test_who_may_not_see_patients_reads_nothing_of_them(
    add_case: AddCase, client_for: ClientFor, role: PageRole
) -> None:
    folder = add_case(CASE)
    ReviewLog.of(folder).ask(Deciding("Ann", "approver", "Ottilie asked for it"), Wish(Action.RETRY))
    client = client_for(role)
    seen = [client.get(f"/cases/{CASE}").text, json.dumps(details(client)), json.dumps(standing(client))]
    if role is PageRole.VIEWER:
        assert [word for word in SECRETS for said in seen if word in said] == []
        assert "your role does not show who patients are" in seen[0]
        assert details(client)["patient"] is None
    else:
        assert all("Ottilie" in said for said in seen[:2])
        assert "Ottilie asked for it" in seen[0]


def standing(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/api/v1/cases/{CASE}/standing").json()
    return found


def test_the_lobar_table_is_that_of_the_result(add_case: AddCase, client_for: ClientFor) -> None:
    folder = add_case(CASE)
    result, rows = read_result(folder.result), details(client_for(PageRole.VIEWER))["result"]["lobes"]
    by_name = {row["tg263"]: row for row in rows}
    for lobe in Lobe:
        assert by_name[lobe.tg263]["volume_ml"] == pytest.approx(result.lobar[lobe].volume_ml)
        assert by_name[lobe.tg263]["mean_percent"] == pytest.approx(100 * result.lobar[lobe].mean_perfusion)
        assert by_name[lobe.tg263]["high_percent"] == pytest.approx(100 * result.lobar[lobe].high_fraction)
    assert sum(row["share_percent"] for row in rows if not row["is_sum"]) == pytest.approx(100.0)
    assert [row["tg263"] for row in rows if row["is_sum"]] == ["Lung_R", "Lung_L", "Lungs"]
    assert rows[-1]["mean_percent"] == pytest.approx(100.0)


def test_the_density_of_each_lobe_is_its_mean_hu(add_case: AddCase, client_for: ClientFor) -> None:
    folder = add_case(CASE)
    said = client_for(PageRole.VIEWER).get(f"/api/v1/cases/{CASE}/densities").json()["mean_hu"]
    hu, labels = read_ct(folder.ct).hu, read_result(folder.result).lobes.labels
    expected = {lobe.tg263: float(hu[labels == lobe].mean(dtype=np.float64)) for lobe in Lobe}
    assert {name: said[name] for name in expected} == pytest.approx(expected)
    assert said["Lungs"] == pytest.approx(float(hu[labels > 0].mean(dtype=np.float64)))


def test_findings_say_measured_limit_unit_and_what_their_severity_means(
    add_case: AddCase, client_for: ClientFor
) -> None:
    folder = add_case(CASE)
    facts = json.loads(folder.result.with_suffix(".json").read_text())
    odd = {"code": "ODD", "severity": "flag", "sentence": "<script>odd</script>", "unit": "1", "limit": float("inf")}
    cut = {"code": "LUNG_TOUCHES_TOP", "severity": "note", "sentence": "Cut off.", "unit": "cm2", "limit": 1.0}
    facts["findings"] = [{**cut, "measured": 12.345}, {**odd, "measured": float("nan")}]
    write_json(folder.result.with_suffix(".json"), facts)
    client = client_for(PageRole.VIEWER)
    first, second = details(client)["result"]["findings"]
    assert (first["code"], first["measured"], first["limit"]) == ("ODD", None, None)  # the graver one comes first
    assert (second["measured"], second["limit"], second["unit"]) == (12.345, 1.0, "cm2")
    assert "top face of the scan" in second["measures"]
    assert "<script>odd" not in client.get(f"/cases/{CASE}").text
    read = text_of(client)
    assert "Measured 12.35 cm2, limit 1 cm2. Worth knowing." in read
    assert "<script>odd</script> A person should look before the result is used." in read


def test_model_hashes_settings_rule_and_subtracted_structures_are_told(
    add_case: AddCase, client_for: ClientFor, node_settings: NodeSettings
) -> None:
    folder = add_case(CASE)
    client = client_for(PageRole.OPERATOR)
    result, made = details(client)["result"], read_result(folder.result)
    assert [maker["name"] for maker in result["makers"]] == [made.perfusion.model.name, made.lobes.segmenter.name]
    assert result["rule"] == made.regions.rule.statement()
    assert result["settings_sha256"] == folder.object_facts()["settings_digest"]
    assert result["settings_in_force"] is False  # those of the node subtract nothing
    write_json(folder.contents, {**folder.object_facts(), "settings_digest": node_settings.settings_digest()})
    assert details(client)["result"]["settings_in_force"] is True
    write_choice(folder, CaseChoice(function_rule=next(name for name in RULES if name != result["rule"].split()[1])))
    assert details(client)["result"]["settings_in_force"] is False
    assert result["software"]
    assert [finding["code"] for finding in result["subtracted"]] == ["STRUCTURE_SUBTRACTED"]
    (drawn,) = details(client)["received"]["structure_sets"]
    assert (drawn["label"], drawn["maker"], drawn["rois"]) == ("PLAN", "Planning Works", 1)


def test_what_was_received_and_which_rule_took_it_and_why(add_case: AddCase, client_for: ClientFor) -> None:
    add_case(CASE, rule="gone", released="SLICES_MISSING")
    said = details(client_for(PageRole.OPERATOR))
    series = {fact["name"]: fact["value"] for fact in said["received"]["series"]}
    assert series["Kernel"] == "B31f"
    assert series["Slices"] == "48"
    assert series["Slice thickness"] == "5 mm"
    assert series["Spacing of slices"] == "6 mm"
    assert series["Protocol"] == "Thorax of Ottilie"
    assert said["ruling"]["released"] == "SLICES_MISSING"
    assert said["ruling"]["is_same_today"] is False
    assert "The rules in force now would decide otherwise" in text_of(client_for(PageRole.VIEWER))
    taken = said["ruling"]["asked"][-1]
    assert taken["takes"]
    assert all(answer["holds"] for answer in taken["answers"])


def test_uncertainty_and_distance_from_the_training_are_shown_where_the_model_gives_them(
    add_case: AddCase, client_for: ClientFor, ensemble_map: Any
) -> None:
    folder = add_case(CASE)
    client = client_for(PageRole.VIEWER)
    assert details(client)["result"]["uncertainty"] is details(client)["result"]["domain"] is None
    path = folder.result.with_suffix(".json")
    write_json(path, {**json.loads(path.read_text()), **uncertainty_facts(ensemble_map)})
    result = details(client)["result"]
    assert result["domain"]["score"] == pytest.approx(1.4)
    assert result["domain"]["deviations"][0]["measured"] is None
    assert result["uncertainty"]["level_percent"] == pytest.approx(90.0)
    (lobe,) = [row for row in result["lobes"] if row["tg263"] == "Lung_RUL"]
    assert (lobe["below_percent"], lobe["above_percent"]) == (pytest.approx(20.0), pytest.approx(30.0))
    assert "Score 1.40, limit 1." in text_of(client)


def test_what_a_model_in_shadow_made_of_it_is_shown(
    add_case: AddCase, client_for: ClientFor, node_settings: NodeSettings
) -> None:
    add_case(CASE)
    kept = Comparisons(node_settings.model_registry().folder, "c" * 64)
    figures = MapComparison(0.1, 12.5, None, 0.75, 0.5, {"Lung_RUL": -1.25})
    kept.keep(CaseComparison(CASE, "2026-11-26T10:00:00+00:00", "new 2 (cccc)", "old 1", 3.0, figures))
    (said,) = details(client_for(PageRole.VIEWER))["differences"]
    values = {fact["name"]: fact["value"] for fact in said["figures"]}
    assert values["Mean absolute difference"] == "12.50 % of lung mean"
    assert values["Rank correlation"] == "not defined"
    assert values["Share of perfusion, percentage points"] == "Lung_RUL -1.2"
    assert "new 2 (cccc)" in text_of(client_for(PageRole.VIEWER))


def test_decisions_and_ratings_stand_in_the_time_line(add_case: AddCase, client_for: ClientFor) -> None:
    folder = add_case(CASE)
    log = ReviewLog.of(folder)
    wish = log.ask(Deciding("Ann", "approver", "looks <i>right</i>"), Wish(Action.RELEASE, "pacs"))
    log.answer(wish, "QUEUED")
    log.rate(Deciding("Bo", "operator", "one lobe redrawn"), Changes.MINOR, 7.5, "1.2.3")
    decided = [m for m in details(client_for(PageRole.OPERATOR))["moments"] if m["kind"] == "decision"]
    assert [m["title"] for m in decided] == ["Decision: release, pacs", "Rating: minor changes"]
    assert decided[0]["detail"] == "by Ann (approver); answer QUEUED; looks <i>right</i>"
    assert decided[1]["detail"] == "by Bo (operator); 7.5 min; one lobe redrawn"
    assert "<i>right" not in client_for(PageRole.OPERATOR).get(f"/cases/{CASE}").text


def test_the_time_line_begins_with_the_association_and_is_in_order(
    add_case: AddCase, client_for: ClientFor, node_settings: NodeSettings
) -> None:
    folder = add_case(CASE)
    marker = folder.received / "associations" / "0123456789abcdef.closed"
    marker.parent.mkdir()
    marker.write_text("TPS")
    study = StudyTransfer("1.2.3", "<b>OT-4711</b>", {"1.2.840.10008.5.1.4.1.1.2": 48})
    node_settings.audit_trail().instances_received("192.0.2.7", "TPS", "0123456789abcdef", [study])
    moments = details(client_for(PageRole.OPERATOR))["moments"]
    (association,) = [m for m in moments if m["kind"] == "association"]
    assert association["title"] == "Association of TPS"
    assert "192.0.2.7" in association["detail"]
    assert "48 instances" in association["detail"]
    assert [m["at"] for m in moments] == sorted(m["at"] for m in moments)
    titles = [m["title"] for m in moments]
    assert titles.index("Became a case") < titles.index("Reading of the CT") < titles.index("Confirmation by pacs")
    assert next(m for m in moments if m["title"] == "Confirmation by pacs")["detail"] == (
        "1 instances confirmed by commitment"
    )


def test_every_view_of_a_patient_is_told_to_the_audit_trail(
    add_case: AddCase, client_for: ClientFor, node_settings: NodeSettings
) -> None:
    add_case(CASE)
    log = node_settings.audit_trail().log_file

    def seen() -> int:
        return sum(e.event == "DICOM Instances Accessed" for e in read_entries(log)) if log.exists() else 0

    for address in (f"/cases/{CASE}", f"/api/v1/cases/{CASE}/details", f"/cases/{CASE}/summary.png"):
        before = seen()
        assert client_for(PageRole.OPERATOR).get(address).status_code == 200  # somebody new each time
        assert seen() == before + 1, address
    before = seen()
    client_for(PageRole.OPERATOR).get("/cases/ffffffffffffffff")
    standing(client_for(PageRole.OPERATOR))
    assert seen() == before


def test_the_document_of_the_api_names_what_the_answers_are(client_for: ClientFor) -> None:
    document = client_for(PageRole.VIEWER).get("/api/openapi.json").json()
    for part, model in (("details", "CaseSaid"), ("standing", "CaseStanding"), ("densities", "Densities")):
        answers = document["paths"][f"/api/v1/cases/{{case_id}}/{part}"]["get"]["responses"]
        assert answers["200"]["content"]["application/json"]["schema"]["$ref"].endswith(f"/{model}")
        assert answers["404"]["content"]["application/json"]["schema"]["$ref"].endswith("/Fault")
