"""Objects of a model in shadow: made and checked like those of a result, and marked so that nobody takes them for one.

Series Description begins with RESEARCH SHADOW, Software Versions name the model that is in use instead, and a finding
says so in every text, table and picture. UIDs are those of no result. They supersede nothing and nothing supersedes
them: they stand in no ledger.
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from pydicom import Dataset, dcmread

from dicom_node.checks.check import check_result
from dicom_node.durable_files import make_directory, write_json, written_durably
from dicom_node.errors import CheckFailed
from dicom_node.jobs.cases import CaseFolder
from dicom_node.objects.object_file import write_object
from dicom_node.objects.provenance import SHADOW_MODEL, ResultContext, result_context
from dicom_node.results.encoding import Material, encoded_objects
from dicom_node.settings.config import NodeSettings
from inference.engine import PerfusionResult
from inference.models.shadow import Shadow
from inference.quality.findings import Finding, Severity
from inference.volumes import CtVolume


def write_shadow_objects(
    case: CaseFolder,
    settings: NodeSettings,
    shadow: Shadow,
    ct: CtVolume,
    results: tuple[PerfusionResult, PerfusionResult],
    headers: Sequence[Dataset],
) -> None:
    """Make what the research destination of a model in shadow ordered, and check it.

    Args:
        case: gets the objects, beside its own.
        settings: of the node.
        shadow: which model, and its destination.
        ct: the CT of the case.
        results: of the model in shadow, and of the one in use.
        headers: the received instances without their pixels.

    Raises:
        EncodingError: an object could not be made.
        CheckFailed: an object has a fault, or does not say what it is; nothing is sent.
    """
    result, in_use = marked(results[0], results[1]), results[1].perfusion.model
    as_bundle = replace(settings, engine=replace(settings.engine, perfusion="bundle"))
    context = result_context(ct, headers, result, as_bundle.settings_digest()).in_shadow_of(in_use)
    beside, order = case.beside(), settings.orders[shadow.destination]
    written = _written(beside, settings, shadow.destination, ct, result, context)
    faults = [f"{fault.code} in {fault.object}: {fault.sentence}." for fault in check_result(written, headers, result)]
    if faults or not all(_says_shadow(path) for path in written):
        raise CheckFailed(faults[:1] or ["SHADOW_UNSAID: an object does not say that it is of a model in shadow."])
    write_json(
        beside.contents,
        {
            "ordered": [str(role) for role in order.roles()],
            "destinations": [shadow.destination],
            "model": shadow.model.content_sha256,
        },
    )


def marked(result: PerfusionResult, in_use: PerfusionResult) -> PerfusionResult:
    """A result that says in each of its texts that its model is in shadow."""
    sentence = (
        "SHADOW: made by a model that is not in use here, for comparison only; "
        f"in use is {in_use.perfusion.model.label()}."
    )
    finding = Finding(SHADOW_MODEL, Severity.FLAG, sentence, 1.0, 0.0, "1")
    return replace(result, findings=(finding, *result.findings))


def _written(
    beside: CaseFolder,
    settings: NodeSettings,
    destination: str,
    ct: CtVolume,
    result: PerfusionResult,
    context: ResultContext,
) -> list[Path]:
    make_directory(beside.objects)
    order, written = settings.orders[destination], []
    made = Material(ct, result, context, lambda role: dcmread(beside.object(str(role)), stop_before_pixels=True))
    for role, number, dataset in encoded_objects(dict.fromkeys(order.roles(), order.profile), made):
        written.append(beside.object(str(role), number))
        with written_durably(written[-1]) as part:
            write_object(dataset, part)
    return written


def _says_shadow(path: Path) -> bool:
    header = dcmread(path, stop_before_pixels=True, specific_tags=["SeriesDescription", "SoftwareVersions"])
    versions = header.SoftwareVersions
    return str(header.SeriesDescription).startswith("RESEARCH SHADOW ") and any("SHADOW" in text for text in versions)
