"""Which function makes which kind of object: from one result to everything that was ordered.

Objects are made in the order of `ObjectKind`, so that the report finds the map and the segmentation it refers to.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from pydicom.dataset import Dataset

from dicom_node.objects import parametric_map, segmentation
from dicom_node.objects.kinds import ObjectKind, ObjectRole
from dicom_node.objects.mr_twin import encode_mr_twin
from dicom_node.objects.page import encode_summary_image, encode_summary_pdf
from dicom_node.objects.parametric_map import encode_parametric_map
from dicom_node.objects.profile import StructureGroup, StructureSetProfile
from dicom_node.objects.provenance import ResultContext
from dicom_node.objects.report import encode_report
from dicom_node.objects.segmentation import encode_segmentation
from dicom_node.objects.source_series import NO_DATE
from dicom_node.objects.structure_set import encode_structure_set
from dicom_node.results.summary import summary_pdf, summary_pixels
from inference.engine import PerfusionResult
from inference.volumes import CtVolume

MANY = (ObjectKind.MR_TWIN,)
"""Kinds whose series has one instance per slice."""


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """What objects are made from."""

    ct: CtVolume
    result: PerfusionResult
    context: ResultContext
    made: Callable[[ObjectRole], Dataset]
    """Header of an object of this case that was made before."""


Encoder = Callable[[Material, ObjectRole, StructureSetProfile], Iterable[Dataset]]


def encoded_objects(
    roles: Mapping[ObjectRole, StructureSetProfile], material: Material
) -> Iterable[tuple[ObjectRole, int | None, Dataset]]:
    """Make every object that was ordered and is not empty, one at a time.

    Yields:
        Role, number from 1 in a series of many (else `None`), and the dataset.

    Raises:
        EncodingError: an object could not be made.
    """
    order = list(ObjectKind)
    for role in sorted(roles, key=lambda role: (order.index(role.kind), role.part)):
        if _has_no_region(role, roles[role], material.result):
            continue
        for number, dataset in enumerate(ENCODERS[role.kind](material, role, roles[role]), start=1):
            yield role, number if role.kind in MANY else None, dataset


def _has_no_region(role: ObjectRole, profile: StructureSetProfile, result: PerfusionResult) -> bool:
    """Whether an object would hold functional regions only, and the rule found none."""
    if result.regions.high.any() or result.regions.low.any():
        return False
    return role == segmentation.FUNCTION or profile.contents().get(role) == (StructureGroup.FUNCTION,)


def _subject(context: ResultContext) -> str:
    """The line that ties a printed page to its patient; the name stays in the header of the object."""
    patient_id, (date, _) = context.source.representative.get("PatientID"), context.source.date_and_time()
    shown = "" if date == NO_DATE[0] else f"{date[:4]}-{date[4:6]}-{date[6:]}"
    return ", ".join(f"{label} {value}" for label, value in (("Patient ID", patient_id), ("CT of", shown)) if value)


ENCODERS: Mapping[ObjectKind, Encoder] = {
    ObjectKind.PARAMETRIC_MAP: lambda m, role, profile: [encode_parametric_map(m.result.perfusion, m.context)],
    ObjectKind.STRUCTURE_SET: lambda m, role, profile: [
        encode_structure_set(m.result.lobes, m.result.regions, m.context, profile, role)
    ],
    ObjectKind.MR_TWIN: lambda m, role, profile: encode_mr_twin(m.result.perfusion, m.context),
    ObjectKind.SEGMENTATION: lambda m, role, profile: [
        encode_segmentation(m.result.lobes, m.result.regions, m.context, role)
    ],
    ObjectKind.REPORT: lambda m, role, profile: [
        encode_report(m.result, m.context, m.made(segmentation.LOBES), m.made(parametric_map.ROLE))
    ],
    ObjectKind.SUMMARY_PDF: lambda m, role, profile: [
        encode_summary_pdf(summary_pdf(m.ct, m.result, _subject(m.context)), m.context)
    ],
    ObjectKind.SUMMARY_IMAGE: lambda m, role, profile: [
        encode_summary_image(summary_pixels(m.ct, m.result, _subject(m.context)), m.context)
    ],
}
"""How each kind that may be ordered is made."""
