"""Rules: the first whose conditions all hold decides, and every other one says why it did not."""

import re
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.uid import CTImageStorage, EnhancedCTImageStorage, MRImageStorage, SecondaryCaptureImageStorage

from dicom_node.errors import ConfigurationError
from dicom_node.jobs.priorities import Priority
from dicom_node.reception.rules import Action, Matches, OneOf, Rule, Within, decide
from dicom_node.reception.series_facts import HeaderFacts, SeriesFacts, read_series_facts
from dicom_node.reception.series_phase import Phase
from dicom_node.settings.config import parse_settings
from dicom_node.settings.rule_files import RuleSection, default_rules
from inference.ct.instances import ct_instances
from inference.phantom.thorax import DigitalThorax

HEADER = HeaderFacts(
    patient_id="4711",
    patient_name="Real^Person",
    study_description="Lung planning",
    series_description="Thorax 3.0 B30f",
    protocol_name="RT_Thorax",
    image_type="ORIGINAL\\PRIMARY\\AXIAL",
    kernel="B30f",
    manufacturer="SIEMENS",
    station_name="CT1",
    body_part="CHEST",
    modality="CT",
    sop_class=CTImageStorage,
    slice_thickness_mm=3.0,
    kvp=120.0,
    rows=512.0,
    contrast=False,
    phase=Phase.NONE,
    orientation="axial",
    cosines=(1, 0, 0, 0, 1, 0),
)
DEFAULT = default_rules()
PAGE = Path(__file__).parents[3] / "docs" / "receiving.md"


def series(*headers: HeaderFacts, instances: int = 100) -> SeriesFacts:
    positions = tuple((0.0, 0.0, 3.0 * k) for k in range(instances))
    return SeriesFacts("1.2", "1.2.3", instances, headers or (HEADER,), positions, ("SCANNER",))


def site_rules(*rules: dict[str, Any]) -> tuple[Rule, ...]:
    return parse_settings({"rules": list(rules)}).rules


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({}, "ct"),
        ({"sop_class": EnhancedCTImageStorage}, "ct"),
        ({"patient_id": "PHANTOM_EXAMPLE"}, "phantom"),
        ({"patient_name": "QA^Daily"}, "phantom"),
        ({"protocol_name": "10.2 Daily CT QA"}, "phantom"),
        ({"series_description": "Catphan 604", "phase": Phase.MIP}, "phantom"),
        ({"patient_name": "Qatar^Aqa"}, "ct"),
        ({"image_type": "ORIGINAL\\PRIMARY\\LOCALIZER"}, "localizer"),
        ({"phase": Phase.MIP}, "projection"),
        ({"phase": Phase.MINIP}, "projection"),
        ({"phase": Phase.SINGLE}, "4d-phase"),
        ({"phase": Phase.AVERAGE}, "ct"),
        ({"orientation": "coronal"}, "reformat"),
        ({"orientation": "oblique"}, "ct"),
        ({"series_description": "PreMonitoring"}, "bolus-tracking"),
        ({"modality": "MR", "sop_class": MRImageStorage}, "unmatched"),
        ({"sop_class": SecondaryCaptureImageStorage}, "unmatched"),
    ],
)
def test_the_rules_that_come_with_the_node(change: dict[str, Any], name: str) -> None:
    assert decide(DEFAULT, series(replace(HEADER, **change))).name == name


def test_the_digital_thorax_is_no_phantom_and_others_that_call_themselves_so_are(
    tmp_path: Path, thorax: DigitalThorax
) -> None:
    paths = []
    for number, dataset in enumerate(ct_instances(thorax.ct)[:3]):
        paths.append(tmp_path / f"{number}.dcm")
        dataset.save_as(paths[-1], enforce_file_format=True)
    facts = read_series_facts(paths)
    assert decide(DEFAULT, facts).name == "digital-thorax"
    (header,) = facts.headers
    assert decide(DEFAULT, replace(facts, headers=(replace(header, patient_id="X"),))).name == "phantom"


