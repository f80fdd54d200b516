"""A case that is made anew with a rule and a model that a person chose: its objects are right, and say so."""

from pathlib import Path

import pytest
from pydicom import dcmread

from dicom_node.errors import ChoiceRefused
from dicom_node.jobs.case_choice import CHOSEN_BY_PERSON, CaseChoice, write_choice
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.stages import Stage
from dicom_node.objects.kinds import ObjectKind
from dicom_node.pipeline import STAGES
from dicom_node.results.result_files import read_result
from dicom_node.settings.case_settings import case_settings, choice_of
from dicom_node.settings.config import NodeSettings, parse_settings
from inference.ct.instances import ct_instances
from inference.models.shipped import trusted_keys
from inference.models.signature import PUBLIC_SUFFIX
from inference.phantom.thorax import DigitalThorax
from tests.rt_structures import written
from tests.stand_in_models import density_files, stand_in_bundle, stand_in_key

AGAIN = (Stage.PERFUSE, Stage.ENCODE, Stage.CHECK)


@pytest.fixture(scope="module")
def settings(tmp_path_factory: pytest.TempPathFactory) -> NodeSettings:
    """The baseline is in force; a stand-in model stands in the registry."""
    folder = tmp_path_factory.mktemp("site")
    own = Path(f"{stand_in_key(folder)}{PUBLIC_SUFFIX}")
    peer = {"name": "pacs", "ae_title": "X", "host": "127.0.0.1", "port": 104, "objects": ["structure-set"]}
    found = parse_settings(
        {
            "node": {"data_dir": str(folder / "data")},
            "inference": {"perfusion": "densitometric", "trusted_keys": [str(own)], "device": "cpu"},
            "destinations": [peer],
        }
    )
    stand_in_bundle(folder / "bundle", folder / "site.pem", density_files(1), "2")
    found.model_registry().take(folder / "bundle", trusted_keys([own]))
    return found


@pytest.fixture(scope="module")
def case(settings: NodeSettings, thorax: DigitalThorax) -> CaseFolder:
    """A case that went all its way with what is in force."""
    case = settings.cases().folder("case")
    for number, dataset in enumerate(ct_instances(thorax.ct)):
        written(dataset, case.received / f"{number:04d}.dcm")
    for stage in (Stage.READ, Stage.SEGMENT, *AGAIN):
        STAGES[stage](case, settings)
    return case


def uid(case: CaseFolder) -> str:
    (path,) = case.objects_of_kind(ObjectKind.STRUCTURE_SET)
    return str(dcmread(path).SOPInstanceUID)


def run(case: CaseFolder, settings: NodeSettings, choice: CaseChoice) -> None:
    """The stages as the child process runs them."""
    write_choice(case, choice)
    for stage in AGAIN:
        STAGES[stage](case, case_settings(settings, case))


def test_the_choice_is_in_numbers_uids_and_words_and_goes_when_it_is_taken_back(
    case: CaseFolder, settings: NodeSettings
) -> None:
    (model,) = settings.model_registry().models()
    before = uid(case)
    run(case, settings, choice_of(settings, "quartiles", model.name))
    result = read_result(case.result)
    assert result.regions.rule.name == "quartiles"
    assert result.perfusion.model.weights_sha256 == model.content_sha256
    assert result.findings[0].code == CHOSEN_BY_PERSON
    chosen = uid(case)
    assert chosen != before
    (path,) = case.objects_of_kind(ObjectKind.STRUCTURE_SET)
    assert f"function rule quartiles, model {model.reference}" in dcmread(path).StructureSetDescription
    run(case, settings, CaseChoice())
    assert read_result(case.result).perfusion.model.name != model.name
    assert uid(case) not in (before, chosen)  # it supersedes what the choice gave


def test_a_model_that_left_the_registry_ends_the_case_with_a_clear_code(
    case: CaseFolder, settings: NodeSettings
) -> None:
    write_choice(case, CaseChoice(model="gone@1", model_sha256="ab"))
    with pytest.raises(ChoiceRefused):
        case_settings(settings, case)
    write_choice(case, CaseChoice())
