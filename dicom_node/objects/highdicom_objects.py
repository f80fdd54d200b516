"""What goes into highdicom's constructors, and what must be mended in every object that comes out of them.

highdicom knows geometry, multi-frame functional groups and report templates; patient and study are put in by
`provenance`, in the words and the character set of the CT, because highdicom refuses character sets, sexes and absent
attributes that real CTs have. It writes the clock, random UIDs and itself into objects; here they are taken out again,
so that the same input gives the same bytes.
"""

from collections.abc import Mapping
from copy import copy

from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import UID, CTImageStorage
from pydicom.valuerep import format_number_as_ds

from dicom_node.objects import codes
from dicom_node.objects.codes import CodedTerm
from dicom_node.objects.identifiers import uid_from
from dicom_node.objects.kinds import ObjectRole
from dicom_node.objects.provenance import ResultContext
from dicom_node.objects.source_series import (
    GEOMETRY,
    LOSSY,
    REQUIRED,
    SourceSeries,
    image_reference,
    instance_reference,
)
from inference.geometry import Grid


def concept(term: CodedTerm) -> CodedConcept:
    """A coded term as highdicom takes it."""
    return CodedConcept(term.value, term.scheme, term.meaning)


def source_images(source: SourceSeries, grid: Grid) -> list[Dataset]:
    """The images of the CT in slice order, with geometry only: no patient that highdicom could refuse.

    Frames stand in as single images of their own, with UIDs that `mend` turns into references to the frames.
    """
    return [_geometry_only(header, grid) for header in source.headers]


def _stand_in_uid(header: Dataset) -> str:
    return uid_from("perfusion-node frame", str(header.SOPInstanceUID), str(header.ReferencedFrameNumber))


def _geometry_only(header: Dataset, grid: Grid) -> Dataset:
    image = Dataset()
    for keyword in (*GEOMETRY, *LOSSY):
        if keyword in header:
            image.add(copy(header[keyword]))  # the image is ours to change, the header is not
    if "ReferencedFrameNumber" in header:
        image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, _stand_in_uid(header)
    for keyword in REQUIRED:
        setattr(image, keyword, "")
    if not image.get("SliceThickness"):  # Type 2 in a CT
        image.SliceThickness = format_number_as_ds(grid.spacing_mm[0])
    return image


def mend(dataset: Dataset, context: ResultContext, role: ObjectRole, transfer_syntax_uid: UID) -> None:
    """Put in patient, study, maker and dates; take out the clock, chance and highdicom's own equipment item."""
    for keyword in ("InstanceCreationDate", "InstanceCreationTime", "ContributingEquipmentSequence"):
        dataset.pop(keyword, None)
    if "ReferencedFrameNumber" in context.source.representative:
        _refer_to_frames(dataset, {_stand_in_uid(header): header for header in context.source.headers})
    context.source.copy_identity(dataset)
    context.describe_maker(dataset)
    context.describe_series(dataset, role)
    dataset.ContentDate, dataset.ContentTime = context.source.date_and_time()
    dimensions = context.identifiers.dimension_organization_uid(role)
    for keyword in ("DimensionOrganizationSequence", "DimensionIndexSequence"):
        for item in dataset.get(keyword, ()):
            item.DimensionOrganizationUID = dimensions
    dataset.CodingSchemeIdentificationSequence = [codes.private_scheme()]
    dataset.file_meta = context.file_meta(role.series.sop_class_uid, dataset.SOPInstanceUID, transfer_syntax_uid)


def _refer_to_frames(dataset: Dataset, frames: Mapping[str, Dataset], *, with_numbers: bool = False) -> None:
    """Name the frame wherever its stand-in is named, and each instance once where whole instances are listed.

    Args:
        dataset: an object or an item of it.
        frames: header of the frame by the UID of its stand-in.
        with_numbers: inside the source of a frame, where an item names a frame (PS3.3 table 10-3).
    """
    for tag in [element.tag for element in dataset if element.VR == "SQ"]:
        element, kept, seen = dataset[tag], [], set()
        named = with_numbers or element.keyword == "DerivationImageSequence"
        for item in element.value:
            _refer_to_frames(item, frames, with_numbers=named)
            header = frames.get(str(item.get("ReferencedSOPInstanceUID")))
            if header is not None:
                reference = image_reference(header) if named else instance_reference(header)
                if not named and header.SOPInstanceUID in seen:
                    continue
                seen.add(header.SOPInstanceUID)
                item.update(reference)
            kept.append(item)
        if len(kept) < len(element.value):
            element.value = Sequence(kept)
