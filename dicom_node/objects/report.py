"""`PerfusionResult` → structured report (Comprehensive 3D SR, PS3.3 A.35.13; TID 1500 Measurement Report, PS3.16).

Imaging Measurements hold, for both lungs, each lung and each lobe: volume, mean relative perfusion, share of the
perfusion, and how much of the volume is high- and low-functional. Lobes refer to their segment (TID 1411); the lungs
have none and are measurement groups without a region (TID 1501). Perfusion refers to the Parametric Map, and every
figure names the algorithm behind it (TID 4019). Of an ensemble each mean of a lobe or side also has the range of its
uncertainty (TID 310) and the spread of the networks, and both lungs the distance of the CT from the training.

Qualitative Evaluations hold what is said of the result as a whole, as TID 1500 provides: that it is research, the
caveats, the rule for high and low function, what the uncertainty means, and every finding of the checks with severity,
measured value and limit.

The report is complete, preliminary and unverified: a person has not looked at it. Its observer is this software.
Figures have eight significant digits. A region without a voxel has no segment and no figures; a finding says so.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from highdicom import sr
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRLittleEndian, ParametricMapStorage, SegmentationStorage

from dicom_node.errors import EncodingError
from dicom_node.objects import codes
from dicom_node.objects.codes import CodedTerm
from dicom_node.objects.highdicom_objects import concept, mend, source_images
from dicom_node.objects.identifiers import uid_from
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.provenance import ResultContext, ascii_text
from dicom_node.objects.rois import Roi, function_rois, lobe_rois, lung_rois
from dicom_node.objects.segmentation import segment_numbers
from inference.anatomy import Lobe, Side, lobes_of
from inference.lobar import together
from inference.model_card import ModelIdentity
from inference.quality.findings import Finding, Severity
from inference.volumes import LobarPerfusion

if TYPE_CHECKING:  # a report needs the fields of a result, not the engine and what it loads
    from inference.engine import PerfusionResult

ROLE = ObjectRole(ObjectKind.REPORT)
_KIND = "report"
_CONTAINS = sr.RelationshipTypeValues.CONTAINS
_HAS_PROPERTIES = sr.RelationshipTypeValues.HAS_PROPERTIES
_LONGEST_TEXT = 4096
"""Characters; the value representation (UT) would hold far more."""


def encode_report(
    result: "PerfusionResult", context: ResultContext, segmentation: Dataset, parametric_map: Dataset
) -> Dataset:
    """Write the lobar table, the findings and the models as a structured report.

    The returned dataset is ready for `save_as(path, enforce_file_format=True)`; explicit VR little endian.

    Args:
        result: its lobar table and findings go into the report.
        context: of the same result.
        segmentation: the Segmentation of this result, or its header.
        parametric_map: the Parametric Map of this result, or its header.

    Raises:
        EncodingError: segmentation or map are none or of another study, the models are others than `context` says, or
            a lobe with a volume has no segment.
    """
    for header, sop_class_uid in ((segmentation, SegmentationStorage), (parametric_map, ParametricMapStorage)):
        if header.SOPClassUID != sop_class_uid:
            raise EncodingError(_KIND, f"it refers to a {sop_class_uid.name}, not to a {header.SOPClassUID.name}")
        if header.StudyInstanceUID != context.source.representative.StudyInstanceUID:
            raise EncodingError(_KIND, "it refers to an object of another study")
    if (result.lobes.segmenter, result.perfusion.model) != (context.segmenter, context.perfusion_model):
        raise EncodingError(_KIND, "the result was made by other models than the context names")
    content = _content(result, context, segmentation, parametric_map)
    evidence = [*source_images(context.source, result.lobes.grid), segmentation, parametric_map]
    dataset = Dataset(
        sr.Comprehensive3DSR(
            evidence=evidence,
            content=content[0],
            series_instance_uid=context.identifiers.series_uid(ROLE),
            series_number=ROLE.series.series_number,
            sop_instance_uid=context.identifiers.instance_uid(ROLE),
            instance_number=1,
            manufacturer=context.equipment.manufacturer,
            is_complete=True,
            is_final=False,
            is_verified=False,
        )
    )
    mend(dataset, context, ROLE, ExplicitVRLittleEndian)
    del dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator  # an image's; a document lies nowhere
    _refer_to_earlier(dataset, context)
    return dataset


def _content(
    result: "PerfusionResult", context: ResultContext, segmentation: Dataset, parametric_map: Dataset
) -> sr.MeasurementReport:
    """The content tree (TID 1500)."""
    absent = [lobe.tg263 for lobe, row in result.lobar.items() if not row.volume_ml]
    report = sr.MeasurementReport(
        observation_context=_observer(context),
        procedure_reported=concept(codes.CHEST_CT),
        imaging_measurements=[
            *_lung_groups(result, context, parametric_map),
            *_lobe_groups(result, context, segmentation, parametric_map),
        ],
    )
    evaluations = sr.ContainerContentItem(concept(codes.QUALITATIVE_EVALUATIONS), relationship_type=_CONTAINS)
    evaluations.ContentSequence = sr.ContentSequence(
        [
            _text(codes.COMMENT, _warning(context)),
            _text(codes.FUNCTION_RULE, result.regions.rule.statement()),
            *_uncertainty(result),
            *_findings(result.findings, absent),
        ]
    )
    report[0].ContentSequence.append(evaluations)
    return report


def _observer(context: ResultContext) -> sr.ObservationContext:
    """This software as the observer (TID 1004)."""
    made_by = context.equipment
    device = sr.DeviceObserverIdentifyingAttributes(
        uid=uid_from("perfusion-node device", made_by.manufacturer, made_by.model_name, made_by.serial_number),
        name=made_by.model_name,
        manufacturer_name=made_by.manufacturer,
        model_name=f"{made_by.model_name} {made_by.software_version}",
        serial_number=made_by.serial_number,
    )
    return sr.ObservationContext(observer_device_context=sr.ObserverContext(concept(codes.DEVICE), device))


def _lung_groups(
    result: "PerfusionResult", context: ResultContext, parametric_map: Dataset
) -> Iterator[sr.MeasurementsAndQualitativeEvaluations]:
    """Both lungs, then each side (TID 1501)."""
    members = (tuple(Lobe), *(lobes_of(side) for side in Side))
    for place, (roi, lobes) in enumerate(zip(lung_rois(result.lobes), members, strict=True), start=1):
        row = together(result.lobar[lobe] for lobe in lobes)
        if row.volume_ml:
            yield sr.MeasurementsAndQualitativeEvaluations(
                tracking_identifier=sr.TrackingIdentifier(context.identifiers.tracking_uid(ROLE, place), str(roi.name)),
                measurements=[
                    *_measurements(row, roi, result, context, parametric_map),
                    *(_distance(result, context) if place == 1 else ()),
                ],
                **_anatomy(roi),
            )


def _lobe_groups(
    result: "PerfusionResult", context: ResultContext, segmentation: Dataset, parametric_map: Dataset
) -> Iterator[sr.VolumetricROIMeasurementsAndQualitativeEvaluations]:
    """Each lobe that has a voxel, with its segment (TID 1411)."""
    numbers = segment_numbers(segmentation)
    tracking = {str(item.SegmentLabel): str(item.TrackingUID) for item in segmentation.SegmentSequence}
    series = sr.SourceSeriesForSegmentation(context.source.representative.SeriesInstanceUID)
    for lobe, roi in zip(Lobe, lobe_rois(result.lobes), strict=True):
        row = result.lobar[lobe]
        if not row.volume_ml:
            continue
        if roi.name not in numbers:
            raise EncodingError(_KIND, f"the segmentation has no segment {roi.name}")
        yield sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(tracking[roi.name], str(roi.name)),
            referenced_segment=sr.ReferencedSegment(
                segmentation.SOPClassUID, segmentation.SOPInstanceUID, numbers[roi.name], source_series=series
            ),
            measurements=_measurements(row, roi, result, context, parametric_map),
            **_anatomy(roi),
        )


def _anatomy(roi: Roi) -> Mapping[str, object]:
    """Category, finding and finding site of a measurement group."""
    both = codes.BOTH_SIDES if roi.structure is codes.LUNGS_STRUCTURE else None
    side = roi.structure.laterality or both
    site = sr.FindingSite(concept(roi.structure.type), laterality=concept(side) if side else None)
    return {
        "finding_category": concept(roi.structure.category),
        "finding_type": concept(roi.structure.type),
        "finding_sites": [site],
    }


def _measurements(
    row: LobarPerfusion, roi: Roi, result: "PerfusionResult", context: ResultContext, parametric_map: Dataset
) -> list[sr.Measurement]:
    """The figures of one region (TID 300)."""
    maker = next(function_rois(result.regions, context))
    network = bool(context.perfusion_model.weights_sha256)
    of_map = {
        "unit": concept(codes.PERCENT),
        "method": concept(codes.METHOD_NETWORK if network else codes.METHOD_DENSITOMETRIC),
        "algorithm_id": _algorithm(maker.made_by, maker.family, context),
        "referenced_images": [sr.SourceImageForMeasurement(parametric_map.SOPClassUID, parametric_map.SOPInstanceUID)],
    }
    shares = (
        (codes.PERFUSION_SHARE, row.perfusion_fraction),
        (codes.HIGH_SHARE, row.high_fraction),
        (codes.LOW_SHARE, row.low_fraction),
    )
    return [
        sr.Measurement(
            concept(codes.VOLUME),
            _figure(row.volume_ml),
            unit=concept(codes.MILLILITRE),
            algorithm_id=_algorithm(roi.made_by, roi.family, context),
        ),
        sr.Measurement(
            concept(codes.PERFUSION_QUANTITY),
            _figure(100.0 * row.mean_perfusion),
            derivation=concept(codes.MEAN),
            properties=_reach(roi, result),
            **of_map,
        ),
        *_spread(roi, result, of_map),
        *(sr.Measurement(concept(name), _figure(100.0 * share), **of_map) for name, share in shares),
    ]


def _reach(roi: Roi, result: "PerfusionResult") -> sr.MeasurementProperties | None:
    """How far the calibrated interval of a mean reaches, in percent (TID 310; highdicom would write no unit)."""
    known = result.perfusion.uncertainty
    region = known.regions.get(str(roi.name)) if known is not None else None
    if region is None or region.below is None or region.above is None:
        return None
    reach = sr.MeasurementProperties()
    for name, value in ((codes.UPPER_UNCERTAINTY, region.above), (codes.LOWER_UNCERTAINTY, region.below)):
        figure, percent = _figure(100.0 * value), concept(codes.PERCENT)
        reach.append(sr.NumContentItem(concept(name), figure, percent, relationship_type=_HAS_PROPERTIES))
    return reach


def _spread(roi: Roi, result: "PerfusionResult", of_map: dict[str, Any]) -> list[sr.Measurement]:
    """How far the networks of an ensemble disagree about a mean."""
    known = result.perfusion.uncertainty
    region = known.regions.get(str(roi.name)) if known is not None else None
    if region is None:
        return []
    return [sr.Measurement(concept(codes.MEMBER_SPREAD), _figure(100.0 * region.spread), **of_map)]


def _distance(result: "PerfusionResult", context: ResultContext) -> list[sr.Measurement]:
    """How far the CT is from the training of the model, whether that is a finding or not."""
    domain = result.perfusion.domain
    if domain is None:
        return []
    maker = next(function_rois(result.regions, context))
    algorithm = _algorithm(maker.made_by, maker.family, context)
    unit = concept(codes.NO_UNITS)
    return [sr.Measurement(concept(codes.DOMAIN_DISTANCE), _figure(domain.score), unit=unit, algorithm_id=algorithm)]


def _algorithm(model: ModelIdentity, family: CodedTerm, context: ResultContext) -> sr.AlgorithmIdentification:
    """Who made a figure, with which weights and settings (TID 4019)."""
    parameters = [f"settings SHA-256 {context.identifiers.settings_sha256}"]
    if model.weights_sha256:
        parameters.insert(0, f"weights SHA-256 {model.weights_sha256}")
    return sr.AlgorithmIdentification(
        name=ascii_text(model.name, 64),
        version=ascii_text(model.version, 64),
        parameters=parameters,
        family=concept(family),
    )


def _figure(value: float) -> float:
    """Eight significant digits: what a DS of 16 characters holds in any magnitude (PS3.5 6.2)."""
    return float(f"{value:.8g}")


def _warning(context: ResultContext) -> str:
    models = (context.perfusion_model.caveat, context.segmenter.caveat)
    return " ".join(
        (
            "RESEARCH ONLY. Not a medical device, not for clinical decisions.",
            *dict.fromkeys(caveat for caveat in models if caveat),
            "Perfusion is relative: 100 % is the mean over both lungs of this patient; patients cannot be compared.",
        )
    )


def _uncertainty(result: "PerfusionResult") -> list[sr.TextContentItem]:
    """What intervals and distance promise, and what they do not; nothing for engines without either."""
    known, domain = result.perfusion.uncertainty, result.perfusion.domain
    sentences = []
    if known is not None:
        sentences.append(known.statement())
    if domain is not None:
        sentences.append(domain.statement())
    return [_text(codes.UNCERTAINTY, " ".join(sentences))] if sentences else []


def _findings(findings: Iterable[Finding], absent: Iterable[str]) -> list[sr.TextContentItem]:
    """One text for each finding and each region without a voxel; a single one that says so where there is none."""
    items = [_finding(finding) for finding in findings]
    for name in absent:
        item = _text(codes.QUALITY_FINDING, f"NOTE EMPTY_REGION: {name} has no voxel, so no segment and no figures.")
        item.ContentSequence = sr.ContentSequence([_severity(Severity.NOTE)])
        items.append(item)
    return items or [_text(codes.QUALITY_FINDING, "Nothing to report: every check of CT and result passed.")]


def _finding(finding: Finding) -> sr.TextContentItem:
    item = _text(codes.QUALITY_FINDING, f"{finding.severity.upper()} {finding.code}: {finding.sentence}")
    unit = concept(CodedTerm(finding.unit, "UCUM", "no units" if finding.unit == "1" else finding.unit))
    measured, limit = (
        sr.NumContentItem(concept(name), _figure(value), unit, relationship_type=_HAS_PROPERTIES)
        for name, value in ((codes.FINDING_MEASURED, finding.measured), (codes.FINDING_LIMIT, finding.limit))
    )
    item.ContentSequence = sr.ContentSequence([_severity(finding.severity), measured, limit])
    return item


def _severity(severity: Severity) -> sr.CodeContentItem:
    return sr.CodeContentItem(concept(codes.FINDING_SEVERITY), concept(codes.SEVERITIES[severity]), _HAS_PROPERTIES)


def _text(name: CodedTerm, text: str) -> sr.TextContentItem:
    return sr.TextContentItem(concept(name), ascii_text(text, _LONGEST_TEXT), _CONTAINS)


def _refer_to_earlier(dataset: Dataset, context: ResultContext) -> None:
    """Name the report that this one supersedes (Predecessor Documents Sequence, PS3.3 C.17.2)."""
    if earlier := context.earlier_instance(ROLE):
        series = Dataset()
        series.ReferencedSOPSequence = [earlier.reference()]
        series.SeriesInstanceUID = earlier.series_instance_uid
        study = Dataset()
        study.ReferencedSeriesSequence = [series]
        study.StudyInstanceUID = context.source.representative.StudyInstanceUID
        dataset.PredecessorDocumentsSequence = [study]