def test_real_files_find_their_rules(test_data: Path) -> None:
    phantom = read_series_facts(sorted((test_data / "rt" / "mim_rtutils_MIT").glob("ct_*.dcm")))
    planning = read_series_facts(sorted((test_data / "ct" / "lungdx_A0001").glob("*.dcm")))
    assert (decide(DEFAULT, phantom).name, decide(DEFAULT, planning).name) == ("phantom", "ct")


def test_a_condition_must_hold_for_every_image() -> None:
    scout = replace(HEADER, image_type="ORIGINAL\\PRIMARY\\LOCALIZER")
    assert decide(DEFAULT, series(HEADER, scout)).name == "ct"  # the reader refuses the mixture, with its reason
    assert decide(DEFAULT, series(scout)).name == "localizer"


@pytest.mark.parametrize(
    ("condition", "takes"),
    [
        ({"series_description": "b30"}, True),
        ({"kernel": "^b3"}, True),
        ({"kernel": "^$"}, False),
        ({"study_description": "^planning"}, False),
        ({"patient_name": "person"}, True),
        ({"modality": ["MR", "CT"]}, True),
        ({"modality": ["ct"]}, False),
        ({"sop_class": ["CT Image Storage"]}, True),
        ({"sop_class": ["1.2.840.10008.5.1.4.1.1.2"]}, True),
        ({"sop_class": ["MRImageStorage"]}, False),
        ({"calling_ae_title": ["SCANNER", "PACS"]}, True),
        ({"calling_ae_title": ["PACS"]}, False),
        ({"slice_thickness_mm": {"min": 1, "max": 3}}, True),
        ({"slice_thickness_mm": {"max": 2.5}}, False),
        ({"spacing_between_slices_mm": {"min": 2.9, "max": 3.1}}, True),
        ({"kvp": {"min": 121}}, False),
        ({"instances": {"min": 100, "max": 100}}, True),
        ({"rows": {"min": 512}}, True),
        ({"contrast": False}, True),
        ({"contrast": True}, False),
        ({"phase": ["none", "average"]}, True),
        ({"phase": ["single"]}, False),
        ({"orientation": ["axial"]}, True),
        ({"body_part": "chest"}, True),
        ({"station_name": "CT2"}, False),
        ({"manufacturer": "siemens"}, True),
        ({"protocol_name": "^rt_"}, True),
        ({"words": "planning"}, True),
        ({"modality": ["CT"], "kernel": "B70"}, False),
    ],
)
def test_every_condition_of_the_site_file(condition: dict[str, Any], takes: bool) -> None:
    rules = site_rules({"name": "mine", "action": "hold", **condition})
    decision = decide(rules, series())
    assert decision.name == ("mine" if takes else "unmatched")
    assert bool(decision.asked[0].why_not) is not takes


def test_what_is_absent_is_in_no_range() -> None:
    (rule,) = site_rules({"name": "thin", "action": "process", "slice_thickness_mm": {"max": 5}})
    assert decide([rule], series(replace(HEADER, slice_thickness_mm=None))).name == "unmatched"


def test_every_rule_says_why_it_did_not_take_the_series_and_no_patient_is_shown() -> None:
    decision = decide(DEFAULT, series())
    assert [asked.rule.name for asked in decision.asked] == [rule.name for rule in DEFAULT]
    assert all(asked.why_not for asked in decision.asked[:-1])
    shown = " ".join(answer.found for asked in decision.asked for answer in asked.answers)
    assert "4711" not in shown
    assert "Person" not in shown
    assert "ORIGINAL\\PRIMARY\\AXIAL" in shown


@given(st.permutations(DEFAULT), st.sampled_from(list(Phase)), st.sampled_from(["axial", "coronal", ""]))
def test_the_first_rule_that_takes_a_series_decides_whatever_the_order(
    rules: list[Rule], phase: Phase, orientation: str
) -> None:
    facts = series(replace(HEADER, phase=phase, orientation=orientation))
    decision = decide(rules, facts)
    alone = [rule for rule in rules if decide([rule], facts).rule]
    assert decision.rule == (alone[0] if alone else None)
    assert len(decision.asked) == (rules.index(alone[0]) + 1 if alone else len(rules))


