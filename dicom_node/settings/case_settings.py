"""The settings under which one case is made: those of the site, and what a person chose for it instead."""

from dataclasses import replace

from dicom_node.errors import ChoiceRefused
from dicom_node.jobs.case_choice import CaseChoice, read_choice
from dicom_node.jobs.cases import CaseFolder
from dicom_node.settings.config import NodeSettings
from inference.function_regions import RULES


def case_settings(settings: NodeSettings, case: CaseFolder) -> NodeSettings:
    """The settings for a case.

    Raises:
        ChoiceRefused: the model that was chosen is not in the registry any more, or another one bears its name.
    """
    choice = read_choice(case)
    return with_choice(settings, choice) if choice.is_made else settings


def with_choice(settings: NodeSettings, choice: CaseChoice) -> NodeSettings:
    """Settings with a choice in the place of what is in force.

    Raises:
        ChoiceRefused: there is no such rule or model.
    """
    engine = settings.engine
    if choice.function_rule:
        if choice.function_rule not in RULES:
            raise ChoiceRefused(f"The function rule {choice.function_rule}", f"known are {', '.join(sorted(RULES))}")
        engine = replace(engine, function_rule=RULES[choice.function_rule])
    qualification = settings.content_qualification
    if choice.model:
        registry = settings.model_registry()
        model = next((m for m in registry.models() if m.reference == choice.model), None)
        if model is None or model.content_sha256 != choice.model_sha256:
            raise ChoiceRefused(f"The model {choice.model}", "it is not in the registry as it was when it was chosen")
        engine = replace(engine, perfusion="bundle", model_folder=registry.path(model))
        qualification = "RESEARCH" if qualification == "PRODUCT" else qualification
    return replace(settings, engine=engine, content_qualification=qualification, choice=choice)


def choice_of(settings: NodeSettings, function_rule: str, model: str) -> CaseChoice:
    """A choice by its names, after looking whether this node can use it.

    Args:
        settings: of the node.
        function_rule: a name in `RULES`; empty for the site's.
        model: as `perfnode models` names it; empty for the one in force.

    Raises:
        ChoiceRefused: there is no such rule or model, or the model must not be used.
    """
    if not model:
        choice = CaseChoice(function_rule)
    else:
        from inference.errors import ModelError
        from inference.models.shipped import trusted_keys

        registry = settings.model_registry()
        try:
            found = registry.find(model)
            registry.read(found, trusted_keys(settings.engine.trusted_keys))
        except ModelError as fault:
            raise ChoiceRefused(f"The model {model}", f"{fault.code}") from fault
        choice = CaseChoice(function_rule, found.reference, found.content_sha256)
    with_choice(settings, choice)
    return choice
