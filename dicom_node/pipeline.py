"""From a received CT series to objects delivered to PACS.

    received series ─ read ─▶ CT ─ segment ─▶ lobes ─ perfuse ─▶ result ─ encode ─▶ objects ─ check ─ deliver ─▶ PACS
                        └───────────┴── no result possible ──┴─▶ notice ── tell ──▶ PACS: why            verify ◀─┘

    delivered, and a model runs in shadow ─ candidate ─▶ figures, objects ── research ──▶ a research archive, or nobody

Every stage is a plain function from files of a case to files of the same case, so that it can be repeated: the same
input gives the same bytes and the same UIDs. What a stage makes is on disk before the journal says so, and `deliver`
sends only what is on disk and has passed `check`. A restart repeats at most one stage. `job_engine` makes the stages
durable and runs each in a process of its own (`child`), so each imports only what it needs; `perfnode process` runs the
same functions without a network.
"""

import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from pydicom import Dataset, dcmread

from dicom_node.durable_files import make_directory, write_json, written_durably
from dicom_node.errors import CheckFailed
from dicom_node.jobs.case_choice import CHOSEN_BY_PERSON, CaseChoice
from dicom_node.jobs.cases import CaseFolder
from dicom_node.jobs.route_mode import RouteMode
from dicom_node.jobs.stages import Stage
from dicom_node.results.ladder_files import descent_of
from dicom_node.results.result_files import read_ct, read_lobes, read_result, write_ct, write_lobes, write_result
from dicom_node.settings.config import NodeSettings
from inference import engine
from inference.quality.findings import Finding, Severity

if TYPE_CHECKING:
    from dicom_node.checks.faults import Fault
    from dicom_node.objects.kinds import ObjectRole
    from inference.exclusion import Exclusion
    from inference.volumes import CtVolume


def read(case: CaseFolder, settings: NodeSettings) -> None:
    """Received instances → CT volume.

    Raises:
        UnusableSeries: the instances are no CT volume; the case is rejected.
    """
    from inference.ct.series import read_ct_files

    case.show_progress("reading the series")
    most_mb = settings.limits.read_memory_mb
    ct = read_ct_files(case.instances(), accept_lossy=settings.accept_lossy, most_memory_mb=most_mb)
    write_ct(case.ct, ct)


def segment(case: CaseFolder, settings: NodeSettings) -> None:
    """CT volume → lungs, lobes and findings.

    Raises:
        ImplausibleAnatomy: the CT shows no lungs, or a check forbids a result; the case is rejected.
        ModelError: a model is absent or not the one that was approved.
        OutOfMemory: the network has no other way to run; see `inference.execution`.
    """
    segmenter = engine.build_segmenter(settings.engine)
    descent = descent_of(case, Stage.SEGMENT)
    policy = settings.engine.quality
    write_lobes(case.lobes, engine.segment(read_ct(case.ct), segmenter, case.show_progress, descent, policy))


def perfuse(case: CaseFolder, settings: NodeSettings) -> None:
    """CT volume, lobes and structure sets → perfusion, function regions, lobar table and findings.

    Raises:
        ImplausibleAnatomy: a check forbids sending the result; the case is rejected.
        ModelError: a model is absent or not the one that was approved.
        OutOfMemory: the network has no other way to run; see `inference.execution`.
    """
    model = engine.build_perfusion_model(settings.engine)
    ct, found = read_ct(case.ct), read_lobes(case.lobes)
    result = engine.perfuse(
        ct,
        found,
        model,
        settings.engine.function_rule,
        exclusion=_exclusion(case, ct, settings),
        progress=case.show_progress,
        descent=descent_of(case, Stage.PERFUSE),
        policy=settings.engine.quality,
    )
    write_result(case.result, _saying_choice(result, settings.choice))


def _saying_choice(result: engine.PerfusionResult, choice: CaseChoice) -> engine.PerfusionResult:
    """The result; one that was made by a choice of a person says so first, in every object."""
    if not choice.is_made:
        return result
    finding = Finding(CHOSEN_BY_PERSON, Severity.FLAG, choice.sentence(), 1.0, 0.0, "1")
    return replace(result, findings=(finding, *result.findings))


def _exclusion(case: CaseFolder, ct: "CtVolume", settings: NodeSettings) -> "Exclusion | None":
    """The structures that the site takes out of the function regions."""
    from dicom_node.structures.subtraction import exclusion_of

    rule = settings.subtraction
    return exclusion_of(case.structure_sets(), ct, rule) if rule.is_set else None


def encode(case: CaseFolder, settings: NodeSettings) -> None:
    """Result and headers of the CT → every object that a destination ordered, and a summary picture.

    Raises:
        EncodingError: an object could not be made.
    """
    from dicom_node.objects.object_file import write_object
    from dicom_node.objects.provenance import EarlierInstance, result_context
    from dicom_node.results.encoding import Material, encoded_objects
    from dicom_node.results.ledger import PublishedResult, ResultLedger
    from dicom_node.results.summary import draw_summary

    case.show_progress("making the DICOM objects")
    ct, result = read_ct(case.ct), read_result(case.result)
    context = result_context(
        ct,
        case_headers(case),
        result,
        settings.settings_digest(),
        content_qualification=settings.content_qualification,
    )
    result_id = context.identifiers.result_id
    earlier = ResultLedger(case.ledger).predecessor_of(ct.source.series_instance_uid, result_id)
    if earlier:
        context = context.superseding(earlier.result_id, earlier.objects)
    make_directory(case.objects)
    made: dict[str, EarlierInstance] = {}
    written: list[Path] = []
    material = Material(ct, result, context, lambda role: _header(case, role))
    for role, number, dataset in encoded_objects(settings.roles(), material):
        written.append(case.object(str(role), number))
        with written_durably(written[-1]) as part:
            write_object(dataset, part)
        made.setdefault(str(role), EarlierInstance.of(dataset))
    published = PublishedResult(result_id, earlier.result_id if earlier else "", made, len(case.instances()))
    made_with = {"ordered": [str(role) for role in settings.roles()], "settings_digest": settings.settings_digest()}
    write_json(case.contents, {**made_with, "result": asdict(published)})
    case.keep_objects(written)
    with written_durably(case.summary) as part:
        draw_summary(ct, result, part)