@given(st.floats(0, 10), st.floats(0, 10), st.one_of(st.none(), st.floats(-1, 11)))
def test_a_range_holds_from_its_least_to_its_most(least: float, most: float, value: float | None) -> None:
    inside = value is not None and least <= value <= most
    assert Within("kvp", least, most).holds(value) is inside
    assert Within("kvp", least, None).holds(value) is (value is not None and value >= least)
    assert Within("kvp", None, most).holds(value) is (value is not None and value <= most)


def test_senders_must_all_be_in_the_list_and_nobody_is_in_none() -> None:
    condition = OneOf("calling_ae_title", ("CT1", "CT2"))
    assert condition.holds(("CT1",))
    assert condition.holds(("CT1", "CT2"))
    assert not condition.holds(("CT1", "CT3"))
    assert not condition.holds(())


def test_rules_of_the_site_replace_those_of_the_node() -> None:
    assert parse_settings({}).rules == DEFAULT
    assert site_rules({"name": "all", "action": "process"}) == (Rule("all", Action.PROCESS),)
    (hurried,) = site_rules({"name": "all", "action": "process", "priority": "urgent"})
    assert decide([hurried], series(HEADER)).priority is Priority.URGENT
    assert decide([], series(HEADER)).priority is Priority.NORMAL


@pytest.mark.parametrize(
    ("rules", "words"),
    [
        ([{"name": "a", "action": "process", "kernel": "("}], "not a regular expression"),
        ([{"name": "a", "action": "send"}], "rules.0.action"),
        ([{"name": "a", "action": "process", "priority": "now"}], "rules.0.priority"),
        ([{"name": "a", "action": "hold", "colour": "red"}], "rules.0.colour"),
        ([{"name": "a", "action": "hold", "sop_class": ["CT"]}], "no SOP class"),
        ([{"name": "a", "action": "hold", "kvp": {"min": 9, "max": 1}}], "min lies above max"),
        ([{"name": "a", "action": "hold", "kvp": {}}], "give min, max or both"),
        ([{"name": "a", "action": "hold", "phase": ["4d"]}], "rules.0.phase"),
        ([{"name": "unmatched", "action": "hold"}], "meaning of its own"),
        ([{"name": "a", "action": "hold", "kvp": {"min": 1}}, {"name": "a", "action": "hold"}], "occurs twice"),
        ([{"name": "a", "action": "hold"}, {"name": "b", "action": "hold"}], "takes everything"),
    ],
)
def test_a_mistake_in_a_rule_says_where_it_is(rules: list[dict[str, Any]], words: str) -> None:
    with pytest.raises(ConfigurationError, match=words):
        parse_settings({"rules": rules})


def test_a_pattern_is_looked_for_anywhere_in_either_case() -> None:
    assert Matches("kernel", "b3").holds("Xb30F")
    assert Matches("kernel", "B3").holds("xb30f")
    assert not Matches("kernel", "^b3").holds("Xb30f")


def test_the_page_for_users_shows_every_condition_and_rule_and_its_example_loads() -> None:
    text = PAGE.read_text(encoding="utf-8")
    (example,) = re.findall(r"```toml\n(.*?)```", text, re.DOTALL)
    rules = parse_settings(tomllib.loads(example)).rules
    assert decide(rules, series(replace(HEADER, series_description="4D 50 %", phase=Phase.SINGLE))).name == "phase-50"
    assert decide(rules, series(replace(HEADER, kernel="B70f"))).name == "sharp"
    conditions = [key for key in RuleSection.model_fields if key not in ("name", "action")]
    assert [key for key in conditions if f"`{key}`" not in text] == []
    assert [rule.name for rule in DEFAULT if f"| {rule.name} | {rule.action} |" not in text] == []
