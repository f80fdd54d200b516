"""What a person chose for one case: in its settings, its digests and its objects, and held before it is sent."""

from dataclasses import replace
from pathlib import Path

import pytest

from dicom_node.errors import ChoiceRefused
from dicom_node.jobs.attempts import AttemptId
from dicom_node.jobs.case_choice import NO_CHOICE, CaseChoice, read_choice, write_choice
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.route_gate import stopped
from dicom_node.jobs.route_mode import AWAITS_RELEASE, RouteMode
from dicom_node.jobs.stages import Stage
from dicom_node.settings.case_settings import case_settings, choice_of, with_choice
from dicom_node.settings.config import NodeSettings, parse_settings
from inference.function_regions import RULES

QUARTILES = CaseChoice("quartiles")


@pytest.fixture
def settings(tmp_path: Path) -> NodeSettings:
    document = {"node": {"data_dir": str(tmp_path / "data")}, "inference": {"perfusion": "densitometric"}}
    return parse_settings(document, base=tmp_path)


@pytest.fixture
def case(tmp_path: Path) -> CaseFolder:
    return CaseFolder(tmp_path)


def test_a_choice_is_kept_until_it_is_taken_back(case: CaseFolder) -> None:
    assert read_choice(case) == NO_CHOICE
    write_choice(case, QUARTILES)
    assert read_choice(case) == QUARTILES
    write_choice(case, NO_CHOICE)
    assert read_choice(case) == NO_CHOICE
    assert list(case.path.glob("choice*")) == []


def test_a_case_with_a_choice_has_settings_and_a_digest_of_its_own(settings: NodeSettings, case: CaseFolder) -> None:
    assert case_settings(settings, case) is settings
    write_choice(case, QUARTILES)
    chosen = case_settings(settings, case)
    assert chosen.engine.function_rule == RULES["quartiles"]
    assert chosen.settings_digest() != settings.settings_digest()


def test_what_a_person_chose_differs_from_the_same_rule_in_force(settings: NodeSettings) -> None:
    in_force = replace(settings, engine=replace(settings.engine, function_rule=RULES["quartiles"]))
    chosen = with_choice(in_force, QUARTILES)
    assert chosen.engine == in_force.engine
    assert chosen.settings_digest() != in_force.settings_digest()  # its objects say more, so their UIDs differ


@pytest.mark.parametrize(("rule", "model"), [("made-up", ""), ("", "nobody@1")])
def test_what_the_node_does_not_have_cannot_be_chosen(settings: NodeSettings, rule: str, model: str) -> None:
    with pytest.raises(ChoiceRefused) as caught:
        choice_of(settings, rule, model)
    assert caught.value.code == "CHOICE_REFUSED"


def test_a_route_that_is_live_holds_what_a_person_chose(case: CaseFolder) -> None:
    attempt = AttemptId("a", 1, "deliver.pacs", 1)
    assert stopped(case, attempt, [], RouteMode.LIVE) is None
    write_choice(case, QUARTILES)
    answer = stopped(case, attempt, [], RouteMode.LIVE)
    assert answer is not None
    assert (answer["result"], answer["code"]) == ("held", AWAITS_RELEASE)
    assert stopped(case, replace(attempt, unit=f"{Stage.TELL}.pacs"), [], RouteMode.LIVE) is None