def check(case: CaseFolder, settings: NodeSettings) -> None:
    """Read every object back as it would be sent, and compare with the CT and the result.

    Raises:
        CheckFailed: an object has a fault; nothing is sent.
        ResultOvertaken: another result of the same CT was published since `encode`; that stage is done once more.
    """
    from dicom_node.checks.check import check_result
    from dicom_node.results.ledger import PublishedResult, ResultLedger

    case.show_progress("checking the objects")
    result = read_result(case.result)
    faults = check_result(case.object_paths(), case_headers(case), result)
    if faults:
        raise CheckFailed(_by_code(faults))
    case.clear_notice()
    published = PublishedResult.of(case.object_facts()["result"])
    ResultLedger(case.ledger).publish(result.source.series_instance_uid, published)


def _by_code(faults: "Sequence[Fault]") -> list[str]:
    """One sentence per code: the first fault of it, and how many there are."""
    counts = Counter(fault.code for fault in faults)
    first = {fault.code: fault for fault in reversed(faults)}
    return [f"{code} in {first[code].object}, {counts[code]} in all: {first[code].sentence}." for code in counts]


def candidate(case: CaseFolder, settings: NodeSettings) -> None:
    """CT volume, lobes and the result in use → how the model in shadow compares with it, and objects for research.

    Nothing of the case itself is changed.

    Raises:
        ImplausibleAnatomy: a check forbids sending what the model made.
        ModelError: the model must not be used.
        OutOfMemory: the network has no other way to run; see `inference.execution`.
        CheckFailed: an object has a fault; none is sent.
    """
    from dicom_node.shadow.comparisons import Comparisons, compared
    from dicom_node.shadow.objects import write_shadow_objects
    from inference.ensemble_perfusion import EnsemblePerfusion
    from inference.models.shadow import read_shadow_bundle, shadow_of

    case.clear_candidate()
    registry = settings.model_registry()
    shadow, in_use = shadow_of(registry), read_result(case.result)
    if shadow is None or shadow.model.content_sha256 == in_use.perfusion.model.weights_sha256:
        return
    bundle = read_shadow_bundle(shadow, registry, settings.engine.trusted_keys)
    model = EnsemblePerfusion.of(bundle, device=settings.engine.device)
    ct, started_at = read_ct(case.ct), time.monotonic()
    result = engine.perfuse(
        ct,
        read_lobes(case.lobes),
        model,
        settings.engine.function_rule,
        exclusion=_exclusion(case, ct, settings),
        descent=descent_of(case, Stage.CANDIDATE),
        policy=settings.engine.quality,
    )
    comparison = compared(case.case_id, result, in_use, time.monotonic() - started_at)
    if settings.modes.get(shadow.destination) is RouteMode.RESEARCH:
        write_shadow_objects(case, settings, shadow, ct, (result, in_use), case_headers(case))
    Comparisons(registry.folder, shadow.model.content_sha256).keep(comparison)


def notice(case: CaseFolder, settings: NodeSettings) -> None:
    """Headers of the received instances and the reason → a picture that says why there is no result.

    Raises:
        EncodingError: it is not certain which patient and study the notice belongs to; none is sent.
        CheckFailed: the notice has a fault; it is not sent.
    """
    from dicom_node.checks.check import check_files
    from dicom_node.objects.kinds import ObjectKind
    from dicom_node.objects.notice import Refusal, encode_notice
    from dicom_node.objects.object_file import write_object

    headers = []
    for path in case.instances():
        try:
            headers.append(dcmread(path, stop_before_pixels=True))
        except Exception:  # noqa: S112  # foreign bytes make pydicom fail in any way; others may be read
            continue
    dataset = encode_notice(headers, Refusal(**case.refusal()))
    make_directory(case.notice)
    path = case.notice / f"{ObjectKind.REFUSAL_NOTICE}.dcm"
    with written_durably(path) as part:
        write_object(dataset, part)
    faults = [fault for fault in check_files([path, *case.instances()]).faults if fault.object == str(path)]
    if faults:
        raise CheckFailed(_by_code(faults))


def case_headers(case: CaseFolder) -> list[Dataset]:
    """The received instances without their pixels."""
    return [dcmread(path, stop_before_pixels=True) for path in case.instances()]


def _header(case: CaseFolder, role: "ObjectRole") -> Dataset:
    return dcmread(case.object(str(role)), stop_before_pixels=True)


StageFunction = Callable[[CaseFolder, NodeSettings], None]

STAGES: dict[Stage, StageFunction] = {
    Stage.READ: read,
    Stage.SEGMENT: segment,
    Stage.PERFUSE: perfuse,
    Stage.ENCODE: encode,
    Stage.CHECK: check,
    Stage.NOTICE: notice,
    Stage.CANDIDATE: candidate,
}
"""What each stage does; `deliver`, `tell` and `research` are `delivery.send`, once per destination."""
